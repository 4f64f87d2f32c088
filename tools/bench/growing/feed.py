"""An event from Kafka in an `api` process: its CPU, by the streams of the process that get it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from falcon.adapters.kafka import fence, records
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.tail import KafkaTail
from falcon.domain.catalogue import Event
from falcon.domain.events import (
    MemberJoined,
    MessagePosted,
    ReadMoved,
)
from falcon.domain.message import Message
from falcon.journal import codec
from falcon.journal.envelope import CommandRef, Envelope, Position
from falcon.streams.cuts import Cuts, Record
from falcon.streams.feed import Feed
from falcon.streams.frames import Frame
from falcon.streams.subscription import Subscription
from tools.bench.growing.log import NOW
from tools.bench.growing.memory import CpuClock
from tools.bench.growing.term import Bound, Figures, Term

_PARTITIONS: Final = 64
_EPOCH: Final = 1
_ROOMS: Final = 10  # of each partition
_EVENTS: Final = 200  # of each partition
_BATCH: Final = 20  # records
_AUTHOR: Final = 9 * _PARTITIONS
_MAGIC: Final = 2  # of record batches as Kafka 0.11 and later has them

_Made = Callable[[int, int], Event]  # a room and a number


def _posted(room_id: int, n: int) -> Event:
    return MessagePosted(Message(room_id, 1 + n, _AUTHOR, "x" * 100, NOW), 1 + n)


def _moved(room_id: int, n: int) -> Event:
    return ReadMoved(room_id, _AUTHOR, 1 + n, 0, 0)


def _joined(room_id: int, n: int) -> Event:
    return MemberJoined(room_id, _AUTHOR, "member", 0)


def _fetched(partition: int, made: _Made) -> bytes:
    """What a broker answers to a fetch from the partition's first offset on."""
    fetched = b""
    for first in range(0, _EVENTS, _BATCH):
        batch = DefaultRecordBatchBuilder(
            magic=_MAGIC,
            compression_type=0,
            is_transactional=0,
            producer_id=1,
            producer_epoch=0,
            base_sequence=0,
            batch_size=8 << 20,
        )
        for index in range(_BATCH):
            n = first + index
            room_id = (1 + n % _ROOMS) * _PARTITIONS + partition
            command = CommandRef(_AUTHOR, "0123456789abcdef0123", 1 << 60)
            record = codec.encode(Envelope(partition, _EPOCH, n, NOW, made(room_id, n), command, by=_AUTHOR))
            value = fence.event(_EPOCH, n, records.body(record))
            batch.append(offset=index, timestamp=1, key=records.key(record), value=value, headers=[])
        data = batch.build()
        data[0:8] = (first + 1).to_bytes(8, "big")  # behind the marker; not part of the checksum
        fetched += bytes(data)
    return fetched


class _Reader:
    """In the place of the tail's reader: a partition's records with each call, decoded as aiokafka does it."""

    def __init__(self, fetched: list[bytes]) -> None:
        self._fetched = fetched

    async def records(self, offsets: dict[int, int], limit: int, seconds: float) -> dict[int, list[Any]]:
        await asyncio.sleep(0)
        partition = next((each for each, offset in offsets.items() if offset == 1), None)
        if partition is None:
            return {}
        at = TopicPartition("falcon.journal", partition)
        read = PartitionRecords(at, MemoryRecords(self._fetched[partition]), [], 1, None, None, True, 0)
        return {partition: list(read)}

    async def close(self) -> None:
        """There is no connection to close."""


class _Store:
    """In the place of the topic of the cuts. A cut is there in the next turn of the loop."""

    def __init__(self) -> None:
        self._cuts: list[bytes] = []
        self._take: Callable[[int, bytes], None] = lambda number, data: None

    def follow(self, take: Callable[[int, bytes], None], lost: Callable[[], None]) -> None:
        self._take = take

    async def write(self, data: bytes) -> int:
        self._cuts.append(data)
        number = len(self._cuts) - 1
        asyncio.get_running_loop().call_soon(self._take, number, data)
        return number

    async def read(self, number: int) -> list[Record]:
        return [(number, self._cuts[number])]

    async def close(self) -> None:
        """There is no connection to close."""


class _Sink:
    """A connection that takes each frame at once, in the form of Server-Sent Events."""

    def __init__(self) -> None:
        self.bytes = 0

    def send(self, frame: Frame, sent: Callable[[], None]) -> bool:
        wire = frame.wire.get("sse")
        if wire is None:
            wire = frame.wire["sse"] = frame.sse
        self.bytes += len(wire)
        return True

    def beat(self, sent: Callable[[], None]) -> bool:
        return True

    def close(self, reason: str, id: str) -> None:
        """It is not ended."""


def measure(listeners: int) -> Figures:
    """With so many streams in each room."""
    return asyncio.run(_measure(listeners))


async def _measure(listeners: int) -> Figures:
    alone = {name: await _read(made, 0) for name, made in _KINDS.items()}
    heard, delivered = await _read(_posted, listeners)
    marked, _ = await _read(_moved, listeners)
    return {
        "µs a message that is heard": heard,
        "bytes a delivery": delivered / listeners,
        "µs a read mark of another": marked,
        **{f"µs {name} that nobody here wants": each for name, (each, _) in alone.items()},
    }


_KINDS: Final[dict[str, _Made]] = {"a message": _posted, "a read mark": _moved, "a join": _joined}


async def _read(made: _Made, listeners: int) -> tuple[float, float]:
    """µs an event, and the bytes that it is sent as."""
    reader: Any = _Reader([_fetched(partition, made) for partition in range(_PARTITIONS)])
    tail = KafkaTail(KafkaCluster(("counted:1",), _PARTITIONS))
    tail._reader = reader
    for partition in range(_PARTITIONS):
        tail.starts.add(partition, _EPOCH - 1, fence.marker(""))
    lookups: Any = None  # nothing has to be looked up for these events
    cuts = Cuts(_Store(), _PARTITIONS)
    feed = Feed(tail, lookups, "a log", _PARTITIONS, cuts=cuts)
    sinks: list[_Sink] = []
    for account_id in range(1, listeners + 1):
        sinks.append(_Sink())
        subscription = Subscription(account_id, "", None, sinks[-1])
        subscription.rooms = {
            room * _PARTITIONS + p: "member" for p in range(_PARTITIONS) for room in range(1, _ROOMS + 1)
        }
        feed.add(subscription)
    with feed.held():
        feed.follow({partition: Position(1, _EPOCH, 0) for partition in range(_PARTITIONS)})
        clock = CpuClock()
        feed.start()
        await feed.reach(dict.fromkeys(range(_PARTITIONS), _EVENTS + 1))
        seconds = clock.seconds()
        await feed.stop()
    events = _PARTITIONS * _EVENTS
    return seconds / events * 1e6, sum(sink.bytes for sink in sinks) / events


TERM: Final = Term(
    name="feed",
    title="An event in an api process",
    unit="streams in its room",
    sizes=(1, 4, 16),
    short=(1, 2),
    measure=measure,
    bounds=(
        Bound("µs a message that nobody here wants", 8, is_counted=False),
        Bound("µs a read mark of another", 20, at="largest", is_counted=False),
        Bound("µs a message that is heard", 150, at="largest", is_counted=False),
        Bound("bytes a delivery", 450),
    ),
    note=f"From the bytes of a fetch to the bytes for connections, in record batches of {_BATCH}, with {_PARTITIONS} "
    "partitions. The network's own cost is not in it.",
)
