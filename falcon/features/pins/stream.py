"""Pins in the stream."""

from typing import Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.pins.rules import PinAdded, PinRemoved
from falcon.streams.event import Shown, StreamEvent


class StreamedPin(msgspec.Struct, frozen=True):
    """``account_id``: who has pinned, unpinned or deleted the message."""

    room_id: RoomId
    seq: Seq
    account_id: AccountId


def _pin(event: PinAdded | PinRemoved) -> StreamedPin:
    return StreamedPin(event.room_id, event.seq, event.account_id)


_ADDED: Final = StreamEvent("pin.added", "A message is pinned to its room.", StreamedPin)
_REMOVED: Final = StreamEvent("pin.removed", "A message is unpinned, or a pinned message is deleted.", StreamedPin)
EVENTS: Final = (_ADDED, _REMOVED)
TO_THE_ROOM: Final = {PinAdded: Shown(_ADDED, _pin), PinRemoved: Shown(_REMOVED, _pin)}
