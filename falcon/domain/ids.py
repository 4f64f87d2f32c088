"""Ids carry their partition: ``id = counter * partitions + partition``.

The owner of a partition numbers what it creates by counting, so ids are dense, need neither a clock nor a
coordinator, and any process finds the partition of a room or an account by a division.
"""

import operator
from collections.abc import Callable
from typing import Final, TypeAlias

AccountId: TypeAlias = int
RoomId: TypeAlias = int
Seq: TypeAlias = int
Partition: TypeAlias = int
OrganizationId: TypeAlias = int
Millis: TypeAlias = int  # since 1970-01-01T00:00:00Z; read.times has the form in which clients see times

NOBODY: Final[AccountId] = 0  # no account has this id: Falcon itself, or an author of whom nothing is known
DEFAULT_ORGANIZATION: Final[OrganizationId] = 1  # the one that everything belongs to, until there are others

ID_MAX = 2**53 - 1  # what a JSON number carries exactly in every language
SEQ_MAX: Final[Seq] = 2**32 - 1  # keys of tables have 32 bits for it


# The partition that owns a room or account: ``partition_of(identity, partitions)``. Each request asks for it.
partition_of: Final[Callable[[int, int], Partition]] = operator.mod


def id_of(counter: int, partition: Partition, partitions: int) -> int:
    """The id of the ``counter``-th thing made in a partition, counted from 1."""
    return counter * partitions + partition


def counter_of(identity: int, partitions: int) -> int:
    """The inverse of :func:`id_of`."""
    return identity // partitions
