"""Bytes of the log on a broker: what a message takes in Kafka batches of several sizes."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from aiokafka.producer.message_accumulator import BatchBuilder

from falcon.adapters.kafka import fence, records
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.producer import Record
from falcon.domain.events import MessagePosted
from falcon.domain.message import Message
from falcon.journal import codec
from falcon.journal.envelope import CommandRef, Envelope
from tools.bench.bench import ROOT
from tools.bench.growing.log import NOW
from tools.bench.growing.term import Bound, Figures, Term

_PARTITIONS: Final = 64
_RECORDS: Final = 10_000
_SENTENCE: Final = re.compile(r"[A-Z][^.|`#]{20,200}\.")


def log_records(count: int) -> Iterator[Record]:
    """Keyed messages as the log has them: sentences of the documents, in a hundred rooms."""
    text = " ".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
    sentences = itertools.cycle(_SENTENCE.findall(text))
    for n in range(count):
        author = _PARTITIONS * (n % 37 + 1)
        message = Message(_PARTITIONS * (n % 100 + 1), n // 100 + 1, author, next(sentences), NOW + 7 * n)
        command = CommandRef(author, f"{n * 7_919:020x}", (n * 2_654_435_761) << 20)
        record = codec.encode(Envelope(0, 1, n, NOW + 7 * n, MessagePosted(message), command, by=author))
        yield records.key(record), fence.event(1, n, records.body(record))


def measure(batch: int) -> Figures:
    """In batches of so many records."""
    return asyncio.run(_measure(batch))


async def _measure(batch: int) -> Figures:
    found = list(log_records(max(batch, min(_RECORDS, 100 * batch))))
    cluster = KafkaCluster(("counted:1",), _PARTITIONS)
    producer = cluster.producer()
    parts = [found[start : start + batch] for start in range(0, len(found), batch)]
    written = sum(_size(producer.create_batch(), part) for part in parts)
    plain = sum(_size(BatchBuilder(8 << 20, 0, is_transactional=0), part) for part in parts)
    await producer.stop()
    return {
        "bytes a message": written / len(found),
        "uncompressed": plain / len(found),
        "% of uncompressed": written / plain * 100,
    }


def _size(builder: Any, part: Sequence[Record]) -> int:
    for key, value in part:
        builder.append(key=key, value=value, timestamp=None)
    builder.close()
    return len(builder._build())


TERM: Final = Term(
    name="log_bytes",
    title="The log's bytes",
    unit="messages a batch",
    sizes=(1, 4, 16, 64, 256, 1_000),
    short=(1, 64),
    measure=measure,
    bounds=(
        Bound("% of uncompressed", 100),
        Bound("% of uncompressed", 55, at="largest"),
        Bound("bytes a message", 230, at="largest"),
    ),
    note="Messages with keys, of 20 to 200 characters from these documents. Each replica takes as many, and each "
    "reader's network.",
)
