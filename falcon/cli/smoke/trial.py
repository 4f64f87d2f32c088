"""What a step of `falcon smoke` is, and how it fails."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """``work`` gives what it found, or raises Wrong, Problem or Unreachable; ``awaits`` says what it waits for."""

    name: str
    work: Callable[[], Awaitable[str]]
    expected: str
    look_at: str
    awaits: Callable[[], str] = lambda: "an answer"


class Wrong(Exception):
    """What a step found. ``expected`` and ``look_at`` where they are not the step's usual ones."""

    def __init__(self, wrong: str, expected: str = "", look_at: str = "") -> None:
        super().__init__(wrong)
        self.expected = expected
        self.look_at = look_at
