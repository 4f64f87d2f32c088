"""On a real Kafka: batches of every kind are read as one log, and compressed ones take fewer bytes."""

import asyncio
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest

from falcon.adapters.kafka import fence, records, topics
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import Producer, Record
from falcon.adapters.kafka.reader import Reader
from falcon.features.messages.rules import Message, MessagePosted
from falcon.journal import codec
from falcon.journal.envelope import Envelope
from tests.support.builders import NOW
from tools.servers.kafka import Kafka

pytestmark = pytest.mark.processes

DOCS: Final = Path(__file__).parents[2] / "docs"


def log_records(count: int) -> list[Record]:
    """Messages as the log has them: sentences of the documents, in a hundred rooms."""
    text = " ".join(path.read_text() for path in sorted(DOCS.glob("*.md")))
    sentences = itertools.cycle(re.findall(r"[A-Z][^.|`#]{20,200}\.", text))
    found: list[Record] = []
    for n in range(count):
        message = Message(64 * (n % 100 + 1), n // 100 + 1, 64 * (n % 37 + 1), next(sentences), NOW + 7 * n)
        record = codec.encode(Envelope(0, 1, n, NOW + 7 * n, MessagePosted(message)))
        found.append((records.key(record), fence.event(1, n, records.body(record))))
    return found


async def write(cluster: KafkaCluster, found: Sequence[Record], batch: int) -> None:
    producer = Producer(cluster)
    for start in range(0, len(found), batch):
        await producer.write(cluster.journal, 0, found[start : start + batch])
    await producer.close()


async def read(cluster: KafkaCluster, count: int) -> list[bytes | None]:
    reader = Reader(cluster, cluster.journal)
    values: list[bytes | None] = []
    async with asyncio.timeout(60):
        while len(values) < count:
            for some in (await reader.records({0: len(values)}, 5_000, 1.0)).values():
                values += [record.value for record in some]
    await reader.close()
    return values


def test_batches_of_every_kind_are_read_as_one_log(kafka_servers: str) -> None:
    cluster = KafkaCluster(tuple(kafka_servers.split(",")), 1, "mixed.")

    async def all_kinds() -> None:
        await topics.prepare(cluster, 3)
        found = log_records(400)
        for start, compression in enumerate((None, "zstd", "gzip", "lz4")):
            writing = msgspec.structs.replace(cluster, compression=compression)
            await write(writing, found[100 * start : 100 * (start + 1)], 50)
        assert await read(cluster, 400) == [value for _, value in found]

    asyncio.run(all_kinds())


@pytest.mark.parametrize(("messages", "batch", "share_max"), [(60, 1, 1.0), (480, 16, 0.7), (2_560, 256, 0.55)])
def test_compressed_messages_take_fewer_bytes(kafka: Kafka, messages: int, batch: int, share_max: float) -> None:
    found = log_records(messages)
    sizes: dict[str | None, int] = {}
    for compression in (None, "zstd"):
        prefix = f"bytes{batch}{compression}."
        cluster = KafkaCluster(tuple(kafka.bootstrap.split(",")), 1, prefix, compression=compression)
        asyncio.run(topics.prepare(cluster, 3))
        asyncio.run(write(cluster, found, batch))
        segments = kafka.folder.glob(f"data/*/{cluster.journal}-0/*.log")
        sizes[compression] = max(segment.stat().st_size for segment in segments)
    plain, compressed = sizes[None], sizes["zstd"]
    assert compressed <= share_max * plain
