from typing import get_args

import pytest

from falcon.domain.events import CommandAnswered, PassedOver
from falcon.features.accounts.rules import AccountCreated, AccountEvent, DirectRoomOpened, TokenIssued, TokenRevoked
from falcon.features.catalogue import Event, RoomEvent
from falcon.features.messages.rules import MessageDeleted, MessageEdited, MessagePosted
from falcon.features.reactions.rules import ReactionAdded, ReactionRemoved
from falcon.features.rooms.rules import MemberChanged
from falcon.journal.envelope import Position, aggregate_of
from tests.support.builders import ANN, BOB, NOW, ROOM, a_group, a_message, gone, has_read, joined, left, renamed

OF_THE_ROOM: list[Event] = [
    a_group(),
    renamed(),
    gone(ANN),
    joined(BOB),
    MemberChanged(ROOM, BOB, "admin", "member"),
    left(BOB),
    MessagePosted(a_message()),
    MessageEdited(a_message(), 1),
    MessageDeleted(a_message(), 1),
    has_read(BOB, 1),
    ReactionAdded(ROOM, 1, "👍", ANN, NOW, 1, 1, 1, (ANN,)),
    ReactionRemoved(ROOM, 1, "👍", ANN, NOW, 1, 2, 0, 1, ()),
]
OF_THE_ACCOUNT: list[Event] = [
    AccountCreated(ANN, "Ann", False, NOW),
    TokenIssued(ANN, 1, "c0ffee", NOW),
    TokenRevoked(ANN, 1, "c0ffee"),
    DirectRoomOpened(ANN, BOB, ROOM),
]


@pytest.mark.parametrize("event", OF_THE_ROOM, ids=lambda event: type(event).__name__)
def test_what_happens_in_a_room_belongs_to_the_room(event: Event) -> None:
    assert aggregate_of(event) == ROOM


@pytest.mark.parametrize("event", OF_THE_ACCOUNT, ids=lambda event: type(event).__name__)
def test_what_happens_to_an_account_belongs_to_the_account(event: Event) -> None:
    assert aggregate_of(event) == ANN


def test_what_changes_nothing_here_belongs_to_nobody() -> None:
    assert aggregate_of(CommandAnswered()) == aggregate_of(PassedOver("room-painted", 1)) == 0


def test_every_event_belongs_somewhere() -> None:
    assert {type(event) for event in OF_THE_ROOM} == set(get_args(RoomEvent))
    assert {type(event) for event in OF_THE_ACCOUNT} == set(get_args(AccountEvent))
    assert set(get_args(Event)) == {*get_args(RoomEvent), *get_args(AccountEvent), CommandAnswered, PassedOver}


def test_a_reader_begins_before_everything() -> None:
    assert Position() == (0, 0, 0)
