"""The findings of proofs."""

from collections.abc import Sequence
from dataclasses import dataclass

from tools.k8s_proof.figures import Figures


@dataclass(frozen=True)
class Proof:
    """``lines``: the findings. ``violations``: empty if it was proven."""

    name: str
    lines: Sequence[str]
    violations: Sequence[str]


@dataclass(frozen=True)
class Row:
    """One disturbance of pods under load. ``note``: the cluster's message."""

    what: str
    note: str
    figures: Figures

    @property
    def lines(self) -> list[str]:
        figures = self.figures
        return [
            f"{self.what}: {figures.acknowledged:,} messages acknowledged, lost {figures.lost}, doubled "
            f"{figures.doubled}; {figures.requests:,} requests, failed {figures.failed}, retries "
            f"{sum(figures.retried.values())} {figures.retried}; a room not written for {figures.unwritable:.1f} s, a "
            f"request {figures.longest:.1f} s; {figures.deliveries:,} deliveries over {figures.reconnections} "
            f"reconnections. {self.note}"
        ]

    @property
    def violations(self) -> list[str]:
        failed = [f"{self.figures.failed} requests failed"] if self.figures.failed else []
        return [*self.figures.violations, *failed]
