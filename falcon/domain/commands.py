"""The commands that belong to no feature."""

import msgspec

from falcon.domain.ids import Partition


class ReadPosition(msgspec.Struct, frozen=True, tag=True):
    """Asks how far the partition's log has been acknowledged. It changes nothing, and has no key.

    The owner proves with a record that it still is the owner, as Raft's read index does with a round of heartbeats.
    """

    partition: Partition
