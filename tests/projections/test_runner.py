"""A projection that fails stops and says so. It takes no message with it, and it skips none."""

import types
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite import source as sqlite_source
from falcon.adapters.sqlite.tables import SqliteTables
from falcon.domain.rejections import NotYetReadable
from falcon.features.accounts.table import UpsertAccount
from falcon.features.messages import table as timeline
from falcon.features.messages.bodies import message_in
from falcon.features.messages.rules import DeleteMessage, EditMessage, MessagePosted
from falcon.journal.envelope import Cursor, Recorded
from falcon.projections.runner import ProjectionCatchUp
from falcon.read.catalogue import READ_MODELS, Project, projections
from falcon.read.store import StaleProjector
from falcon.read.write import Write
from falcon.telemetry import metrics
from tests.projections.embedded import Embedded, asked
from tests.support.builders import (
    ANN,
    BOB,
    PARTITION,
    ROOM,
    a_conversation,
    a_group,
    a_message,
    an_account,
    deleted,
    edited,
    posted,
)
from tests.support.given import World


def fails_at(text: str, project: Project = timeline.project) -> Project:
    """A timeline that cannot take a message with this text."""

    def project_or_fail(recorded: Recorded) -> tuple[Write, ...]:
        event = recorded.envelope.event
        if isinstance(event, MessagePosted) and event.message.text == text:
            raise ZeroDivisionError(f"no projection of {text!r}")
        return project(recorded)

    return project_or_fail


def gauge(name: str) -> float:
    return float(metrics.projection_stopped.labels(name).value)


def texts(falcon: Embedded) -> list[str]:
    return [message_in(message).text for message in asked(falcon.store.page(ROOM, 1, 200)).messages]


FAILING = {**projections(), "timeline": fails_at("boom")}


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Embedded]:
    """A Falcon whose timeline has stopped at the second of four messages."""
    with Embedded(tmp_path / "failing.db", FAILING) as falcon:
        falcon.append(a_group(members=[BOB]), posted(1))
        falcon.append(posted(2, text="boom"))
        falcon.append(posted(3))
        falcon.append(posted(4))
        yield falcon


# --- within the commit ------------------------------------------------------------------------------------------------


def test_what_is_appended_can_be_read_at_once(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1, text="Hello"))
    assert texts(falcon) == ["Hello"]
    assert asked(falcon.store.applied(PARTITION)) == 2


def test_a_projection_that_fails_loses_no_message(stopped: Embedded) -> None:
    assert stopped.everything() == [
        a_group(members=[BOB]),
        posted(1),
        posted(2, text="boom"),
        posted(3),
        posted(4),
    ]


def test_a_projection_that_fails_stops_and_skips_nothing(stopped: Embedded) -> None:
    assert texts(stopped) == ["Who wants tea?"]
    assert stopped.applied() == {name: 2 if name == "timeline" else 5 for name in READ_MODELS}


def test_a_projection_that_fails_says_so(stopped: Embedded) -> None:
    assert stopped.tables.why_stopped("timeline") == "no projection of 'boom'"
    assert gauge("timeline") == 1


def test_that_a_projection_stopped_is_in_the_log_of_the_process(said: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with Embedded(tmp_path / "failing.db", FAILING) as failing:
        failing.append(a_group(), posted(1, text="boom"))
    assert [record.getMessage() for record in said.records if record.levelname == "ERROR"] == [
        "projection timeline has stopped: no projection of 'boom'"
    ]


def test_the_other_projections_go_on(stopped: Embedded) -> None:
    room = asked(stopped.store.room(ROOM))
    assert room is not None
    assert room.last_seq == 4
    assert [stopped.tables.why_stopped(name) for name in READ_MODELS if name != "timeline"] == [None] * (
        len(READ_MODELS) - 1
    )


def test_readers_are_told_of_the_slowest_projection(stopped: Embedded) -> None:
    assert asked(stopped.store.applied(PARTITION)) == 2


def test_a_commit_that_a_projection_fails_at_is_not_half_applied(tmp_path: Path) -> None:
    with Embedded(tmp_path / "failing.db", FAILING) as falcon:
        falcon.append(a_group(), posted(1), posted(2), posted(3, text="boom"))
        assert texts(falcon) == []
        assert falcon.applied() == {name: 0 if name == "timeline" else 4 for name in READ_MODELS}


def test_a_write_that_the_tables_refuse_is_undone_alone(tmp_path: Path) -> None:
    def nameless(recorded: Recorded) -> tuple[Write, ...]:
        return (UpsertAccount(1, "Ann", "member", ""), UpsertAccount(2, None, "member", ""))  # type: ignore[arg-type]

    with Embedded(tmp_path / "failing.db", {**projections(), "accounts": nameless}) as falcon:
        falcon.append(a_group(), posted(1, text="Hello"), an_account())
        assert falcon.rows()["accounts"] == []
        assert texts(falcon) == ["Hello"]
        assert "NOT NULL" in (falcon.tables.why_stopped("accounts") or "")


def test_what_an_inline_projection_did_not_stand_before_is_left_to_catching_up(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1))
    falcon.stand_at(1)
    falcon.append(posted(2))
    assert texts(falcon) == ["Who wants tea?"]
    assert set(falcon.applied().values()) == {1}
    assert falcon.caught_up().rows() == falcon.rows()
    assert len(texts(falcon)) == 2


