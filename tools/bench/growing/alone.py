"""Measures in a process of its own, which has loaded nothing but what it needs, and has measured nothing before."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from tools.bench.growing.term import Figures, Term


def measured_alone(term: str, size: int) -> Figures:
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning, initializer=_be_silent) as process:
        return process.submit(_measure, term, size).result()


def _be_silent() -> None:
    """Tables of a fake HBase lack regions, which is no news."""
    logging.disable(logging.WARNING)


def _measure(name: str, size: int) -> Figures:
    term: Term = importlib.import_module(f"tools.bench.growing.{name}").TERM
    return term.measure(size)
