"""Falcon under simulated circumstances: every chance comes from a seed, and time passes only in the simulation.

- ``world``: one shard and the projections on a journal in memory; thousands of schedules in seconds.
- ``threads``: threads, locks, event loops and clocks that take turns as a seed says. What runs in it is real code.
- ``kafka``, ``hbase``: servers in memory, held to what real ones do: the adapters keep the same contracts on them, and
  ``test_beside_a_real_kafka`` and ``test_beside_a_real_hbase`` follow random histories on both.
- ``http``: what processes say to each other, without sockets.
- ``cluster``: the processes of a cluster, put together as ``falcon.bootstrap.cluster`` does, on all of that.
- ``course``: people chat there while things fail; what they were told is held against the log.
- ``acts``: an operator does what operators do meanwhile. ``restores``: servers are replaced by older copies of them.
- ``origins``: runs the schedules, most of them from a cluster that was started once and is forked for each.
- ``clients``, ``faults``: visitors who look at what no load does, and faults that are seldom met by chance.
- ``owners``: owners alone on simulated brokers, for moves, late writes and many nights.
- ``schedules``, ``mutants``, ``hunt``: mistakes, and what must find them (``make simulate MUTANTS=1``).

``make simulate SECONDS=60`` searches and prints the seed of a schedule that went wrong; with ``SEED=`` and
``SCHEDULES=1`` the same schedule comes again, step by step, as long as the code is the same. ``ARGS=--log`` shows what
the processes logged.
"""
