"""The epoch fence without brokers: what a partition's records mean to readers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pytest
from aiokafka.structs import ConsumerRecord
from hypothesis import given as given_any
from hypothesis import strategies as st

from falcon.adapters.kafka import fence
from falcon.adapters.kafka.reader import Valid, judge_all
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from tests.support.builders import tried

START: Final = Position()
ANN: Final = fence.marker("ann")
BOB: Final = fence.marker("bob")


class Judged(NamedTuple):
    at: Position
    body: bytes | None


def judged(records: Sequence[bytes], at: Position = START) -> list[Judged]:
    """Each record from a position on: where a reader stands before it, and what it is worth."""
    verdicts: list[Judged] = []
    for value in records:
        before = at
        at, body = fence.judge(before, value)
        assert at.offset == before.offset + 1
        verdicts.append(Judged(before, body))
    return verdicts


@dataclass(frozen=True)
class Given:
    records: tuple[bytes, ...]

    def when(self, *records: bytes) -> "Given":
        return Given((*self.records, *records))

    def then_valid(self, *bodies: bytes) -> None:
        assert [body for _, body in judged(self.records) if body is not None] == list(bodies)


def given(*records: bytes) -> Given:
    return Given(records)


def test_nothing_is_valid_before_the_first_owner() -> None:
    given().when(fence.event(1, 0, b"too early"), fence.event(0, 0, b"")).then_valid()


def test_an_owner_writes_in_the_epoch_that_its_marker_opens() -> None:
    given(ANN).when(fence.event(1, 0, b"one"), fence.event(1, 1, b"two")).then_valid(b"one", b"two")


def test_an_epoch_is_where_its_marker_stands_and_no_two_are_alike() -> None:
    assert fence.opened_by(0) == Position(1, 1, 0)
    assert fence.judge(Position(41, 7, 3), BOB) == (fence.opened_by(41), None)


def test_a_deposed_owner_writes_nothing_that_counts() -> None:
    given(ANN, fence.event(1, 0, b"hers"), BOB).when(fence.event(1, 1, b"too late")).then_valid(b"hers")


def test_the_new_owner_goes_on_behind_what_a_deposed_one_still_wrote() -> None:
    given(ANN, BOB, fence.event(1, 0, b"too late")).when(fence.event(2, 0, b"his")).then_valid(b"his")


def test_a_batch_written_twice_counts_once() -> None:
    batch = (fence.event(1, 0, b"one"), fence.event(1, 1, b"two"))
    given(ANN, *batch).when(*batch, fence.event(1, 2, b"three")).then_valid(b"one", b"two", b"three")


def test_nothing_counts_behind_a_hole() -> None:
    given(ANN, fence.event(1, 0, b"one")).when(fence.event(1, 2, b"three"), fence.event(1, 3, b"four")).then_valid(
        b"one"
    )


def test_a_hole_that_is_filled_lets_the_next_ones_count() -> None:
    given(ANN, fence.event(1, 1, b"early")).when(fence.event(1, 0, b"one"), fence.event(1, 1, b"two")).then_valid(
        b"one", b"two"
    )


def test_a_marker_written_twice_leaves_its_owner_with_an_epoch_that_is_over() -> None:
    given(ANN, ANN).when(fence.event(1, 0, b"in the first"), fence.event(2, 0, b"in the second")).then_valid(
        b"in the second"
    )


def test_an_owner_that_is_back_begins_to_count_anew() -> None:
    given(ANN, fence.event(1, 0, b"one"), BOB, ANN).when(fence.event(4, 0, b"again")).then_valid(b"one", b"again")


@pytest.mark.parametrize("value", [b"", b"x", fence.event(1, 0, b"")[:-1], b"\xff" * 64])
def test_garbage_is_void_and_disturbs_nobody(value: bytes) -> None:
    given(ANN, value).when(fence.event(1, 0, b"one")).then_valid(b"one")


@pytest.mark.parametrize("body", [b"", b"\x00" * 16, ANN, "¥ ユーザー".encode()])
def test_a_body_is_kept_byte_for_byte(body: bytes) -> None:
    given(ANN).when(fence.event(1, 0, body)).then_valid(body)


@pytest.mark.parametrize("offset", [0, 2**31, 2**62])
def test_epochs_are_as_large_as_offsets_become(offset: int) -> None:
    opened = fence.opened_by(offset)
    assert fence.judge(opened, fence.event(opened.epoch, 0, b"one")) == (Position(offset + 2, offset + 1, 1), b"one")


def test_the_overhead_covers_what_stands_around_a_body() -> None:
    assert len(fence.event(1, 0, b"")) <= fence.RECORD_OVERHEAD


# --- as the brokers hand them over ------------------------------------------------------------------------------------


def fetched(offset: int, value: bytes | None) -> ConsumerRecord:
    return ConsumerRecord("journal", 3, offset, 0, 1, None, value, None, 0, len(value or b""), ())


def test_a_record_without_a_value_is_void() -> None:
    records = [fetched(0, ANN), fetched(1, None), fetched(2, fence.event(1, 0, b"one"))]
    assert judge_all("journal", 3, START, records) == ([Valid(Position(2, 1, 0), None, b"one")], Position(3, 1, 1))


@pytest.mark.parametrize("offset", [0, 2, 100])
def test_a_reader_stops_where_offsets_jump(offset: int) -> None:
    records = [fetched(0, ANN), fetched(offset, fence.event(1, 0, b"one"))]
    with pytest.raises(JournalUnavailable, match=f"partition 3: offset 1 should follow, but {offset} does"):
        judge_all("journal", 3, START, records)


# --- whatever happens -------------------------------------------------------------------------------------------------


@dataclass
class Owner:
    """Believes to own the partition. ``sound``: nothing of its epoch was lost on the way."""

    epoch: int
    n: int = 0
    sound: bool = True


@dataclass
class Partition:
    """A log as owners and the network make it. ``promised``: what a sound owner wrote before it was deposed."""

    records: list[bytes] = field(default_factory=list)
    owners: list[Owner] = field(default_factory=list)
    batches: list[list[bytes]] = field(default_factory=list)
    promised: list[bytes] = field(default_factory=list)
    _count: int = 0

    def take_over(self) -> None:
        self.records.append(fence.marker(f"owner {len(self.owners)}"))
        self.owners.append(Owner(len(self.records)))

    def write(self, which: int, size: int, *, lost: bool = False) -> None:
        """Written by the newest owner, or by a deposed one that does not know yet."""
        if not self.owners:
            return
        owner = self.owners[-1 - which % len(self.owners)]
        bodies = [f"message {self._count + i}".encode() for i in range(size)]
        self._count += size
        batch = [fence.event(owner.epoch, owner.n + i, body) for i, body in enumerate(bodies)]
        owner.n += size
        if lost:
            owner.sound = False
            self.batches.append(batch)  # it may come later
            return
        self.records += batch
        self.batches.append(batch)
        if owner.sound and owner is self.owners[-1]:
            self.promised += bodies

    def repeat(self, which: int) -> None:
        if self.batches:
            self.records += self.batches[-1 - which % len(self.batches)]

    def repeat_marker(self) -> None:
        """The owner was told where the first copy stands."""
        if self.owners:
            self.records.append(fence.marker("twice"))
            self.owners[-1].sound = False

    def litter(self, value: bytes) -> None:
        self.records.append(value)


# No marker: it would make the writer of eight zero bytes an owner.
GARBAGE: Final = st.binary(max_size=15) | st.binary(min_size=16, max_size=40).map(lambda data: b"\xfe" + data)

happenings = st.one_of(
    st.tuples(st.just("take_over")),
    st.tuples(st.just("write"), st.just(0), st.integers(1, 4)),
    st.tuples(st.just("write"), st.integers(0, 3), st.integers(1, 4)),
    st.tuples(st.just("lose"), st.integers(0, 3), st.integers(1, 4)),
    st.tuples(st.just("repeat"), st.integers(0, 5)),
    st.tuples(st.just("repeat_marker")),
    st.tuples(st.just("litter"), GARBAGE),
)


@st.composite
def partitions(draw: st.DrawFn) -> Partition:
    partition = Partition()
    for name, *arguments in draw(st.lists(happenings, max_size=40)):
        if name == "lose":
            partition.write(*arguments, lost=True)
        else:
            getattr(partition, name)(*arguments)
    return partition


@tried(200)
@given_any(partitions())
def test_what_is_valid_is_dense_within_its_epoch(partition: Partition) -> None:
    expected: Counter[int] = Counter()
    for at, body in judged(partition.records):
        if body is not None:
            assert at.n == expected[at.epoch]
            expected[at.epoch] += 1
    assert list(expected) == sorted(expected), "an epoch that was over went on"


@tried(200)
@given_any(partitions())
def test_nothing_is_valid_twice(partition: Partition) -> None:
    bodies = [body for _, body in judged(partition.records) if body is not None]
    assert len(bodies) == len(set(bodies))


@tried(200)
@given_any(partitions())
def test_what_the_owner_wrote_while_nothing_was_lost_is_valid_in_its_order(partition: Partition) -> None:
    valid = [body for _, body in judged(partition.records) if body is not None]
    assert [body for body in valid if body in set(partition.promised)] == partition.promised


@tried(200)
@given_any(partitions())
def test_what_is_valid_stands_between_its_epochs_marker_and_the_next(partition: Partition) -> None:
    opened = 0
    for offset, (record, (at, body)) in enumerate(zip(partition.records, judged(partition.records), strict=True)):
        if body is not None:
            assert at.epoch == opened
            assert record == fence.event(opened, at.n, body)
        elif len(record) >= 16 and not any(record[:8]):
            opened = offset + 1


@tried(200)
@given_any(partitions(), st.data())
def test_a_reader_may_go_on_from_wherever_it_stood(partition: Partition, data: st.DataObject) -> None:
    verdicts = judged(partition.records)
    end = len(verdicts)
    for start in data.draw(st.sets(st.integers(0, max(0, end - 1)), max_size=8)) if end else ():
        assert judged(partition.records[start:], verdicts[start].at) == verdicts[start:]


@tried(200)
@given_any(partitions(), GARBAGE, st.data())
def test_garbage_changes_no_verdict_but_that_offsets_move(
    partition: Partition, garbage: bytes, data: st.DataObject
) -> None:
    """Within an epoch: markers behind it get other offsets, and so open other epochs."""
    last = max((i for i, value in enumerate(partition.records) if len(value) >= 16 and not any(value[:8])), default=-1)
    where = data.draw(st.integers(last + 1, len(partition.records)))
    littered = [*partition.records[:where], garbage, *partition.records[where:]]
    bodies = [body for _, body in judged(partition.records)]
    assert [body for _, body in judged(littered)] == [*bodies[:where], None, *bodies[where:]]
