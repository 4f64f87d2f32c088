"""The resume token that every delivery carries: how long it is with more partitions, and as the log gets older."""

from __future__ import annotations

import secrets
from typing import Final

from falcon.streams import resume_tokens
from tools.bench.growing.term import Bound, Figures, Term

_NEW: Final = 100_000  # events in all
_OLD: Final = 5_000_000_000_000  # five years of 33,000 a second


def measure(partitions: int) -> Figures:
    return {
        "characters, new log": _characters(partitions, _NEW),
        "characters, log of five years": _characters(partitions, _OLD),
    }


def _characters(partitions: int, events: int) -> int:
    offset = events // partitions
    return len(resume_tokens.encode(secrets.token_hex(8), dict.fromkeys(range(partitions), offset)))


TERM: Final = Term(
    name="resume_tokens",
    title="Resume token",
    unit="partitions",
    sizes=(16, 64, 256, 1_024),
    short=(16, 64),
    measure=measure,
    bounds=(Bound("characters, new log", 64), Bound("characters, log of five years", 64)),
    note="Each frame of a stream carries one, so a delivery of 200 bytes may be mostly token.",
)
