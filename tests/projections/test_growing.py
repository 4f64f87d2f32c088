"""A read model that is installed where there is a log already is filled from it, while people continue sending."""

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import apsw
import httpx
import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.database import SCHEMA_VERSION, WrongDatabase
from falcon.adapters.sqlite.tables import SqliteTables
from falcon.features.catalogue import Event
from falcon.features.messages.bodies import message_in
from falcon.projections import filling
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import BeingFilled, Fill, ReadStoreUnavailable
from falcon.run.bootstrap import embedded
from falcon.run.settings import Settings
from tests.projections.busy import BusyFalcon
from tests.projections.embedded import Embedded, asked, in_batches, lose
from tests.support import lengths
from tests.support.builders import ANN, PARTITIONS, ROOM, a_conversation, a_group, a_message, an_account, edited, posted
from tests.support.lengths import LENGTHS
from tools.harness.falcon import Falcon as FalconUp
from tools.harness.waiting import until

_SECONDS: Final = 60.0


@pytest.fixture
def newer() -> Iterator[None]:
    """A Falcon with one read model more than the one before it."""
    lengths.install()
    yield
    lengths.uninstall()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill without waits between the steps."""
    monkeypatch.setattr(filling, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(filling, "_KNOWN_SECONDS", 0.0)


def older_folder(path: Path, *events: Event) -> None:
    """A data folder that an older Falcon has left, with these events in its log."""
    with Embedded(path) as falcon:
        for batch in in_batches(events, [50]):
            falcon.append(*batch)


def test_a_new_read_model_is_filled_with_what_came_before_and_what_comes_meanwhile(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = BusyFalcon(7, 600).events
    older_folder(tmp_path / "grown.db", *events[:500])
    request.getfixturevalue("newer")
    request.getfixturevalue("at_once")
    monkeypatch.setattr("falcon.projections.runner._BATCH_EVENTS", 60)
    with Embedded(tmp_path / "grown.db") as grown, Embedded(tmp_path / "from the start.db") as other:
        catch_up = grown.catch_up()
        for event in events[500:]:
            grown.append(event)
            catch_up.step()
        for batch in in_batches(events, [50]):
            other.append(*batch)
        assert grown.caught_up().rows(LENGTHS) == other.rows(LENGTHS)
        assert grown.applied() == dict.fromkeys(READ_MODELS, len(events))
        assert len(grown.rows(LENGTHS)["lengths"]) > 20


def test_while_a_new_read_model_is_filled_the_others_are_read_and_nobody_waits_for_it(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    older_folder(tmp_path / "falcon.db", *a_conversation(3))
    request.getfixturevalue("newer")
    with Embedded(tmp_path / "falcon.db") as falcon:
        falcon.append(posted(4))
        assert falcon.applied()[LENGTHS] == 0, "what came before would be missing"
        end = falcon.source.end()[0].offset
        assert asked(falcon.store.applied(0)) == end
        assert asked(falcon.store.applied_everywhere(PARTITIONS))[0].offset == end
        assert len(asked(falcon.store.page(ROOM, 1, 9)).messages) == 4


def test_once_it_has_been_filled_a_new_read_model_is_applied_with_the_commits(
    tmp_path: Path, request: pytest.FixtureRequest, at_once: None
) -> None:
    older_folder(tmp_path / "falcon.db", *a_conversation(3))
    request.getfixturevalue("newer")
    with Embedded(tmp_path / "falcon.db") as falcon:
        assert falcon.tables.fill(LENGTHS) is Fill.FILLING
        falcon.caught_up()
        falcon.append(edited(a_message(1), 1, text="Ho"))
        assert (ROOM, 1, 2) in falcon.rows(LENGTHS)["lengths"]


def test_what_is_being_filled_is_said_to_be_and_never_denied_as_empty(tmp_path: Path, at_once: None) -> None:
    older_folder(tmp_path / "falcon.db", *a_conversation(3))
    lose(tmp_path / "falcon.db", "timeline")
    with Embedded(tmp_path / "falcon.db") as falcon:
        with pytest.raises(BeingFilled, match="timeline is new here and is being filled"):
            asked(falcon.store.page(ROOM, 1, 9))
        with pytest.raises(BeingFilled):
            asked(falcon.store.access(ROOM, ANN))
        with pytest.raises(BeingFilled):
            asked(falcon.store.applied_everywhere(PARTITIONS, ["timeline"]))
        assert asked(falcon.store.names_of([ANN])) == {}, "the other read models answer"
        falcon.caught_up()
        for _ in range(3):  # counted, then shown
            falcon.catch_up().step()
        texts = [message_in(row).text for row in asked(falcon.store.page(ROOM, 1, 9)).messages]
        assert len(texts) == 3


def test_between_being_filled_and_being_shown_a_read_model_is_counted(tmp_path: Path, at_once: None) -> None:
    """Or one who waited for a position without it might then read it, and miss what the position had."""
    older_folder(tmp_path / "falcon.db", *a_conversation(3))
    lose(tmp_path / "falcon.db", "memberships")
    with Embedded(tmp_path / "falcon.db") as falcon:
        assert asked(falcon.store.applied(0)) == falcon.source.end()[0].offset
        falcon.tables.move_fill("memberships", Fill.COUNTED)
        assert asked(falcon.store.applied(0)) == 0
        with pytest.raises(BeingFilled):
            asked(falcon.store.roles_of(ANN, 10))
        falcon.tables.move_fill("memberships", Fill.SHOWN)
        assert asked(falcon.store.roles_of(ANN, 10)) == {}
        falcon.tables.move_fill("memberships", Fill.FILLING)
        assert falcon.tables.fill("memberships") is Fill.SHOWN, "it only ever goes on"


def test_a_read_model_is_not_shown_before_readers_know_that_it_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older_folder(tmp_path / "falcon.db", *a_conversation(3))
    lose(tmp_path / "falcon.db", "rooms")
    clock = [100.0]
    with Embedded(tmp_path / "falcon.db") as falcon:
        catch_up = falcon.catch_up({"rooms": READ_MODELS["rooms"].project})
        monkeypatch.setattr(catch_up._fillings["rooms"], "_monotonic", lambda: clock[0])
        fills = []
        for _ in range(8):
            catch_up.step()
            fills.append(falcon.tables.fill("rooms"))
            clock[0] += 1.0
        assert fills[0] is Fill.FILLING
        assert fills.count(Fill.COUNTED) >= 3
        assert fills[-1] is Fill.SHOWN


def test_a_rebuild_of_a_read_model_that_is_being_filled_shows_it(tmp_path: Path) -> None:
    older_folder(tmp_path / "falcon.db", *a_conversation(3))
    lose(tmp_path / "falcon.db", "timeline")
    with Embedded(tmp_path / "falcon.db") as falcon:
        falcon.rebuild("timeline")
        assert len(asked(falcon.store.page(ROOM, 1, 9)).messages) == 3


def test_an_empty_log_fills_nothing(tmp_path: Path) -> None:
    with Embedded(tmp_path / "falcon.db") as falcon:
        assert {falcon.tables.fill(name) for name in READ_MODELS} == {Fill.SHOWN}


def test_a_rebuild_of_what_the_folder_does_not_have_says_who_makes_it(tmp_path: Path, newer: None) -> None:
    settings = Settings(data_dir=tmp_path)
    database.prepare(settings.database, settings.partitions)
    lose(settings.database, LENGTHS)
    with pytest.raises(ReadStoreUnavailable, match="has no tables of lengths: falcon up makes them"):
        SqliteTables(database.connect(settings.database)).cursor(LENGTHS)


def test_a_rebuild_leaves_a_folder_of_an_earlier_schema_as_it_is(tmp_path: Path) -> None:
    """A Falcon of then may be using it."""
    settings = Settings(data_dir=tmp_path)
    database.prepare(settings.database, settings.partitions)
    connection = database.connect(settings.database)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (SCHEMA_VERSION - 1,))
    with pytest.raises(WrongDatabase, match="falcon up of this one brings it"):
        embedded.rebuild(settings, "timeline", lambda done, total: None)


# --- real processes ---------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_a_falcon_that_is_killed_while_it_fills_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    before, hold = 10_000, tmp_path / "hold"
    older_folder(folder / "falcon.db", an_account(), a_group(), *a_conversation(before))
    falcon = FalconUp(folder, variables=lengths.installing(tmp_path / "newer", hold))
    connection = database.connect(folder / "falcon.db", writable=False)
    try:
        for third in (1, 2):
            lengths.hold_behind(third * before // 3, hold)
            falcon.start()
            begun = _applied(connection)
            with httpx.Client(base_url=falcon.info["url"], timeout=60) as http:
                _sends_and_reads(http, falcon.info["token"])
            until(partial(_is_filled_further, connection, begun), "events are filled", _SECONDS, every=0.001)
            assert _fill(connection) is Fill.FILLING
            falcon.kill("launcher")  # which takes all others with it
        hold.unlink()
        falcon.start()
        until(lambda: _fill(connection) is Fill.SHOWN, "the read model is shown", _SECONDS)
        falcon.stop(signal.SIGTERM)
        ((messages,),) = connection.execute("SELECT count(*) FROM timeline")
        ((there,),) = connection.execute("SELECT count(*) FROM lengths")
        ((different,),) = connection.execute(
            "SELECT count(*) FROM timeline JOIN lengths ON place = room_id << 32 | seq"
            " WHERE length(json_extract(message, '$.text')) != length"
        )
        assert (there, different) == (messages, 0)
        assert messages == before + 2
    finally:
        falcon.stop()


def _sends_and_reads(http: httpx.Client, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    room = http.post("/v1/rooms", json={"name": "Tea kitchen"}, headers=headers).raise_for_status().json()["room_id"]
    sent = http.post(f"/v1/rooms/{room}/messages", json={"text": "hello"}, headers=headers).raise_for_status()
    headers["Falcon-Position"] = sent.headers["Falcon-Position"]
    page = http.get(f"/v1/rooms/{room}/messages", headers=headers).raise_for_status().json()
    assert [message["text"] for message in page["messages"]] == ["hello"]


def _is_filled_further(connection: apsw.Connection, begun: int) -> bool:
    return _applied(connection) > begun + 1_000


def _applied(connection: apsw.Connection) -> int:
    ((applied,),) = connection.execute("SELECT applied FROM projections WHERE name = ?", (LENGTHS,))
    return int(applied)


def _fill(connection: apsw.Connection) -> Fill:
    ((fill,),) = connection.execute("SELECT filling FROM projections WHERE name = ?", (LENGTHS,))
    return Fill(fill)
