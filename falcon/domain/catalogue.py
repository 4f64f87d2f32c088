"""All commands, events and answers. A new one is a class in the module of its feature, and is named here."""

from typing import TypeAlias

from falcon.domain.answers import (
    AccountAnswer,
    Done,
    ImportAnswer,
    MemberAnswer,
    MessageAnswer,
    PositionAnswer,
    ReadAnswer,
    RoomAnswer,
    TokenAnswer,
)
from falcon.domain.commands import (
    ChangeRoom,
    CreateAccount,
    CreateRoom,
    DeleteMessage,
    DeleteRoom,
    EditMessage,
    ImportMembers,
    ImportMessages,
    ImportRoom,
    IssueToken,
    MoveRead,
    OpenDirect,
    PostMessage,
    PutMember,
    ReadPosition,
    RemoveMember,
    RevokeToken,
)
from falcon.domain.events import (
    AccountCreated,
    CommandAnswered,
    DirectRoomOpened,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PassedOver,
    ReadMoved,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    TokenIssued,
    TokenRevoked,
)
from falcon.domain.reactions import (
    AddReaction,
    ImportReactions,
    ReactionAdded,
    ReactionAnswer,
    ReactionRemoved,
    RemoveReaction,
)

# isinstance goes through these in their order: the most frequent ones come first.
RoomCommand: TypeAlias = (
    PostMessage
    | EditMessage
    | DeleteMessage
    | MoveRead
    | AddReaction
    | RemoveReaction
    | ChangeRoom
    | DeleteRoom
    | PutMember
    | RemoveMember
    | ImportMembers
    | ImportMessages
    | ImportReactions
)
AccountCommand: TypeAlias = IssueToken | RevokeToken
OtherCommand: TypeAlias = CreateRoom | OpenDirect | CreateAccount | ImportRoom | ReadPosition | AccountCommand
Command: TypeAlias = OtherCommand | RoomCommand

RoomEvent: TypeAlias = (
    MessagePosted
    | ReadMoved
    | ReactionAdded
    | ReactionRemoved
    | MessageEdited
    | MessageDeleted
    | RoomCreated
    | RoomChanged
    | RoomDeleted
    | MemberJoined
    | MemberChanged
    | MemberLeft
)
AccountEvent: TypeAlias = AccountCreated | TokenIssued | TokenRevoked | DirectRoomOpened
Event: TypeAlias = RoomEvent | AccountEvent | CommandAnswered | PassedOver

Answer: TypeAlias = (
    MessageAnswer
    | RoomAnswer
    | MemberAnswer
    | ReadAnswer
    | ReactionAnswer
    | AccountAnswer
    | TokenAnswer
    | ImportAnswer
    | Done
    | PositionAnswer
)
