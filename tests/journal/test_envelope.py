from typing import get_args

import pytest

from falcon.domain.events import CommandAnswered, PassedOver
from falcon.features.accounts.rules import AccountEvent
from falcon.features.catalogue import Command, Event, RoomEvent
from falcon.features.decider import IDENTITY
from falcon.journal.envelope import Position, aggregate_of
from tests.history.samples import ANN, ROOM, SAMPLES

HAPPENED = {type(sample.event): sample.event for sample in SAMPLES.values()}


@pytest.mark.parametrize("kind", get_args(RoomEvent))
def test_what_happens_in_a_room_belongs_to_the_room(kind: type[Event]) -> None:
    assert aggregate_of(HAPPENED[kind]) == ROOM


@pytest.mark.parametrize("kind", get_args(AccountEvent))
def test_what_happens_to_an_account_belongs_to_the_account(kind: type[Event]) -> None:
    assert aggregate_of(HAPPENED[kind]) == ANN


def test_what_changes_nothing_here_belongs_to_nobody() -> None:
    assert aggregate_of(CommandAnswered()) == aggregate_of(PassedOver("room-painted", 1)) == 0


def test_every_event_belongs_somewhere() -> None:
    assert set(get_args(Event)) == {*IDENTITY, CommandAnswered, PassedOver} - set(get_args(Command))


def test_a_reader_begins_before_everything() -> None:
    assert Position() == (0, 0, 0)
