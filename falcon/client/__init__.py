"""Falcon's API as typed, asynchronous Python.

>>> async with FalconClient("http://127.0.0.1:8080", token) as falcon:
...     room = await falcon.create_room("Tea", members={130: "member"})
...     await falcon.post(room.room_id, "Who wants some?")
...     page = await falcon.messages(room.room_id)  # has the message: one reads what one wrote

A call ends with an answer, with :class:`Problem` (refused, and asking again would not help) or with
:class:`Unreachable` (no answer before the deadline). Everything in between is retried, safely.
"""

from falcon.client.client import FalconClient
from falcon.client.errors import FieldError, Problem, Unreachable
from falcon.client.exporting import resume_token
from falcon.client.models import (
    Account,
    AccountPage,
    ExportHeader,
    Imported,
    Me,
    Member,
    MemberPage,
    Membership,
    Message,
    NewAccount,
    NewToken,
    Page,
    ReadMark,
    Role,
    Room,
    RoomKind,
    RoomPage,
    RoomSummary,
    Token,
)
from falcon.client.patience import Clock

__all__ = [
    "Account",
    "AccountPage",
    "Clock",
    "ExportHeader",
    "FalconClient",
    "FieldError",
    "Imported",
    "Me",
    "Member",
    "MemberPage",
    "Membership",
    "Message",
    "NewAccount",
    "NewToken",
    "Page",
    "Problem",
    "ReadMark",
    "Role",
    "Room",
    "RoomKind",
    "RoomPage",
    "RoomSummary",
    "Token",
    "Unreachable",
    "resume_token",
]
