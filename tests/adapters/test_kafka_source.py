"""A position that was kept elsewhere is checked before a partition is read from there on: is it a place in this log?"""

import asyncio
from collections.abc import Coroutine, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon.adapters.kafka import fence
from falcon.adapters.kafka import source as kafka_source
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.source import KafkaSource
from falcon.journal.envelope import Position
from falcon.journal.ports import LogWentBack, NotShown


class Log:
    """A partition as its writers leave it, some of them deposed."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.positions = [Position()]  # where a reader stands before each record, and behind the last

    def append(self, value: bytes) -> None:
        self.values.append(value)
        self.positions.append(fence.judge(self.positions[-1], value)[0])

    def take_over(self) -> None:
        self.append(fence.marker("an owner"))

    def post(self, count: int = 1) -> None:
        for _ in range(count):
            self.append(fence.event(self.positions[-1].epoch, self.positions[-1].n, b"{}"))

    def post_again(self, n: int) -> None:
        """A second copy of one of the open epoch's events."""
        self.append(fence.event(self.positions[-1].epoch, n, b"{}"))

    def post_of_deposed(self, epoch: int, n: int) -> None:
        self.append(fence.event(epoch, n, b"{}"))

    def copy(self, records: int) -> "Log":
        copy = Log()
        for value in self.values[:records]:
            copy.append(value)
        return copy


class LogSource(KafkaSource):
    """Reads partition 0 from a Log."""

    def __init__(self, log: Log) -> None:
        self._cluster = KafkaCluster(("localhost:1",), 1)
        self.log = log
        self.records_read = 0

    def _between(self, starts: Mapping[int, int], stops: Mapping[int, int]) -> dict[int, list[tuple[int, bytes]]]:
        found: dict[int, list[tuple[int, bytes]]] = {}
        for partition, start in starts.items():
            assert start < stops[partition]
            if stops[partition] > len(self.log.values):
                raise LogWentBack("as the brokers say of what is beyond the end")
            found[partition] = list(enumerate(self.log.values[start : stops[partition]], start))
            self.records_read += len(found[partition])
        return found


def is_a_place(log: Log, position: Position) -> bool:
    try:
        LogSource(log).check({0: position})
    except LogWentBack:
        return False
    return True


STEPS = st.one_of(
    st.just(("take over",)),
    st.tuples(st.just("post"), st.integers(1, 5)),
    st.tuples(st.just("post again"), st.integers(0, 9)),
    st.tuples(st.just("deposed"), st.integers(1, 40), st.integers(0, 9)),
)


def history(log: Log, steps: list[tuple[object, ...]]) -> Log:
    for step in steps:
        match step:
            case ("take over",):
                log.take_over()
            case ("post", int(count)):
                log.post(count)
            case ("post again", int(n)) if log.positions[-1].n > n:
                log.post_again(n)
            case ("deposed", int(epoch), int(n)) if epoch < log.positions[-1].epoch:
                log.post_of_deposed(epoch, n)
    return log


@settings(deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_every_place_in_a_log_is_known_as_one(steps: list[tuple[object, ...]]) -> None:
    log = Log()
    log.take_over()
    history(log, steps)
    source = LogSource(log)
    for position in log.positions:
        source.check({0: position})


@settings(deadline=None)
@given(st.lists(STEPS, max_size=20), st.lists(STEPS, min_size=1, max_size=20), st.lists(STEPS, max_size=20), st.data())
def test_places_that_a_restored_log_has_lost_are_none(
    shared: list[tuple[object, ...]],
    lost: list[tuple[object, ...]],
    new: list[tuple[object, ...]],
    data: st.DataObject,
) -> None:
    before = Log()
    before.take_over()
    history(before, shared)
    restored = before.copy(len(before.values))
    history(before, lost)
    restored.take_over()
    history(restored, new)
    position = data.draw(st.sampled_from(before.positions))
    true_place = position.offset < len(restored.positions) and restored.positions[position.offset] == position
    # A place may look as one of the restored log does: only where both have a marker at the offset of its epoch's.
    if not true_place and not _same_marker(before, restored, position.epoch - 1):
        assert not is_a_place(restored, position)
    if true_place:
        assert is_a_place(restored, position)


def _same_marker(one: Log, other: Log, offset: int) -> bool:
    values = [log.values[offset] if 0 <= offset < len(log.values) else b"" for log in (one, other)]
    return all(map(fence.is_marker, values))


@pytest.mark.parametrize("position", [Position(9, 40, 2), Position(3, 1, 1), Position(3, 2, 2), Position(3, 1, 3)])
def test_what_could_be_no_place_in_any_log_is_none(position: Position) -> None:
    log = Log()
    log.take_over()
    log.post(20)
    assert is_a_place(log, Position(3, 1, 2))
    assert not is_a_place(log, position)


def test_what_an_owner_of_the_lost_history_writes_late_makes_no_place_of_it() -> None:
    log = Log()
    log.take_over()
    log.post(9)
    log.post_of_deposed(epoch=7, n=4)
    assert not is_a_place(log, Position(11, 7, 5))
    assert is_a_place(log, Position(11, 1, 9))


def test_two_records_tell_however_long_an_epoch_is() -> None:
    log = Log()
    log.take_over()
    log.post(5_000)
    source = LogSource(log)
    source.check({0: log.positions[-1]})
    assert source.records_read == 2


def test_behind_many_void_records_it_is_looked_back_as_far_as_needed() -> None:
    log = Log()
    log.take_over()
    log.take_over()
    log.post(3)
    for n in range(3 * kafka_source._LOOKED_BACK_AT):
        log.post_of_deposed(1, n)
    assert is_a_place(log, log.positions[-1])
    assert not is_a_place(log, log.positions[-1]._replace(n=2))


class ReaderOf:
    """Reads partitions from Logs; of others it gets nothing."""

    def __init__(self, logs: Mapping[int, Log]) -> None:
        self._logs = logs

    async def records(self, offsets: Mapping[int, int], limit: int, seconds: float) -> dict[int, list[Any]]:
        return {
            partition: [
                SimpleNamespace(offset=offset, value=value)
                for offset, value in enumerate(self._logs[partition].values[start:], start)
            ]
            for partition, start in offsets.items()
            if partition in self._logs
        }


class SourceOf(KafkaSource):
    def __init__(self, logs: Mapping[int, Log]) -> None:
        self._cluster = KafkaCluster(("localhost:1",), 3)
        self._reader: Any = ReaderOf(logs)
        self._loop: Any = self
        self._wait_seconds = 0.0

    def call(self, asked: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(asked)


def test_of_partitions_that_the_brokers_do_not_show_it_is_said_which_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_source, "_CHECK_SECONDS", 0.05)
    log = Log()
    log.take_over()
    log.post(3)
    place = log.positions[-1]
    with pytest.raises(NotShown) as told:
        SourceOf({1: log}).check({0: place, 1: place, 2: place})
    assert told.value.partitions == {0, 2}
    SourceOf({1: log}).check({1: place})
