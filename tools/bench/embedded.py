"""Embedded Falcon beside a bare route, a hand-written chat on PostgreSQL and, for streams, Centrifugo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tools.bench import growth, journals, measuring, readable, streams, throughput
from tools.bench.bench import Bench, Measures, Size, Suite
from tools.bench.figures import Figure
from tools.bench.peers.postgres import PostgresMissing
from tools.harness.processes import kill_everything

_SECTIONS: Final[dict[str, Callable[[Bench], Sequence[Figure]]]] = {
    "send": throughput.sends,
    "read": throughput.reads,
    "before": throughput.before_and_now,
    "measuring": measuring.section,
    "streams": streams.section,
    "readable": readable.section,
    "start": journals.starts,
    "import": journals.imports,
    "journals": journals.journals,
    "growth": growth.section,
}


@contextmanager
def _open(bench: Bench) -> Iterator[Measures]:
    def bound(measure: Callable[[Bench], Sequence[Figure]]) -> Callable[[], Sequence[Figure]]:
        def measured() -> Sequence[Figure]:
            try:
                return measure(bench)
            except Exception:
                kill_everything()  # the next section begins with nothing that runs
                raise

        return measured

    yield {name: bound(measure) for name, measure in _SECTIONS.items()}


SUITE: Final = Suite(
    title="Benchmarks of one machine",
    method=Path(__file__).with_name("method.md"),
    sections=tuple(_SECTIONS),
    sizes={
        "chat_rooms": Size(100, 100, "rooms that sends and reads are spread over"),
        "messages": Size(1_000_000, 20_000, "in the largest journal; others have a tenth or less"),
        "journal_rooms": Size(10_000, 200, "that these messages are in"),
        "growth_rooms": Size(100_000, 1_000, "the most rooms while growing"),
    },
    open=_open,
    failures=(PostgresMissing,),
)
