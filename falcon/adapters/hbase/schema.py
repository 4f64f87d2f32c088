"""Tables, row keys and cells: how the read tables lie in HBase.

One family, one version of each cell. A cell's timestamp is an offset of the log: the cell stands as the log below that
offset left it, so that writing anything again, or something older late, changes nothing. Nothing is ever deleted, since
a deletion hides what is older only until HBase compacts; what is gone has a flag that says so.

Keys begin with two bytes of a hash, which spreads them over a table's regions, split by their first byte. Behind them
stands a byte for the kind of row where a table has several.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from falcon.domain.ids import AccountId, RoomId, Seq

FORMAT: Final = 1
FAMILY: Final = b"d"
FAST_DIFF: Final = ("DATA_BLOCK_ENCODING", "FAST_DIFF")
META_REGIONS: Final = 1
BUCKET: Final = 25  # messages a row: small enough to read a whole row for a few, large enough for a page in three
SEQ_MAX: Final = BUCKET * 2**32
MENTIONS_BUCKET: Final = 1_000

# The tables of each projection, with their regions and the attributes that are not those of all.
TABLES: Final[Mapping[str, Mapping[str, tuple[int, tuple[tuple[str, str], ...]]]]] = {
    "timeline": {"timeline": (8, (FAST_DIFF,))},
    "rooms": {"rooms": (4, ())},
    "memberships": {"memberships": (4, (FAST_DIFF,)), "mentions": (4, (FAST_DIFF,))},
    "accounts": {"accounts": (4, ())},
}

_LAST_BUCKET: Final = 2**32 - 1
_ROW, _PAIR, _INDEX = b"\x01", b"\x02", b"\x03"  # the index last, so that a scan of the others can stop before it
_OF_ROOM, _OF_ACCOUNT = b"r", b"a"
_U64 = Struct(">Q").pack
_U32 = Struct(">I").pack
_U16 = Struct(">H").pack
_PREFIXES_KEPT: Final = 65_536


class Cell(NamedTuple):
    row: bytes
    column: bytes
    value: bytes


class TableSpec(NamedTuple):
    """A table to make. ``attributes`` are named as HBase's shell names them; the table has the one family ``d``."""

    name: str
    regions: int
    attributes: tuple[tuple[str, str], ...]

    def line(self) -> str:
        """``NAME FAMILY REGIONS ATTRIBUTE=VALUE ...``"""
        attributes = (f"{name}={value}" for name, value in self.attributes)
        return " ".join((self.name, FAMILY.decode(), str(self.regions), *attributes))


# --- tables -----------------------------------------------------------------------------------------------------------


def meta_name(prefix: str) -> str:
    return f"{prefix}_meta"


def table_name(prefix: str, table: str, generation: int) -> str:
    """Offsets of a rebuild begin anew, so it has tables of its own: ``generation`` counts them from 1."""
    return f"{prefix}_{table}_{generation}"


def table_names(prefix: str, projection: str, generation: int) -> list[str]:
    return [table_name(prefix, table, generation) for table in TABLES[projection]]


def meta_spec(prefix: str) -> TableSpec:
    return TableSpec(meta_name(prefix), META_REGIONS, _attributes())


def table_specs(prefix: str, projection: str, generation: int, regions: Mapping[str, int]) -> list[TableSpec]:
    """``regions``: of the tables that should have another number of them."""
    return [
        TableSpec(table_name(prefix, table, generation), regions.get(table, usual), _attributes(*more))
        for table, (usual, more) in TABLES[projection].items()
    ]


def _attributes(*more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("VERSIONS", "1"), ("BLOOMFILTER", "ROW"), *more)


# --- timeline ---------------------------------------------------------------------------------------------------------
# A room's newest messages come first, and before them all its head, whose key is the bare beginning of theirs: shorter
# than any other key, so that it is nobody else's.

REVISION: Final = b"d:r"
MESSAGE_COLUMNS: Final = tuple(b"d:" + bytes([place]) for place in range(BUCKET))


