"""A step of `falcon smoke`, and its failure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """``work`` returns what it found, or raises CheckFailed, Problem or Unreachable. ``awaits``: what it waits for."""

    name: str
    work: Callable[[], Awaitable[str]]
    expected: str
    look_at: str
    awaits: Callable[[], str] = lambda: "an answer"


class CheckFailed(Exception):
    """What a step found. ``expected`` and ``look_at``: if they differ from those of the step."""

    def __init__(self, wrong: str, expected: str = "", look_at: str = "") -> None:
        super().__init__(wrong)
        self.expected = expected
        self.look_at = look_at
