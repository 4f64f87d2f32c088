"""A rebuild continues after it was killed."""

import pytest

from falcon.journal.envelope import Cursor
from falcon.projections.rebuild import Rebuild
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import Skip
from tests.projections.test_consumer import World

TIMELINE = READ_MODELS["timeline"].project


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("falcon.projections.rebuild._BATCH_EVENTS", 2)
    return World()


def killed_rebuild(world: World) -> None:
    """A rebuild of the timeline that has applied two events of partition 0."""

    def die(reached: Cursor) -> None:
        if reached[0].offset >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Rebuild("timeline", TIMELINE, world.log, world.tables, die).run()


@pytest.mark.parametrize(("skipped", "applied"), [(None, 2), (3, 2), (1, 4)], ids=["none", "to come", "applied"])
def test_a_rebuild_starts_over_if_it_has_applied_what_it_is_to_pass_over_now(
    world: World, skipped: int | None, applied: int
) -> None:
    world.post(0, "a", "b", "c")
    killed_rebuild(world)
    world.post(0, "d")
    skips = [] if skipped is None else [Skip(0, world.position(0, skipped), "a test")]
    assert Rebuild("timeline", TIMELINE, world.log, world.tables, skips=skips).run() == applied


def test_a_rebuild_of_a_history_that_the_log_has_lost_starts_over(world: World) -> None:
    world.post(0, "a", "b")
    killed_rebuild(world)
    restored = World()
    restored.post(0, "a")
    assert Rebuild("timeline", TIMELINE, restored.log, world.tables).run() == 1


def test_two_that_run_at_once_do_each_other_no_harm(world: World) -> None:
    world.post(0, "a", "b", "c", "d", "e")

    def other(reached: Cursor) -> None:
        """Another process applies an event of the same tables."""
        unfinished = world.tables.unfinished_rebuild("timeline")
        assert unfinished is not None
        cursor = world.tables.cursor(unfinished.shadow)
        if cursor[0].offset < 2:
            events, after = world.log.read(cursor, 1)
            writes = [write for event in events for write in TIMELINE(event)]
            world.tables.apply(unfinished.shadow, cursor, after, writes)

    assert Rebuild("timeline", TIMELINE, world.log, world.tables, other).run() == 3
    assert world.texts(0) == ["a", "b", "c", "d", "e"]
