"""However the tables came to be, they say the same: what has happened, no more and no less."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from falcon.domain.events import PassedOver
from falcon.features.catalogue import Event
from falcon.features.messages.bodies import message_in
from falcon.read.catalogue import READ_MODELS, projections
from tests.projections.busy import BusyFalcon
from tests.projections.embedded import Embedded, in_batches
from tests.support.builders import recorded

SEEDS = range(4)


@pytest.fixture(scope="module", params=SEEDS)
def busy(request: pytest.FixtureRequest) -> BusyFalcon:
    return BusyFalcon(request.param)


def test_in_these_histories_everything_happens() -> None:
    happened = {type(event) for seed in SEEDS for event in BusyFalcon(seed).events}
    assert happened == {*get_args(Event)} - {PassedOver}


def test_what_can_be_read_is_what_was_decided(busy: BusyFalcon, falcon: Embedded) -> None:
    for batch in in_batches(busy.events, [1, 7, 30]):
        falcon.append(*batch)
    rows, world = falcon.rows(), busy.world
    rooms = {room_id: room for room_id, room in world.rooms.items() if not room.deleted}
    assert [(r[0], r[2], r[3], r[8]) for r in rows["rooms"]] == sorted(
        (room_id, room.name, room.description, room.last_seq) for room_id, room in rooms.items()
    )
    assert [row for row in rows["revisions"] if row[0] in rooms] == sorted(
        (room_id, room.revision) for room_id, room in rooms.items() if room.revision
    )
    assert rows["memberships"] == sorted(
        (room_id, account_id, member.role, member.read_seq, room.thread.parent if room.thread else 0)
        for room_id, room in rooms.items()
        for account_id, member in room.members.items()
    )
    assert [row[:3] for row in rows["accounts"]] == sorted(
        (a.account_id, a.name, a.role) for a in world.accounts.values()
    )
    assert [row[:3] for row in rows["tokens"]] == sorted(
        (a.account_id, token_id, token.token_hash)
        for a in world.accounts.values()
        for token_id, token in a.tokens.items()
    )
    assert [message_in(message) for _, message in rows["timeline"]] == [
        busy.messages[place] for place in sorted(busy.messages)
    ]
    shown = {(row[0], int.from_bytes(row[1], "big")): row[2] for row in rows["threads"]}
    for room_id, room in rooms.items():
        if room.thread is not None:
            thread = msgspec.json.decode(shown[room.thread.parent, room.thread.seq])
            participants = list(room.thread.participants)
            assert thread["room_id"] == room_id
            assert (thread["last_seq"], thread["participants"]) == (room.last_seq, participants)
    assert rows["mentions"] == sorted(
        {(account_id, *place) for place, message in busy.messages.items() for account_id in message.mentions}
    )


def test_applied_with_the_commits_or_after_them_is_the_same(busy: BusyFalcon, tmp_path: Path) -> None:
    with Embedded(tmp_path / "inline.db") as inline, Embedded(tmp_path / "after.db", inline={}) as after:
        for falcon, sizes in ((inline, [1, 2, 50]), (after, [400])):
            for batch in in_batches(busy.events, sizes):
                falcon.append(*batch)
        assert after.rows()["timeline"] == []
        assert after.caught_up().rows() == inline.rows()
        assert after.applied() == inline.applied() == dict.fromkeys(READ_MODELS, len(busy.events))


def test_events_applied_twice_are_applied_once(busy: BusyFalcon, falcon: Embedded) -> None:
    falcon.append(*busy.events)
    once = falcon.rows()
    for start in (0, 1, len(busy.events) // 2, len(busy.events) - 1):
        falcon.stand_at(start)
        assert falcon.caught_up().rows() == once, f"applied again from offset {start} on"


@pytest.mark.parametrize("name", projections())
def test_rebuilt_tables_are_those_that_were_there(busy: BusyFalcon, falcon: Embedded, name: str) -> None:
    falcon.append(*busy.events)
    before = falcon.rows()
    assert falcon.rebuild(name) == len(busy.events)
    assert falcon.rows() == before
    assert falcon.applied() == dict.fromkeys(READ_MODELS, len(busy.events))


def test_a_projection_says_the_same_of_the_same_event(busy: BusyFalcon) -> None:
    for project in projections().values():
        for event in busy.events:
            assert project(recorded(event)) == project(recorded(event))
