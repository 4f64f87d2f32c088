import codecs
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import httpx
import msgspec
import pytest

from falcon.cli import importing
from falcon.cli.importing import BATCH_BYTES, BATCH_LINES
from falcon.cli.lines import Line
from tests.cli.conftest import Run
from tests.cli.fake import EMPTY, TIME, FakeFalcon, Json, Script, problem, unanswered

*_TAGS, _LAST_TAG = (str(kind.__struct_config__.tag) for kind in get_args(Line))
TAGS = f"{', '.join(_TAGS)} or {_LAST_TAG}"  # of the lines of a file
HEADER: Json = {"type": "falcon-export", "version": 1, "source": "old-chat"}
ALICE: Json = {"type": "account", "ref": "al", "name": "Alice"}
BOB: Json = {"type": "account", "ref": "bo", "name": "Bob"}
TEA: Json = {
    "type": "room",
    "ref": "tea",
    "kind": "group",
    "name": "Tea",
    "description": "",
    "created_at": TIME,
    "members": [{"account": "al", "role": "admin"}, {"account": "bo", "role": "member"}],
}


def said(seq: int, text: str = "Hi", **fields: Any) -> Json:
    return {"type": "message", "room": "tea", "seq": seq, "author": "al", "text": text, "posted_at": TIME} | fields


def written(path: Path, lines: Iterable[Json]) -> str:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path.name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "old.jsonl"


def test_refs_become_ids_of_the_answers(run: Run, server: FakeFalcon, file: Path) -> None:
    name = written(file, [HEADER, ALICE, BOB, TEA, said(1), said(2, author="bo", mentions=["al"], reply_to=1)])
    result = run(server, "import", name)
    assert (result.exit_code, result.stdout) == (0, "5 lines: 2 messages imported, 0 there already.\n")
    accounts, rooms, messages = server.imports
    assert accounts == [
        {"type": "account", "source": "old-chat", "ref": "al", "name": "Alice"},
        {"type": "account", "source": "old-chat", "ref": "bo", "name": "Bob"},
    ]
    alice, bob, tea = (server.ids[key] for key in ("account old-chat al", "account old-chat bo", "room old-chat tea"))
    assert rooms == [
        {
            "type": "room",
            "source": "old-chat",
            "ref": "tea",
            "kind": "group",
            "name": "Tea",
            "description": "",
            "created_at": TIME,
            "members": [{"account_id": alice, "role": "admin"}, {"account_id": bob, "role": "member"}],
        }
    ]
    assert messages[1] == {
        "type": "message",
        "room_id": tea,
        "seq": 2,
        "author_id": bob,
        "text": "Hi",
        "posted_at": TIME,
        "edited_at": None,
        "deleted": False,
        "reply_to": 1,
        "mentions": [alice],
    }


