"""The torture of the epoch fence: owners that contend for the same partitions, stopped and killed; brokers likewise.

``python -m tools.faults.fence --seconds 120 --seed 1 [--twice] [--mutate NAME]`` starts a Kafka of its own, prints what
happened and what was found, and exits 1 on a violation. ``--mutate`` breaks a rule on purpose: then there must be some.

A partition is a room with one rule: its messages are numbered 1, 2, 3 … An owner that decides on a state that is not
the log's gives a number twice, or leaves one out. Each owner writes down each outcome and what it read; at the end
all of that is held against the log.
"""

import argparse
import asyncio
import itertools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from aiokafka.structs import RecordMetadata

from falcon.adapters.kafka import fence, topics
from falcon.adapters.kafka import journal as journals
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.journal import KafkaJournal, _Fenced, _Writing
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.producer import Producer, Record
from falcon.adapters.kafka.reader import Reader
from falcon.adapters.kafka.records import record as record_of
from falcon.adapters.kafka.snapshots import KafkaSnapshots
from falcon.adapters.kafka.source import KafkaSource
from falcon.adapters.sqlite.snapshot_cache import LocalSnapshotCache
from falcon.domain.events import MessagePosted
from falcon.domain.message import Message
from falcon.journal import codec
from falcon.journal.envelope import Envelope, Position, Recorded
from falcon.journal.ports import Append, AppendOutcome, Checkpoint, JournalUnavailable
from falcon.journal.snapshot_record import SnapshotStamp
from falcon.write.clock import SystemClock
from tools.harness.reports import counts_in_words, shortened
from tools.harness.waiting import holds_within
from tools.servers.kafka import Kafka
from tools.servers.session import session_folder, start_kafka

PARTITIONS: Final = 3
WRITERS: Final = 4
NODES: Final = 3
# Two seconds are shorter than the loss of a leader takes, so that outcomes stay unknown.
_PATIENCE: Final = (0.3, 2.0, 10.0)
_IN_FLIGHT: Final = 4
_TWICE: Final = 0.05
_ANSWER_SECONDS: Final = 60.0
_END_SECONDS: Final = 90.0
_RESUMPTIONS: Final = 40
_START: Final = Position()
_LAST: Final = "the reckoning"


class Setting(msgspec.Struct, frozen=True):
    """Given to every process of a run. ``until`` is on the monotonic clock, which is the machine's."""

    cluster: KafkaCluster
    folder: str
    until: float
    twice: bool
    mutation: str | None


# --- an owner, in a process of its own --------------------------------------------------------------------------------


class Stutter(Producer):
    """Deduplication that fails: some batches are written twice, markers too, and the answer is that of either copy."""

    async def write(self, topic: str, partition: int, records: Sequence[Record]) -> RecordMetadata:
        written = [await super().write(topic, partition, records)]
        if random.random() < _TWICE:
            written.append(await super().write(topic, partition, records))
        return random.choice(written)


@dataclass
class Room:
    """An owner's knowledge of a partition. ``seq``: of the last message before ``position``; both are certain.

    ``decided`` and ``n`` run ahead of the log. ``unknown``: messages whose outcome only a takeover tells.
    """

    partition: int
    position: Position = _START
    seq: int = 0
    epoch: int = 0
    decided: int = 0
    n: int = 0
    in_flight: int = 0
    lost: bool = True
    unknown: set[str] = field(default_factory=set)


