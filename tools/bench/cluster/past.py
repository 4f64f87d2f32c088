"""Rooms with a history: pages of them, and backlogs and a rebuild of ``falcon project``, beside bare happybase."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from falcon.read.catalogue import READ_MODELS
from tools.bench import wrk
from tools.bench.bench import Bench
from tools.bench.cluster.bare import Measured
from tools.bench.cluster.history import FilledLog
from tools.bench.cluster.running import SERVERS, RunningCluster
from tools.bench.figures import Figure, beside
from tools.harness.progress import say
from tools.harness.servers import ServerFailed

_MESSAGES: Final = 204  # in each room
_READERS: Final = (1, 8, 16)
_PAGES_BOUND: Final = 0.7
_P50_BOUND: Final = 1.0  # ms more than bare
_HOT_ROOMS: Final = 100
_RATE_BOUND: Final = 10_000
_SHARE_BOUND: Final = 0.7
_CELLS: Final = 500  # a call's most, as Falcon's
_PATIENCE_SECONDS: Final = 300.0


class ClusterPast:
    """The cluster's rooms; each has as many messages as were asked for last."""

    def __init__(self, cluster: RunningCluster, bench: Bench) -> None:
        self._cluster = cluster
        self._bench = bench
        self._rooms_file = bench.folder / "past.json"
        self._filled = 0

    def _grow(self, to: int) -> int:
        """Fill each room up to so many messages. ``falcon write`` is away meanwhile, and serves again afterwards.
        Returns the number of events."""
        self._cluster.stop("write")
        try:
            sizes = (f"--rooms={self._bench.sizes['history_rooms']}", f"--first={self._filled + 1}", f"--last={to}")
            options = (f"--file={self._rooms_file}", *sizes, f"--author={self._cluster.account_id}")
            found = msgspec.convert(self._cluster.run("history", *options), FilledLog)
        finally:
            self._cluster.scale_write(1)
        self._filled = to
        say(f"{found.events:,} events put into the log in {found.seconds:.1f} s")
        return found.events

    # --- pages --------------------------------------------------------------------------------------------------------

    def read(self) -> list[Figure]:
        """Pages of the latest 50: of all rooms in turn, of which no page is kept in memory, and of popular ones."""
        cluster, bench = self._cluster, self._bench
        if self._filled < _MESSAGES:
            self._grow(_MESSAGES)
        cluster.settle(300)
        rooms = msgspec.json.decode(self._rooms_file.read_bytes(), type=list[int])
        sets = {f"{len(rooms):,} rooms in turn": rooms, f"{_HOT_ROOMS} popular rooms": rooms[:_HOT_ROOMS]}
        targets = bench.folder / "read.targets"
        wrk.write_targets(targets, [(room, cluster.token) for room in rooms])
        cluster.warm(
            lambda: wrk.read(cluster.cores.generator, cluster.address, targets, max(_READERS), 4),
            bench.sizes["warm_seconds"],
        )
        ours: dict[tuple[str, int], list[wrk.Load]] = {}
        bare: dict[tuple[str, int], list[Measured]] = {}
        for _ in range(bench.runs):
            for name, chosen in sets.items():
                wrk.write_targets(targets, [(room, cluster.token) for room in chosen])
                listed = bench.folder / "read.rooms"
                listed.write_bytes(msgspec.json.encode(chosen))
                for count in _READERS:
                    wrk.read(cluster.cores.generator, cluster.address, targets, count, 1)
                    load = wrk.read(cluster.cores.generator, cluster.address, targets, count, bench.seconds)
                    options = (f"--threads={count}", f"--seconds={bench.seconds}", f"--account={cluster.account_id}")
                    found = cluster.run("bare", "reader", f"--rooms={listed}", *options)
                    ours.setdefault((name, count), []).append(load)
                    bare.setdefault((name, count), []).append(msgspec.convert(found, Measured))
                    say(f"read, {name}, {count} connections: {load.rate:,.0f}/s, {load.refused} refused")
        told: list[Figure] = []
        for (name, count), loads in ours.items():
            what, others = f"{name}, {count} at once", bare[name, count]
            rates, more = [load.rate for load in loads], zip(loads, others, strict=True)
            told.append(Figure(f"pages, {what}", rates, "a second"))
            told += beside(
                f"pages of bare happybase's, {what}", rates, [each.rate for each in others], least=_PAGES_BOUND
            )
            above = [load.p50 / 1000 - each.p50 for load, each in more]
            told.append(Figure(f"p50 of a page above bare happybase's, {what}", above, "ms", most=_P50_BOUND))
            failed = sum(load.refused + load.broken for load in loads)
            told.append(Figure(f"pages that failed, {what}", [failed], most=0))
        return told

    # --- a backlog ----------------------------------------------------------------------------------------------------

    def project(self) -> list[Figure]:
        """A backlog applied by one ``falcon project``, and a rebuild. The bare program puts the timeline's rows alone,
        made beforehand, with as many threads as the projector, which reads the log and writes all projections."""
        cluster, runs = self._cluster, self._bench.runs
        rates: list[float] = []
        bare: list[float] = []
        cpu: dict[str, list[float]] = {role: [] for role in ("project", *SERVERS)}
        step = max(1, _MESSAGES // (runs + 1))
        for turn in range(runs + 1):
            cluster.settle()
            cluster.stop("project")
            events = self._grow(_MESSAGES if turn == runs else self._filled + step)
            cluster.start_role("project")
            before, begun = cluster.work(), time.perf_counter()
            self._await_applied(events)
            elapsed, after = time.perf_counter() - begun, cluster.work()
            puts = self._bare(turn, min(events, 160_000)).rate
            say(f"{turn}/{runs} project: {events / elapsed:,.0f} events/s, bare {puts:,.0f} rows/s")
            if turn == 0:
                continue  # it has warmed the servers up
            rates.append(events / elapsed)
            bare.append(puts)
            for role, found in cpu.items():
                found.append((after[role] - before[role]) / events * 1e6)
        rooms = self._bench.sizes["history_rooms"] * _MESSAGES
        rebuilds = [rooms / cluster.falcon("rebuild", "timeline") for _ in range(max(1, runs - 1))]
        return [
            Figure("falcon project", rates, "events/s", least=_RATE_BOUND),
            *beside("the same, of bare puts of messages", rates, bare, least=_SHARE_BOUND),
            *(Figure(f"CPU of {role}", found, "µs an event") for role, found in cpu.items()),
            Figure("falcon rebuild timeline", rebuilds, "messages/s", least=_RATE_BOUND),
            *beside("the same, of bare puts of messages", rebuilds, bare, least=_SHARE_BOUND),
        ]

    def _await_applied(self, events: int) -> None:
        """Wait until each projection has applied so many."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while min((found := self._cluster.projected()).values()) < events:
            if time.monotonic() > until:
                raise ServerFailed(f"{events:,} events were not applied within {_PATIENCE_SECONDS:.0f} s: {found}")
            time.sleep(0.1)
        assert found.keys() == set(READ_MODELS)

    def _bare(self, turn: int, rows: int) -> Measured:
        name = f"bare_{turn}"
        self._cluster.create_bare_table(name)
        threads = self._cluster.settings().project_threads
        options = (f"--table={name}", f"--rows={rows}", f"--batch={_CELLS}", f"--threads={threads}")
        return msgspec.convert(self._cluster.run("bare", "writer", *options), Measured)
