"""A read model that only tests have: how many characters each message has. Once installed it is one like all others."""

from pathlib import Path
from typing import Final, NamedTuple

from falcon.adapters.hbase import cells, schema
from falcon.adapters.sqlite import database, tables
from falcon.domain.events import MessageDeleted, MessageEdited, MessagePosted
from falcon.domain.ids import RoomId, Seq
from falcon.journal.envelope import Envelope
from falcon.projections import projection
from falcon.read.store import Write

LENGTHS: Final = "lengths"
COLUMN: Final = b"d:l"


class PutLength(NamedTuple):
    room_id: RoomId
    seq: Seq
    length: int


def project(envelope: Envelope) -> tuple[Write, ...]:
    match envelope.event:
        case MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return (PutLength(m.room_id, m.seq, len(m.text)),)  # type: ignore[return-value]  # Falcon does not know it
        case _:
            return ()


def row_key(room_id: RoomId, seq: Seq) -> bytes:
    return b"%d/" % seq + room_id.to_bytes(8, "big")


def _cells(write: PutLength) -> tuple[tuple[bytes, bytes, bytes], ...]:
    return ((row_key(write.room_id, write.seq), COLUMN, b"%d" % write.length),)


def install() -> None:
    projection.PROJECTIONS[LENGTHS] = project
    projection.VOUCHED_FOR[LENGTHS] = project
    database.READ_TABLES[LENGTHS] = {
        "lengths": "CREATE TABLE lengths{} (room_id INTEGER, seq INTEGER, length INTEGER, PRIMARY KEY (room_id, seq))"
        " WITHOUT ROWID"
    }
    tables._STATEMENTS[PutLength] = ("INSERT OR REPLACE INTO lengths{} VALUES (?1, ?2, ?3)",)
    schema.TABLES[LENGTHS] = {"lengths": (1, ())}
    cells._CELLS[PutLength] = ("lengths", _cells)


def uninstall() -> None:
    del projection.PROJECTIONS[LENGTHS]
    del projection.VOUCHED_FOR[LENGTHS]
    del database.READ_TABLES[LENGTHS]
    del schema.TABLES[LENGTHS]
    del tables._STATEMENTS[PutLength]
    del cells._CELLS[PutLength]


def installing(folder: Path) -> dict[str, str]:
    """Environment variables with which every Python process has the model installed from its start."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text("from tests.support.lengths import install\n\ninstall()\n")
    return {"PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}"}
