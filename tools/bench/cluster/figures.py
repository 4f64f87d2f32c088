"""The CPU and memory of a cluster's parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tools.bench.samples import Spread

FALCON: Final = ("api", "write", "project")
SERVERS: Final = ("Kafka", "HBase")


class Work(msgspec.Struct, frozen=True):
    """CPU seconds by role, of whole process trees."""

    seconds: dict[str, float]

    def since(self, before: Work) -> Work:
        return Work({role: each - before.seconds.get(role, 0.0) for role, each in self.seconds.items()})

    @property
    def falcon(self) -> float:
        """Falcon's own processes together."""
        return sum(self.seconds.get(role, 0.0) for role in FALCON)

    def micros_each(self, messages: int) -> dict[str, float]:
        return {role: each / max(1, messages) * 1e6 for role, each in self.seconds.items()}


def medians(works: Sequence[Mapping[str, float]], role: str) -> str:
    """A role's µs each."""
    found = [work[role] for work in works if role in work]
    return f"{Spread.of(found).middle:,.0f}" if found else "–"
