"""Tables are rebuilt beside the live ones: messages continue coming in, reads never fail, and the end is the same."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.read_store import SqliteReadStore
from falcon.features.catalogue import Event
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import Cursor, Envelope, Position, Recorded
from falcon.projections import rebuild as rebuilding
from falcon.projections.rebuild import Rebuild
from falcon.projections.skipping import ProjectionFailed
from falcon.read.catalogue import READ_MODELS, projections
from falcon.read.store import ReadStoreUnavailable, Recipe, StaleProjector
from falcon.read.write import Write
from falcon.telemetry import metrics
from tests.projections.busy import BusyFalcon
from tests.projections.embedded import Embedded, asked, in_batches
from tests.support.builders import ANN, NOW, PARTITION, PARTITIONS, ROOM, a_conversation, a_group, posted
from tools.harness.clock import FakeClock
from tools.harness.memory.tables import MemoryTables


class WhileReading:
    """A source for a rebuild. At each of its readings one writer appends, and another process reads all there is.

    A rebuild that finds little the first time reads to the end twice, the second time while no other process may
    write: an append at that time has to wait.
    """

    def __init__(self, falcon: Embedded, coming: Sequence[Sequence[Event]], reader: SqliteReadStore) -> None:
        self.coming = deque(coming)
        self.ends = 0
        self._falcon = falcon
        self._reader = reader
        self._shown = 0

    @property
    def partitions(self) -> int:
        return self._falcon.source.partitions

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        self.look()
        answer = self._falcon.source.read(cursor, min(limit, 60))
        if self.ends == 2:  # no other process may write while it switches over
            self._falcon.submit(*self.coming.popleft())
        else:
            self._falcon.append(*self.coming.popleft())
        self.look()
        return answer

    def look(self) -> None:
        """Every kind of question, of which none may fail, and nothing that was there may be missing."""
        rooms = asked(self._reader.all_rooms(0, 200))
        for room in rooms:
            page = asked(self._reader.page(room.room_id, 1, room.last_seq)).messages
            assert [msgspec.json.decode(message)["seq"] for message in page] == list(range(1, room.last_seq + 1))
            asked(self._reader.members(room.room_id, 0, 200))
        for account in asked(self._reader.accounts(0, 200)):
            asked(self._reader.rooms_of(account.account_id, None, 50))
            asked(self._reader.tokens(account.account_id))
        applied = asked(self._reader.applied(PARTITION))
        assert applied >= self._shown, "what could be read can be read"
        self._shown = applied

    def end(self) -> Cursor:
        self.ends += 1
        return self._falcon.source.end()

    def remaining(self, cursor: Cursor) -> int:
        return self._falcon.source.remaining(cursor)

    def wait(self, seconds: float) -> None:
        raise NotImplementedError

    def check(self, cursor: Cursor) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("name", projections())
def test_messages_come_in_and_are_read_all_through_a_rebuild(
    falcon: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    drop_old = falcon.tables._drop_old

    def let_the_owner_write_first(projection: str) -> None:
        """The journal waits for its owner's thread in the midst of a commit; here that is this one."""
        falcon.settle()
        drop_old(projection)

    monkeypatch.setattr(falcon.tables, "_drop_old", let_the_owner_write_first)
    events = BusyFalcon(seed=11, length=300).events
    falcon.append(*events[:200])
    reader = SqliteReadStore(database.connect(falcon.path, writable=False))
    source = WhileReading(falcon, in_batches(events[200:], [1, 3, 12]), reader)

    done = Rebuild(name, READ_MODELS[name].project, source, falcon.tables).run()
    source.look()
    falcon.settle()
    falcon.append(*(event for batch in source.coming for event in batch))
    source.look()

    assert source.ends == 2
    assert 200 < done < len(events), "some came in before the switch, and some behind it"
    assert falcon.applied() == dict.fromkeys(READ_MODELS, len(events)), "without catching up"
    with Embedded(tmp_path / "undisturbed.db") as undisturbed:
        undisturbed.append(*events)
        assert falcon.rows() == undisturbed.rows()