def test_members_of_a_large_room_are_sent_behind_it_and_its_admins_with_it(
    run: Run, server: FakeFalcon, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_MEMBERS", 2)
    accounts = [{"type": "account", "ref": ref, "name": ref} for ref in "abcde"]
    members = [{"account": ref, "role": "admin" if ref == "e" else "member"} for ref in "abcde"]
    name = written(file, [HEADER, *accounts, TEA | {"members": members}, said(1, author="a")])
    result = run(server, "import", name)
    assert result.stdout == "7 lines: 1 message imported, 0 there already.\n"
    ids = {ref: server.ids[f"account old-chat {ref}"] for ref in "abcde"}
    _, [tea], further, [message] = server.imports
    assert tea["members"] == [{"account_id": ids["e"], "role": "admin"}, {"account_id": ids["a"], "role": "member"}]
    assert {line["type"] for line in further} == {"members"}
    assert {line["room_id"] for line in further} == {message["room_id"]}
    assert [[each["account_id"] for each in line["members"]] for line in further] == [[ids["b"], ids["c"]], [ids["d"]]]


def test_members_whom_the_server_leaves_out_are_counted_at_the_end(
    run: Run, server: FakeFalcon, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_MEMBERS", 2)
    server.leaves_out = True
    accounts = [{"type": "account", "ref": ref, "name": ref} for ref in "abcde"]
    members = [{"account": ref, "role": "admin"} for ref in "abcde"]
    result = run(server, "import", written(file, [HEADER, *accounts, TEA | {"members": members}]))
    assert result.exit_code == 0
    room_id = server.ids["room old-chat tea"]
    assert f"Room {room_id} lacks 1 member of the file." in result.stderr


def test_batches_are_bounded_by_lines(run: Run, server: FakeFalcon, file: Path) -> None:
    run(server, "import", written(file, [HEADER, ALICE, BOB, TEA, *(said(seq) for seq in range(1, 2502))]))
    assert [len(batch) for batch in server.imports] == [2, 1, BATCH_LINES, BATCH_LINES, 501]
    assert [line["seq"] for batch in server.imports[2:] for line in batch] == list(range(1, 2502))


def test_batches_are_bounded_by_bytes(run: Run, server: FakeFalcon, file: Path) -> None:
    text = "x" * 65_535
    run(server, "import", written(file, [HEADER, ALICE, BOB, TEA, *(said(seq, text) for seq in range(1, 11))]))
    assert [len(batch) for batch in server.imports[2:]] == [7, 3]
    sent = [request for request in server.requests if request.url.path == "/v1/import"]
    assert all(len(request.content) <= BATCH_BYTES for request in sent)
    assert {request.headers["Content-Type"] for request in sent} == {"application/x-ndjson"}


def test_times_of_other_zones_are_sent_in_utc(run: Run, server: FakeFalcon, file: Path) -> None:
    line = said(1, posted_at="2026-11-25T18:30:00.1234+09:00", edited_at="2026-11-25T09:31:00Z")
    run(server, "import", written(file, [HEADER, ALICE, BOB, TEA, line]))
    assert server.imports[2][0]["posted_at"] == TIME
    assert server.imports[2][0]["edited_at"] == "2026-11-25T09:31:00.000Z"


def test_importing_again_sends_the_same_so_that_nothing_changes(run: Run, server: FakeFalcon, file: Path) -> None:
    name = written(file, [HEADER, ALICE, BOB, TEA, said(1)])
    run(server, "import", name)
    run(server, "import", name)
    assert server.imports[:3] == server.imports[3:]


def test_standard_input_is_read_too(run: Run, server: FakeFalcon) -> None:
    lines = b"\n\n".join(msgspec.json.encode(line) for line in (HEADER, ALICE))
    assert run(server, "import", "-", input=lines).stdout == "1 line: 0 messages imported, 0 there already.\n"


@pytest.mark.parametrize("header", [HEADER, HEADER | {"version": 2, "position": "0:0"}])
def test_a_file_of_windows_is_read_too(run: Run, server: FakeFalcon, file: Path, header: Json) -> None:
    written(
        file,
        [header, ALICE, TEA | {"members": []}, said(1), {"type": "end", "position": "0:0"}][: 3 + header["version"]],
    )
    file.write_bytes(codecs.BOM_UTF8 + file.read_bytes().replace(b"\n", b"\r\n"))
    result = run(server, "import", file.name)
    assert (result.exit_code, result.stdout) == (0, "3 lines: 1 message imported, 0 there already.\n"), result.stderr


def test_a_broken_off_import_says_that_it_can_go_on(run: Run, file: Path) -> None:
    result = run(Script(httpx.Response(200, json=EMPTY), unanswered), "import", written(file, [HEADER, ALICE]))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("; the same command continues where this stopped")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (said(2, author="ed"), "author: no account with ref 'ed' comes before this line"),
        (said(1, room="den"), "room: no room with ref 'den' comes before this line"),
        (said(2, mentions=["ed"]), "mentions: no account with ref 'ed' comes before this line"),
        (said(0), "seq: must be at least 1"),
        (said(1, posted_at="2026-11-25T09:30:00"), "posted_at: must have a time zone, such as Z"),
        (said(3), "seq: must go on without a gap: expected 2, got 3"),
        (said(1), "seq: must go on without a gap: expected 2, got 1"),
        (said(1, colour="green"), "colour: is an unknown field"),
        ({"type": "account", "ref": "ed"}, "name: is missing"),
        ({"type": "poll"}, f"type: must be {TAGS}"),
        (HEADER, "a second header; a file has one, on its first line"),
    ],
)
def test_a_bad_line_stops_with_its_number_and_the_rule(
    run: Run, server: FakeFalcon, file: Path, line: Json, rule: str
) -> None:
    result = run(server, "import", written(file, [HEADER, ALICE, BOB, TEA, said(1), line]))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"old.jsonl:6: {rule}"
    assert [len(batch) for batch in server.imports] == [2, 1, 1]