class Contender:
    def __init__(self, setting: Setting, name: str) -> None:
        self._setting = setting
        # Snapshots are read by the takeover that wants them, so each must find what was saved before it began.
        journals._SOON_SECONDS, journals._CLAIMED_SECONDS = 60.0, 0.0  # type: ignore[misc]
        self._random = random.Random(f"{name} {os.getpid()}")
        self._name = f"{name}.{os.getpid()}"
        self._notes = os.open(
            Path(setting.folder) / f"{self._name}.notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
        cluster = msgspec.structs.replace(setting.cluster, append_seconds=self._random.choice(_PATIENCE))
        self._woken = threading.Event()
        loop = LoopThread()
        producer = (Stutter if setting.twice else Producer)(cluster)
        copy = LocalSnapshotCache(Path(setting.folder) / f"{self._name}.db")
        self._snapshots = KafkaSnapshots(cluster, producer, copy)
        self._journal = KafkaJournal(cluster, loop, producer, self._snapshots, SystemClock(), self._woken.set)
        self._source = KafkaSource(cluster, loop)
        self._rooms = [Room(partition) for partition in range(cluster.partitions)]
        self._count = 0

    def run(self) -> None:
        while time.monotonic() < self._setting.until:
            if self._claim(self._random.sample(self._rooms, self._random.randint(1, len(self._rooms)))):
                self._write_for(self._random.uniform(0.1, 1.5))
            # Without pauses of different length two owners would depose each other for ever.
            time.sleep(self._random.uniform(0, 0.7))
        self._journal.close()
        self._source.close()
        self._collect()
        self._note("end")

    def _note(self, *words: Any) -> None:
        os.write(self._notes, json.dumps(words).encode() + b"\n")

    # --- taking over --------------------------------------------------------------------------------------------------

    def _claim(self, rooms: list[Room]) -> bool:
        began = time.monotonic()
        for room in rooms:
            room.lost = True
        try:
            ends = _taken(self._journal, [room.partition for room in rooms], self._name)
            for room in rooms:
                self._recover(room, ends[room.partition], began)
        except JournalUnavailable as error:
            self._note("not taken over", str(error))
            return False
        return True

    def _recover(self, room: Room, end: Position, began: float) -> None:
        """Read up to the marker; the log has decided by then what became of everything unknown."""
        checkpoint = self._snapshots.checkpoint(room.partition, 1)
        if checkpoint is not None:
            self._note("found", room.partition, checkpoint.position, int(checkpoint.state), began)
            if checkpoint.position.offset > end.offset:
                return  # another owner has saved it and deposed this one since
            if room.position == _START:
                room.position, room.seq = checkpoint.position, int(checkpoint.state)
        while room.position.offset < end.offset:
            events, after = self._source.read({room.partition: room.position}, self._random.choice((3, 500)))
            for recorded in events:
                if recorded.offset < end.offset:
                    self._apply(room, recorded)
            room.position = after[room.partition]
        for identity in room.unknown:
            self._note("was", room.partition, identity, False)
        room.unknown.clear()
        room.position, room.decided = end, room.seq
        room.epoch, room.n, room.lost = end.epoch, end.n, False
        self._note("took", room.partition, end.epoch, room.seq)

    def _apply(self, room: Room, recorded: Recorded) -> None:
        identity, seq = _said(recorded)
        if seq != room.seq + 1:
            what = f"{self._name} recovered {identity} as {seq} at offset {recorded.offset}"
            self._note("violation", f"partition {room.partition}: {what}, behind {room.seq} and {room.position}")
        room.seq = seq
        if identity in room.unknown:
            room.unknown.discard(identity)
            self._note("was", room.partition, identity, True)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write_for(self, seconds: float) -> None:
        until = min(time.monotonic() + seconds, self._setting.until)
        while time.monotonic() < until and not all(room.lost for room in self._rooms):
            room = self._random.choice(self._rooms)
            believes = not room.lost or self._random.random() < 0.02  # sometimes writes though it knows better
            if not room.lost and not room.in_flight and self._random.random() < 0.1:
                self._save(room)
            if believes and room.epoch and room.in_flight < _IN_FLIGHT:
                self._append(room)
            self._woken.wait(self._random.choice((0, 0.001, 0.003)))
            self._collect()
        until = time.monotonic() + _ANSWER_SECONDS
        while any(room.in_flight for room in self._rooms):
            if time.monotonic() > until:
                self._note("violation", f"{self._name}: the journal never answered")
                os._exit(1)
            self._woken.wait(0.1)
            self._collect()

    def _append(self, room: Room) -> None:
        envelopes: list[Envelope] = []
        for _ in range(self._random.randint(1, 8)):
            self._count += 1
            room.decided += 1
            message = Message(room.partition, room.decided, 1, f"{self._name}.{self._count}", 1_795_599_000_123)
            envelopes.append(Envelope(room.partition, room.epoch, room.n, 1_000, MessagePosted(message)))
            room.n += 1
        room.in_flight += 1
        self._journal.submit([Append(room.partition, room.epoch, envelopes, [codec.encode(e) for e in envelopes])])

    def _save(self, room: Room) -> None:
        state = str(room.seq).encode()
        self._journal.submit(
            [
                Checkpoint(
                    partition=room.partition,
                    epoch=room.epoch,
                    position=room.position,
                    version=1,
                    state=state,
                    snapshots=[("aggregate:1", state)],
                    answers=b"",
                    answers_at=0,
                    answers_expired=0,
                )
            ]
        )

    def _collect(self) -> None:
        self._woken.clear()
        for submission in self._journal.collect():
            if isinstance(submission, Append):
                self._answered(self._rooms[submission.partition], submission)
            elif submission.outcome is AppendOutcome.DURABLE:
                self._note("saved", submission.partition, submission.position, int(submission.state), time.monotonic())

    def _answered(self, room: Room, append: Append) -> None:
        room.in_flight -= 1
        if append.outcome is AppendOutcome.DURABLE:
            for offset, envelope in enumerate(append.envelopes, append.first):
                identity, seq = _said(Recorded(offset, envelope))
                self._note("acknowledged", room.partition, identity, seq, offset)
            room.position = Position(offset + 1, append.epoch, append.envelopes[-1].n + 1)
            room.seq = seq
            return
        room.lost = True
        for envelope in append.envelopes:
            identity, _ = _said(Recorded(0, envelope))
            if append.outcome is AppendOutcome.UNKNOWN:
                room.unknown.add(identity)
            self._note("fenced" if append.outcome is AppendOutcome.FENCED else "unknown", room.partition, identity)


def _taken(journal: KafkaJournal, partitions: Sequence[int], owner: str) -> dict[int, Position]:
    """All of them, however long it takes. Raises JournalUnavailable."""
    ends: dict[int, Position] = {}
    while missing := [partition for partition in partitions if partition not in ends]:
        ends.update(journal.takeover(missing, owner))
    return ends


def _said(recorded: Recorded) -> tuple[str, int]:
    """The text of the message, and its number."""
    event = recorded.envelope.event
    assert isinstance(event, MessagePosted)
    return event.message.text, event.message.seq


# --- rules broken on purpose ------------------------------------------------------------------------------------------


def _trust_any_offset() -> None:
    """The mutation: every record counts as valid, wherever it stands."""

    async def judge(self: KafkaJournal, writing: _Writing, base: int, group: list[Append], count: int) -> int:
        return base

    KafkaJournal._judge = judge  # type: ignore[method-assign]


def _ignore_n() -> None:
    """A record of the open epoch is valid, the first time and the second."""

    def judge(at: Position, value: bytes) -> tuple[Position, bytes | None]:
        epoch = int.from_bytes(value[:8])
        if not epoch:
            return fence.opened_by(at.offset), None
        valid = epoch == at.epoch
        return Position(at.offset + 1, at.epoch, at.n + valid), value[16:] if valid else None

    fence.judge = judge


def _read_before_the_marker() -> None:
    """Read the log to its end, and write the marker then: events between the two are missed."""
    takeover = KafkaJournal.takeover

    def take_over(self: KafkaJournal, partitions: Sequence[int], owner: str) -> dict[int, Position]:
        ends = self._loop.call(_ends(self._cluster, partitions))
        opened = takeover(self, partitions, owner)
        return {
            partition: at if owner == _LAST else Position(ends[partition], at.epoch, at.n)
            for partition, at in opened.items()
        }

    KafkaJournal.takeover = take_over  # type: ignore[method-assign]


def _ask_the_last_epoch() -> None:
    """An owner counts as fenced if another epoch is open now, though a first copy may stand before its marker."""
    judge = KafkaJournal._judge

    async def judge_last(self: KafkaJournal, writing: _Writing, base: int, group: list[Append], count: int) -> int:
        if base > writing.position.offset:
            end = (await _ends(self._cluster, [writing.partition]))[writing.partition]
            for _, at, _ in await _records(self._cluster, writing.partition, end, writing.position):
                if at.epoch != writing.epoch:
                    raise _Fenced("another epoch is open")
        return await judge(self, writing, base, group, count)

    KafkaJournal._judge = judge_last  # type: ignore[method-assign]


def _late_snapshots_win() -> None:
    """The snapshot written last counts, also that of an owner that was deposed before."""
    SnapshotStamp.newer_than = lambda self, other: True  # type: ignore[method-assign]


MUTATIONS: Final[dict[str, Callable[[], None]]] = {
    "trusts-any-offset": _trust_any_offset,
    "ignores-n": _ignore_n,
    "reads-before-the-marker": _read_before_the_marker,
    "asks-the-last-epoch": _ask_the_last_epoch,
    "late-snapshots-win": _late_snapshots_win,
}


# --- reading ----------------------------------------------------------------------------------------------------------


class Follower(threading.Thread):
    """A live reader of one partition: the messages that it saw, and where it stood from time to time."""

    def __init__(self, cluster: KafkaCluster, loop: LoopThread, partition: int) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[int, str, int]] = []
        self.stood: list[Position] = [Position()]
        self.fault: str | None = None
        self._partition = partition
        self._source = KafkaSource(cluster, loop)
        self._last: int | None = None
        self.start()

    def read_up_to(self, stop: int) -> None:
        self._last = stop
        self.join(_ANSWER_SECONDS)
        if self.is_alive():
            self.fault = f"stands at {self.stood[-1].offset}, and not at {stop}"

    def run(self) -> None:
        while self._last is None or self.stood[-1].offset < self._last:
            try:
                events, after = self._source.read({self._partition: self.stood[-1]}, 200)
            except JournalUnavailable:
                time.sleep(0.1)
                continue
            self.seen += [(recorded.offset, *_said(recorded)) for recorded in events]
            if after[self._partition] != self.stood[-1]:
                self.stood.append(after[self._partition])
        self._source.close()


