"""The verdict and the table."""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median

from tools.chaos.checker import Counts

_SHOWN = 25


@dataclass
class Recoveries:
    """For one kind of fault: seconds until sends, and until reads, were acknowledged again."""

    times: int = 0
    sends: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)


@dataclass
class Report:
    seed: int
    faults: dict[str, Recoveries] = field(default_factory=lambda: defaultdict(Recoveries))
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    verified: str = ""
    exports: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = self.counts
        lines = [f"{'':<24}{'':>6}   {'sends again after (s)':^22}{'reads again after (s)':^22}"]
        lines.append(f"{'fault':<24}{'times':>6}   {'median':>10}{'longest':>12}{'median':>10}{'longest':>12}")
        for name, seen in sorted(self.faults.items()):
            lines.append(f"{name:<24}{seen.times:>6}   {_two(seen.sends)}{_two(seen.reads)}")
        lines += [
            "",
            f"operations {counts.operations:,} in {self.seconds:.0f} s, {counts.reads:,} of them reads; "
            f"acknowledged {counts.acknowledged:,}, of these replayed {counts.replayed:,}; "
            f"refused {counts.refused:,}, unknown {counts.unknown:,}",
            f"of the unknown outcomes, {counts.were_done:,} were found done, {counts.were_not:,} not done, "
            f"{counts.never_settled:,} never settled; refused though done {counts.refused_though_done:,}",
            f"longest refusal {counts.longest_refusal:.1f} s, longest answer {counts.longest_answer:.1f} s",
            f"{counts.messages:,} messages in {counts.rooms:,} rooms, read back at each API and from the log",
            f"{self.exports} exports held against the log",
            *self.verified.splitlines(),
            f"seed {self.seed}, violations: {len(self.violations)}",
        ]
        more = [f"... and {len(self.violations) - _SHOWN} more"] if len(self.violations) > _SHOWN else []
        return "\n".join([*lines, *self.violations[:_SHOWN], *more])


def _two(seconds: list[float]) -> str:
    return f"{median(seconds):>10.1f}{max(seconds):>12.1f}" if seconds else f"{'-':>10}{'-':>12}"
