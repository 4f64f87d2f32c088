"""A bar that shows progress, rate and remaining time."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Bar:
    """The progress of one task. It counts and measures time even if it is not shown.

    It appears with the first progress, so a command that is refused shows no empty bar above its refusal.
    """

    def __init__(self, progress: Progress, title: str, total: int | None, done: int) -> None:
        self._progress = progress
        self._task_id = progress.add_task(title, total=total, completed=done)

    def advance(self, steps: int) -> None:
        self._progress.update(self._task_id, advance=steps)
        self._progress.start()

    def set(self, done: int, total: int | None) -> None:
        self._progress.update(self._task_id, completed=done, total=total)
        self._progress.start()

    @property
    def _task(self) -> Task:
        return self._progress.tasks[0]

    @property
    def done(self) -> int:
        return int(self._task.completed)

    @property
    def seconds(self) -> float:
        return self._task.elapsed or 0.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "–/s", style="progress.data.speed")


@contextmanager
def progress_bar(title: str, total: int | None = None, *, done: int = 0, shown: bool = True) -> Iterator[Bar]:
    """Shown on standard error: standard output is for the result of the command."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True), disable=not shown)
    try:
        yield Bar(progress, title, total, done)
    finally:
        if progress.live.is_started:
            progress.stop()