def test_a_message_does_not_cost_the_row_of_any_projection(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1))
    with closing(database.connect(falcon.path)) as connection:
        connection.execute("CREATE TRIGGER moved AFTER UPDATE ON projections BEGIN SELECT raise(FAIL, 'moved'); END")
    falcon.append(posted(2))
    assert set(falcon.applied().values()) == {3}


def test_what_a_version_without_a_read_model_appends_is_not_taken_for_applied_to_it(tmp_path: Path) -> None:
    older = {name: project for name, project in projections().items() if name != "timeline"}
    with Embedded(tmp_path / "falcon.db") as falcon:
        falcon.append(a_group(), posted(1))
    with Embedded(tmp_path / "falcon.db", older) as falcon:
        falcon.append(posted(2))
        falcon.append(posted(3))
        assert falcon.applied() == {name: 2 if name == "timeline" else 4 for name in READ_MODELS}
        assert len(texts(falcon.caught_up())) == 3


@pytest.mark.parametrize("failing", [None, "timeline"])
def test_after_a_commit_that_failed_a_projection_stands_where_it_stood(falcon: Embedded, failing: str | None) -> None:
    """It would stand at the log's end for readers and for the next commit, and would lack what was written since."""
    falcon.append(a_group())
    falcon.stand_at(1)
    with closing(database.connect(falcon.path)) as connection:
        tables = SqliteTables(connection)
        for outcome in ("ROLLBACK", "COMMIT"):
            connection.execute("BEGIN IMMEDIATE")
            assert list(tables.following(list(READ_MODELS), 1)) == list(READ_MODELS)
            if failing is not None:
                tables.leave(failing, 1)
            connection.execute(outcome)
            assert set(falcon.applied().values()) == {1}
        connection.execute("BEGIN; UPDATE log SET next = 2; COMMIT")
    assert falcon.applied() == {name: 1 if name == failing else 2 for name in READ_MODELS}


# --- catching up ------------------------------------------------------------------------------------------------------


def test_a_mended_projection_goes_on_where_it_stopped(stopped: Embedded, said: pytest.LogCaptureFixture) -> None:
    assert stopped.catch_up().step() == 3
    assert texts(stopped) == ["Who wants tea?", "boom", "Who wants tea?", "Who wants tea?"]
    assert stopped.tables.why_stopped("timeline") is None
    assert gauge("timeline") == 0
    assert "projection timeline continues" in said.messages


def test_once_it_has_caught_up_a_projection_is_applied_with_the_commits_again(stopped: Embedded) -> None:
    stopped.caught_up()
    stopped.append(posted(5, text="Hello"))
    assert texts(stopped)[4:] == ["Hello"]
    assert len(set(stopped.applied().values())) == 1


def test_a_projection_that_is_not_mended_stays_where_it_is_and_says_where(
    stopped: Embedded, said: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert stopped.catch_up(FAILING).step() == 0
    assert stopped.applied()["timeline"] == 2
    why = f"projection timeline cannot apply partition {PARTITION}, offset 2: ZeroDivisionError"
    assert (stopped.tables.why_stopped("timeline") or "").startswith(why)
    assert sum(message.startswith("projection timeline has stopped: " + why) for message in said.messages) == 3
    assert gauge("timeline") == 1


def test_one_that_stopped_does_not_keep_the_others_from_catching_up(tmp_path: Path) -> None:
    with Embedded(tmp_path / "behind.db", inline={}) as falcon:
        falcon.append(a_group(), posted(1, text="boom"))
        assert falcon.catch_up(FAILING).step() == 2 * (len(READ_MODELS) - 1)
        assert falcon.applied() == {name: 0 if name == "timeline" else 2 for name in READ_MODELS}


def test_with_nothing_new_a_step_does_nothing(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1))
    assert falcon.catch_up().step() == 0


def test_a_long_way_is_gone_in_bounded_steps(tmp_path: Path) -> None:
    with Embedded(tmp_path / "behind.db", inline={}) as falcon:
        falcon.append(a_group(), *a_conversation(1_200))
        rooms_only = {"rooms": READ_MODELS["rooms"].project}
        assert [falcon.catch_up(rooms_only).step() for _ in range(3)] == [1_000, 201, 0]


