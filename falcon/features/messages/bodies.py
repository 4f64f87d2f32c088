"""A message as the read tables store it: JSON, with times as clients see them."""

from typing import Final

import msgspec

from falcon.domain.ids import NOBODY, AccountId, Millis, RoomId, Seq
from falcon.features.messages.rules import Message
from falcon.read.times import parse_rfc3339, rfc3339
from falcon.telemetry import metrics

MISSING: Final = b'"missing":true'  # only in the row of a missing message: the quotes of a text are escaped
UNKNOWN_TIME: Final[Millis] = 0  # no message is from 1970


class StoredMessage(msgspec.Struct, frozen=True, gc=False):
    """Field order is the order in the row."""

    room_id: RoomId
    seq: Seq
    author_id: AccountId
    text: str
    posted_at: str
    edited_at: str | None = None
    deleted: bool = False
    reply_to: Seq | None = None
    mentions: tuple[AccountId, ...] = ()


class _Missing(StoredMessage, frozen=True, gc=False):
    """Stands for a message that has a ``seq`` in the log and cannot be shown.

    It reads as a deleted message by ``NOBODY``, so that a client which does not know ``missing`` shows a deleted
    message.
    """

    missing: bool = True


class SaidMessage(msgspec.Struct, gc=False):
    """A message as version ``SAID_VERSION`` of its events has it. With its times as text it is encoded as its row."""

    room_id: RoomId
    seq: Seq
    author_id: AccountId
    text: str
    posted_at: Millis | str
    edited_at: Millis | str | None = None
    deleted: bool = False
    reply_to: Seq | None = None
    mentions: tuple[AccountId, ...] = ()


class _OfMessage(msgspec.Struct, gc=False):
    message: SaidMessage


class _SaidData(msgspec.Struct, gc=False):
    event: _OfMessage


SAID_VERSION: Final = 1  # the newest, as log.py has it
data_in: Final = msgspec.json.Decoder(_SaidData).decode  # the data of a record, without its circumstances
encode: Final = msgspec.json.Encoder().encode
stored_in: Final = msgspec.json.Decoder(StoredMessage).decode


def stored(m: Message) -> StoredMessage:
    edited_at = None if m.edited_at is None else rfc3339(m.edited_at)
    return StoredMessage(
        m.room_id, m.seq, m.author_id, m.text, rfc3339(m.posted_at), edited_at, m.deleted, m.reply_to, m.mentions
    )


def row_of(message: Message) -> bytes:
    return encode(stored(message))


def message_in(row: bytes) -> Message:
    s = stored_in(row)
    edited_at = None if s.edited_at is None else parse_rfc3339(s.edited_at)
    return Message(
        s.room_id, s.seq, s.author_id, s.text, parse_rfc3339(s.posted_at), edited_at, s.deleted, s.reply_to, s.mentions
    )


def missing_message(room_id: RoomId, seq: Seq, posted_at: Millis = UNKNOWN_TIME) -> bytes:
    """The row of a message that cannot be shown. ``posted_at``: if its event still tells the time."""
    return encode(_Missing(room_id, seq, NOBODY, "", rfc3339(posted_at), deleted=True))


def lost_message(room_id: RoomId, seq: Seq) -> bytes:
    """The row of a message that the tables have lost: no projection will write it any more. Counts it."""
    metrics.lost_messages.inc()
    return missing_message(room_id, seq)
