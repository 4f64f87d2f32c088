"""Which partitions a shard should own. Who does own one, the log alone decides."""

from collections.abc import Collection, Mapping
from typing import Protocol

from falcon.domain.ids import Partition


class Ownership(Protocol):
    """``reclaims``: whether a partition that another owner took is taken back where it is assigned here anew.

    Without it a shard that has lost one is to end: what took it over has the better claim.
    """

    @property
    def reclaims(self) -> bool: ...

    @property
    def assignments(self) -> int:
        """How often it has been said what is assigned."""

    def doubt(self) -> None:
        """Another owner took what is assigned here: have it said anew, since one of the two must be wrong."""

    def assigned(self) -> Collection[Partition]:
        """Those that this shard should own now. Cheap, since it is asked at every tick."""

    def opened(self, epochs: Mapping[Partition, int]) -> None:
        """These partitions serve here now, in these epochs: let whoever sends commands know."""

    def leave(self) -> None:
        """Let others have the partitions, at once. What is assigned stays so here, to be served until they do."""

    def close(self) -> None:
        """Leave, if that has not been done, and wait until it is known to have happened."""


class FixedOwnership:
    """The same partitions for ever, as on one machine."""

    reclaims = False
    assignments = 1

    def __init__(self, partitions: Collection[Partition]) -> None:
        self._partitions = frozenset(partitions)

    def assigned(self) -> Collection[Partition]:
        return self._partitions

    def doubt(self) -> None:
        """There is nothing to ask."""

    def opened(self, epochs: Mapping[Partition, int]) -> None:
        """Everybody knows."""

    def leave(self) -> None:
        """There is nobody else."""

    def close(self) -> None:
        """There is nobody to tell."""
