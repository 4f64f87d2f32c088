"""An event with its place in the log and its circumstances."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from falcon.domain.ids import NOBODY, AccountId, Millis, Partition
from falcon.domain.rejections import Rejection
from falcon.features.catalogue import Answer, Event
from falcon.features.decider import IDENTITY


class Position(NamedTuple):
    """The position of a reader in one partition. All three belong together: an offset does not tell which epoch is open
    there.

    ``offset``: everything below it has been read. Offsets rise within a partition, and may have gaps. ``n``: how many
    events of ``epoch`` came before it, if the log needs that to judge the next one.
    """

    offset: int = 0
    epoch: int = 0
    n: int = 0


# The position of a reader of several partitions.
Cursor: TypeAlias = Mapping[Partition, Position]


class CommandRef(msgspec.Struct, frozen=True, gc=False):
    """The keyed command that an event answers. ``fingerprint``: 64 bits over the whole request."""

    account_id: AccountId
    key: str
    fingerprint: int


class UnknownAnswer(msgspec.Struct, frozen=True):
    """An answer that a newer Falcon wrote and this one cannot read. A retry gets `outcome_unknown`."""

    name: str


class Envelope(msgspec.Struct, frozen=True):
    """``n`` counts the events of ``epoch``. ``at`` is the owner's clock. It goes back only after events that a
    wrong clock had put more than a minute ahead.

    ``command`` stands on the first event of a keyed command only. ``answer`` is the sender's answer, if the event alone
    does not give it. ``trace``: the traceparent of the request. ``by``: the account that did it, or NOBODY for Falcon
    itself.
    """

    partition: Partition
    epoch: int
    n: int
    at: Millis
    event: Event
    command: CommandRef | None = None
    answer: Answer | Rejection | UnknownAnswer | None = None
    trace: str | None = None
    by: AccountId = NOBODY


class Recorded(msgspec.Struct, frozen=True):
    """An envelope and its place in the log."""

    offset: int
    envelope: Envelope


def aggregate_of(event: Event) -> int:
    """The id of the aggregate that the event belongs to; 0 if there is none."""
    identity = IDENTITY.get(type(event))
    return 0 if identity is None else identity(event)
