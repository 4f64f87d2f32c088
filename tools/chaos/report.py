"""The verdict and the table."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from tools.harness.reports import counts_in_words, figure, shortened, text_table
from tools.people.checker import Counts
from tools.people.listener import Heard


@dataclass
class Recoveries:
    """For one kind of fault: seconds until sends, and until reads, were acknowledged again."""

    times: int = 0
    sends: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)


@dataclass
class Report:
    """``load``: the highest of the machine, for each processor. Where it is high, answers come late for want of one."""

    seed: int
    faults: dict[str, Recoveries] = field(default_factory=lambda: defaultdict(Recoveries))
    counts: Counts = field(default_factory=Counts)
    heard: Heard = field(default_factory=Heard)
    seconds: float = 0.0
    load: float = 0.0
    verified: str = ""
    exports: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = self.counts
        columns = ("fault", "times", "sends again after, s", "longest", "reads again after, s", "longest")
        rows = [
            (name, f"{seen.times}", *_recovered(seen.sends), *_recovered(seen.reads))
            for name, seen in sorted(self.faults.items())
        ]
        lines = [
            text_table(columns, rows),
            "",
            f"operations {counts.operations:,} in {self.seconds:.0f} s, {counts.reads:,} of them reads; "
            f"acknowledged {counts.acknowledged:,}, of these replayed {counts.replayed:,}; "
            f"refused {counts.refused:,}, unknown {counts.unknown:,}",
            f"of the unknown outcomes, {counts.were_done:,} were found done, {counts.were_not:,} not done, "
            f"{counts.never_settled:,} never settled; refused though done {counts.refused_though_done:,}",
            f"longest refusal {counts.longest_refusal:.1f} s, longest answer {counts.longest_answer:.1f} s; "
            f"load of the machine at most {self.load:.1f} for each processor",
            f"{counts.messages:,} messages in {counts.rooms:,} rooms, read back at each API and from the log",
            f"{self.heard.deliveries:,} deliveries to listeners; connected {counts_in_words(self.heard.connections)}; "
            f"refused {counts_in_words(self.heard.refused)}, sent away {counts_in_words(self.heard.byes)}",
            f"{self.exports} exports held against the log",
            *self.verified.splitlines(),
            f"seed {self.seed}, violations: {len(self.violations)}",
        ]
        return "\n".join([*lines, *shortened(self.violations)])


def _recovered(seconds: list[float]) -> Iterator[str]:
    """The median and the longest."""
    yield figure(median(seconds) if seconds else None)
    yield figure(max(seconds, default=None))
