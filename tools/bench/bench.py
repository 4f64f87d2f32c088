"""What the sections of the benchmark measure with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from tools.harness.machine import Cores
from tools.harness.servers import FalconServer

ROOT: Final = Path(__file__).parents[2]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Size:
    """A number of the options: as usual, and in a short smoke."""

    usual: int
    short: int
    help: str


@dataclass(frozen=True, slots=True)
class Bench:
    """One invocation. ``before``: an older version of the repository to compare with; ``facts``: what the page shall
    say of machine and sizes."""

    cores: Cores
    folder: Path
    sizes: Mapping[str, int]
    before: Path | None
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> int:
        return self.sizes["runs"]

    @property
    def fewer_runs(self) -> int:
        """Fewer runs, for sections that take long and differ little."""
        return max(1, self.runs * 2 // 3)

    @property
    def seconds(self) -> int:
        return self.sizes["seconds"]

    def falcon(self, folder: str) -> FalconServer:
        return FalconServer("falcon", self.cores.server, self.folder / folder)


def in_turn(items: Sequence[Item], number: int) -> list[Item]:
    """Another one begins each time, so that none always follows the same one."""
    first = number % max(1, len(items))
    return [*items[first:], *items[:first]]
