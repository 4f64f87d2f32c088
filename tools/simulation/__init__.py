"""Falcon under simulated circumstances: every chance comes from a seed, and time passes only in the simulation.

- ``threads``: threads, locks, event loops and clocks that take turns as a seed says. What runs in it is real code.
- ``kafka``, ``hbase``: servers in memory, held to what real ones do: the adapters keep the same contracts on them, and
  tests follow random histories on both (``tests/simulation``).
- ``http``: what processes say to each other, without sockets.
- ``cluster``: the processes of a cluster, put together as ``falcon.run.bootstrap.cluster`` does, on all of that.
- ``course``: people chat there while things fail; what they were told is held against the log.
- ``acts``: an operator does what operators do meanwhile. ``restores``: servers are replaced by older copies of them.
- ``revocations``: a token is revoked at one edge, or its account deactivated or demoted, and used at another one, while
  the log or the tables are in trouble.
- ``growth``: days pass, and nothing grows but what lives (``make simulate ARGS='--growth 7'``).
- ``origins``: runs the schedules, most of them from a cluster that was started once and is forked for each. Two hundred
  seeds share such a cluster; their first seed says how large it is and what happened in it before they begin.
- ``clients``, ``faults``: visitors who look at what no load does, and faults that are seldom met by chance.
- ``owners``: owners alone on simulated brokers, for moves, late writes and many nights.
- ``schedules``, ``mutants``, ``hunt``: mistakes, and what must find them (``make simulate MUTANTS=1``).

``make simulate SECONDS=60`` searches new seeds. A seed says which kind of schedule it is: mostly a short one, of about
a hundred operations and one fault or two; sometimes a long one, with a thousand operations and faults that last; or one
with acts, restores or a revocation. ``ARGS='--kind long'`` wants all of one kind; ``--kind wishes`` has people wish
2,000 times for 50 handles. What went wrong is printed with the
line that runs that schedule again, step by step, as long as the code is the same: ``make simulate SEED=… SCHEDULES=1``.
With ``ARGS=--log`` it shows what the processes logged.
"""