class Judged(NamedTuple):
    """A record, where a reader stands before it, and what it is."""

    offset: int
    at: Position
    body: bytes | None


async def _records(cluster: KafkaCluster, partition: int, stop: int, at: Position) -> list[Judged]:
    """Every record from a position up to the offset ``stop``, judged; the void ones too."""
    reader = Reader(cluster, cluster.journal)
    found: list[Judged] = []
    try:
        while at.offset < stop:
            for record in (await reader.records({partition: at.offset}, 5_000, 0.2)).get(partition, []):
                before = at
                at, body = fence.judge(at, record.value)
                found.append(Judged(record.offset, before, body))
    finally:
        await reader.close()
    return found


async def _ends(cluster: KafkaCluster, partitions: Sequence[int]) -> dict[int, int]:
    reader = Reader(cluster, cluster.journal)
    try:
        return await reader.ends(partitions)
    finally:
        await reader.close()


# --- faults -----------------------------------------------------------------------------------------------------------


class Chaos:
    """Inject faults until the time is over, then let all processes run again."""

    def __init__(self, kafka: Kafka, setting: Setting, seed: int, *, spare_brokers: bool) -> None:
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []
        self._kafka = kafka
        self._setting = setting
        self._random = random.Random(seed)
        self._spare_brokers = spare_brokers
        self._hurt: set[int] = set()  # nodes that are down or stopped
        self._later: set[asyncio.Task[None]] = set()
        self._writers = {name: self._spawn(name) for name in (f"w{i}" for i in range(WRITERS))}

    async def run(self) -> None:
        faults = {self._stop_writers: 40, self._kill_writer: 12}
        if not self._spare_brokers:
            faults |= {self._kill_broker: 20, self._stop_broker: 22}
        first = list(faults)
        self._random.shuffle(first)
        await asyncio.to_thread(self._await_owners)
        while time.monotonic() < self._setting.until - 1:  # each kind at least once
            await (first.pop() if first else self._random.choices(list(faults), list(faults.values()))[0])()
            await asyncio.sleep(self._random.uniform(0.3, 2.0))
        await asyncio.gather(*self._later)
        await asyncio.to_thread(self._kafka.start)
        await asyncio.to_thread(self._await_writers)

    def end(self) -> None:
        """Nothing is left of the writers, and every broker runs."""
        for process in self._writers.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        for node in range(1, NODES + 1):
            self._kafka.resume(node)
        self._kafka.start()

    def _spawn(self, name: str) -> "subprocess.Popen[bytes]":
        setting = msgspec.json.encode(self._setting).decode()
        return subprocess.Popen([sys.executable, "-m", "tools.faults.fence", "--contend", name, setting])

    async def _stop_writers(self) -> None:
        for name in self._random.sample(sorted(self._writers), self._random.randint(1, WRITERS - 1)):
            process = self._writers[name]
            process.send_signal(signal.SIGSTOP)
            self._do_later(self._random.uniform(0.3, 5), process.send_signal, signal.SIGCONT)
            self.done["writer stopped"] += 1

    async def _kill_writer(self) -> None:
        name = self._random.choice(sorted(self._writers))
        self._writers[name].kill()
        self._writers[name].wait()
        self._writers[name] = self._spawn(name)
        self.done["writer killed"] += 1

    async def _kill_broker(self) -> None:
        node = await self._choose_node()
        if node is not None:
            self.done["broker killed"] += 1
            await asyncio.to_thread(self._kafka.kill, node)
            self._do_later(self._random.uniform(0.5, 5), self._heal, node, lambda: self._kafka.up(node))

    async def _stop_broker(self) -> None:
        node = await self._choose_node()
        if node is not None:
            self.done["broker stopped"] += 1
            self._kafka.pause(node)
            seconds = self._random.choice((1, 3, 9))  # from six seconds on the node loses the partitions that it leads
            self._do_later(seconds, self._heal, node, lambda: self._kafka.resume(node))

    async def _choose_node(self) -> int | None:
        """Mostly a leader, seldom a second one at once: then nothing is written until one is back."""
        if len(self._hurt) >= (2 if self._random.random() < 0.15 else 1):
            return None
        node = self._random.randint(1, NODES) if self._random.random() < 0.2 else await self._leader()
        if node in self._hurt or node < 1:
            return None
        self._hurt.add(node)
        return node

    async def _leader(self) -> int:
        """The leader; 0 if no broker tells."""
        admin = self._setting.cluster.admin()
        try:
            async with asyncio.timeout(3):
                await admin.start()
                (topic,) = await admin.describe_topics([self._setting.cluster.journal])
                return int(self._random.choice(topic["partitions"])["leader"])
        except Exception:  # a broker that is down says it in many ways
            return 0
        finally:
            await admin.close()

    def _heal(self, node: int, heal: Callable[[], None]) -> None:
        heal()
        self._hurt.discard(node)

    def _do_later(self, seconds: float, function: Callable[..., object], *args: Any) -> None:
        async def wait_and_do() -> None:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(function, *args)

        self._later.add(asyncio.create_task(wait_and_do()))

    def _await_owners(self) -> None:
        notes = Path(self._setting.folder)
        holds_within(
            lambda: any(path.stat().st_size for path in notes.glob("*.notes")),
            self._setting.until - time.monotonic(),
            every=0.05,
        )

    def _await_writers(self) -> None:
        until = time.monotonic() + _END_SECONDS
        for name, process in self._writers.items():
            try:
                code = process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.failed.append(f"writer {name} did not end")
            else:
                if code:
                    self.failed.append(f"writer {name} ended with code {code}")


