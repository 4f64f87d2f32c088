"""One line that says how a run goes: each second at a terminal, else every five."""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

from load_tests.users.figures import counted
from load_tests.users.recorder import Timeline
from tools.harness.reports import figure
from tools.harness.watching import Watch, rates

_SHOWN_SECONDS: Final = 3
_BEHIND_SECONDS: Final = 2  # by then all workers have told of a second
_LINE_EVERY: Final = 5


class Progress:
    """Call it once a second."""

    def __init__(self, timeline: Timeline, watch: Watch | None, out: TextIO = sys.stderr) -> None:
        self._timeline = timeline
        self._watch = watch
        self._out = out
        self._begun = time.time()
        self._calls = 0

    def __call__(self) -> None:
        self._calls += 1
        if self._out.isatty():
            self._out.write(f"\r\x1b[2K{self._text()}")
            self._out.flush()
        elif self._calls % _LINE_EVERY == 0:
            print(self._text(), file=self._out, flush=True)

    def end(self) -> None:
        if self._out.isatty() and self._calls:
            self._out.write("\n")

    def _text(self) -> str:
        now = time.time()
        end = int(now) - _BEHIND_SECONDS
        acts = counted(self._timeline, end - _SHOWN_SECONDS, end)
        people = max((second.people for at, second in self._timeline.seconds.items() if at >= end - 1), default=0)
        failed = sum(self._timeline.failures.values())
        minutes, seconds = divmod(int(now - self._begun), 60)
        parts = [
            f"[{minutes:3d}:{seconds:02d}] {people:,} people, {acts.rate:,.0f} acts/s",
            f"p50 {figure(acts.p50, '{:,.0f}')}, p99 {figure(acts.p99, '{:,.0f}')} ms",
            f"{failed:,} failed, {self._timeline.violated:,} broken promises",
        ]
        looks = self._watch.looks[-4:] if self._watch is not None else []
        if looks:
            cpu = rates(looks, "cpu")
            parts.append(f"mailbox {looks[-1].mailbox:,.0f}, lag {looks[-1].lag:.2f} s")
            parts.append(f"CPU {sum(value for _, value in cpu) / len(cpu) * 100:.0f} %" if cpu else "CPU –")
        return "; ".join(parts)
