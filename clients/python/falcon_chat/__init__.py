"""Falcon's API as typed, asynchronous Python.

>>> async with FalconClient("http://127.0.0.1:8080", token) as falcon:
...     room = await falcon.create_room("Tea", members={130: "member"})
...     await falcon.post(room.room_id, "Who wants some?")
...     page = await falcon.messages(room.room_id)  # it has the message: you read what you wrote
...     names = Names(falcon)
...     async for event in falcon.stream():  # what happens from now on, each event once
...         if isinstance(event, MessagePosted):
...             message = event.message
...             print(await names.of(message.room_id, message.author_id), message.text)

A call ends with an answer, with :class:`Problem` (refused; the same request would be refused again) or with
:class:`Unreachable` (no answer before the deadline). Everything in between is retried, which is safe.
"""

from falcon_chat.client import FalconClient
from falcon_chat.errors import ExportFailed, FieldError, Problem, ResumeRefused, Unreachable
from falcon_chat.events import (
    Bye,
    CatchUp,
    CaughtUp,
    Event,
    Hello,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PinAdded,
    PinRemoved,
    Presence,
    ReactionAdded,
    ReactionRemoved,
    ReadMoved,
    Restarted,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    RoomReach,
    Typing,
)
from falcon_chat.exporting import ExportHeader, is_end, resume_token
from falcon_chat.models import (
    Account,
    Accounts,
    Author,
    CreatedAccount,
    Imported,
    IssuedToken,
    Me,
    Member,
    Members,
    Message,
    Messages,
    Pin,
    PinnedMessage,
    Pins,
    ReactionCount,
    ReactionEntry,
    Reactions,
    ReactionSummary,
    ReadState,
    Role,
    Room,
    RoomKind,
    Rooms,
    RoomSummary,
    Token,
)
from falcon_chat.names import Names
from falcon_chat.patience import Clock
from falcon_chat.streaming import Stream

__all__ = [
    "Account",
    "Accounts",
    "Author",
    "Bye",
    "CatchUp",
    "CaughtUp",
    "Clock",
    "CreatedAccount",
    "Event",
    "ExportFailed",
    "ExportHeader",
    "FalconClient",
    "FieldError",
    "Hello",
    "Imported",
    "IssuedToken",
    "Me",
    "Member",
    "MemberChanged",
    "MemberJoined",
    "MemberLeft",
    "Members",
    "Message",
    "MessageDeleted",
    "MessageEdited",
    "MessagePosted",
    "Messages",
    "Names",
    "Pin",
    "PinAdded",
    "PinRemoved",
    "PinnedMessage",
    "Pins",
    "Presence",
    "Problem",
    "ReactionAdded",
    "ReactionCount",
    "ReactionEntry",
    "ReactionRemoved",
    "ReactionSummary",
    "Reactions",
    "ReadMoved",
    "ReadState",
    "Restarted",
    "ResumeRefused",
    "Role",
    "Room",
    "RoomChanged",
    "RoomCreated",
    "RoomDeleted",
    "RoomKind",
    "RoomReach",
    "RoomSummary",
    "Rooms",
    "Stream",
    "Token",
    "Typing",
    "Unreachable",
    "is_end",
    "resume_token",
]
