"""An event of the stream that comes from the log: when it is sent, and its data."""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from falcon.domain.ids import AccountId, RoomId


class StreamEvent(msgspec.Struct, frozen=True):
    """``sent``: when it is sent. ``data``: the type of its data. ``signal``: asked for by name, best effort."""

    name: str
    sent: str
    data: Any
    signal: bool = False


class InARoom(Protocol):
    @property
    def room_id(self) -> RoomId: ...


class OfAnAccount(InARoom, Protocol):
    """An event that only its account sees."""

    @property
    def account_id(self) -> AccountId: ...


class Shown(msgspec.Struct, frozen=True):
    """``data``: what the stream shows of the event; the same for all streams that see it."""

    event: StreamEvent
    data: Callable[[Any], msgspec.Struct]
