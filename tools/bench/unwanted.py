"""The cost of an event in a process that has no subscriber for it: it is read from the log and passed over.

Run as ``python -m tools.bench.unwanted FOLDER EVENTS``. Prints the µs of CPU for each.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.journal import SqliteJournal
from falcon.adapters.sqlite.tail import SqliteTail
from falcon.features.messages.rules import Message, MessagePosted
from falcon.journal import codec
from falcon.journal.envelope import Envelope, Position
from falcon.journal.ports import Append
from falcon.streams.feed import Feed
from tools.bench.bench import Bench
from tools.bench.figures import Figure
from tools.harness.machine import Cores
from tools.harness.processes import spawn
from tools.harness.progress import say
from tools.harness.servers import ServerFailed

EVENTS: Final = 100_000
_BOUND: Final = 3.0  # µs
_PARTITION: Final = 1
_PARTITIONS: Final = 4
_APPEND: Final = 1_000


def figure(bench: Bench) -> Figure:
    """Raises ServerFailed."""
    found = [_measure_once(bench.cores, bench.folder / f"unwanted-{turn}") for turn in range(bench.runs)]
    say(f"an event that nobody here wants: {', '.join(f'{each:.1f}' for each in found)} µs of CPU")
    return Figure("CPU of an event that nobody here wants", found, "µs", most=_BOUND)


def _measure_once(cores: Cores, folder: Path) -> float:
    command = [sys.executable, "-m", "tools.bench.unwanted", str(folder), str(EVENTS)]
    with spawn(command, cores.server, stdout=subprocess.PIPE) as process:
        said, _ = process.communicate(timeout=120)
    if process.returncode:
        raise ServerFailed("reading events that nobody wants failed")
    return float(said)


def fill(file: Path, events: int) -> None:
    """Messages of 100 bytes, of a hundred rooms."""
    database.prepare(file, _PARTITIONS)
    journal = SqliteJournal(database.connect(file), lambda: None)
    epoch = journal.takeover([_PARTITION], "a benchmark")[_PARTITION].epoch
    for start in range(0, events, _APPEND):
        envelopes = [_posted(epoch, n) for n in range(start, min(start + _APPEND, events))]
        journal.submit([Append(_PARTITION, epoch, envelopes, [codec.encode(each) for each in envelopes])])
        journal.flush()
        journal.collect()
    journal.close()


def _posted(epoch: int, n: int) -> Envelope:
    room_id = (1 + n % 100) * _PARTITIONS + _PARTITION
    message = Message(room_id, 1 + n // 100, 9, "x" * 100, 1_795_694_400_000)
    return Envelope(_PARTITION, epoch, n, 1_000, MessagePosted(message))


async def pass_over(file: Path, events: int) -> float:
    """µs of this process for each."""
    nobody: Any = None  # without a subscriber nothing has to be looked up
    feed = Feed(SqliteTail([database.connect(file, writable=False)], 0.05), nobody, "a log", _PARTITIONS)
    feed.start()
    began = time.process_time()
    feed.follow({0: Position()})
    await feed.reach({0: events})
    used = time.process_time() - began
    await feed.stop()
    return used / events * 1e6


def main(arguments: list[str]) -> None:
    file, events = Path(arguments[0]) / "falcon.db", int(arguments[1])
    fill(file, events)
    print(msgspec.json.encode(asyncio.run(pass_over(file, events))).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
