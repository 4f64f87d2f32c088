"""Assigns partitions to a shard. Only the log decides which shard does own one."""

from collections.abc import Collection, Mapping
from typing import Protocol

from falcon.domain.ids import Partition


class Ownership(Protocol):
    """``reclaims``: True if the shard takes a lost partition back once it is assigned to it again.

    Otherwise a shard that has lost a partition should end: the new owner has the better claim.
    """

    @property
    def reclaims(self) -> bool: ...

    @property
    def assignments(self) -> int:
        """How many assignments there have been. A new one may assign the same partitions."""

    def doubt(self) -> None:
        """Another owner took a partition that is assigned here. One of the two is wrong: ask for a new assignment."""

    @property
    def assigned(self) -> Collection[Partition]:
        """The partitions that this shard should own now. It must be cheap: the shard looks with every message."""

    def opened(self, epochs: Mapping[Partition, int]) -> None:
        """Tell the gateways that these partitions serve here now, in these epochs."""

    def leave(self) -> None:
        """Let other shards have the partitions. ``assigned`` stays as it is, so that this one serves until they do."""

    def close(self) -> None:
        """Leave, unless that was done before, and wait until the others know."""


class FixedOwnership:
    """The same partitions for ever, as on one machine."""

    reclaims = False
    assignments = 1

    def __init__(self, partitions: Collection[Partition]) -> None:
        self.assigned = frozenset(partitions)

    def doubt(self) -> None:
        """The assignment cannot change."""

    def opened(self, epochs: Mapping[Partition, int]) -> None:
        """Gateways know it from the settings."""

    def leave(self) -> None:
        """Does nothing: there are no other shards."""

    def close(self) -> None:
        """Does nothing: there are no other shards."""
