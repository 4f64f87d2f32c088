"""A command that was on its way past its deadline is not executed, whatever the machines' clocks say."""

import pytest

from falcon.features.messages.rules import PostMessage
from falcon.write import transit
from falcon.write.protocol import CommandBatch, CommandEnvelope, encode_sent_batch
from falcon.write.transit import Arrivals

SECONDS = 5.0  # that a command may take
EDGE = 7


class Edge:
    """A machine whose steady clock has another beginning than the owner's, and whose time of day may be off."""

    def __init__(self, world: "World", name: int = EDGE, wall_behind: float = 0.0, drift: float = 0.0) -> None:
        """``drift``: seconds a second by which its steady clock is slow."""
        self._world = world
        self._name = name
        self._wall_behind = wall_behind
        self._drift = drift

    def send(self) -> bytes:
        now = self._world.seconds * (1.0 - self._drift) - 900.0
        wall = round((self._world.seconds - self._wall_behind) * 1_000)
        command = CommandEnvelope(0, 65, PostMessage(65, 64, "hello"), now + SECONDS)
        return encode_sent_batch(CommandBatch(1, [command]), now, wall, self._name)


class World:
    """The owner's, and what has come to it."""

    def __init__(self) -> None:
        self.seconds = 10_000.0
        self.arrivals = Arrivals(lambda: self.seconds, lambda: round(self.seconds * 1_000))

    def left(self, data: bytes) -> float:
        """Seconds until the deadline of what arrives now."""
        (command,) = self.arrivals.received(data)
        return command.deadline - self.seconds

    def chat(self, edge: Edge, seconds: float) -> None:
        """A batch a second, each a millisecond on its way."""
        for _ in range(round(seconds)):
            data = edge.send()
            self.seconds += 0.001
            assert self.left(data) == pytest.approx(SECONDS, abs=0.01)
            self.seconds += 0.999


@pytest.fixture
def world() -> World:
    return World()


def test_what_lay_in_the_socket_of_an_owner_that_was_stopped_is_past_its_deadline(world: World) -> None:
    edge = Edge(world)
    world.chat(edge, 3)
    batches = []
    for _ in range(200):
        batches.append(edge.send())
        world.seconds += 1
    for i, data in enumerate(batches):
        assert world.left(data) == pytest.approx(SECONDS - (200 - i), abs=0.05)
    assert world.left(edge.send()) == pytest.approx(SECONDS, abs=0.01), "and goes on as before"


def test_the_time_on_the_way_counts_beyond_that_of_the_fastest(world: World) -> None:
    edge = Edge(world)
    world.chat(edge, 3)
    data = edge.send()
    world.seconds += 2
    assert world.left(data) == pytest.approx(SECONDS - 2, abs=0.01)


def test_clocks_that_drift_are_followed_in_a_minute(world: World) -> None:
    edge = Edge(world)
    for _ in range(60):
        world.chat(edge, 60)
        world.seconds += 0.005  # the owner's is faster
    world.chat(edge, 61)
    data = edge.send()
    world.seconds += 0.001
    assert world.left(data) == pytest.approx(SECONDS, abs=0.002)


def test_a_senders_first_batches_are_late_when_its_time_of_day_says_so(world: World) -> None:
    edge = Edge(world)
    first, second = edge.send(), edge.send()
    world.seconds += 300
    assert [world.left(first), world.left(second)] == [pytest.approx(SECONDS - 300)] * 2
    assert world.left(edge.send()) == pytest.approx(SECONDS)


@pytest.mark.parametrize("off", [-3_600, 0, 19.9])
def test_a_time_of_day_that_is_a_little_behind_or_ahead_makes_nothing_late(world: World, off: float) -> None:
    world.chat(Edge(world, wall_behind=off), 3)


def test_a_sender_whose_time_of_day_is_wrong_is_refused_for_a_minute_and_said(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    edge = Edge(world, wall_behind=3_600)
    seconds = 0
    while world.left(edge.send()) < SECONDS - 1:
        world.seconds += 1
        seconds += 1
    assert 30 < seconds < 65
    world.chat(edge, 100)
    (record,) = caplog.records
    assert "were sent 3600 s ago" in record.getMessage()


def test_senders_are_told_from_each_other_and_not_remembered_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transit, "_SENDERS_MAX", 3)
    for name in range(1, 9):
        world.chat(Edge(world, name), 2)
    assert len(world.arrivals._senders) == 3


def test_a_sender_that_was_silent_for_days_is_not_late_though_its_clock_has_drifted(world: World) -> None:
    edge = Edge(world, drift=5e-5)
    world.left(edge.send())
    world.seconds += 3 * 86_400
    assert world.left(edge.send()) == pytest.approx(SECONDS)
    world.seconds += 5
    assert world.left(edge.send()) == pytest.approx(SECONDS)
