"""Partitions come back each by itself, as soon as their part of the log has been read."""

from collections.abc import Callable, Sequence

import pytest

from falcon.domain.ids import id_of
from falcon.features.catalogue import Command
from falcon.features.messages.rules import PostMessage
from falcon.features.rooms.rules import CreateRoom, Room
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Position, Recorded
from falcon.journal.ports import Checkpointed, EventSource, JournalUnavailable, Snapshot
from falcon.write import recovery as module
from falcon.write.limits import ShardLimits
from falcon.write.ownership import FixedOwnership
from falcon.write.partition_aggregates import PartitionAggregates
from falcon.write.protocol import CommandBatch, CommandEnvelope, Unavailable
from falcon.write.recovery import Recovered, Recovery
from falcon.write.shard import Shard
from tools.harness.clock import FakeClock
from tools.harness.memory.journal import MemoryJournal
from tools.harness.memory.log import MemoryLog
from tools.harness.replies import Replied

ANN = 1_000
PARTITIONS = 4
BAD = 2


class Source:
    """The log, of which one partition makes trouble."""

    def __init__(self, log: MemoryLog, trouble: Exception | None = None) -> None:
        self._log = log
        self.trouble = trouble
        self.partitions = log.partitions

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        if BAD in cursor and self.trouble is not None:
            raise self.trouble
        events, after = self._log.read({p: at for p, at in cursor.items() if p != BAD}, limit)
        return events, {**cursor, **after}

    def end(self) -> Cursor:
        return self._log.end()

    def remaining(self, cursor: Cursor) -> int:
        return self._log.remaining(cursor)

    def wait(self, seconds: float) -> None: ...


def carried_out(log: MemoryLog, command: Callable[[int], Command]) -> Shard:
    """The shard that has decided such a command in each partition."""
    clock = FakeClock()
    shard = Shard(
        FixedOwnership(range(PARTITIONS)),
        MemoryJournal(log, lambda: None),
        log,
        log,
        clock,
        ShardLimits(),
        "ann",
        reply=Replied(),
    )
    shard.start()
    commands = [CommandEnvelope(p, ANN, command(p), clock.monotonic() + 5) for p in range(PARTITIONS)]
    shard.execute(CommandBatch(1, commands))
    return shard


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog(PARTITIONS)
    carried_out(made, lambda _: CreateRoom(ANN, "Tea"))
    return made


def recover(
    log: MemoryLog,
    source: EventSource,
    numbers: Sequence[int] = range(PARTITIONS),
    snapshots: "DamagedSnapshots | None" = None,
    clock: FakeClock | None = None,
) -> list[Recovered]:
    def make(number: int) -> PartitionAggregates:
        limits = ShardLimits(answer_window_ms=1, hot_aggregates=1)
        return PartitionAggregates(number, log.partitions, snapshots or log, limits)

    reports = Recovery(MemoryJournal(log, lambda: None), source, make, "bob", clock or FakeClock()).run(numbers)
    return [each for each in reports if each.ready or each.down or each.undecodable]


class DamagedSnapshots:
    """Snapshots, of which those of one partition cannot be read; or only ``states`` of its rooms and accounts."""

    def __init__(self, log: MemoryLog, damaged: str) -> None:
        self._log = log
        self._damaged = damaged

    def checkpoint(self, partition: int, version: int) -> Checkpointed | None:
        self._read(partition, "checkpoint")
        return self._log.checkpoint(partition, version)

    def answers(self, partition: int, version: int, since: int) -> list[bytes]:
        return self._log.answers(partition, version, since)

    def load(self, partition: int, key: str, version: int) -> Snapshot | None:
        self._read(partition, "states")
        return self._log.load(partition, key, version)

    def _read(self, partition: int, what: str) -> None:
        if partition == BAD and what == self._damaged:
            raise JournalUnavailable(f"the {what} are damaged")


def ready(recovered: list[Recovered]) -> set[int]:
    return {partition.number for each in recovered for partition in each.ready}


