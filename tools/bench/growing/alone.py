"""Measures in a process of its own, which has loaded nothing but what it needs, and has measured nothing before."""

from __future__ import annotations

import gc
import importlib
import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from tools.bench.growing.term import Figures, Term

_GARBAGE: Final = (5_000, 20, 50)  # as falcon.roles sets it


def measured_alone(term: str, size: int) -> Figures:
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning, initializer=_begin) as process:
        return process.submit(_measure, term, size).result()


def _begin() -> None:
    """Collect garbage as seldom as Falcon's processes do. Do not log that tables of a fake HBase lack regions."""
    gc.set_threshold(*_GARBAGE)
    logging.disable(logging.WARNING)


def _measure(name: str, size: int) -> Figures:
    term: Term = importlib.import_module(f"tools.bench.growing.{name}").TERM
    return term.measure(size)