def test_a_reader_in_the_middle_of_a_page_reads_on_as_if_nothing_had_happened(falcon: Embedded) -> None:
    falcon.append(a_group(), *a_conversation(100))
    reading: Iterator[tuple[int, int]] = iter(
        database.connect(falcon.path, writable=False).execute("SELECT place, message FROM timeline ORDER BY place")
    )
    first = next(reading)
    falcon.rebuild("timeline")
    falcon.append(posted(101))
    assert [first, *reading] == [(ROOM << 32 | seq, seq) for seq in range(1, 101)]
    assert len(falcon.rows()["timeline"]) == 101


def test_progress_is_told_and_only_goes_up(falcon: Embedded) -> None:
    falcon.append(a_group(), *a_conversation(9_000))
    told: list[Cursor] = []
    rebuild = Rebuild("rooms", READ_MODELS["rooms"].project, falcon.source, falcon.tables, told.append)
    assert rebuild.run() == 9_001
    assert [reached[PARTITION].offset for reached in told] == [0, 4_000, 8_000, 9_001, 9_001]


def test_of_an_empty_log_empty_tables_are_built(falcon: Embedded) -> None:
    assert falcon.rebuild("timeline") == 0
    assert falcon.rows()["timeline"] == []


def test_a_rebuild_mends_what_a_wrong_projection_wrote(tmp_path: Path) -> None:
    def forgetful(recorded: Recorded) -> tuple[Write, ...]:
        return ()

    with Embedded(tmp_path / "wrong.db", {**projections(), "timeline": forgetful}) as falcon:
        falcon.append(a_group(), *a_conversation(3))
        assert asked(falcon.store.page(ROOM, 1, 10)).messages == []
        falcon.rebuild("timeline")
        assert len(asked(falcon.store.page(ROOM, 1, 10)).messages) == 3


def test_a_rebuild_of_one_projection_leaves_the_others_alone(falcon: Embedded) -> None:
    falcon.append(*BusyFalcon(seed=5, length=100).events)
    others = falcon.rows("rooms", "memberships", "accounts")
    falcon.rebuild("timeline")
    assert falcon.rows("rooms", "memberships", "accounts") == others


def test_after_a_rebuild_nothing_is_left_over(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1))
    before = falcon.table_names()
    for name in READ_MODELS:
        falcon.rebuild(name)
        falcon.rebuild(name)
    assert falcon.table_names() == before
    assert set(falcon.applied()) == set(READ_MODELS)


# --- killed and run again ---------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends."""


def killed_at(offset: int) -> Callable[[Cursor], None]:
    def die(reached: Cursor) -> None:
        if reached[PARTITION].offset >= offset:
            raise Killed

    return die


@pytest.mark.parametrize("name", projections())
def test_a_rebuild_that_was_killed_goes_on_where_it_was(falcon: Embedded, name: str) -> None:
    falcon.append(a_group(), *a_conversation(9_000))
    before = falcon.rows()
    with pytest.raises(Killed):
        falcon.rebuild(name, progress=killed_at(8_000))
    assert falcon.rows() == before
    falcon.append(posted(9_001))
    assert falcon.rebuild(name) == 9_002 - 8_000
    assert falcon.applied() == dict.fromkeys(READ_MODELS, 9_002)
    assert falcon.rebuild(name) == 9_002, "the next one begins at the start"


