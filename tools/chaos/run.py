"""A run: a cluster, a load, faults one after the other, and the reckoning."""

import asyncio
import fcntl
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from tools.chaos.cluster import ChaosCluster
from tools.chaos.faults import FAULTS, Fault, go_together
from tools.chaos.report import Report
from tools.harness.waiting import NotInTime
from tools.people.checker import Checker
from tools.people.crowd import Crowd
from tools.people.history import History, Operation, operations
from tools.people.listener import Log
from tools.people.sessions import Act, Session
from tools.servers.cluster import ROOT
from tools.servers.daemon import ServerFault

FOLDER: Final = ROOT / "build" / "chaos"
SESSIONS: Final = 16  # beside one for each partition, which only probes
GUESTS: Final = 4
LISTENERS: Final = 8
_SERVED_SECONDS: Final = 90.0
_PAUSE_SECONDS: Final = (1.0, 4.0)
_TOGETHER: Final = 0.2  # how often a second fault comes along
_AT_MOST: Final = 4.0  # a fault that takes more than this part of the run is left out

Say = Callable[[str], None]


async def run(
    seconds: float, seed: int, names: Sequence[str] = (), say: Say = print, region_servers: int = 2
) -> Report:
    """Hurt a cluster of its own for so long. ``names``: of the faults; all that fit into the time when none is given.
    ``region_servers``: of HBase; with 0 its master serves the regions.

    Raises ServerFault, ToolMissing when the cluster cannot be started. Nothing is left when this ends, however it does.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServerFault(f"another run is under way in {FOLDER}") from error
        return await _run(ChaosCluster(FOLDER / "cluster", region_servers=region_servers), seconds, seed, names, say)


async def _run(cluster: ChaosCluster, seconds: float, seed: int, names: Sequence[str], say: Say) -> Report:
    history = History(FOLDER / f"history-{seed}.jsonl")
    report = Report(seed)
    try:
        described = await cluster.begin(say)
        chaos = Chaos(cluster, history, report, say)
        await chaos.prepare(described, seed, is_searched=True)
        await chaos.hurt(seconds, _chosen(cluster, seconds, names))
        await chaos.reckon()
        if report.violations:
            cluster.keep_logs(FOLDER / f"logs-{seed}")
    except BaseException:
        cluster.keep_logs(FOLDER / f"logs-{seed}")
        raise
    finally:
        history.close()
        await asyncio.shield(cluster.close())
    return report


def check(path: Path, report: Report) -> None:
    """Hold a history that is on disk against the promises."""
    checker = Checker()
    report.violations += checker.check(operations(path))
    report.counts = checker.counts


def _chosen(cluster: ChaosCluster, seconds: float, names: Sequence[str]) -> list[Fault[ChaosCluster]]:
    possible = [
        fault
        for fault in FAULTS
        if (cluster.apart or not fault.apart) and (cluster.has_small_disk or not fault.small_disk)
    ]
    if names:
        return [fault for fault in possible if fault.name in names]
    return [fault for fault in possible if fault.seconds <= seconds / _AT_MOST]


class Renaming(Session):
    """Renames rooms as well."""

    def acts(self) -> Mapping[Act, int]:
        return {**super().acts(), self.rename: 2}


class Hurt(Protocol):
    """The cluster that is hurt, and audited afterwards. ``verify`` raises ServerFault for a difference."""

    @property
    def partitions(self) -> int: ...
    async def audit(self, crowd: Crowd, log: Log) -> None: ...
    def verify(self) -> str: ...
    def judge_exports(self) -> Iterable[list[str]]: ...


F = TypeVar("F", bound=Hurt)


class Chaos(Generic[F]):
    """``pauses``: between two faults, in seconds. ``each``: every kind of fault comes at least once, however long it
    takes."""

    def __init__(
        self,
        cluster: F,
        history: History,
        report: Report,
        say: Say,
        pauses: tuple[float, float] = _PAUSE_SECONDS,
        *,
        each: bool = False,
    ) -> None:
        self._pauses = pauses
        self._each = each
        self._cluster = cluster
        self._history = history
        self._report = report
        self._say = say

    # --- before -------------------------------------------------------------------------------------------------------

    async def prepare(self, described: dict[str, Any], seed: int, **more: Any) -> None:
        """``more``: of the crowd."""
        self._chance = random.Random(seed)
        self._crowd = Crowd(
            described["urls"],
            described["admin_token"],
            self._history,
            self._cluster.partitions,
            seed=seed,
            chatting=SESSIONS,
            guests=GUESTS,
            listeners=LISTENERS,
            session=Renaming,
            **more,
        )
        await self._crowd.arrive()

    # --- during -------------------------------------------------------------------------------------------------------

    async def hurt(self, seconds: float, faults: Sequence[Fault[F]]) -> None:
        """Each kind before any comes again; ends by itself, with everything healed and every session done."""
        began = time.monotonic()
        await self._crowd.begin()
        bag = self._shuffled(faults, math.inf if self._each else seconds)
        first_round = self._each
        try:
            await self._served(self._history.now())
            until = time.monotonic() + seconds  # a busy machine may have needed as much to serve the first ones
            while (left := until - time.monotonic()) > 0 or (first_round and bag):
                if not first_round:
                    bag = [fault for fault in bag if fault.seconds <= left]
                if not bag:
                    first_round = False
                    bag = self._shuffled(faults, left)
                if not bag:
                    await asyncio.sleep(left)
                    break
                await self._one(bag)
        except (NotInTime, ServerFault) as fault:
            self._violation(f"not healed: {fault}")
        finally:
            for wrong in await self._crowd.leave():
                self._violation(wrong)
        self._report.seconds = time.monotonic() - began

    def _shuffled(self, faults: Sequence[Fault[F]], left: float) -> list[Fault[F]]:
        fitting = [fault for fault in faults if fault.seconds <= left]
        self._chance.shuffle(fitting)
        return fitting

    async def _one(self, bag: list[Fault[F]]) -> None:
        """One fault, sometimes two, and everything that was hurt serves again."""
        chosen = [bag.pop()]
        if self._chance.random() < _TOGETHER:
            partners = [fault for fault in bag if go_together(fault, chosen[0])]
            if partners:
                bag.remove(partners[0])
                chosen.append(partners[0])
        started, name = self._history.now(), " + ".join(fault.name for fault in chosen)
        self._say(f"{started:7.1f} s: {name}")
        seeds = [random.Random(self._chance.random()) for _ in chosen]
        offset = time.monotonic() - started
        sinces = await asyncio.gather(
            *(fault.act(self._cluster, chance) for fault, chance in zip(chosen, seeds, strict=True))
        )
        since = max(started if each is None else each - offset for each in sinces)
        try:
            await self._served(self._history.now())
        except NotInTime as fault:
            self._violation(f"after {name}: {fault}")
        self._note_recovery(chosen, name, since)
        self._report.load = max(self._report.load, os.getloadavg()[0] / (os.cpu_count() or 1))
        self._history.note(Operation(kind="fault", name=name, started=started, ended=self._history.now()))
        await asyncio.sleep(self._chance.uniform(*self._pauses))

    async def _served(self, since: float) -> None:
        await self._crowd.served(since, _SERVED_SECONDS)

    def _note_recovery(self, chosen: list[Fault[F]], name: str, since: float) -> None:
        """Note the longest wait of a probe, counted from when things could continue."""
        for fault in chosen:
            self._report.faults[fault.name].times += 1
        if len(chosen) > 1:
            name = "(two at once)"
            self._report.faults[name].times += 1
        longest = {"send": 0.0, "read": 0.0}
        for wait in self._crowd.load.waits:
            if wait.ended >= since:
                longest[wait.kind] = max(longest[wait.kind], wait.ended - max(wait.started, since))
        self._report.faults[name].sends.append(longest["send"])
        self._report.faults[name].reads.append(longest["read"])
        self._say(f"{self._history.now():7.1f} s:   sends after {longest['send']:.1f} s, reads {longest['read']:.1f} s")

    # --- after --------------------------------------------------------------------------------------------------------

    async def reckon(self) -> None:
        self._say("reading everything back")
        log = Log()
        try:
            await self._cluster.audit(self._crowd, log)
        except* Exception as failed:
            for error in failed.exceptions:
                self._violation(f"not everything could be read back: {error!r}")
        for wrong in await self._crowd.settle(log):
            self._violation(wrong)
        self._report.heard = self._crowd.heard
        try:
            self._report.verified = await asyncio.to_thread(self._cluster.verify)
        except ServerFault as fault:
            self._violation(f"{fault}")
        await asyncio.to_thread(self._judge_exports)
        self._history.close()
        check(self._history.path, self._report)

    def _judge_exports(self) -> None:
        for found in self._cluster.judge_exports():
            for wrong in found:
                self._violation(wrong)
            self._report.exports += 1

    def _violation(self, what: str) -> None:
        self._say(f"VIOLATION {what}")
        self._report.violations.append(what)
