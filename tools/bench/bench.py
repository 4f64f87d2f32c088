"""Suites, and the tools with which their sections measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.plots import draw
from tools.bench.report import Page, Picture, Section
from tools.bench.samples import FALCON
from tools.harness.machine import Cores
from tools.harness.servers import FalconServer

ROOT = Path(__file__).parents[2]
IMAGES = "images"


@dataclass(frozen=True, slots=True)
class Size:
    """A number of a suite's options: as usual, in a short smoke, and the least that makes sense."""

    usual: int
    short: int
    help: str
    least: int = 1


RUNS = Size(3, 1, "runs of which the median counts")
SECONDS = Size(3, 1, "length of a run")


@dataclass(frozen=True, slots=True)
class Bench:
    """One invocation. ``servers``: those beside one another that were chosen; ``before``: an older version of the
    repository to compare with; ``facts``: what the page shall say of machine and sizes; ``images``: where plots go,
    None where there is no page; ``is_quick``: a smoke."""

    cores: Cores
    folder: Path
    sizes: Mapping[str, int]
    servers: Sequence[str]
    before: Path | None = None
    images: Path | None = None
    facts: dict[str, str] = field(default_factory=dict)
    is_quick: bool = False

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

    def falcon(self, folder: str, name: str = FALCON) -> FalconServer:
        return FalconServer(name, self.cores.server, self.folder / folder)

    @property
    def falcons(self) -> list[str]:
        return [name for name in self.servers if name == FALCON]

    def draw(self, name: str, title: str, paint: Callable[[Any], None]) -> Sequence[Picture]:
        """Draw the picture, if there is a page for it and matplotlib. ``paint`` draws on an empty Figure."""
        if self.images is None or not draw(self.images / f"{name}.png", paint):
            return ()
        return [Picture(name, title)]


Measures = Mapping[str, Callable[[], Section]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The report lies in build/bench/. ``open``: what its sections need, for as
    long as they are measured; it gives the sections' measurements, the order of the page being that of ``sections``.
    ``must_hold``: a target that is missed is a failure. ``needs_wrk``: it puts servers under load, which takes wrk and
    a core of its own."""

    name: str
    title: str
    method: Path
    sections: Sequence[str]
    servers: Sequence[str] = ()
    sizes: Mapping[str, Size]
    open: Callable[[Bench], AbstractContextManager[Measures]]
    must_hold: bool = False
    needs_wrk: bool = True
    failures: tuple[type[Exception], ...] = ()

    def ordered(self, page: Page) -> Page:
        found = {name: page.sections[name] for name in self.sections if name in page.sections}
        return Page(facts=page.facts, sections=found)