# --- the reckoning ----------------------------------------------------------------------------------------------------

Note: TypeAlias = list[Any]


@dataclass
class FenceReport:
    faults: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    log: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        titled = {"faults": self.faults, "owners were told": self.told, "the log holds": self.log}
        lines = [f"{title}: {counts_in_words(counts)}" for title, counts in titled.items()]
        verdict = "the fence held" if not self.violations else "the fence is broken"
        return "\n".join([*lines, f"violations: {len(self.violations)}; {verdict}", *shortened(self.violations)])


class Reckoning:
    """Holds the owners' notes against the log."""

    def __init__(self, setting: Setting, followers: Sequence[Follower], seed: int) -> None:
        self.report = FenceReport()
        self._setting = setting
        self._followers = followers
        self._random = random.Random(seed)
        self._notes = [
            note for path in sorted(Path(setting.folder).glob("*.notes")) for note in _notes(path.read_bytes())
        ]

    def check(self, ends: Mapping[int, Position], loop: LoopThread) -> FenceReport:
        """``ends``: of a last takeover, behind which no record of an earlier owner can be valid."""
        for word, *rest in self._notes:
            if word != "was":
                self.report.told[word] += 1
            if word == "violation":
                self._violation(*rest)
        for partition, end in ends.items():
            records = loop.call(_records(self._setting.cluster, partition, end.offset, Position()))
            self._check_partition(partition, records, loop)
        return self.report

    def _check_partition(self, partition: int, records: list[Judged], loop: LoopThread) -> None:
        valid = [(at.offset, at, *_decoded(body)) for _, at, body in records if body is not None]
        where = {identity: (seq, offset) for offset, _, identity, seq in valid}
        seqs = [seq for *_, seq in valid]
        if seqs != list(range(1, len(valid) + 1)):
            first = next(i for i, seq in enumerate(seqs) if seq != i + 1)
            self._violation(f"partition {partition}: message {first + 1} is numbered {seqs[first]}")
        if len(where) != len(valid):
            self._violation(f"partition {partition}: {len(valid) - len(where)} messages are there twice")
        self._count(records, len(valid))
        self._check_numbers_in_epochs(partition, [at for _, at, *_ in valid])
        notes = [note for note in self._notes if len(note) > 2 and note[1] == partition]
        self._check_outcomes(notes, where)
        self._check_checkpoints(notes, [offset for offset, *_ in valid])
        self._check_followers(partition, [(offset, identity, seq) for offset, _, identity, seq in valid])
        self._check_resumptions(partition, records, notes, loop)

    def _count(self, records: list[Judged], valid: int) -> None:
        markers = sum(after.at == fence.opened_by(before.offset) for before, after in itertools.pairwise(records))
        self.report.log.update({"valid": valid, "markers": markers, "void": len(records) - valid - markers})

    def _check_numbers_in_epochs(self, partition: int, stood: list[Position]) -> None:
        expected: Counter[int] = Counter()
        for position in stood:
            if position.n != expected[position.epoch]:
                self._violation(f"partition {partition}: {position} should have n {expected[position.epoch]}")
            expected[position.epoch] += 1

    def _check_outcomes(self, notes: list[Note], where: Mapping[str, tuple[int, int]]) -> None:
        for word, partition, *rest in notes:
            match word, rest:
                case "acknowledged", [identity, seq, offset] if where.get(identity) != (seq, offset):
                    found = where.get(identity)
                    self._violation(f"partition {partition}: {identity} acknowledged as {(seq, offset)}, is {found}")
                case "fenced", [identity] if identity in where:
                    self._violation(f"partition {partition}: {identity} was refused for good, and is there")
                case "was", [identity, there]:
                    self.report.told["unknown, found " + ("valid" if there else "void")] += 1
                    if (identity in where) != there:
                        self._violation(
                            f"partition {partition}: {identity} was taken to be {'there' * there or 'void'}"
                        )

    def _check_checkpoints(self, notes: list[Note], offsets: list[int]) -> None:
        """A takeover finds no checkpoint older than those that were saved before it began. Each agrees with the log."""
        saved = [(tuple(note[2]), note[4]) for note in notes if note[0] == "saved"]
        for word, partition, position, seq, began in (note for note in notes if note[0] in ("saved", "found")):
            if seq != sum(offset < position[0] for offset in offsets):
                self._violation(f"partition {partition}: the checkpoint at {position} says {seq} messages")
            missed = [
                at
                for at, when in saved
                if word == "found" and when < began and (at[1], at[0]) > (position[1], position[0])
            ]
            if missed:
                self._violation(f"partition {partition}: found the checkpoint at {position}, and missed {max(missed)}")

    def _check_followers(self, partition: int, valid: list[tuple[int, str, int]]) -> None:
        follower = self._followers[partition]
        if follower.fault:
            self._violation(f"partition {partition}: the reader {follower.fault}")
        elif follower.seen != valid:
            self._violation(
                f"partition {partition}: the reader saw {len(follower.seen)} messages, not these {len(valid)}"
            )

    def _check_resumptions(self, partition: int, records: list[Judged], notes: list[Note], loop: LoopThread) -> None:
        """Reading on from any position of a reader, or any checkpoint of an owner, must give the same verdicts."""
        kept = [Position(*note[2]) for note in notes if note[0] == "saved"]
        for i, at in enumerate(_some(self._random, self._followers[partition].stood) + _some(self._random, kept)):
            expected = [judged for judged in records if judged.offset >= at.offset]
            if i < 2 and expected:  # these from the brokers
                again = loop.call(_records(self._setting.cluster, partition, expected[-1].offset + 1, at))
                if again[: len(expected)] != expected:
                    self._violation(f"partition {partition}: reading on at {at} gives other messages")
            elif expected and expected[0].at != at:  # the verdicts rest on the position and the records behind it only
                self._violation(f"partition {partition}: who reads up to offset {at.offset} does not stand at {at}")

    def _violation(self, what: str) -> None:
        self.report.violations.append(what)


