"""A real Falcon under attack: each attack alone, then all of them at once; and what that did to the others."""

import asyncio
import math
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import msgspec

from tools.attack.attackers import Orders
from tools.attack.attacks import Counts, Target
from tools.attack.log_faults import faults_in
from tools.attack.others import Others
from tools.harness.falcon import Falcon
from tools.harness.reports import counts_in_words, percentile, text_table
from tools.people.history import Operation

_ALONE_SECONDS_MIN: Final = 8.0  # an attack has no turn of its own where that would be shorter
_AFTER_SECONDS: Final = 120.0  # for what an attacker needs to end
_LARGE: Final = 18  # messages in the hostile account's room, more than a page may have
_SLOWER: Final = 2.0
_SOON_SECONDS: Final = 0.060
_GROWTH_BYTES_MAX: Final = 128 << 20
_TOKENS: Final = 100_000
_FULL_SECONDS: Final = 600.0


class Phase(NamedTuple):
    """``resident``: the largest resident size of the server in bytes. ``queued``: the share of the time for which its
    event loop could run, and the system gave the cores to others. ``counts``: what attackers met, by attack."""

    name: str
    asked: list[Operation]
    resident: int
    queued: float
    counts: dict[str, Counts]

    @property
    def p50(self) -> float:
        return self._percentile(0.5)

    @property
    def p99(self) -> float:
        return self._percentile(0.99)

    def _percentile(self, share: float) -> float:
        """In seconds; NaN if nothing was asked."""
        return percentile([each.ended - each.started for each in self.asked], share) if self.asked else math.nan

    @property
    def refused(self) -> Counts:
        return Counter(f"{each.status} {each.code}" for each in self.asked if each.outcome != "acknowledged")


class Report(NamedTuple):
    """``phases``: the quiet one first. ``wrong``: what else went wrong."""

    seconds: float
    phases: list[Phase]
    streamed: int
    streams_ended: int
    wrong: list[str]

    def faults(self, *, timed: bool) -> list[str]:
        quiet, *attacked = self.phases
        faults = list(self.wrong)
        bound = max(_SLOWER * quiet.p99, _SOON_SECONDS)
        for phase in self.phases:
            faults += [f"{phase.name}: the others were refused: {dict(phase.refused)}"] if phase.refused else []
            if not phase.asked:
                faults.append(f"{phase.name}: the others were not answered at all")
        for phase in attacked:
            if timed and phase.p99 > bound:
                faults.append(f"{phase.name}: p99 of the others {_ms(phase.p99)}, may be {_ms(bound)}")
            grown = phase.resident - quiet.resident
            if grown > _GROWTH_BYTES_MAX:
                faults.append(f"{phase.name}: the server has grown by {grown >> 20} MiB")
            for name, counts in phase.counts.items():
                faults += [f"{phase.name}, {name}: {counts['500']} times 500"] if counts["500"] else []
                if counts["believed"]:
                    faults.append(
                        f"{phase.name}, {name}: a token behind a body was believed {counts['believed']} times"
                    )
        if self.streams_ended:
            faults.append(f"streams of the others have ended {self.streams_ended} times")
        if self.seconds >= _FULL_SECONDS and self.tokens < _TOKENS and self._tries("wrong tokens"):
            faults.append(f"only {self.tokens:,} wrong tokens were tried")
        return faults

    @property
    def tokens(self) -> int:
        return sum(counts["tokens"] for phase in self.phases for counts in phase.counts.values())

    def _tries(self, attack: str) -> bool:
        return any(attack in phase.counts for phase in self.phases)

    def __str__(self) -> str:
        quiet = self.phases[0]
        rows = [
            (
                phase.name,
                f"{len(phase.asked):,}",
                f"{phase.refused.total():,}",
                _ms(phase.p50),
                _ms(phase.p99),
                f"{(phase.resident - quiet.resident) >> 20:,} MiB",
                f"{phase.queued:.0%}",
            )
            for phase in self.phases
        ]
        lines = [
            f"{self.tokens:,} wrong tokens; "
            f"{self.streamed:,} events by streams, which ended {self.streams_ended} times",
            text_table(("phase", "asked", "refused", "p50", "p99", "grown", "queued"), rows),
        ]
        for phase in self.phases:
            for name, counts in phase.counts.items():
                title = name if phase.name == name else f"{phase.name}: {name}"
                lines.append(f"  {title}: {counts_in_words(counts)}")
        return "\n".join(lines)


