"""Kills under load, on one machine: a real ``falcon up``, its processes killed and frozen, its disk filled.

The people who chat, their history and the checker that holds it against the promises are those of ``tools.people``.
"""

import asyncio
import base64
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from falcon.adapters.sqlite import database, files
from falcon.adapters.sqlite.source import record_of
from falcon.journal import codec
from falcon.journal.envelope import Recorded
from falcon.streams.varints import varints
from tools.chaos.faults import ActOn, Fault
from tools.chaos.report import Report
from tools.chaos.run import Chaos
from tools.harness.falcon import TITLES, Falcon, alive
from tools.harness.waiting import eventually
from tools.people.audit import Audit
from tools.people.crowd import Crowd
from tools.people.history import History
from tools.people.listener import Log

PARTITIONS: Final = 8
RECOVERY_SECONDS: Final = 3.0
_GRACE_SECONDS: Final = 30.0
_PAUSES: Final = (0.3, 1.5)


class Machine:
    """Falcon on one machine, as the target of faults."""

    def __init__(self, falcon: Falcon) -> None:
        self.falcon = falcon
        self.partitions = PARTITIONS

    def running(self) -> Counter[str]:
        return Counter({role: len(self.falcon.pids(role)) for role in TITLES})

    async def audit(self, crowd: Crowd, log: Log) -> None:
        urls = [self.falcon.info["url"]]
        audit = Audit(urls, crowd.accounts, crowd.guests, crowd.history, log=log, is_searched=True)
        await audit.run(log_in(self.falcon.data_dir))

    def verify(self) -> str:
        return ""  # only a cluster has the command; here the audit holds the tables against the log

    def judge_exports(self) -> Iterable[list[str]]:
        return ()


def log_in(data_dir: Path) -> Iterator[Recorded]:
    """Every event of the log of a data folder, in the order of each file."""
    for path in files.present(data_dir / "falcon.db"):
        connection = database.connect(path, writable=False)
        try:
            rows: Any = connection.execute(f"SELECT {database.RECORD_COLUMNS} FROM journal ORDER BY offset")
            for offset, partition, epoch, n, *record in rows:
                yield codec.decode(record_of(*record), partition, offset, epoch, n)
        finally:
            connection.close()


async def hurt(
    falcon: Falcon,
    folder: Path,
    faults: Sequence[Fault[Machine]],
    seconds: float,
    seed: int,
    *,
    recovery_seconds: float = RECOVERY_SECONDS,
) -> Report:
    """Run faults, each kind at least once. ``folder``: for the history of acts and answers."""
    history, report = History(folder / f"history-{seed}.jsonl"), Report(seed)
    chaos = Chaos(Machine(falcon), history, report, _quiet, _PAUSES, each=True)
    try:
        described = {"urls": [falcon.info["url"]], "admin_token": falcon.info["admin_token"]}
        # Tokens of one process name one place in the log, those of several name one in the log of each.
        alone = {} if falcon.settings.get("processes", 1) > 1 else {"place": place_of}
        await chaos.prepare(described, seed, is_searched=True, **alone)
        await chaos.hurt(seconds, faults)
        await chaos.reckon()
    finally:
        history.close()
    for name, found in report.faults.items():
        report.violations += [
            f"after {name} it took {each:.1f} s to serve again" for each in found.sends if each > recovery_seconds
        ]
    return report


def errors(falcon: Falcon) -> Iterator[str]:
    """The error lines of its log, each without its variable parts."""
    for line in falcon.log().splitlines():
        with contextlib.suppress(msgspec.DecodeError):
            logged = msgspec.json.decode(line)
            if logged["level"] == "error":
                yield f"error: {logged['process']} {logged['message']} {logged.get('exception', '')[-200:]}"


def place_of(token: str) -> int:
    """The offset in the log that a token of one process names, 0 where nothing has been read."""
    body = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[1:-4]
    return next(varints(body[1:]), 0) if body else 0


def _quiet(line: str) -> None:
    """The report says all of it in the end."""


# --- faults -----------------------------------------------------------------------------------------------------------


def kill(role: str) -> ActOn[Machine]:
    async def act(machine: Machine, chance: Random) -> None:
        before = machine.running()
        pid = machine.falcon.kill(role, chance)
        await eventually(lambda: not alive(pid), f"{role} is gone", _GRACE_SECONDS)
        await _whole(machine, before)

    return act


async def _whole(machine: Machine, before: Counter[str]) -> None:
    """Wait until as many processes run as before the fault. Raises NotInTime."""
    await eventually(lambda: machine.running() == before, "as many processes run as before", _GRACE_SECONDS)


async def kill_launcher(machine: Machine, chance: Random) -> None:
    """Everything dies with it; a supervisor would start it again."""
    before = machine.running()
    machine.falcon.kill("launcher")
    await asyncio.to_thread(machine.falcon.start)
    await _whole(machine, before)


def freeze(role: str, seconds: float) -> ActOn[Machine]:
    """Stop it for longer than any command may wait. Then it continues as if nothing had happened."""

    async def act(machine: Machine, chance: Random) -> float:
        pid = chance.choice(machine.falcon.pids(role))
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
        return time.monotonic()

    return act


async def fill_disk(machine: Machine, chance: Random) -> float:
    """Write until not a byte is left. After a while make room again."""
    filler = machine.falcon.data_dir / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
        await asyncio.sleep(1.5)
    filler.unlink()
    return time.monotonic()


def _fault(name: str, act: ActOn[Machine]) -> Fault[Machine]:
    return Fault(name, "falcon", 5, act)


# So few events that a stream which was away for long has to read the history instead, and so little room that one which
# stalls is cut off.
_SMALL: Final = {"stream_events": 200, "stream_buffer": 65_536}
FAULTS: Final = (
    _fault("kill serve", kill("serve")),
    _fault("kill ops", kill("ops")),
    _fault("kill launcher", kill_launcher),
    _fault("freeze serve", freeze("serve", 2.0)),
)
FULL_DISK: Final = (_fault("fill disk", fill_disk),)
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "alone": {"command_seconds": 1.0, "partitions": PARTITIONS, **_SMALL},
    "places": {"processes": 3, "command_seconds": 1.0, "partitions": PARTITIONS, **_SMALL},
}