def _some(chance: random.Random, positions: list[Position]) -> list[Position]:
    return chance.sample(positions, min(len(positions), _RESUMPTIONS))


def _notes(data: bytes) -> Iterator[Note]:
    for line in data.splitlines():
        yield json.loads(line)


def _decoded(body: bytes) -> tuple[str, int]:
    return _said(codec.decode(record_of(None, body), 0, 0, 0, 0))


# --- a run ------------------------------------------------------------------------------------------------------------


def torture(
    kafka: Kafka,
    folder: Path,
    *,
    seconds: float,
    seed: int,
    twice: bool = False,
    mutation: str | None = None,
    spare_brokers: bool = False,
) -> FenceReport:
    """Torture the fence on three nodes, which all run again when this returns. ``folder``: for the owners' notes."""
    cluster = KafkaCluster(tuple(kafka.bootstrap.split(",")), PARTITIONS, f"fence{time.time_ns()}.")
    loop = LoopThread()
    try:
        loop.call(topics.prepare(cluster, NODES))
        with _mutated(mutation):
            setting = Setting(cluster, str(folder), time.monotonic() + seconds, twice, mutation)
            followers = [Follower(cluster, loop, partition) for partition in range(PARTITIONS)]
            chaos = Chaos(kafka, setting, seed, spare_brokers=spare_brokers)
            try:
                asyncio.run(chaos.run())
            finally:
                chaos.end()
            ends = _take_all(cluster, loop, folder)
            with ThreadPoolExecutor(PARTITIONS) as pool:
                list(pool.map(lambda follower: follower.read_up_to(ends[follower._partition].offset), followers))
            report = Reckoning(setting, followers, seed).check(ends, loop)
    finally:
        loop.close()
    report.faults = chaos.done
    report.violations += chaos.failed
    return report


