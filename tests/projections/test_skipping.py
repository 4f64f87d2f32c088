"""An operator skips an event: only where a projection has stopped, and told what is lost by it."""

from typing import get_args

import pytest

from falcon.domain.events import PassedOver
from falcon.features.catalogue import Event
from falcon.features.messages.rules import MessagePosted
from falcon.journal.envelope import Position
from falcon.journal.ports import LogWentBack
from falcon.projections.skipping import NoSuchEvent, NotStoppedThere, skip_event
from falcon.read.catalogue import READ_MODELS, projections
from falcon.read.store import Skip
from tests.history.samples import SAMPLES
from tests.projections.test_consumer import World, room_in
from tests.support.builders import recorded


@pytest.fixture
def world() -> World:
    world = World()
    world.post(0, "a", "boom", "b")
    world.stream(0).settle()
    return world


def skip(world: World, offset: int, *, partition: int = 0, force: bool = False) -> str:
    return skip_event(world.log, world.tables, "timeline", partition, offset, "Ann has checked", force=force)


def test_the_operator_is_told_which_event_it_is_and_what_is_lost(world: World) -> None:
    lost = f"message 2 of room {room_in(0)} is shown as missing until it is edited or deleted"
    assert skip(world, 1) == f"message-posted. What is lost: {lost}"
    assert world.tables.skips("timeline") == [Skip(0, Position(1, world.ends[0].epoch, 1), "Ann has checked")]


@pytest.mark.parametrize(("partition", "offset"), [(0, 0), (0, 2), (1, 1)])
def test_where_no_projection_has_stopped_nothing_is_skipped(world: World, partition: int, offset: int) -> None:
    with pytest.raises(NotStoppedThere, match=r"it has stopped partition 0 at offset 1 .*ZeroDivisionError"):
        skip(world, offset, partition=partition)
    assert world.tables.skips("timeline") == []


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_any_event_can_be_skipped_by_force(world: World, offset: int) -> None:
    skip(world, offset, force=True)
    assert world.tables.skips("timeline") == [Skip(0, Position(offset, world.ends[0].epoch, offset), "Ann has checked")]


@pytest.mark.parametrize(("partition", "offset"), [(0, 3), (1, 0), (7, 0)])
def test_what_is_no_event_cannot_be_skipped(world: World, partition: int, offset: int) -> None:
    with pytest.raises(NoSuchEvent, match=f"no event at offset {offset} of partition {partition}"):
        skip(world, offset, partition=partition, force=True)


def test_a_record_that_does_not_decode_is_said_to_be_one(world: World) -> None:
    world.garbage(1)
    world.garbage(1)
    world.stream(1).settle()
    about = f"a record about room or account {room_in(1)} that this version cannot read."
    assert skip(world, 0, partition=1).startswith(about)
    skip(world, 1, partition=1, force=True)
    assert [skip.at.offset for skip in world.tables.skips("timeline")] == [0, 1]


def test_in_a_log_that_went_back_nothing_is_skipped(world: World) -> None:
    del world.log.events[0][0:]
    with pytest.raises(LogWentBack):
        skip(world, 1)


@pytest.mark.parametrize("projection", projections())
def test_a_projection_takes_each_event_that_it_uses_and_says_what_is_lost_without_it(projection: str) -> None:
    seen: set[type] = set()
    for event in (sample.event for sample in SAMPLES.values()):
        used = bool(READ_MODELS[projection].project(recorded(event)))
        assert used == (READ_MODELS[projection].loss(event) is not None) or (
            projection == "memberships" and isinstance(event, MessagePosted)  # a message without mentions
        ), event
        assert type(event) in READ_MODELS[projection].takes or not used, event
        seen.add(type(event))
    assert seen == {*get_args(Event)} - {PassedOver}
