"""Commands and replies between the edge and the shards, as values and as bytes."""

from typing import Literal, TypeAlias

import msgspec

from falcon.domain.ids import AccountId, Millis, Partition
from falcon.domain.rejections import Rejection
from falcon.features.catalogue import Answer, Command


class CommandEnvelope(msgspec.Struct, frozen=True):
    """A command on its way to the owner of ``partition``.

    ``account_id`` asks. With a ``key``, the same request (``fingerprint``) is executed once. ``deadline`` (seconds of
    CLOCK_MONOTONIC): a command that has not been decided by then is dropped. ``size``: about as many bytes as it takes.
    ``trace``: the W3C traceparent of the request that it came with. ``replay_only``: the sender refuses the request
    unless its key is known; the owner decides nothing.
    """

    partition: Partition
    account_id: AccountId
    command: Command
    deadline: float
    key: str | None = None
    fingerprint: int = 0
    size: int = 0
    trace: str | None = None
    replay_only: bool = False


class Accepted(msgspec.Struct, tag=True):
    """The command's events are durable. ``offset``: of the newest durable event of the partition, theirs or a later."""

    answer: Answer
    partition: Partition
    offset: int
    replayed: bool = False


class Rejected(msgspec.Struct, tag=True):
    """``offset``: of the newest durable event of the partition."""

    rejection: Rejection
    partition: Partition
    offset: int
    replayed: bool = False


Reason: TypeAlias = Literal["overloaded", "expired", "unavailable", "outcome_unknown", "not_mine"]


class Unavailable(msgspec.Struct, frozen=True, tag=True):
    """The command was not executed or, with ``outcome_unknown``, may have been. Retrying with the same key is safe and
    tells the truth. Only ``falcon.write.refusals`` makes one.

    ``limit``: the name of the limit that was reached, if there is one. ``full``: what has no room, if that is no
    mailbox; the reason is ``overloaded`` for both.
    """

    reason: Reason
    retry_after: float = 1.0
    limit: str = ""
    full: str = ""


class NotKnown(msgspec.Struct, frozen=True, tag=True):
    """The command was to be answered only if its key is known, and it is not. Nothing was done."""


Reply: TypeAlias = Accepted | Rejected | Unavailable | NotKnown


class CommandBatch(msgspec.Struct, frozen=True):
    """``since``: when the oldest command came to the mailbox (CLOCK_MONOTONIC)."""

    number: int
    commands: list[CommandEnvelope]
    since: float = 0.0


class BatchReply(msgspec.Struct, frozen=True):
    """Some replies of a batch: index in the batch, reply. A batch may be answered in several of these."""

    number: int
    replies: list[tuple[int, Reply]]


class SentBatch(msgspec.Struct, frozen=True, array_like=True):
    """A batch for another machine. ``sent_at``: by the sender's clock, which also counts its deadlines.

    ``sender``: a name for that clock. ``sent_wall``: the sender's time of day.
    """

    sent_at: float
    commands: list[CommandEnvelope]
    sender: int
    sent_wall: Millis


class BatchFrame(msgspec.Struct, frozen=True, array_like=True):
    """A batch in a frame to a process of owners. ``number``: of the connection's batches, from 1 on. ``batch``: a
    SentBatch as bytes. An empty frame asks for an empty one."""

    number: int
    shard: int
    batch: msgspec.Raw


class RepliesFrame(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Some replies to a batch: index in the batch, reply."""

    number: int
    replies: list[tuple[int, Reply]]


class NotTaken(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The owner has carried out nothing of the batch, and never will."""

    number: int
    reason: str


class Closing(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The owner takes no batch of this connection after the number ``taken``. It still answers the others."""

    taken: int


OwnerFrame: TypeAlias = RepliesFrame | NotTaken | Closing

_encoder = msgspec.msgpack.Encoder()
_sent_batches = msgspec.msgpack.Decoder(SentBatch)
_batch_frames = msgspec.msgpack.Decoder(BatchFrame)
_owner_frames: msgspec.msgpack.Decoder[OwnerFrame] = msgspec.msgpack.Decoder(OwnerFrame)


def encode_sent_batch(batch: CommandBatch, now: float, wall: Millis, sender: int) -> bytes:
    """``now``: CLOCK_MONOTONIC here; ``wall``: the time of day."""
    return _encoder.encode(SentBatch(now, batch.commands, sender, wall))


def decode_sent_batch(data: bytes) -> SentBatch:
    """Deadlines are by the sender's clock: see ``transit``. Raises msgspec.DecodeError."""
    return _sent_batches.decode(data)


def encode_frame(frame: BatchFrame | OwnerFrame) -> bytes:
    return _encoder.encode(frame)


def decode_batch_frame(content: bytes | bytearray) -> BatchFrame:
    """Raises msgspec.DecodeError."""
    return _batch_frames.decode(content)


def decode_owner_frame(content: bytes | bytearray) -> OwnerFrame:
    """Raises msgspec.DecodeError."""
    return _owner_frames.decode(content)