def test_a_rebuild_that_an_earlier_version_began_starts_over(falcon: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    falcon.append(a_group(), *a_conversation(5_000))
    with monkeypatch.context() as earlier:
        earlier.setattr("falcon.projections.rebuild.Recipe", partial(Recipe, "0.0.9"))
        with pytest.raises(Killed):
            falcon.rebuild("timeline", progress=killed_at(1))
    assert falcon.rebuild("timeline") == 5_001


# --- how long the live tables are closed ------------------------------------------------------------------------------


class BusyLog:
    """A log that grows by ``arriving`` events for each one that is read, and by as many as come with ``some`` each time
    that its end is looked up."""

    def __init__(self, events: int, arriving: float, some: int = 500) -> None:
        self.partitions = PARTITIONS
        self._end = float(events)
        self._arriving = arriving
        self._some = some
        self._event = Recorded(0, Envelope(PARTITION, 1, 0, NOW, posted(1)))

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        offset = cursor[PARTITION].offset
        count = min(limit, int(self._end) - offset)
        self.grow(count * self._arriving)
        return [self._event] * count, {**cursor, PARTITION: Position(offset + count)}

    def end(self) -> Cursor:
        end = {**dict.fromkeys(range(self.partitions), Position()), PARTITION: Position(int(self._end))}
        self.grow(self._some * self._arriving)
        return end

    def grow(self, events: float) -> None:
        self._end += events

    def remaining(self, cursor: Cursor) -> int:
        raise NotImplementedError

    def wait(self, seconds: float) -> None:
        raise NotImplementedError

    def check(self, cursor: Cursor) -> None:
        raise NotImplementedError


class ClosingTables(MemoryTables):
    """``closed``: how far the rebuilt tables were moved each time that the live ones were closed. ``closing`` is called
    before that."""

    def __init__(self, closing: Callable[[], None] = lambda: None) -> None:
        super().__init__(PARTITIONS, list(READ_MODELS))
        self.closed: list[int] = []
        self._closing = closing

    def finish_rebuild(self, projection: str, catch_up: Callable[[], bool]) -> bool:
        self._closing()
        (shadow, _) = self.unfinished_rebuild(projection) or ("", None)

        def counted() -> bool:
            before = self.cursor(shadow)[PARTITION].offset
            done = catch_up()
            self.closed.append(self.cursor(shadow)[PARTITION].offset - before)
            return done

        return super().finish_rebuild(projection, counted)


CLOSED_MAX = 36_000  # the most that a rebuild applies while the live tables are closed


@pytest.fixture
def tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and bounds are a tenth of what they are, so that a tenth of the events shows the same."""
    for name in ("_BATCH_EVENTS", "_LITTLE_EVENTS", "_MUCH_EVENTS", "_CLOSED_EVENTS"):
        monkeypatch.setattr(rebuilding, name, getattr(rebuilding, name) // 10)


@pytest.mark.usefixtures("tenth")
@pytest.mark.parametrize("arriving", [0.0, 0.1, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("history", [10, 1_000, 40_000])
def test_tables_are_closed_for_few_events_however_long_the_history_is(history: int, arriving: float) -> None:
    tables = ClosingTables()
    Rebuild("accounts", READ_MODELS["accounts"].project, BusyLog(history, arriving, some=50), tables).run()
    assert len(tables.closed) == 1, "it ends the first time"
    assert tables.closed[0] <= CLOSED_MAX // 10


def test_tables_open_again_when_a_burst_comes_while_they_are_closed() -> None:
    log = BusyLog(5_000, 0.2)
    bursts = iter([200_000, 70_000])
    tables = ClosingTables(lambda: log.grow(next(bursts, 0)))
    Rebuild("accounts", READ_MODELS["accounts"].project, log, tables).run()
    assert len(tables.closed) == 3
    assert max(tables.closed) <= CLOSED_MAX


def test_tables_open_again_when_catching_up_takes_seconds() -> None:
    log = BusyLog(5_000, 0.0)
    bursts = iter([30_000])
    tables = ClosingTables(lambda: log.grow(next(bursts, 0)))
    clock = FakeClock()
    accounts = READ_MODELS["accounts"].project
    Rebuild("accounts", accounts, log, tables, lambda _: clock.advance(1.1), monotonic=clock.monotonic).run()
    assert tables.closed == [12_000, 0]


# --- when it fails ----------------------------------------------------------------------------------------------------


def fails(recorded: Recorded) -> tuple[Write, ...]:
    raise ZeroDivisionError("no projection of this")


def test_a_rebuild_that_fails_leaves_the_live_tables_as_they_were(falcon: Embedded) -> None:
    falcon.append(a_group(), *a_conversation(3))
    before = falcon.rows()
    with pytest.raises(ProjectionFailed, match=f"timeline cannot apply partition {PARTITION}, offset 0"):
        falcon.rebuild("timeline", fails)
    assert falcon.rows() == before
    assert falcon.tables.why_stopped("timeline") is None
    assert asked(falcon.store.applied(PARTITION)) == 4
    falcon.append(posted(4))
    assert len(asked(falcon.store.page(ROOM, 1, 10)).messages) == 4


def test_after_a_rebuild_that_failed_comes_one_that_does_not(falcon: Embedded) -> None:
    falcon.append(a_group(), *a_conversation(3))
    before = falcon.rows()
    with pytest.raises(ProjectionFailed):
        falcon.rebuild("timeline", fails)
    assert falcon.rebuild("timeline") == 4
    assert falcon.rows() == before


def test_a_rebuild_stops_at_a_record_that_nobody_knows(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1))
    falcon.spoil(b"{}")
    before = falcon.rows()
    with pytest.raises(Undecodable, match=f"partition {PARTITION}, offset 2"):
        falcon.rebuild("rooms")
    assert falcon.rows() == before


def test_a_projection_and_its_rebuild_pass_over_what_a_newer_falcon_calls_not_critical(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1))
    falcon.spoil(b'{"at":1,"by":0,"event":{}}', "room-painted", critical=False)
    falcon.append(posted(2))
    assert falcon.caught_up().applied() == dict.fromkeys(READ_MODELS, 4)
    before = falcon.rows()
    assert falcon.rebuild("timeline") == 4
    assert falcon.rows() == before


def test_of_two_rebuilds_the_later_one_counts(falcon: Embedded) -> None:
    falcon.append(a_group(), *a_conversation(3))
    before = falcon.rows()
    shadow = falcon.tables.begin_rebuild("timeline")
    began = falcon.tables.cursor(shadow)
    falcon.rebuild("timeline")
    with pytest.raises((ReadStoreUnavailable, StaleProjector)):
        falcon.tables.apply(shadow, began, falcon.source.end(), [])
    with pytest.raises(ReadStoreUnavailable):
        falcon.tables.cursor(shadow)
    assert falcon.rows() == before


def test_a_rebuild_that_was_begun_again_finds_its_tables_taken_away(falcon: Embedded) -> None:
    falcon.append(a_group(), *a_conversation(3))
    shadow = falcon.tables.begin_rebuild("timeline")
    began = falcon.tables.cursor(shadow)
    falcon.tables.apply(shadow, began, falcon.source.end(), [])
    assert falcon.tables.begin_rebuild("timeline") == shadow
    with pytest.raises(StaleProjector):
        falcon.tables.apply(shadow, falcon.source.end(), falcon.source.end(), [])


# --- of a projection that had stopped ---------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Embedded]:
    with Embedded(tmp_path / "failing.db", {**projections(), "timeline": fails}) as falcon:
        falcon.append(a_group(), *a_conversation(3, by=ANN))
        assert falcon.tables.why_stopped("timeline")
        yield falcon


def test_a_rebuild_sets_a_stopped_projection_going_again(stopped: Embedded) -> None:
    assert stopped.rebuild("timeline") == 4
    assert stopped.tables.why_stopped("timeline") is None
    assert len(asked(stopped.store.page(ROOM, 1, 10)).messages) == 3


def test_after_a_rebuild_the_gauge_does_not_say_stopped_any_more(stopped: Embedded) -> None:
    stopped.rebuild("timeline")
    stopped.catch_up().step()
    assert metrics.projection_stopped.labels("timeline").value == 0
