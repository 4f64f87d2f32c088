"""An export with changes, as an import takes it: each thing once, in its last state."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from falcon.cli.merging import numbered
from tests.cli.conftest import Run
from tests.cli.fake import TIME, FakeFalcon, Json
from tests.cli.test_importing import ALICE, BOB, TAGS, TEA, said, written

HEADER: Json = {"type": "falcon-export", "version": 2, "source": "old-chat", "position": "0:9"}
CHANGES: Json = {"type": "changes", "position": "0:9", "through": "0:20"}
END: Json = {"type": "end", "position": "0:20"}
CLEO: Json = {"type": "account", "ref": "cl", "name": "Cleo", "at": "0:9"}
DEN: Json = TEA | {"ref": "den", "name": "Den", "members": [{"account": "cl", "role": "admin"}], "at": "0:9"}


def merged(run: Run, server: FakeFalcon, tmp_path: Path, *changes: Json, rows: tuple[Json, ...] = ()) -> list[Json]:
    """The lines that the server gets from an export with these rows and changes, with refs instead of ids."""
    rows = rows or (ALICE, BOB, TEA, said(1), said(2))
    name = written(tmp_path / "old.jsonl", [HEADER, *rows, CHANGES, *changes, END])
    result = run(server, "import", name)
    assert result.exit_code == 0, result.stderr
    return [line for batch in server.imports for line in batch]


def texts(lines: list[Json]) -> list[str]:
    return [line["text"] for line in lines if line["type"] == "message"]


def test_without_changes_the_rows_are_all_there_is(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    lines = merged(run, server, tmp_path)
    assert [line["type"] for line in lines] == ["account", "account", "room", "message", "message"]


def test_a_message_that_was_posted_meanwhile_follows_the_others(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    lines = merged(run, server, tmp_path, said(2, at="0:9"), said(3, "Ho", at="0:10"))
    assert texts(lines) == ["Hi", "Hi", "Ho"]


def test_a_message_that_was_edited_meanwhile_says_what_it_said_last(
    run: Run, server: FakeFalcon, tmp_path: Path
) -> None:
    lines = merged(
        run,
        server,
        tmp_path,
        said(1, "Ho", edited_at=TIME, at="0:9"),
        said(3, at="0:10"),
        said(3, "Hey", edited_at=TIME, at="0:11"),
        said(1, "Hum", edited_at=TIME, at="0:12"),
    )
    assert texts(lines) == ["Hum", "Hi", "Hey"]


def test_a_message_that_was_deleted_meanwhile_says_nothing(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    lines = merged(run, server, tmp_path, said(2, "", deleted=True, at="0:9"))
    assert texts(lines) == ["Hi", ""]


def test_who_and_what_was_made_meanwhile_comes_before_what_speaks_of_it(
    run: Run, server: FakeFalcon, tmp_path: Path
) -> None:
    """An author whose line comes last, and a room whose messages were read before its line was written."""
    early = said(1, "In the den", room="den", author="cl")
    lines = merged(run, server, tmp_path, DEN, early | {"at": "0:10"}, CLEO, rows=(ALICE, BOB, TEA, said(1), early))
    assert [line["type"] for line in lines] == ["account"] * 3 + ["room"] * 2 + ["message"] * 2
    assert texts(lines) == ["Hi", "In the den"]


def test_a_room_is_as_its_changes_left_it(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    lines = merged(
        run,
        server,
        tmp_path,
        {"type": "room-changed", "room": "tea", "name": "Coffee", "description": "Hot", "at": "0:9"},
        CLEO,
        {"type": "member", "room": "tea", "account": "cl", "role": "member", "at": "0:11"},
        {"type": "member", "room": "tea", "account": "cl", "role": "readonly", "at": "0:12"},
        {"type": "member-left", "room": "tea", "account": "bo", "at": "0:13"},
    )
    (room,) = (line for line in lines if line["type"] == "room")
    alice, cleo = server.ids["account old-chat al"], server.ids["account old-chat cl"]
    assert (room["name"], room["description"]) == ("Coffee", "Hot")
    assert room["members"] == [{"account_id": alice, "role": "admin"}, {"account_id": cleo, "role": "readonly"}]


def test_a_room_that_was_made_meanwhile_is_as_its_changes_left_it(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    """It may also be among the rows, with some of the changes applied."""
    changed = {"type": "room-changed", "room": "den", "name": "Lair", "description": "", "at": "0:10"}
    for rows in ((ALICE, BOB, TEA), (ALICE, BOB, TEA, DEN | {"name": "Lair"})):
        server.imports.clear()
        lines = merged(run, server, tmp_path, CLEO, DEN, changed, rows=rows)
        assert {line["name"] for line in lines if line["type"] == "room"} == {"Tea", "Lair"}


def test_a_room_that_has_changed_keeps_the_form_of_its_times(tmp_path: Path) -> None:
    made = DEN | {"ref": "tea2", "created_at": "2026-11-30T16:14:58.597Z"}
    changed = {"type": "room-changed", "room": "tea", "name": "Coffee", "description": "", "at": "0:9"}
    name = written(tmp_path / "old.jsonl", [HEADER, ALICE, BOB, TEA, CHANGES, CLEO, changed, made, END])
    with Path(name).open("rb") as file:
        lines = [msgspec.json.decode(line) for _, line in numbered(file, name)]
    assert [line["created_at"] for line in lines if line["type"] == "room"] == [made["created_at"], TEA["created_at"]]


def test_a_room_that_was_deleted_meanwhile_is_left_out_with_its_messages(
    run: Run, server: FakeFalcon, tmp_path: Path
) -> None:
    gone = {"type": "room-deleted", "room": "tea", "at": "0:11"}
    lines = merged(run, server, tmp_path, said(2, at="0:9"), said(3, at="0:10"), gone)
    assert [line["type"] for line in lines] == ["account", "account"]


def test_a_message_that_is_missing_there_is_missing_here(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    hole = said(1, "", author="", deleted=True, missing=True)
    lines = merged(run, server, tmp_path, rows=(ALICE, BOB, TEA, hole, said(2)))
    assert next(line["author_id"] for line in lines if line["type"] == "message") == 0
    assert texts(lines) == ["", "Hi"]


def test_a_message_that_the_rows_lack_is_as_the_changes_say(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    """The log has the event, but only some of the tables had it when the export began."""
    hole = said(1, "", author="", deleted=True, missing=True)
    lines = merged(run, server, tmp_path, said(1, "Ho", at="0:9"), rows=(ALICE, BOB, TEA, hole, said(2)))
    assert texts(lines) == ["Ho", "Hi"]


def test_changes_that_come_twice_count_once(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    """An export that broke off among its changes starts them again."""
    once = (said(3, "Ho", at="0:9"), said(1, "Hum", edited_at=TIME, at="0:10"))
    assert texts(merged(run, server, tmp_path, *once, CHANGES, *once)) == ["Hum", "Hi", "Ho"]


def test_standard_input_may_have_changes_too(run: Run, server: FakeFalcon) -> None:
    lines = [HEADER, ALICE, BOB, TEA, said(1), CHANGES, said(1, "Ho", edited_at=TIME, at="0:9"), END]
    result = run(server, "import", "-", input=b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    assert (result.exit_code, texts(server.imports[-1])) == (0, ["Ho"])


@pytest.mark.parametrize("lines", [[HEADER, ALICE, BOB, TEA], [HEADER, ALICE, CHANGES, CLEO]])
def test_an_export_that_is_not_whole_is_refused_before_anything_is_sent(
    run: Run, server: FakeFalcon, tmp_path: Path, lines: list[Json]
) -> None:
    result = run(server, "import", written(tmp_path / "old.jsonl", lines))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "old.jsonl: it ends at line 4, before its last line; let `falcon export` finish it first"
    )
    assert server.imports == []


def test_a_bad_line_among_the_changes_is_named(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    result = run(server, "import", written(tmp_path / "old.jsonl", [HEADER, ALICE, CHANGES, {"type": "poll"}, END]))
    assert result.stderr.splitlines()[-1] == "old.jsonl:4: Invalid enum value 'poll' - at `$.type`"
    assert server.imports == []


def test_pins_are_as_the_changes_leave_them(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    first, second = ({"type": "pin", "room": "tea", "seq": seq, "account": "bo", "pinned_at": TIME} for seq in (1, 2))
    unpinned = {"type": "pin-removed", "room": "tea", "seq": 1, "at": "0:12"}
    rows = (ALICE, BOB, TEA, said(1), first, said(2))
    sent = merged(run, server, tmp_path, second | {"at": "0:11"}, unpinned, rows=rows)
    assert [line["seq"] for line in sent if line["type"] == "pin"] == [2]


def test_a_bad_row_is_named(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    result = run(server, "import", written(tmp_path / "old.jsonl", [HEADER, ALICE, {"type": "poll"}, CHANGES, END]))
    assert result.stderr.splitlines()[-1] == f"old.jsonl:3: type: must be {TAGS}"


def liked(seq: int, account: str, emoji: str = "👍", **fields: Any) -> Json:
    return {
        "type": "reaction",
        "room": "tea",
        "seq": seq,
        "emoji": emoji,
        "account": account,
        "reacted_at": TIME,
    } | fields


def unliked(seq: int, account: str, at: str) -> Json:
    return {"type": "reaction-removed", "room": "tea", "seq": seq, "emoji": "👍", "account": account, "at": at}


def test_reactions_follow_their_message_as_the_changes_left_them(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    rows = (ALICE, BOB, TEA, said(1), liked(1, "al"), liked(1, "bo"), said(2), liked(2, "al"), said(3))
    changes = (
        *(unliked(1, "al", "0:9"), liked(1, "al", at="0:10"), liked(3, "bo", at="0:11")),
        *(said(4, at="0:12"), liked(4, "bo", at="0:13"), unliked(4, "bo", "0:14"), liked(4, "al", at="0:15")),
        said(2, "", deleted=True, at="0:16"),
    )
    lines = merged(run, server, tmp_path, *changes, rows=rows)
    told = [(line["type"], line["seq"], line.get("account_id")) for line in lines if "seq" in line]
    assert [(kind, seq) for kind, seq, _ in told] == [
        *(("message", 1), ("reaction", 1), ("reaction", 1)),
        ("message", 2),
        *(("message", 3), ("reaction", 3)),
        *(("message", 4), ("reaction", 4)),
    ]
    bob, alice = told[1][2], told[2][2]
    assert (told[5][2], told[7][2], bob != alice) == (bob, alice, True)


def test_bookmarks_come_last_and_are_as_the_changes_leave_them(run: Run, server: FakeFalcon, tmp_path: Path) -> None:
    marks = [
        {"type": "bookmark", "room": "tea", "seq": seq, "account": "bo", "created_at": TIME, "note": note}
        for seq, note in ((1, "one"), (2, "two"))
    ]
    rows = (ALICE, BOB, TEA, said(1), said(2), *marks)
    removed = {"type": "bookmark-removed", "room": "tea", "seq": 1, "account": "bo", "at": "0:12"}
    sent = merged(
        run, server, tmp_path, said(3, at="0:9"), marks[1] | {"note": "new", "at": "0:11"}, removed, rows=rows
    )
    assert [(line["seq"], line.get("note")) for line in sent[-2:]] == [(3, None), (2, "new")]
