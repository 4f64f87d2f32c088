"""A rebuild continues after it was killed, and processes share it, a partition each."""

import itertools
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import pytest

from falcon.journal.envelope import Cursor
from falcon.journal.ports import JournalUnavailable
from falcon.projections.rebuild import Assigned, Rebuild, RebuildShare
from falcon.projections.skipping import ProjectionFailed
from falcon.read.catalogue import READ_MODELS, Project, projections
from falcon.read.store import Recipe, Skip
from tests.projections.test_consumer import PARTITIONS, World
from tests.projections.test_rebuild import fails

TIMELINE = READ_MODELS["timeline"].project


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("falcon.projections.rebuild._OTHERS_SECONDS", 0.0)
    monkeypatch.setattr("falcon.projections.rebuild._BATCH_EVENTS", 2)
    return World()


# --- killed and run again ---------------------------------------------------------------------------------------------


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


# --- shared -----------------------------------------------------------------------------------------------------------


class Sharer:
    """A projector that gets these partitions among the ones that share a rebuild."""

    def __init__(self, world: World, *assigned: int, project: Project = TIMELINE) -> None:
        join, clock = self._join, world.clock.monotonic
        self.assigned: Collection[int] = assigned
        self.joined: list[str] = []
        self.left: list[str] = []
        self.applied = 0
        self._share = RebuildShare({**projections(), "timeline": project}, world.log, world.tables, join, clock)

    def step(self) -> None:
        self.applied += self._share.step()

    def run(self, ending: threading.Event) -> None:
        self._share.run(ending)

    @contextmanager
    def _join(self, name: str) -> Iterator[Assigned]:
        self.joined.append(name)
        yield lambda: self.assigned
        self.left.append(name)


def rebuilt_by(world: World, assigned: Collection[int], meanwhile: Callable[[], None]) -> int:
    """Rebuild the timeline. Returns how many events the process that has begun it has applied."""
    return Rebuild(
        "timeline", TIMELINE, world.log, world.tables, lambda _: meanwhile(), assigned=lambda: assigned
    ).run()


def test_processes_share_a_rebuild_a_partition_each(world: World) -> None:
    for partition in range(PARTITIONS):
        world.post(partition, "a", "b", "c")
    one, other = Sharer(world, 1), Sharer(world, 2)
    one.step()
    assert one.joined == [], "nothing is rebuilt yet"

    def both() -> None:
        one.step()
        other.step()

    assert rebuilt_by(world, [0], both) == one.applied == other.applied == 3
    assert [world.texts(partition) for partition in range(PARTITIONS)] == [["a", "b", "c"]] * 3
    both()
    assert one.joined == one.left == other.joined == other.left == ["timeline"]


def test_partitions_of_a_process_that_was_killed_go_to_the_others(world: World) -> None:
    for partition in range(PARTITIONS):
        world.post(partition, "a", "b", "c", "d")
    killed, assigned = Sharer(world, 1, 2), [0]

    def until_it_is_killed() -> None:
        if killed.applied < 4:
            killed.step()
        else:
            assigned[:] = range(PARTITIONS)

    assert rebuilt_by(world, assigned, until_it_is_killed) == 8
    assert [world.texts(partition) for partition in range(PARTITIONS)] == [["a", "b", "c", "d"]] * 3


def test_two_that_hold_the_same_partition_for_a_moment_do_each_other_no_harm(world: World) -> None:
    world.post(0, "a", "b", "c", "d", "e")
    assert rebuilt_by(world, range(PARTITIONS), Sharer(world, *range(PARTITIONS)).step) < 5
    assert world.texts(0) == ["a", "b", "c", "d", "e"]


def test_those_who_share_a_rebuild_pass_over_the_same_events(world: World) -> None:
    world.post(1, "a", "b", "c")
    skip = Skip(1, world.position(1, 1), "a test")
    sharer = Sharer(world, 1)
    Rebuild(
        "timeline", TIMELINE, world.log, world.tables, lambda _: sharer.step(), [skip], assigned=lambda: [0, 2]
    ).run()
    assert world.messages(1) == ["a", "(missing)", "c"]


def test_a_projector_leaves_a_rebuild_whose_command_is_gone_until_it_is_given_again(world: World) -> None:
    world.post(0, "a")
    world.tables.begin_rebuild("timeline")
    sharer = Sharer(world, 0)
    sharer.step()
    assert (sharer.applied, sharer.left) == (1, [])
    world.clock.advance(61)
    sharer.step()
    assert sharer.left == ["timeline"]
    world.post(0, "b")
    sharer.step()
    assert sharer.applied == 1
    world.tables.beat("timeline")
    sharer.step()
    assert sharer.applied == 2


def test_a_rebuild_gives_a_sign_of_life_every_five_seconds(world: World) -> None:
    world.post(0, *"abcdefgh")
    beats: list[float] = []
    Rebuild(
        "timeline",
        TIMELINE,
        world.log,
        world.tables,
        lambda _: world.clock.advance(2),
        beat=lambda: beats.append(world.clock.monotonic()),
        monotonic=world.clock.monotonic,
    ).run()
    pauses = [later - earlier for earlier, later in itertools.pairwise(beats)]
    assert pauses == [6.0] * len(pauses)
    assert len(pauses) >= 1


def test_a_projector_does_not_share_the_rebuild_of_another_version(world: World) -> None:
    world.post(0, "a")
    world.tables.begin_rebuild("timeline", Recipe("0.0.9"))
    sharer = Sharer(world, 0)
    sharer.step()
    assert sharer.joined == []


def test_a_projector_that_cannot_apply_an_event_leaves_it_to_the_rebuild_which_says_so(
    world: World, said: pytest.LogCaptureFixture
) -> None:
    world.post(1, "a")
    sharer, assigned = Sharer(world, 1, project=fails), [0, 2]

    def meanwhile() -> None:
        sharer.step()
        if sharer.left:
            assigned[:] = range(PARTITIONS)

    with pytest.raises(ProjectionFailed):
        Rebuild("timeline", fails, world.log, world.tables, lambda _: meanwhile(), assigned=lambda: assigned).run()
    sharer.step()
    assert sharer.joined == sharer.left == ["timeline"], "and it does not try again"
    assert "is not shared any more" in said.text


def test_a_projector_waits_while_the_log_is_away_and_leaves_when_it_ends(
    world: World, said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post(0, "a")
    world.tables.begin_rebuild("timeline")
    sharer, ending = Sharer(world, 0), threading.Event()

    def away(cursor: Cursor, limit: int) -> None:
        ending.set()
        raise JournalUnavailable("the test says so")

    monkeypatch.setattr(world.log, "read", away)
    sharer.run(ending)
    assert "share in rebuilds waits: the test says so" in said.text
    assert sharer.joined == sharer.left == ["timeline"]
