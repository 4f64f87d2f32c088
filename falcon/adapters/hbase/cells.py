"""What a projection writes, as cells."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from falcon.adapters.hbase import schema
from falcon.adapters.hbase.schema import Cell
from falcon.domain.ids import Partition, partition_of
from falcon.read import store
from falcon.read.store import Write

_Cells: TypeAlias = tuple[tuple[bytes, bytes, bytes], ...]

# The revisions stand in the timeline's table and are written behind its messages: whoever reads a revision must find
# messages that are at least as new. Of other tables none needs to wait for another.
_REVISIONS: Final = "revisions"
_ORDER: Final = ("timeline", _REVISIONS, "rooms", "memberships", "mentions", "accounts")
_OF_ACCOUNTS: Final = (store.PutAccount, store.PutToken, store.DropToken)
_YES, _NO = b"1", b"0"
NO_TOKEN: Final = b"-"

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


def by_partition(writes: Sequence[Write], partitions: int) -> dict[Partition, list[Write]]:
    """Those of each partition, in their order. A row is written from one partition only."""
    grouped: dict[Partition, list[Write]] = {}
    for write in writes:
        owner = write.account_id if isinstance(write, _OF_ACCOUNTS) else write.room_id
        grouped.setdefault(partition_of(owner, partitions), []).append(write)
    return grouped


def fold(writes: Sequence[Write]) -> Iterator[tuple[str, list[Cell]]]:
    """Tables with their cells, each cell as its last write leaves it, in the order in which they are to be put."""
    tables: dict[str, dict[tuple[bytes, bytes], bytes]] = {table: {} for table in _ORDER}
    for write in writes:
        table, cells = _CELLS[type(write)]
        for row, column, value in cells(write):
            tables.setdefault(table, {})[row, column] = value
    for table, folded in tables.items():
        if folded:
            name = "timeline" if table == _REVISIONS else table
            yield name, [Cell(row, column, value) for (row, column), value in folded.items()]


def _put_message(write: store.PutMessage) -> _Cells:
    return ((schema.bucket_key(write.room_id, write.seq), schema.message_column(write.seq), write.message),)


def _set_revision(write: store.SetRevision) -> _Cells:
    return ((schema.head_key(write.room_id), schema.REVISION, b"%d" % write.revision),)


def _put_room(write: store.PutRoom) -> _Cells:
    row = schema.room_key(write.room_id)
    made = (write.kind, write.created_at, write.imported, write.smaller, write.larger)
    cells: _Cells = (
        (row, schema.ROOM_MADE, encode(made)),
        (row, schema.ROOM_NAME, encode((write.name, write.description))),
        (row, schema.ROOM_LAST_SEQ, b"0"),
        (row, schema.ROOM_UPDATED_AT, b""),
        (row, schema.ROOM_GONE, _NO),
        (schema.index_key(write.room_id), schema.INDEXED, _YES),
    )
    if write.smaller is None or write.larger is None:
        return cells
    return (*cells, (schema.pair_key(write.smaller, write.larger), schema.PAIR_ROOM, b"%d" % write.room_id))


def _set_room_name(write: store.SetRoomName) -> _Cells:
    row = schema.room_key(write.room_id)
    return (
        (row, schema.ROOM_NAME, encode((write.name, write.description))),
        (row, schema.ROOM_UPDATED_AT, write.updated_at.encode()),
    )


def _set_room_activity(write: store.SetRoomActivity) -> _Cells:
    row = schema.room_key(write.room_id)
    return (
        (row, schema.ROOM_LAST_SEQ, b"%d" % write.last_seq),
        (row, schema.ROOM_UPDATED_AT, write.updated_at.encode()),
    )


def _drop_room(write: store.DropRoom) -> _Cells:
    return ((schema.room_key(write.room_id), schema.ROOM_GONE, _YES),)


def _put_member(write: store.PutMember) -> _Cells:
    fields = {
        schema.MEMBER: _YES,
        schema.MEMBER_ROLE: write.role.encode(),
        schema.MEMBER_READ_SEQ: b"%d" % write.read_seq,
    }
    return _both_ways(write, fields)


def _set_role(write: store.SetRole) -> _Cells:
    return _both_ways(write, {schema.MEMBER_ROLE: write.role.encode()})


def _set_read_mark(write: store.SetReadMark) -> _Cells:
    return _both_ways(write, {schema.MEMBER_READ_SEQ: b"%d" % write.read_seq})


def _drop_member(write: store.DropMember) -> _Cells:
    return _both_ways(write, {schema.MEMBER: _NO})


def _both_ways(write: Any, fields: Mapping[bytes, bytes]) -> _Cells:
    rows = (
        schema.member_key(write.room_id, write.account_id),
        schema.membership_key(write.account_id, write.room_id),
    )
    return tuple((row, column, value) for row in rows for column, value in fields.items())


def _set_mention(write: store.SetMention) -> _Cells:
    row = schema.mentions_key(write.account_id, write.room_id, write.seq)
    return ((row, schema.mention_column(write.seq), _YES if write.mentioned else _NO),)


def _put_account(write: store.PutAccount) -> _Cells:
    return (
        (
            schema.account_key(write.account_id),
            schema.ACCOUNT,
            encode((write.name, write.is_admin, write.created_at)),
        ),
        (schema.index_key(write.account_id), schema.INDEXED, _YES),
    )


def _put_token(write: store.PutToken) -> _Cells:
    row, column = schema.account_key(write.account_id), schema.token_column(write.token_id)
    return ((row, column, encode((write.token_hash, write.created_at))),)


def _drop_token(write: store.DropToken) -> _Cells:
    return ((schema.account_key(write.account_id), schema.token_column(write.token_id), NO_TOKEN),)


_CELLS: Final[dict[type[Any], tuple[str, Callable[[Any], _Cells]]]] = {
    store.PutMessage: ("timeline", _put_message),
    store.SetRevision: (_REVISIONS, _set_revision),
    store.PutRoom: ("rooms", _put_room),
    store.SetRoomName: ("rooms", _set_room_name),
    store.SetRoomActivity: ("rooms", _set_room_activity),
    store.DropRoom: ("rooms", _drop_room),
    store.PutMember: ("memberships", _put_member),
    store.SetRole: ("memberships", _set_role),
    store.SetReadMark: ("memberships", _set_read_mark),
    store.DropMember: ("memberships", _drop_member),
    store.SetMention: ("mentions", _set_mention),
    store.PutAccount: ("accounts", _put_account),
    store.PutToken: ("accounts", _put_token),
    store.DropToken: ("accounts", _drop_token),
}