def test_a_torn_line_stops_with_its_number(run: Run, server: FakeFalcon, file: Path) -> None:
    written(file, [HEADER, ALICE])
    with file.open("ab") as end:
        end.write(b'{"type":"account","ref"')
    result = run(server, "import", "old.jsonl")
    assert result.stderr.splitlines()[-1] == "old.jsonl:3: is not valid JSON: Input data was truncated"


def test_a_line_that_the_server_refuses_is_named_by_its_place_in_the_file(
    run: Run, server: FakeFalcon, file: Path
) -> None:
    def refuse(line: Json) -> Json | None:
        return {"field": "text", "rule": "must be shorter"} if line.get("text") == "Ho" else None

    server.refuse_import = refuse
    result = run(server, "import", written(file, [HEADER, ALICE, BOB, TEA, said(1), said(2), said(3, "Ho")]))
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "old.jsonl:7: text: must be shorter")


def test_a_refusal_that_names_no_line_names_those_that_were_sent(run: Run, file: Path) -> None:
    empty = httpx.Response(200, content=msgspec.json.encode(EMPTY) + b"\n")
    refused = Script(empty, problem(413, "too_large", "at most 1 MiB"))
    result = run(refused, "import", written(file, [HEADER, ALICE, BOB]))
    assert result.stderr.splitlines()[-1] == "old.jsonl:2-3: at most 1 MiB"


def test_a_token_that_is_not_valid_is_not_the_files_fault(run: Run, file: Path) -> None:
    result = run(Script(problem(401, "unauthenticated", "who?")), "import", written(file, [HEADER, ALICE]))
    assert result.stderr.startswith("unauthenticated: who? (")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([ALICE], 'old.jsonl:1: the first line must be the header, {"type": "falcon-export", "version": 1'),
        ([HEADER | {"version": 3, "new": 1}], "old.jsonl:1: version 3 of the format; this Falcon reads versions 1 and"),
        ([], "old.jsonl: empty; an import begins with a header line"),
    ],
)
def test_what_is_no_export_is_refused(run: Run, server: FakeFalcon, file: Path, lines: list[Json], told: str) -> None:
    result = run(server, "import", written(file, lines))
    assert result.exit_code == 1
    assert result.stderr.startswith(told)
    assert server.requests == []


def test_a_file_that_there_is_not_is_one_line(run: Run, server: FakeFalcon) -> None:
    result = run(server, "import", "none.jsonl")
    assert (result.exit_code, result.stderr) == (1, "none.jsonl: No such file or directory\n")


@pytest.mark.parametrize("source", ["0123456789abcdef", "0123456789abcdef-00c0ffee"])
def test_a_file_is_not_imported_into_the_falcon_that_it_came_from(
    run: Run, server: FakeFalcon, file: Path, source: str
) -> None:
    """The refusal stands alone, without a progress bar of nothing."""
    name = written(file, [HEADER | {"source": source}, ALICE, TEA | {"members": [{"account": "al"}]}, said(1)])
    refused = run(server, "import", name)
    assert refused.exit_code == 1 and server.imports == []
    assert refused.stderr == (
        "old.jsonl was exported from this Falcon: importing it would create every account and room a second time. "
        "To restore, import into an empty Falcon; to import it anyway, add --again\n"
    )
    assert run(server, "import", name, "--again").exit_code == 0
    assert len(server.imports) == 3


def test_who_comes_in_without_a_handle_is_named(run: Run, server: FakeFalcon, file: Path) -> None:
    server.taken = {"al": ["handle", "email"]}
    result = run(server, "import", written(file, [HEADER, ALICE | {"handle": "alice", "email": "al@example.org"}, BOB]))
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == "Account 1000 has no handle and no email: another account has that."
