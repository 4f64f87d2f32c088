"""Embedded Falcon beside a bare route, a hand-written chat on PostgreSQL and, for streams, Centrifugo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tools.bench import (
    growth,
    journals,
    measuring,
    readable,
    start,
    streams,
    throughput,
    unwanted,
)
from tools.bench.bench import Bench, Measures, Size, Suite
from tools.bench.peers.postgres import PostgresMissing
from tools.bench.report import Section
from tools.bench.samples import CRUD, FALCON
from tools.harness.processes import kill_everything

_SECTIONS: Final[dict[str, Callable[[Bench], Section]]] = {
    "send": throughput.sends,
    "read": throughput.reads,
    "measuring": measuring.section,
    "streams": streams.section,
    "unwanted": unwanted.section,
    "idle": streams.idle,
    "readable": readable.section,
    "start": start.section,
    "import": journals.imports,
    "journals": journals.journals,
    "growth": growth.section,
}


@contextmanager
def _open(bench: Bench) -> Iterator[Measures]:
    def bound(measure: Callable[[Bench], Section]) -> Callable[[], Section]:
        def measured() -> Section:
            try:
                return measure(bench)
            except Exception:
                kill_everything()  # the next section begins with nothing that runs
                raise

        return measured

    yield {name: bound(measure) for name, measure in _SECTIONS.items()}


SUITE: Final = Suite(
    name="embedded",
    title="Benchmarks",
    method=Path(__file__).with_name("method.md"),
    sections=tuple(_SECTIONS),
    servers=("bare", CRUD, FALCON),
    sizes={
        "chat_rooms": Size(100, 100, "rooms that sends and reads are spread over"),
        "subscribers": Size(10_000, 500, "idle ones, of which the memory is measured"),
        "messages": Size(1_000_000, 20_000, "in the largest journal; others have a tenth or less", 1_000),
        "journal_rooms": Size(10_000, 200, "that these messages are in"),
        "growth_rooms": Size(100_000, 1_000, "the most rooms while growing", 1_000),
    },
    open=_open,
    failures=(PostgresMissing,),
)
