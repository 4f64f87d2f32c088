"""An export that some earlier Falcon wrote is imported completely by this one.

``exports/version-N.jsonl`` is a file of format version N as ``falcon export`` wrote it then. What its server showed to
Anna, who was in all rooms, is in ``version-N.shown.json``. Files that are here are never changed.
"""

import json
from pathlib import Path
from typing import Final

import pytest

from tests.http.test_backup import comparable, merged, restored
from tests.http.test_transfer import exported, translated
from tests.support.http import Falcon, Json

EXPORTS: Final = Path(__file__).parent / "exports"


@pytest.mark.parametrize("version", [1, 2])
def test_an_export_of_an_earlier_falcon_is_imported_completely(version: int, tmp_path: Path) -> None:
    export = (EXPORTS / f"version-{version}.jsonl").read_bytes()
    shown: Json = json.loads((EXPORTS / f"version-{version}.shown.json").read_text())
    header, *rows = merged(export)
    assert header["version"] == version
    with Falcon(tmp_path) as falcon:
        own = exported(falcon)[1:]
        ids = restored(export, falcon)
        ids.accounts[""] = 0  # the author of a message that the old tables had lost
        arrived = [line for line in exported(falcon)[1:] if line not in own]

    expected = comparable([translated(row, ids) for row in rows if row["type"] != "falcon-export"])
    assert comparable(
        [{**line, "author": line["author"] or "0"} if "author" in line else line for line in arrived]
    ) == (expected)
    for ref, messages in shown["messages"].items():
        room = str(ids.rooms[ref])
        found = [line for line in arrived if line["type"] == "message" and line["room"] == room]
        assert [_as_imported(message, ids.accounts | {"0": 0}) for message in messages] == [
            {
                **{name: line[name] for name in line if name not in ("type", "room", "missing")},
                "author": line["author"] or "0",
            }
            for line in found
        ]


def _as_imported(message: Json, accounts: dict[str, int]) -> Json:
    """A message as the old server showed it, with the ids of the new one."""
    author, mentions = message["author_id"], message["mentions"]
    kept = {name: message[name] for name in message if name not in ("room_id", "author_id", "mentions", "missing")}
    return {
        **kept,
        "author": str(accounts[str(author)]),
        "mentions": [str(accounts[str(account_id)]) for account_id in mentions],
    }
