"""A read model that only tests have: how many characters each message has. Once installed it is one like all others.

A test may hold it up in other processes, so that they do not fill it while the test still looks on."""

import time
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

from falcon.domain.ids import RoomId, Seq
from falcon.features.catalogue import Event
from falcon.features.messages.rules import MessageDeleted, MessageEdited, MessagePosted
from falcon.journal.envelope import Recorded
from falcon.read.catalogue import READ_MODELS, ReadModel
from falcon.read.hbase import U32, U64, Cells, HBaseModel, Row, hashed, id_at_end
from falcon.read.sqlite import SqliteModel
from falcon.read.write import Write
from tests.support.beginning import beginning_with

LENGTHS: Final = "lengths"


class PutLength(NamedTuple):
    room_id: RoomId
    seq: Seq
    length: int


def _project(recorded: Recorded) -> tuple[Write, ...]:
    match recorded.envelope.event:
        case MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return (PutLength(m.room_id, m.seq, len(m.text)),)
        case _:
            return ()


def _loss(event: Event) -> str | None:
    return "the length of a message" if isinstance(event, MessagePosted | MessageEdited | MessageDeleted) else None


def _cells(write: PutLength) -> Cells:
    return ((hashed(U32(write.seq) + U64(write.room_id)), b"d:l", b"%d" % write.length),)


def _identity_of_row(table: str, key: bytes, row: Row) -> int:
    return id_at_end(key)


MODEL: Final = ReadModel(
    project=_project,
    takes=(MessagePosted, MessageEdited, MessageDeleted),
    loss=_loss,
    sqlite=SqliteModel(
        tables={
            "lengths": "CREATE TABLE lengths{} (room_id INTEGER, seq INTEGER, length INTEGER,"
            " PRIMARY KEY (room_id, seq)) WITHOUT ROWID"
        },
        identities={"lengths": "room_id"},
        statements={PutLength: ("INSERT OR REPLACE INTO lengths{} VALUES (?1, ?2, ?3)",)},
    ),
    hbase=HBaseModel(
        tables={"lengths": (1, ())},
        puts=("lengths",),
        cells={PutLength: (0, _cells)},
        identity=attrgetter("room_id"),
        identity_of_row=_identity_of_row,
    ),
)


def install(hold: Path | None = None) -> None:
    """``hold``: while this file is there, the model takes no message behind the seq that is written in it."""
    READ_MODELS[LENGTHS] = MODEL if hold is None else MODEL._replace(project=partial(_project_when_let, hold))


def hold_behind(seq: Seq, hold: Path) -> None:
    new = hold.with_suffix(".new")
    new.write_text(f"{seq}")
    new.replace(hold)


def _project_when_let(hold: Path, recorded: Recorded) -> tuple[Write, ...]:
    event = recorded.envelope.event
    while isinstance(event, MessagePosted) and _is_held(hold, event.message.seq):
        time.sleep(0.02)
    return _project(recorded)


def _is_held(hold: Path, seq: Seq) -> bool:
    try:
        return seq > int(hold.read_text())
    except FileNotFoundError:
        return False


def uninstall() -> None:
    READ_MODELS.pop(LENGTHS, None)


def installing(folder: Path, hold: Path, more: str = "") -> dict[str, str]:
    """Environment variables with which every Python process has the model installed from its start. ``more``: other
    lines that it begins with."""
    lines = f"from pathlib import Path\n\nfrom tests.support.lengths import install\n\ninstall(Path({str(hold)!r}))\n"
    return beginning_with(folder, lines + more)
