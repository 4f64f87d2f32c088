"""Falcon's measurements of itself. A leaf: everything may import it, and it imports nothing of Falcon's but
``process`` and ``varints``.

``metrics`` declares every metric as one of the ``instruments``. A process's values stand in mapped files of the
``run_folder``, so that they outlive it. ``exposition`` adds up those of a process tree for Prometheus. ``dispatchers``
has all threads. ``probes`` measures the process itself, and answers questions about it.
"""