async def lay_siege(folder: Path, seconds: float, attacks: Sequence[str]) -> Report:
    falcon = Falcon(folder, {"limits": "on"}).start()
    try:
        return await _Siege(falcon, folder, seconds).run(attacks)
    finally:
        falcon.stop()


class _Siege:
    def __init__(self, falcon: Falcon, folder: Path, seconds: float) -> None:
        self._falcon = falcon
        self._seconds = seconds
        self._others = Others(falcon, folder)
        self._phases: list[Phase] = []
        self._resident = 0

    async def run(self, attacks: Sequence[str]) -> Report:
        target = await self._prepare()
        before = self._falcon.pids("serve")
        async with self._watching(), self._others.chatting():
            await asyncio.sleep(2)  # what is done for the first time takes longer
            alone = 0.6 * self._seconds / len(attacks)
            if len(attacks) == 1 or alone < _ALONE_SECONDS_MIN:
                await self._phase("quiet", target, (), self._seconds / 4)
                await self._phase(
                    attacks[0] if len(attacks) == 1 else "all at once", target, attacks, self._seconds * 0.75
                )
            else:
                await self._phase("quiet", target, (), self._seconds / 10)
                for name in attacks:
                    await self._phase(name, target, [name], alone)
                await self._phase("all at once", target, attacks, self._seconds * 0.3)
        wrong = [] if self._falcon.pids("serve") == before else ["the server was started again"]
        wrong += [f"the server's log has a fault, {fault}" for fault in faults_in(self._falcon.log())]
        heard = self._others.crowd.heard
        wrong += self._others.wrong
        return Report(self._seconds, self._phases, heard.deliveries, heard.byes.total(), wrong)

    async def _prepare(self) -> Target:
        """The hostile account, its room with large messages, and a stranger."""
        url, info = self._falcon.info["url"], self._falcon.info
        async with httpx.AsyncClient(base_url=url, headers=_bearer(info["admin_token"]), timeout=30) as admin:
            mallory = (await admin.post("/v1/accounts", json={"name": "Mallory"})).raise_for_status().json()
        async with httpx.AsyncClient(base_url=url, headers=_bearer(mallory["token"]), timeout=30) as client:
            room = (await client.post("/v1/rooms", json={"name": "Large"})).raise_for_status().json()["room_id"]
            for _ in range(_LARGE):
                path = f"/v1/rooms/{room}/messages"
                (await client.post(path, json={"text": "x" * 65_000})).raise_for_status()
        return Target(self._falcon.settings["http_port"], mallory["token"], room, info["account_id"])

    async def _phase(self, name: str, target: Target, attacks: Sequence[str], seconds: float) -> None:
        self._resident = 0
        began, queued = self._others.history.now(), self._queued_seconds()
        counts: dict[str, Counts] = {}
        if attacks:
            counts = await _attackers(Orders(target, list(attacks), seconds))
        else:
            await asyncio.sleep(seconds)
        ended = self._others.history.now()
        share = (self._queued_seconds() - queued) / (ended - began)
        self._phases.append(Phase(name, self._others.asked_between(began, ended), self._resident, share, counts))

    def _queued_seconds(self) -> float:
        return sum(_queued_seconds(pid) for pid in self._falcon.pids("serve"))

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        async def watch() -> None:
            while True:
                resident = sum(_resident(pid) for pid in self._falcon.pids("serve"))
                self._resident = max(self._resident, resident)
                await asyncio.sleep(0.5)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching


async def _attackers(orders: Orders) -> dict[str, Counts]:
    """Raises RuntimeError where the attack itself fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.attack.attackers", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(orders.seconds + _AFTER_SECONDS):
            told, _ = await process.communicate(msgspec.json.encode(orders))
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"the attackers ended with {process.returncode}")
    found: dict[str, dict[str, int]] = msgspec.json.decode(told)
    return {name: Counter(counts) for name, counts in found.items()}


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def _queued_seconds(pid: int) -> float:
    """How long the first thread of a process, that of the event loop, has waited for a core."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
