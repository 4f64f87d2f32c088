"""The bodies that both peers take and give: those of Falcon's `/v1`, so that one load script fits all servers."""

from __future__ import annotations

from datetime import datetime

import msgspec


class SendBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    reply_to: int | None = None
    mentions: tuple[int, ...] = ()


class Message(msgspec.Struct, frozen=True):
    room_id: int
    seq: int
    author_id: int
    text: str
    posted_at: datetime | str
    edited_at: datetime | str | None = None
    deleted: bool = False
    reply_to: int | None = None
    mentions: tuple[int, ...] = ()


class MessagePage(msgspec.Struct, frozen=True):
    messages: list[Message]
    has_before: bool
    has_after: bool