@lru_cache(_PREFIXES_KEPT)
def head_key(room_id: RoomId) -> bytes:
    return _hashed(_U64(room_id))


def bucket_key(room_id: RoomId, seq: Seq) -> bytes:
    """The row with message ``seq``."""
    return head_key(room_id) + _U32(_LAST_BUCKET - (seq - 1) // BUCKET)


def bucket_keys(room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
    """The rows with the messages ``first`` to ``last``, oldest first."""
    return [bucket_key(room_id, seq) for seq in range((first - 1) // BUCKET * BUCKET + 1, last + 1, BUCKET)]


def messages_range(room_id: RoomId, through: Seq) -> tuple[bytes, bytes]:
    """Where the rows with the messages up to ``through`` begin, newest first, and where they end."""
    return bucket_key(room_id, through), _behind(head_key(room_id))


def message_column(seq: Seq) -> bytes:
    return MESSAGE_COLUMNS[(seq - 1) % BUCKET]


def message_seq(row: bytes, column: bytes) -> Seq:
    """The inverse of ``bucket_key`` and ``message_column``."""
    return (_LAST_BUCKET - int.from_bytes(row[-4:], "big")) * BUCKET + column[-1] + 1


def message_columns(first: Seq, last: Seq) -> tuple[bytes, ...]:
    """Those of the messages from ``first`` on, to ``last`` or the end of the row."""
    place = (first - 1) % BUCKET
    return MESSAGE_COLUMNS[place : place + last - first + 1]


# --- rooms ------------------------------------------------------------------------------------------------------------
# Beside the rows of the rooms: one for each pair with a direct room, and an index, since keys with a hash can't be
# walked through in the order of the ids. The index lies in one region. A room enters it once, when it is made.

ROOM_MADE: Final = b"d:k"  # kind, time of creation, imported, pair
ROOM_NAME: Final = b"d:n"  # name, description
ROOM_LAST_SEQ: Final = b"d:s"
ROOM_UPDATED_AT: Final = b"d:u"
ROOM_GONE: Final = b"d:g"
ROOM_CELLS: Final = frozenset((ROOM_MADE, ROOM_NAME, ROOM_LAST_SEQ, ROOM_UPDATED_AT, ROOM_GONE))  # a room has all
PAIR_ROOM: Final = b"d:r"
INDEXED: Final = b"d:i"


@lru_cache(_PREFIXES_KEPT)
def room_key(room_id: RoomId) -> bytes:
    return _hashed(_U64(room_id), _ROW)


def pair_key(smaller: AccountId, larger: AccountId) -> bytes:
    return _hashed(_U64(smaller) + _U64(larger), _PAIR)


# --- memberships and mentions -----------------------------------------------------------------------------------------
# Each membership twice: among those of the room, and among those of the account.

MEMBER: Final = b"d:i"  # 1 while the account is a member
MEMBER_ROLE: Final = b"d:r"
MEMBER_READ_SEQ: Final = b"d:m"
MEMBER_CELLS: Final = frozenset((MEMBER, MEMBER_ROLE, MEMBER_READ_SEQ))  # a member has all


def member_key(room_id: RoomId, account_id: AccountId) -> bytes:
    return _members(room_id) + _U64(account_id)


def membership_key(account_id: AccountId, room_id: RoomId) -> bytes:
    return _memberships(account_id) + _U64(room_id)


def members_range(room_id: RoomId, after: AccountId) -> tuple[bytes, bytes]:
    """Where the members of a room begin and end, from ``after`` on, excluded."""
    return _members(room_id) + _U64(after + 1), _behind(_members(room_id))


def memberships_range(account_id: AccountId, after: RoomId = 0) -> tuple[bytes, bytes]:
    """Where the memberships of an account begin and end, from room ``after`` on, excluded."""
    return _memberships(account_id) + _U64(after + 1), _behind(_memberships(account_id))


def mentions_key(account_id: AccountId, room_id: RoomId, seq: Seq) -> bytes:
    return _hashed(_U64(account_id)) + _U64(room_id) + _U32(seq // MENTIONS_BUCKET)


def mentions_keys(account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> list[bytes]:
    """The rows with the mentions in messages ``after`` (excluded) to ``through``."""
    first, last = after + 1, min(through, SEQ_MAX)
    return [mentions_key(account_id, room_id, seq) for seq in _each_bucket(first, last)]


def mentions_range(account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> tuple[bytes, bytes]:
    """Where they begin and end."""
    last = mentions_key(account_id, room_id, min(through, SEQ_MAX))
    return mentions_key(account_id, room_id, after + 1), last + b"\0"


def mentions_rows(after: Seq, through: Seq) -> int:
    """How many rows there may be with the mentions in messages ``after`` (excluded) to ``through``."""
    return len(_each_bucket(after + 1, min(through, SEQ_MAX)))


def mention_column(seq: Seq) -> bytes:
    return b"d:" + _U16(seq % MENTIONS_BUCKET)


def mentioned_seq(row: bytes, column: bytes) -> Seq:
    """The inverse of ``mentions_key`` and ``mention_column``."""
    return int.from_bytes(row[-4:], "big") * MENTIONS_BUCKET + int.from_bytes(column[-2:], "big")


def _members(room_id: RoomId) -> bytes:
    return _hashed(_U64(room_id), _OF_ROOM)


def _memberships(account_id: AccountId) -> bytes:
    return _hashed(_U64(account_id), _OF_ACCOUNT)


def _each_bucket(first: Seq, last: Seq) -> range:
    """A seq in each of the rows of mentions from ``first`` to ``last``."""
    return range(first // MENTIONS_BUCKET * MENTIONS_BUCKET, last + 1, MENTIONS_BUCKET) if first <= last else range(0)


# --- accounts ---------------------------------------------------------------------------------------------------------
# An account's tokens are cells of its row, so that a bearer is known by reading one row. Indexed as rooms are.

ACCOUNT: Final = b"d:a"  # name, administrator or not, time of creation
TOKEN: Final = b"d:t:"  # and the token's number: hash, time of creation


def account_key(account_id: AccountId) -> bytes:
    return _hashed(_U64(account_id), _ROW)


def token_column(token_id: int) -> bytes:
    return b"%b%d" % (TOKEN, token_id)


# --- walking through --------------------------------------------------------------------------------------------------

BEHIND_ALL: Final = b"\xff" * 32  # no key is so large
INDEX_START: Final = b"\xff\xff" + _INDEX


def index_key(identity: int) -> bytes:
    return INDEX_START + _U64(identity)


def index_range(after: int) -> tuple[bytes, bytes]:
    """Where the index goes on behind ``after``, and where it ends."""
    return index_key(after + 1), _behind(INDEX_START)


def is_row(key: bytes) -> bool:
    """Whether it is a room's or an account's own row."""
    return key[2:3] == _ROW


def id_at_end(key: bytes) -> int:
    """The last id in a key of rooms, memberships, accounts or an index."""
    return int.from_bytes(key[-8:], "big")


def owner_of_row(table: str, key: bytes, row: Mapping[bytes, bytes]) -> int:
    """The id of the room or account in whose partition the row's cells are written."""
    if table == "timeline":
        return int.from_bytes(key[2:10], "big")
    if table == "mentions":
        return int.from_bytes(key[10:18], "big")
    if table == "memberships" and key[2:3] == _OF_ROOM:
        return int.from_bytes(key[3:11], "big")
    if table == "rooms" and key[2:3] == _PAIR:
        return int(row.get(PAIR_ROOM, b"0"))
    return id_at_end(key)


def share_of_keys(through: bytes) -> float:
    """Which part of all keys with a hash comes up to this one."""
    return (int.from_bytes(through[:2], "big") + 1) / 65_536


def _hashed(key: bytes, kind: bytes = b"") -> bytes:
    return hashlib.md5(key, usedforsecurity=False).digest()[:2] + kind + key


def _behind(prefix: bytes) -> bytes:
    """The first key that does not begin so."""
    return (int.from_bytes(prefix, "big") + 1).to_bytes(len(prefix), "big")
