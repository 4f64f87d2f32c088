"""A read model that is being filled is shown once all of the log is in it, whichever process applies which
partition."""

from collections.abc import Callable

import pytest

from falcon.journal.envelope import Cursor, Position
from falcon.projections.filling import Filling
from falcon.read.store import Fill
from tools.harness.memory.tables import MemoryTables

PARTITIONS = 2


class Log:
    """A log that ends at the same offset in every partition."""

    partitions = PARTITIONS

    def __init__(self) -> None:
        self.length = 10

    def end(self) -> Cursor:
        return dict.fromkeys(range(PARTITIONS), Position(self.length))


class Cluster:
    """Tables with a new read model, a log, and projectors that look once a second if it has been filled."""

    def __init__(self) -> None:
        self.tables = MemoryTables(PARTITIONS, [])
        self.tables.install("rooms")
        self.log = Log()
        self.now = 0.0
        self.projectors = [self.projector(), self.projector()]

    def projector(self) -> Filling:
        return Filling("rooms", self.log, self.tables, lambda: self.now)  # type: ignore[arg-type]  # it has an end

    def apply(self, partition: int, offset: int) -> None:
        before = {partition: self.tables.cursor("rooms")[partition]}
        self.tables.apply("rooms", before, {partition: Position(offset)}, ())

    def after(self, seconds: int) -> Fill:
        for _ in range(seconds):
            self.now += 1.0
            for projector in self.projectors:
                projector.look()
        return self.tables.fill("rooms")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def until(cluster: Cluster, fill: Fill) -> int:
    """How many seconds it took."""
    return next(seconds for seconds in range(1, 100) if cluster.after(1) is fill)


def test_it_is_shown_when_every_partition_has_been_filled(cluster: Cluster) -> None:
    cluster.apply(0, 10)
    assert cluster.after(5) is Fill.FILLING
    cluster.apply(1, 10)
    until(cluster, Fill.SHOWN)


def test_what_comes_meanwhile_does_not_hold_it_up(cluster: Cluster) -> None:
    for length in range(10, 200, 10):
        cluster.log.length = length + 10
        cluster.after(1)
        for partition in range(PARTITIONS):
            cluster.apply(partition, length)
    assert cluster.tables.fill("rooms") is Fill.SHOWN


def test_an_end_that_took_long_to_reach_is_none_any_more(cluster: Cluster) -> None:
    """Or a partition could be far behind the log when it is shown."""
    cluster.after(1)
    cluster.log.length = 5_000
    cluster.now += 100
    for partition in range(PARTITIONS):
        cluster.apply(partition, 10)
    assert cluster.after(5) is Fill.FILLING
    for partition in range(PARTITIONS):
        cluster.apply(partition, 5_000)
    until(cluster, Fill.SHOWN)


def test_readers_have_time_to_learn_that_it_is_counted_before_it_is_shown(cluster: Cluster) -> None:
    for partition in range(PARTITIONS):
        cluster.apply(partition, 10)
    until(cluster, Fill.COUNTED)
    assert until(cluster, Fill.SHOWN) >= 3


def test_a_projector_that_is_started_again_in_between_goes_on(cluster: Cluster) -> None:
    for partition in range(PARTITIONS):
        cluster.apply(partition, 10)
    until(cluster, Fill.COUNTED)
    cluster.projectors = [cluster.projector()]
    assert until(cluster, Fill.SHOWN) >= 3


def test_what_is_shown_is_not_looked_at_again(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.tables.move_fill("rooms", Fill.SHOWN)
    cluster.after(1)
    asked: list[str] = []
    fill: Callable[[str], Fill] = cluster.tables.fill

    def looked(name: str) -> Fill:
        asked.append(name)
        return fill(name)

    monkeypatch.setattr(cluster.tables, "fill", looked)
    cluster.after(3)
    assert asked == ["rooms"], "only by this test"


def test_what_was_thrown_away_is_shown_again_once_it_has_been_filled(cluster: Cluster) -> None:
    for partition in range(PARTITIONS):
        cluster.apply(partition, 10)
    until(cluster, Fill.SHOWN)
    cluster.tables.install("rooms")
    for projector in cluster.projectors:
        projector.forget()
    assert cluster.after(5) is Fill.FILLING
    for partition in range(PARTITIONS):
        cluster.apply(partition, 10)
    until(cluster, Fill.SHOWN)
