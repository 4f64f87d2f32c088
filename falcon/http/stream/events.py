"""Every event of the stream in one table, with the type that it is sent from: the AsyncAPI document is made from it."""

from typing import Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.http.shapes import RoomSummary
from falcon.streams import receipts, signals
from falcon.streams.event import StreamEvent
from falcon.streams.events import LOGGED_EVENTS
from falcon.streams.frames import StreamEnd


class Hello(msgspec.Struct, frozen=True):
    """The state that the events after it continue. ``truncated``: there are more rooms; read them by page.
    ``unread_threads``: how many threads that the account follows have unread messages. ``without_receipts``: rooms that
    the stream names, with too many members for receipts."""

    account_id: AccountId
    rooms: list[RoomSummary]
    truncated: bool
    unread_threads: int
    without_receipts: list[RoomId]


class CaughtUp(msgspec.Struct, frozen=True):
    """No fields."""


class RoomReach(msgspec.Struct, frozen=True):
    """How far the history of a room goes."""

    room_id: RoomId
    last_seq: Seq


class CatchUp(msgspec.Struct, frozen=True):
    rooms: list[RoomReach]


STREAM_EVENTS: Final = (
    StreamEvent("hello", "First, on a stream that does not resume.", Hello),
    StreamEvent("caught_up", "All missed events have been sent; from here on events are live.", CaughtUp),
    StreamEvent("catch_up", "You missed too much. Read each room by page, until its last_seq has come.", CatchUp),
    *LOGGED_EVENTS,
    StreamEvent("typing", "A member is typing. Forget it after six seconds.", signals.TypingShown, signal=True),
    StreamEvent(
        "presence",
        "An account that the stream watches comes online or goes offline.",
        signals.PresenceShown,
        signal=True,
    ),
    StreamEvent(
        "account",
        "The name, handle or title of an account that the stream watches has changed, or it was deactivated.",
        signals.AccountShown,
        signal=True,
    ),
    StreamEvent(
        "receipts",
        f"A member has read further in a room of at most {receipts.MEMBERS_MAX} members that the stream names.",
        receipts.Receipt,
        signal=True,
    ),
    StreamEvent("bye", "The server closes this stream. Reconnect with the last id after retry_after_ms.", StreamEnd),
)
