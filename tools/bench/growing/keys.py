"""Remembered keys of commands: their memory in a `write` process."""

from __future__ import annotations

import secrets
from typing import Final

from falcon.write.answers import AnswerWindow, KeyCounts, Remembered
from tools.bench.growing.log import NOW
from tools.bench.growing.memory import CpuClock, resident_bytes
from tools.bench.growing.term import Bound, Figures, Term

_WINDOW_MS: Final = 600_000
_BYTES_MAX: Final = 1 << 40
_KEYS_MAX: Final = 1_000_000  # of an account, so that accounts are counted
_PARTITIONS: Final = 64
_EPOCH: Final = 1_000_000


def measure(keys: int) -> Figures:
    """With so many keys in the window, each of another account."""
    before = resident_bytes()
    window = AnswerWindow(_WINDOW_MS)
    window.count_in(KeyCounts(_BYTES_MAX, _KEYS_MAX))
    clock = CpuClock()
    for n in range(keys):
        at = NOW + n * _WINDOW_MS // keys
        window.add(_PARTITIONS * (n + 1), secrets.token_hex(10), Remembered(n, _EPOCH, n, at))
    seconds = clock.seconds()
    return {
        "bytes a key": (resident_bytes() - before) / keys,
        "µs to remember one": seconds / keys * 1e6,
        "keys found": len(window),
    }


TERM: Final = Term(
    name="keys",
    title="Remembered keys",
    unit="keys",
    sizes=(10_000, 100_000, 1_000_000),
    short=(10_000, 20_000),
    measure=measure,
    bounds=(Bound("bytes a key", 450, at="largest", is_counted=False),),
    note="A process keeps the keys of ten minutes, whatever their rate. The time includes making the key.",
)
