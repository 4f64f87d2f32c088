"""The neighbours: aiokafka and happybase alone with the same records and cells.

``python -m tools.bench.cluster.bare producer|reader|writer …``: measures once and prints a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from falcon.adapters.hbase import schema
from falcon.adapters.hbase.gateways import Gateways
from falcon.adapters.hbase.meta import Meta
from falcon.adapters.hbase.thrift import happybase
from falcon.adapters.kafka import topics
from falcon.features.messages import hbase as timeline_hbase
from falcon.features.messages.bodies import row_of
from falcon.features.messages.rules import Message
from falcon.features.read_marks import hbase as memberships_hbase
from falcon.features.rooms import hbase as rooms_hbase
from falcon.read.catalogue import READ_MODELS
from falcon.run.bootstrap.servers import kafka_cluster
from falcon.run.settings import Settings
from tools.bench.wrk import TEXT_BYTES
from tools.harness.reports import percentile

PAGE: Final = 50
_POSTED: Final = b"message-posted"  # its type, which stands before its data
_WARM_SECONDS: Final = 0.5


class Measured(msgspec.Struct, frozen=True):
    """``times`` in ms: of a batch, a page, or a call. ``cpu``: of this process, seconds."""

    count: int
    seconds: float
    p50: float
    p99: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.count / self.seconds


# --- producer ---------------------------------------------------------------------------------------------------------


async def produce(settings: Settings, batch: int, at_once: int, seconds: float) -> Measured:
    """Batches of Falcon's own records, one away for each of ``at_once`` partitions, until the time is over."""
    cluster = kafka_cluster(settings)
    records = await _records(settings, cluster.journal)
    own = msgspec.structs.replace(cluster, prefix="bare.")
    await topics.prepare(own, settings.kafka_replicas)
    producer = AIOKafkaProducer(
        bootstrap_servers=list(settings.kafka), acks="all", enable_idempotence=True, linger_ms=0
    )
    await producer.start()
    times: list[float] = []
    try:
        await asyncio.gather(*(_send(producer, own.journal, p, records, batch, _WARM_SECONDS) for p in range(at_once)))
        begun, cpu = time.perf_counter(), time.process_time()
        sent = await asyncio.gather(*(_send(producer, own.journal, p, records, batch, seconds) for p in range(at_once)))
        elapsed, used = time.perf_counter() - begun, time.process_time() - cpu
        times = [each for of_partition in sent for each in of_partition]
    finally:
        await producer.stop()
    return Measured(len(times) * batch, elapsed, percentile(times, 0.5), percentile(times, 0.99), used)


async def _send(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    records: list[tuple[bytes, bytes]],
    size: int,
    seconds: float,
) -> list[float]:
    times: list[float] = []
    endless = itertools.cycle(records)
    until = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < until:
        batch = producer.create_batch()
        for key, value in itertools.islice(endless, size):
            batch.append(key=key, value=value, timestamp=None)
        batch.close()
        await (await producer.send_batch(batch, topic, partition=partition))
        times.append((time.perf_counter() - begun) * 1000)
    return times


async def _records(settings: Settings, journal: str, wanted: int = 1_000) -> list[tuple[bytes, bytes]]:
    """Records of posted messages, as in the log."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(settings.kafka), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[tuple[bytes, bytes]] = []
    try:
        consumer.assign([TopicPartition(journal, partition) for partition in range(settings.partitions)])
        until = time.monotonic() + 20
        while len(found) < wanted and time.monotonic() < until:
            got = await consumer.getmany(timeout_ms=500)
            if found and not got:
                break
            for records in got.values():
                found += [(each.key, each.value) for each in records if _POSTED in (each.value or b"")]
    finally:
        await consumer.stop()
    if not found:
        raise SystemExit("there are no messages in the log")
    return found[:wanted]


# --- reader -----------------------------------------------------------------------------------------------------------


class Names(msgspec.Struct, frozen=True):
    """The names of the live tables."""

    timeline: str
    rooms: str
    memberships: str


def _names(settings: Settings) -> Names:
    gateways = Gateways(settings.hbase)
    found = Meta(gateways.within(10.0), settings.hbase_prefix).all_generations(list(READ_MODELS))
    gateways.close()

    def name(projection: str) -> str:
        return schema.table_name(settings.hbase_prefix, projection, found[projection].live)

    return Names(name("timeline"), name("rooms"), name("memberships"))


def read(settings: Settings, rooms: list[int], account_id: int, threads: int, seconds: float) -> Measured:
    """The newest 50 of one room after another, by the same look-ups as Falcon's: member, room, revision, messages."""
    names = _names(settings)
    turns = itertools.count()

    def work(connection: Any) -> Callable[[], int]:
        memberships, timeline = connection.table(names.memberships), connection.table(names.timeline)
        of_rooms = connection.table(names.rooms)

        def once() -> int:
            room = rooms[next(turns) % len(rooms)]
            member = memberships.row(memberships_hbase.member_key(room, account_id))
            last = int(of_rooms.row(rooms_hbase.room_key(room))[rooms_hbase.ROOM_LAST_SEQ])
            timeline.row(timeline_hbase.head_key(room))
            found = dict(timeline.rows(timeline_hbase.bucket_keys(room, last - PAGE + 1, last)))
            cells = sum(len(row) for row in found.values())
            if not member or cells < PAGE:
                raise SystemExit(f"room {room} shows {cells} messages of {last}")
            return 1

        return once

    return _threads(settings, threads, seconds, work)