def _take_all(cluster: KafkaCluster, loop: LoopThread, folder: Path) -> dict[int, Position]:
    producer = Producer(cluster)
    snapshots = KafkaSnapshots(cluster, producer, LocalSnapshotCache(folder / "last.db"))
    journal = KafkaJournal(cluster, loop, producer, snapshots, SystemClock(), lambda: None)
    try:
        return _taken(journal, range(cluster.partitions), _LAST)
    finally:
        journal.close()


@contextmanager
def _mutated(mutation: str | None) -> Iterator[None]:
    """Break the rule here, too: a broken rule of reading is broken for every reader."""
    names = [(fence, "judge"), (KafkaJournal, "takeover"), (KafkaJournal, "_judge"), (SnapshotStamp, "newer_than")]
    kept = [(where, name, getattr(where, name)) for where, name in names]
    if mutation is not None:
        MUTATIONS[mutation]()
    try:
        yield
    finally:
        for where, name, function in kept:
            setattr(where, name, function)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.faults.fence", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--twice", action="store_true", help="write some batches and markers twice")
    parser.add_argument("--mutate", choices=list(MUTATIONS), help="break a rule: violations must be found")
    parser.add_argument("--notes", type=Path, help="an empty folder, in which to leave what the owners wrote down")
    parser.add_argument("--spare-brokers", action="store_true", help="hurt the owners only")
    parser.add_argument("--contend", nargs=2, metavar=("NAME", "SETTING"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contend:
        setting = msgspec.json.decode(arguments.contend[1], type=Setting)
        logging.disable(logging.CRITICAL)  # owners lose their partitions on purpose here
        with _mutated(setting.mutation):
            Contender(setting, arguments.contend[0]).run()
        return 0
    logging.disable(logging.CRITICAL)
    with session_folder() as folder:
        kafka = start_kafka(folder / "kafka")
        try:
            notes = arguments.notes or folder / "notes"
            notes.mkdir(parents=True, exist_ok=True)
            report = torture(
                kafka,
                notes,
                seconds=arguments.seconds,
                seed=arguments.seed,
                twice=arguments.twice,
                mutation=arguments.mutate,
                spare_brokers=arguments.spare_brokers,
            )
        finally:
            kafka.wipe()
    print(f"seed {arguments.seed}\n{report}", flush=True)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
