"""A mutant: a mistake, its place, and the schedules that must find it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from unittest.mock import patch

from tools.simulation.schedules import CALM, Schedules


class Replaced(NamedTuple):
    """``where`` is the owner of the attribute ``what``, which ``instead`` takes the place of."""

    where: Any
    what: str
    instead: Any


@dataclass(frozen=True)
class Mutant:
    """``name`` says the mistake. ``schedules``: the kind of them that finds it."""

    name: str
    replaced: tuple[Replaced, ...]
    schedules: Schedules = CALM

    @contextmanager
    def made(self) -> Iterator[None]:
        with ExitStack() as stack:
            for where, what, instead in self.replaced:
                stack.enter_context(patch.object(where, what, instead))
            yield


def mutant(name: str, where: Any, what: str, instead: Callable[..., Any], schedules: Schedules = CALM) -> Mutant:
    """One that replaces a single function."""
    return Mutant(name, (Replaced(where, what, instead),), schedules)