def test_a_partition_whose_log_stands_still_is_given_up_and_the_others_are_served_before(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROGRESS_SECONDS", 0.01)
    first, last = recover(log, Source(log))
    assert (ready([first]), first.left) == ({0, 1, 3}, 1)
    assert (last.down, last.left) == ([BAD], 0)


@pytest.mark.parametrize("trouble", [JournalUnavailable("trimmed", BAD), Undecodable("of tomorrow", BAD, Position())])
def test_a_partition_that_cannot_be_read_takes_none_with_it(log: MemoryLog, trouble: Exception) -> None:
    recovered = recover(log, Source(log, trouble))
    assert ready(recovered) == {0, 1, 3}
    assert [(*each.down, *each.undecodable) for each in recovered if not each.ready] == [(BAD,)]
    assert recovered[-1].left == 0


@pytest.mark.parametrize("damaged", ["checkpoint", "states"])
def test_a_partition_whose_snapshots_cannot_be_read_takes_none_with_it(log: MemoryLog, damaged: str) -> None:
    carried_out(log, lambda partition: PostMessage(ANN, id_of(1, partition, PARTITIONS), "hello")).close()
    carried_out(log, lambda partition: PostMessage(ANN, id_of(1, partition, PARTITIONS), "behind the checkpoint"))
    recovered = recover(log, log, snapshots=DamagedSnapshots(log, damaged))
    assert ready(recovered) == {0, 1, 3}
    assert [number for each in recovered for number in each.down] == [BAD]
    assert recovered[-1].left == 0
    assert ready(recover(log, log)) == {0, 1, 2, 3}


class ZeroedSnapshots(DamagedSnapshots):
    """Only zeros are left of what is damaged."""

    def checkpoint(self, partition: int, version: int) -> Checkpointed | None:
        stored = self._log.checkpoint(partition, version)
        assert stored is not None
        return Checkpointed(stored.position, self._zeroed(partition, "checkpoint", stored.state))

    def answers(self, partition: int, version: int, since: int) -> list[bytes]:
        return [
            self._zeroed(partition, "answers", data) for data in [b"\x90", *super().answers(partition, version, since)]
        ]

    def load(self, partition: int, key: str, version: int) -> Snapshot | None:
        stored = self._log.load(partition, key, version)
        return stored and Snapshot(stored.offset, self._zeroed(partition, "states", stored.data))

    def _zeroed(self, partition: int, what: str, data: bytes) -> bytes:
        return bytes(len(data)) if partition == BAD and what == self._damaged else data


@pytest.mark.parametrize("damaged", ["checkpoint", "answers", "states"])
def test_a_partition_whose_snapshots_are_damaged_comes_back_from_its_log(
    log: MemoryLog, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    carried_out(log, lambda partition: PostMessage(ANN, id_of(1, partition, PARTITIONS), "hello")).close()
    carried_out(log, lambda partition: PostMessage(ANN, id_of(1, partition, PARTITIONS), "behind the checkpoint"))
    recovered = recover(log, log, snapshots=ZeroedSnapshots(log, damaged))
    assert ready(recovered) == {0, 1, 2, 3}
    assert caplog.text.count(f"partition {BAD} uses no snapshots") == 1
    room_id = id_of(1, BAD, PARTITIONS)
    (partition,) = [partition for each in recovered for partition in each.ready if partition.number == BAD]
    room = partition.hot[room_id]
    assert isinstance(room, Room) and room.last_seq == 2


def test_with_all_of_the_log_away_all_of_them_are_down(log: MemoryLog) -> None:
    (recovered,) = recover(log, Source(log, JournalUnavailable("no broker answers")))
    assert (list(recovered.down), recovered.left) == ([0, 1, 2, 3], 0)


class Host:
    """A shard whose recoveries run when the test says so."""

    def __init__(self, log: MemoryLog, **limits: float) -> None:
        self.clock = FakeClock()
        self.source = Source(log, JournalUnavailable("trimmed", BAD))
        self.journal = MemoryJournal(log, lambda: None)
        self.recoveries: list[object] = []
        self.replied = Replied()
        self.shard = Shard(
            FixedOwnership(range(PARTITIONS)),
            self.journal,
            log,
            log,
            self.clock,
            ShardLimits(**limits),  # type: ignore[arg-type]
            "bob",
            reply=self.replied,
            recovery_source=self.source,
            background=self.recoveries.append,
        )
        self.tries = 0

    def recover(self) -> None:
        self.recoveries.pop()()  # type: ignore[operator]
        self.shard.drain()

    def seconds_until_the_next_try(self) -> float:
        seconds = 0.0
        while not self.recoveries:
            self.clock.advance(0.05)
            seconds += 0.05
            self.shard.tick()
        return seconds


def test_what_cannot_be_taken_over_is_tried_again_less_and_less_often(log: MemoryLog) -> None:
    host = Host(log, recovery_retry_seconds=0.25, recovery_retry_seconds_max=2.0)
    host.shard.start()
    host.recover()
    pauses = []
    for _ in range(6):
        pauses.append(host.seconds_until_the_next_try())
        host.recover()
    assert pauses == pytest.approx([0.25, 0.5, 1, 2, 2, 2], abs=0.06)


def test_partitions_that_serve_are_not_taken_over_again_with_the_one_that_is_down(log: MemoryLog) -> None:
    host = Host(log)
    host.shard.start()
    host.recover()
    epochs = list(log.epochs)
    for _ in range(3):
        host.seconds_until_the_next_try()
        host.recover()
    assert [after - before for before, after in zip(epochs, log.epochs, strict=True)] == [0, 0, 3, 0]


def test_one_recovery_is_under_way_at_a_time(log: MemoryLog) -> None:
    host = Host(log)
    host.shard.start()
    for _ in range(20):
        host.clock.advance(1)
        host.shard.tick()
    assert len(host.recoveries) == 1


def test_who_leaves_takes_nothing_over_any_more(log: MemoryLog) -> None:
    host = Host(log)
    host.shard.start()
    host.recover()
    host.shard.leave()
    for _ in range(20):
        host.clock.advance(1)
        host.shard.tick()
    assert host.recoveries == []


def test_a_shard_tells_of_partitions_that_are_down(log: MemoryLog) -> None:
    host = Host(log)
    host.shard.start()
    host.recover()
    rows = {row["partition"]: row for row in host.shard.describe()}
    assert (rows[BAD]["state"], rows[BAD]["aggregates"], rows[BAD]["epoch"]) == ("down", 0, None)
    assert (rows[0]["state"], rows[0]["aggregates"]) == ("serving", 1)
    envelope = CommandEnvelope(BAD, ANN, CreateRoom(ANN, "Tea"), host.clock.monotonic() + 5)
    host.shard.execute(CommandBatch(1, [envelope]))
    assert host.replied.take_replies() == [Unavailable("unavailable")]


@pytest.mark.parametrize(("seconds", "says_so"), [(2 * 365 * 86_400, True), (61, True), (59, False), (-3_600, False)])
def test_a_start_behind_the_newest_event_says_so_once(
    log: MemoryLog, caplog: pytest.LogCaptureFixture, seconds: int, *, says_so: bool
) -> None:
    clock = FakeClock()
    clock.set_back(seconds)
    recover(log, log, clock=clock)
    lines = [record for record in caplog.records if f"is {seconds} s ahead of this machine's clock" in record.message]
    assert [line.levelname for line in lines] == ["ERROR"] * says_so