# --- writer -----------------------------------------------------------------------------------------------------------


def write(settings: Settings, table: str, rows: int, batch: int, threads: int) -> Measured:
    """Messages as Falcon's timeline has them, into a table split alike; all are made before the clock starts."""
    batches = list(_message_batches(settings.partitions, rows, batch))
    turns = itertools.count()

    def work(connection: Any) -> Callable[[], int]:
        into = connection.table(table)

        def once() -> int:
            turn = next(turns)
            if turn >= len(batches):
                return 0
            puts = into.batch(timestamp=turn + 1)
            for row, column, value in batches[turn]:
                puts.put(row, {column: value})
            puts.send()
            return len(batches[turn])

        return once

    return _threads(settings, threads, None, work)


def _message_batches(partitions: int, rows: int, size: int) -> Iterator[list[tuple[bytes, bytes, bytes]]]:
    """Each of rooms of one partition, 25 messages of a room in turn."""
    rooms_each = max(1, size // timeline_hbase.BUCKET)
    for number in range(rows // size):
        first = 1 + number % 4 * timeline_hbase.BUCKET
        rooms = [(number // 4 * rooms_each + n + 1) * partitions + number % partitions for n in range(rooms_each)]
        yield [
            (
                timeline_hbase.bucket_key(room, seq),
                timeline_hbase.message_column(seq),
                row_of(Message(room, seq, 1, f"{seq:08d} " + "x" * (TEXT_BYTES - 9), 1_795_599_000_123)),
            )
            for room in rooms
            for seq in range(first, first + timeline_hbase.BUCKET)
        ]


# --- threads ----------------------------------------------------------------------------------------------------------


def _threads(
    settings: Settings, threads: int, seconds: float | None, work: Callable[[Any], Callable[[], int]]
) -> Measured:
    """Each with a connection of its own, the gateways in turn; without ``seconds`` until there is nothing to do."""
    times: list[float] = []
    counts: list[int] = []
    failures: list[BaseException] = []
    ready = threading.Barrier(threads + 1)

    def run(number: int) -> None:
        host, _, port = settings.hbase[number % len(settings.hbase)].rpartition(":")
        connection = happybase.Connection(host, int(port))
        once = work(connection)
        if seconds is not None:
            _repeat(once, _WARM_SECONDS)
        ready.wait()
        try:
            count, own = _repeat(once, seconds)
            counts.append(count)
            times.extend(own)
        except BaseException as failure:
            failures.append(failure)
        connection.close()

    running = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(threads)]
    for thread in running:
        thread.start()
    ready.wait(60)
    begun, cpu = time.perf_counter(), time.process_time()
    for thread in running:
        thread.join()
    elapsed = time.perf_counter() - begun
    if failures:
        raise failures[0]
    return Measured(sum(counts), elapsed, percentile(times, 0.5), percentile(times, 0.99), time.process_time() - cpu)


def _repeat(once: Callable[[], int], seconds: float | None) -> tuple[int, list[float]]:
    count = 0
    times: list[float] = []
    until = None if seconds is None else time.perf_counter() + seconds
    while until is None or time.perf_counter() < until:
        begun = time.perf_counter()
        done = once()
        if not done:
            break
        times.append((time.perf_counter() - begun) * 1000)
        count += done
    return count, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("producer", "reader", "writer"))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rooms", type=Path, help="a file with a list of ids")
    parser.add_argument("--account", type=int, default=0)
    parser.add_argument("--table", default="")
    parser.add_argument("--rows", type=int, default=0)
    given = parser.parse_args()
    settings = Settings.from_env()
    if given.which == "producer":
        found = uvloop.run(produce(settings, given.batch, given.threads, given.seconds))
    elif given.which == "reader":
        rooms = msgspec.json.decode(given.rooms.read_bytes(), type=list[int])
        found = read(settings, rooms, given.account, given.threads, given.seconds)
    else:
        found = write(settings, given.table, given.rows, given.batch, given.threads)
    print(msgspec.json.encode(found).decode(), flush=True)


if __name__ == "__main__":
    main()