def test_a_record_that_nobody_knows_stops_the_projections_there(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1))
    falcon.spoil(b'{"at":1,"event":{}}', "room-painted")
    assert falcon.catch_up().step() == 0
    for name in READ_MODELS:
        assert f"partition {PARTITION}, offset 2: " in (falcon.tables.why_stopped(name) or "")
        assert gauge(name) == 1
    assert set(falcon.applied().values()) == {2}


def test_a_record_with_a_flipped_bit_stops_the_projections_there(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1))
    falcon.spoil(b'{"at":1,"event":{"\xff":1}}')
    assert falcon.catch_up().step() == 0
    assert f"partition {PARTITION}, offset 2: " in (falcon.tables.why_stopped("timeline") or "")


def test_of_two_that_move_a_projection_one_starts_again(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1))
    end = falcon.source.end()
    falcon.append(posted(2))
    falcon.stand_at(2)
    falcon.tables.apply("timeline", end, falcon.source.end(), [])
    with pytest.raises(StaleProjector):
        falcon.tables.apply("timeline", end, falcon.source.end(), [])


class InBetween:
    """A source that lets something happen right after the ``nth`` reading of the log."""

    def __init__(self, falcon: Embedded, nth: int, happens: Callable[[], object]) -> None:
        self._falcon = falcon
        self._left = nth
        self._happens = happens

    @property
    def partitions(self) -> int:
        return self._falcon.source.partitions

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        answer = self._falcon.source.read(cursor, limit)
        self._left -= 1
        if self._left == 0:
            self._happens()
        return answer

    def end(self) -> Cursor:
        return self._falcon.source.end()

    def remaining(self, cursor: Cursor) -> int:
        return self._falcon.source.remaining(cursor)

    def wait(self, seconds: float) -> None:
        self._falcon.source.wait(seconds)


def test_one_who_was_overtaken_while_reading_applies_nothing_twice(tmp_path: Path) -> None:
    with Embedded(tmp_path / "race.db", inline={}) as falcon:
        falcon.append(a_group(), posted(1))
        slow = ProjectionCatchUp(projections(), InBetween(falcon, 1, falcon.caught_up), falcon.tables)
        assert slow.step() == 0
        assert texts(falcon) == ["Who wants tea?"]
        assert falcon.tables.why_stopped("timeline") is None


# --- what an author's view rests on -----------------------------------------------------------------------------------

HELLO = a_message(1)


def decided_on_what_is_shown(falcon: Embedded, world: World) -> list[object]:
    """The outcome of an edit and a deletion by a client that looks at message 1 now."""
    shown, revision = asked(falcon.store.message_at(ROOM, 1))
    known = None if shown is None else message_in(shown)
    commands = EditMessage(ANN, ROOM, 1, "Ho", None, known, revision), DeleteMessage(ANN, ROOM, 1, known, revision)
    return [world.decide(command) for command in commands]


def test_while_all_projections_are_behind_nobody_decides_on_an_old_view(tmp_path: Path) -> None:
    history = a_group(), posted(1), deleted(HELLO, 1)
    with Embedded(tmp_path / "behind.db", inline={}) as falcon:
        falcon.append(*history[:2])
        falcon.caught_up()
        falcon.append(*history[2:])
        assert decided_on_what_is_shown(falcon, World().after(*history)) == [NotYetReadable(ROOM, 1)] * 2


def test_while_the_timeline_has_stopped_nobody_decides_on_an_old_view(tmp_path: Path) -> None:
    history = a_group(), posted(1), posted(2, text="boom"), deleted(HELLO, 1)
    with Embedded(tmp_path / "failing.db", FAILING) as falcon:
        for event in history:
            falcon.append(event)
        assert decided_on_what_is_shown(falcon, World().after(*history)) == [NotYetReadable(ROOM, 1)] * 2


def test_while_the_timeline_is_a_step_behind_the_rooms_nobody_decides_on_an_old_view(tmp_path: Path) -> None:
    history = a_group(), posted(1), deleted(HELLO, 1)
    with Embedded(tmp_path / "race.db", inline={}) as falcon:
        falcon.append(*history[:2])
        # The timeline is the first to read, and the deletion comes before the rooms do.
        ProjectionCatchUp(
            projections(), InBetween(falcon, 1, lambda: falcon.append(*history[2:])), falcon.tables
        ).step()
        assert decided_on_what_is_shown(falcon, World().after(*history)) == [NotYetReadable(ROOM, 1)] * 2


def test_a_view_of_tables_that_have_caught_up_is_current(falcon: Embedded) -> None:
    history = a_group(), posted(1), edited(HELLO, 1)
    falcon.append(*history)
    decisions = decided_on_what_is_shown(falcon, World().after(*history))
    assert NotYetReadable(ROOM, 1) not in decisions


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_what_came_since_the_last_reading_is_not_waited_for(falcon: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = types.SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(sqlite_source, "time", clock)
    falcon.append(a_group())
    assert falcon.source.read(falcon.source.end(), 10)[0] == []
    falcon.append(posted(1))
    falcon.source.wait(0.5)
    assert not slept
