"""The features, and all their commands, events and answers.

A new feature is a folder beside this file, and is named here and nowhere else: in ``FEATURES``, and what its rules know
in the types below. The rest of Falcon finds the modules of a feature by their names.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, TypeAlias

from falcon.domain.aggregates import AggregateKind
from falcon.domain.answers import Done, ImportAnswer, PositionAnswer
from falcon.domain.commands import ReadPosition
from falcon.domain.events import CommandAnswered, PassedOver
from falcon.features.accounts.rules import (
    ACCOUNT,
    AccountAnswer,
    AccountCommand,
    AccountEvent,
    CreateAccount,
    ProfileAnswer,
    TokenAnswer,
    WishAnswer,
)
from falcon.features.bookmarks.rules import BookmarkAnswer, BookmarksCommand, BookmarksEvent
from falcon.features.claims.rules import CLAIMS, ClaimAnswer, ClaimsCommand, ClaimsEvent
from falcon.features.invitations.rules import (
    INVITATIONS,
    InvitationAnswer,
    InvitationsAnswer,
    InvitationsCommand,
    InvitationsEvent,
)
from falcon.features.messages.rules import MessageAnswer, MessagesCommand, MessagesEvent
from falcon.features.owners.rules import OWNERS, OwnersCommand, OwnersEvent
from falcon.features.pins.rules import PinAnswer, PinsCommand, PinsEvent
from falcon.features.reactions.rules import ReactionAnswer, ReactionsCommand, ReactionsEvent
from falcon.features.read_marks.rules import MoveRead, ReadAnswer, ReadMoved
from falcon.features.rooms.rules import (
    ROOM,
    CreateRoom,
    ImportRoom,
    MemberAnswer,
    OpenDirect,
    RoomAnswer,
    RoomsCommand,
    RoomsEvent,
)
from falcon.features.sign_in.rules import (
    LinkAnswer,
    PasswordAnswer,
    SessionAnswer,
    SignInCommand,
    SignInEvent,
)
from falcon.features.threads.rules import (
    ImportThread,
    StartThread,
    ThreadAnswer,
    ThreadMessageAnswer,
    ThreadsCommand,
    ThreadsEvent,
)

# Routes are tried in this order: the most frequent ones come first.
FEATURES: Final = (
    *("messages", "reactions", "pins", "threads", "read_marks", "bookmarks", "people", "search", "rooms", "accounts"),
    *("sign_in", "invitations", "claims", "owners"),
)


def modules(name: str) -> list[Any]:
    """The modules of this name of the features that have one: ``rules``, ``log``, ``stream`` or ``api``."""
    names = [f"{__package__}.{feature}.{name}" for feature in FEATURES]
    return [import_module(each) for each in names if find_spec(each) is not None]


# isinstance goes through these in their order: the most frequent ones come first.
RoomCommand: TypeAlias = MessagesCommand | MoveRead | ReactionsCommand | PinsCommand | ThreadsCommand | RoomsCommand
CreatingCommand: TypeAlias = (
    CreateRoom | OpenDirect | StartThread | CreateAccount | ImportRoom | ImportThread | ReadPosition
)
OtherCommand: TypeAlias = (
    CreatingCommand
    | AccountCommand
    | SignInCommand
    | BookmarksCommand
    | InvitationsCommand
    | ClaimsCommand
    | OwnersCommand
)
Command: TypeAlias = OtherCommand | RoomCommand


RoomEvent: TypeAlias = MessagesEvent | ReadMoved | ReactionsEvent | PinsEvent | ThreadsEvent | RoomsEvent
OtherEvent: TypeAlias = AccountEvent | SignInEvent | BookmarksEvent | InvitationsEvent | ClaimsEvent | OwnersEvent
Event: TypeAlias = RoomEvent | OtherEvent | CommandAnswered | PassedOver

# The kinds of aggregates, each with the commands that are decided on one that is there, and with its events.
AGGREGATES: Final[tuple[tuple[AggregateKind, Any, Any], ...]] = (
    (ROOM, RoomCommand, RoomEvent),
    (ACCOUNT, AccountCommand | SignInCommand | BookmarksCommand, AccountEvent | SignInEvent | BookmarksEvent),
    (INVITATIONS, InvitationsCommand, InvitationsEvent),
    (CLAIMS, ClaimsCommand, ClaimsEvent),
    (OWNERS, OwnersCommand, OwnersEvent),
)

Answer: TypeAlias = (
    MessageAnswer
    | RoomAnswer
    | MemberAnswer
    | ReadAnswer
    | ReactionAnswer
    | PinAnswer
    | BookmarkAnswer
    | ThreadAnswer
    | ThreadMessageAnswer
    | AccountAnswer
    | TokenAnswer
    | ProfileAnswer
    | WishAnswer
    | SessionAnswer
    | PasswordAnswer
    | LinkAnswer
    | ClaimAnswer
    | InvitationAnswer
    | InvitationsAnswer
    | ImportAnswer
    | Done
    | PositionAnswer
)
