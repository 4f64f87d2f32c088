"""Rows of rooms are kept until the log has an event of the room: so each event that writes them is one of that room."""

import pytest

from falcon.journal import codec
from falcon.journal.envelope import Recorded
from falcon.read.catalogue import READ_MODELS
from falcon.streams.feed import _POSTED, READER_EVENTS
from tests.history.samples import SAMPLES

KEPT = ("timeline", "rooms", "memberships", "reactions", "threads", "pins")


@pytest.mark.parametrize("name", KEPT)
def test_what_an_event_writes_of_rooms_is_of_its_own_room(name: str) -> None:
    model, seen = READ_MODELS[name], 0
    for envelope in SAMPLES.values():
        record = codec.encode(envelope)
        for write in model.project(Recorded(7, envelope)):
            seen += 1
            assert model.hbase.identity(write) == record.key, (envelope.event, write)
    assert seen


@pytest.mark.parametrize("name", ["reactions", "threads", "pins"])
def test_messages_and_read_marks_change_no_history(name: str) -> None:
    for envelope in SAMPLES.values():
        if codec.encode(envelope).type in (_POSTED | READER_EVENTS):
            assert READ_MODELS[name].project(Recorded(7, envelope)) == ()
