"""What Falcon measures of itself. A leaf: everything may import it, and it imports nothing of Falcon's but ``process``.

``metrics`` declares every metric, as the ``instruments`` that it is. The values of a process stand in a ``slot``, a
mapped file, so that they outlive it; ``exposition`` adds up the slots of a process tree and shows them to Prometheus.
``dispatchers`` has every thread there is. ``probes`` measures the process itself, and answers what is asked of it.
"""
