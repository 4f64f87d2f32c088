"""One machine stores a message once: rows of the timeline refer to the log, and read as if they had the message."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.adapters.sqlite import database
from falcon.domain.ids import Millis
from falcon.features.catalogue import Event
from falcon.features.messages import sqlite as timeline
from falcon.features.messages.bodies import missing_message, row_of
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.journal import codec
from falcon.telemetry import metrics
from tests.history.test_folders import FOLDERS, SCHEMAS
from tests.projections.busy import BusyFalcon
from tests.projections.embedded import Embedded, asked, in_batches
from tests.support.builders import ANN, PARTITIONS, ROOM, a_group, a_message, deleted, edited, in_the_log, posted, tried

SECRET = "a text that is nowhere else"


def stored(falcon: Embedded) -> list[tuple[int, str]]:
    """The seq of each message of the room, and the type of what its row has."""
    rows = falcon._fetch(f"SELECT place & 0xffffffff, typeof(message) FROM timeline WHERE place >> 32 = {ROOM}")
    return [tuple(row) for row in rows]


def said(events: Sequence[Event]) -> list[bytes]:
    """The rows of the room's messages, as the last event of each says it."""
    last = {e.message.seq: e.message for e in events if isinstance(e, MessagePosted | MessageEdited | MessageDeleted)}
    return [row_of(last[seq]) for seq in sorted(last)]


def page(falcon: Embedded) -> list[bytes]:
    return asked(falcon.store.page(ROOM, 1, 200)).messages


def test_the_file_has_a_text_once(falcon: Embedded) -> None:
    falcon.append(a_group(), posted(1, text=SECRET), posted(2))
    falcon.append(edited(a_message(2), 1, text=SECRET.upper()))
    assert page(falcon)[0] == row_of(a_message(1, text=SECRET))
    falcon._other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = falcon.path.read_bytes()
    assert (content.count(SECRET.encode()), content.count(SECRET.upper().encode())) == (1, 1)
    assert stored(falcon) == [(1, "integer"), (2, "integer")]


texts = st.text(max_size=20)
times: st.SearchStrategy[Millis] = st.integers(0, 4_000_000_000_000)
messages = st.builds(
    Message,
    st.just(ROOM),
    st.integers(1, 1 << 31),
    st.integers(1, 1 << 31),
    texts,
    times,
    st.none() | times,
    st.booleans(),
    st.none() | st.integers(1, 1 << 31),
    st.lists(st.integers(1, 1 << 31), max_size=3).map(tuple),
)


@tried(300)
@given(messages)
def test_a_row_reads_as_if_it_had_the_message(message: Message) -> None:
    for event in (MessagePosted(message, 3), MessageEdited(message, 7, (ANN,)), MessageDeleted(message, 8)):
        record = codec.encode(in_the_log(event))
        (row,) = timeline.messages_in([(1, 44, record.type, record.version, record.data)])
        assert row == row_of(message)


@pytest.mark.parametrize("version", [1, 2], ids=["known", "other"])
def test_an_event_of_a_version_that_the_table_does_not_know_is_read_by_the_codec(
    falcon: Embedded, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    monkeypatch.setattr(timeline, "SAID_VERSION", version)
    events = (posted(1), posted(2, mentions=(ANN,)), edited(a_message(1), 1), deleted(a_message(2), 2))
    falcon.append(a_group(), *events)
    assert page(falcon) == said(events)


@pytest.mark.parametrize("seed", range(3))
def test_pages_are_what_the_log_says_whatever_was_edited_and_deleted(tmp_path: Path, seed: int) -> None:
    busy = BusyFalcon(seed)
    with Embedded(tmp_path / "falcon.db") as falcon:
        for batch in in_batches(busy.events, [1, 7, 30]):
            falcon.append(*batch)
        rooms = {room_id for room_id, _ in busy.messages}
        assert rooms
        for room_id in rooms:
            expected = [row_of(busy.messages[place]) for place in sorted(busy.messages) if place[0] == room_id]
            assert asked(falcon.store.page(room_id, 1, 1_000)).messages == expected
            assert asked(falcon.store.page(room_id, 1, 1_000, from_last=True)).messages == expected


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM journal",
        "UPDATE journal SET data = x'00'",
        "UPDATE journal SET data = replace(CAST(data AS TEXT), '\"seq\":', '\"qes\":')",
        "UPDATE journal SET version = 9",
    ],
)
def test_a_message_whose_event_is_gone_or_damaged_is_missing_in_its_place(falcon: Embedded, damage: str) -> None:
    falcon.append(a_group(), posted(1), posted(2), posted(3))
    falcon._other.execute(f"{damage} WHERE offset = 2")
    before = metrics.lost_messages.value
    found = asked(falcon.store.page(ROOM, 1, 3)).messages
    assert found == [row_of(a_message(1)), missing_message(ROOM, 2), row_of(a_message(3))]
    assert asked(falcon.store.message(ROOM, 2)) == missing_message(ROOM, 2)
    assert metrics.lost_messages.value == before + 2


def test_a_file_of_the_schema_before_is_read_as_it_is_until_a_rebuild(tmp_path: Path) -> None:
    path = tmp_path / "falcon.db"
    shutil.copy(FOLDERS / SCHEMAS[7], path)
    with Embedded(path) as falcon:
        old = falcon.rows()["timeline"]
        assert {kind for _, kind in falcon._fetch("SELECT place, typeof(message) FROM timeline")} == {"blob"}
        events = (posted(1), posted(2), edited(a_message(1), 1))
        falcon.append(a_group(), *events)
        assert page(falcon) == said(events)
        mixed = falcon.rows()["timeline"]
        assert set(old) < set(mixed)
        falcon.rebuild("timeline")
        assert falcon.rows()["timeline"] == mixed
        assert {kind for _, kind in falcon._fetch("SELECT place, typeof(message) FROM timeline")} == {"integer"}


def test_a_falcon_that_is_killed_within_a_commit_has_the_message_and_its_row_or_neither(
    falcon: Embedded, tmp_path: Path
) -> None:
    """The files are copied at each statement, as a kill leaves them."""
    falcon.append(a_group(), posted(1))
    copies: list[Path] = []
    connection = falcon._journal._connection

    def copy(cursor: object, sql: str, bindings: object) -> bool:
        to = tmp_path / f"copy-{len(copies)}.db"
        for suffix in ("", "-wal"):
            shutil.copy(f"{falcon.path}{suffix}", f"{to}{suffix}")
        copies.append(to)
        return True

    connection.set_exec_trace(copy)
    falcon.append(edited(a_message(1), 1), posted(2))
    connection.set_exec_trace(None)
    copy(None, "", None)
    found: list[int] = []
    for path in copies:
        with Embedded(path, inline={}) as left:
            events = left.everything()
            assert page(left) == said(events)
            found.append(len(events))
    assert sorted(set(found)) == [2, 4]
    assert found == sorted(found) and found.count(2) >= 4, "copied before, within and after the commit"


def test_an_earlier_falcon_refuses_the_file(falcon: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SCHEMA_VERSION", 7)
    with pytest.raises(database.WrongDatabase, match="written by a newer Falcon, so run that"):
        database.check(falcon.path, PARTITIONS)
