"""The resume token that every delivery carries: how long it is with more partitions, and as the log gets older."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from typing import Final

from falcon.streams.cuts import Cut
from falcon.streams.feed import TOKEN_GROWN
from falcon.streams.resume_tokens import Reference, ResumeToken
from tools.bench.growing.term import Bound, Figures, Term

_NEW: Final = 100_000  # events in all
_OLD: Final = 5_000_000_000_000  # five years of 33,000 a second
_EVENTS: Final = 5_000
# Until a cut that is needed has been written and read.
_SECONDS: Final = 0.01
_LATE_SECONDS: Final = 0.03
_NAME: Final = "0123456789abcdef"


def measure(partitions: int) -> Figures:
    return {
        "characters, new log": max(_lengths(partitions, _NEW, 1_000)),
        "characters, log of five years": max(_lengths(partitions, _OLD, 1_000)),
        "characters, cuts are late": max(_lengths(partitions, _OLD, 1_000, _LATE_SECONDS)),
        "characters at 10,000 events/s": max(_lengths(partitions, _OLD, 10_000)),
        "cuts a second": _cuts(partitions, 1_000) / _EVENTS * 1_000,
        "cuts a second at 10,000 events/s": _cuts(partitions, 10_000) / _EVENTS * 10_000,
    }


def _cuts(partitions: int, rate: int) -> int:
    return sum(text is None for text in _tokens(partitions, _OLD, rate, _SECONDS))


def _lengths(partitions: int, events: int, rate: int, seconds: float = _SECONDS) -> Iterator[int]:
    return (len(text) for text in _tokens(partitions, events, rate, seconds) if text is not None)


def _tokens(partitions: int, events: int, rate: int, seconds: float) -> Iterator[str | None]:
    """The token of each event of a process that reads so many events a second, and None for each cut that is needed and
    comes after ``seconds``."""
    chance = random.Random(partitions)
    offsets = [events // partitions] * partitions
    number = events // _EVENTS
    token = ResumeToken(_NAME, dict(enumerate(offsets)), Reference(Cut(number, tuple(offsets), 0)))
    under_way: deque[tuple[int, Cut]] = deque(maxlen=1)
    for event in range(_EVENTS):
        segment = chance.randrange(partitions)
        offsets[segment] += 1
        token.move(segment, offsets[segment])
        text = token.text()
        if len(text) > TOKEN_GROWN and under_way and under_way[0][0] <= event:
            token.refer(Reference(under_way.pop()[1]))
            text = token.text()
        if len(text) > TOKEN_GROWN and not under_way:
            number += 1
            under_way.append((event + round(rate * seconds), Cut(number, tuple(offsets), 0)))
            yield None
        yield text


TERM: Final = Term(
    name="resume_tokens",
    title="Resume token",
    unit="partitions",
    sizes=(16, 64, 256, 1_024),
    short=(16, 64),
    measure=measure,
    bounds=(Bound("characters, new log", 64), Bound("characters, log of five years", 64)),
    note="Each frame of a stream carries one. It has the differences to a cut; the longest one is shown. A process "
    f"reads 1,000 events a second, unless said otherwise. A cut is there {1000 * _SECONDS:.0f} ms after it is needed, "
    f"or {1000 * _LATE_SECONDS:.0f} ms if cuts are late.",
)
