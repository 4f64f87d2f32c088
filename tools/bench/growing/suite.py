"""How each cost grows with a site, counted on Falcon's own classes over fake clients. No server runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tools.bench.bench import Bench, Measures, Suite
from tools.bench.growing import (
    checkpoints,
    commands,
    directs,
    feed,
    hello,
    keys,
    log_bytes,
    openings,
    partitions,
    positions,
    presence,
    read_marks,
    rebuild,
    resume_tokens,
    room_list,
    rooms,
    takeover,
    tokens,
    week,
)
from tools.bench.growing.alone import measured_alone
from tools.bench.growing.term import Figures, Term, number
from tools.bench.report import Section
from tools.harness.progress import say

TERMS: Final[dict[str, Term]] = {
    module.TERM.name: module.TERM
    for module in (
        *(rebuild, keys, checkpoints, week, takeover, rooms, directs, tokens, openings, hello, room_list, partitions),
        *(presence, positions, read_marks, commands, resume_tokens, log_bytes, feed),
    )
}


def _section(term: Term, *, is_short: bool) -> Section:
    measured: dict[int, Figures] = {}
    for size in term.short if is_short else term.sizes:
        measured[size] = measured_alone(term.name, size)
        say(f"{size:,} {term.unit}: " + ", ".join(f"{name} {number(each)}" for name, each in measured[size].items()))
    return term.section(measured)


@contextmanager
def _open(bench: Bench) -> Iterator[Measures]:
    yield {name: partial(_section, term, is_short=bench.is_quick) for name, term in TERMS.items()}


SUITE: Final = Suite(
    name="growth",
    title="How costs grow",
    method=Path(__file__).with_name("method.md"),
    sections=tuple(TERMS),
    sizes={},
    open=_open,
    must_hold=True,
    needs_wrk=False,
    failures=(BrokenExecutor,),
)
