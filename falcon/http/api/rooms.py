"""Rooms, their members, and how far each has read them."""

import base64
from typing import Final

import msgspec

from falcon.domain.answers import MemberAnswer, ReadAnswer, RoomAnswer
from falcon.domain.commands import (
    ChangeRoom,
    CreateRoom,
    DeleteRoom,
    Invitation,
    MoveRead,
    OpenDirect,
    PutMember,
    RemoveMember,
)
from falcon.http import shapes
from falcon.http.edge import Call, Edge, Told
from falcon.http.problems import Problem, account_not_found, invalid, room_not_found, wrong_cursor
from falcon.http.requests import Answer, decode_query, identity, json_bytes, json_value, read_name
from falcon.http.shapes import AUTHORS_MAX, AuthorsQuery, ListQuery, MemberRole, NewRoom, ReadMark, RoomChange
from falcon.read.memberships.queries import RoomCursor, RoomSummaryRow
from falcon.read.rooms.queries import RoomRow
from falcon.read.timeline.runs import ITEMS_BYTES_MAX, fitting
from falcon.read.times import rfc3339

_new_room: Final = msgspec.json.Decoder(NewRoom)
_room_change: Final = msgspec.json.Decoder(RoomChange)
_member_role: Final = msgspec.json.Decoder(MemberRole)
_read_mark: Final = msgspec.json.Decoder(ReadMark)
_cursor: Final = msgspec.json.Decoder(RoomCursor)
_encode: Final = msgspec.json.Encoder().encode


# --- rooms ------------------------------------------------------------------------------------------------------------


async def create_room(edge: Edge, call: Call) -> Answer:
    new: NewRoom = await edge.body(call, _new_room)
    await edge.reach_positions(call)
    account_id = call.account.account_id
    edge.limiter.check_new_room(account_id)
    await edge.room_counts.check(account_id)
    for index, member in enumerate(new.members):
        if await edge.account(call, member.account_id) is None:
            raise invalid(f"members[{index}].account_id", f"there is no account {member.account_id}")
    members = tuple(Invitation(member.account_id, member.role) for member in new.members)
    told = await edge.tell(call, CreateRoom(account_id, read_name(new.name), new.description, members))
    if not told.is_replayed:
        edge.limiter.made_room(account_id)
        edge.room_counts.made(account_id)
    return _room_answer(201, told)


async def open_direct(edge: Edge, call: Call) -> Answer:
    peer_id = identity(call.path["account_id"], account_not_found)
    await edge.no_body(call)
    await edge.reach_positions(call)
    peer = await edge.account(call, peer_id)
    if peer is None:
        raise account_not_found(peer_id)
    account_id = call.account.account_id
    if await edge.store.direct_room(min(account_id, peer_id), max(account_id, peer_id)) is None:
        edge.limiter.check_new_room(account_id)
    told = await edge.tell(call, OpenDirect(account_id, peer_id))
    assert isinstance(told.answer, RoomAnswer)
    if told.answer.created and not told.is_replayed:
        edge.limiter.made_room(account_id)
    return _room_answer(201 if told.answer.created else 200, told, peer.name)


async def list_rooms(edge: Edge, call: Call) -> Answer:
    query = decode_query(call.request, ListQuery)
    cursor = None if query.cursor is None else _decode_cursor(query.cursor)
    listed = await edge.streams.room_lists.page(call.account.account_id, cursor, query.limit)
    page = await _fitting(edge, call.account.account_id, listed.rows)
    following = listed.next
    if len(page) < len(listed.rows):
        last = listed.rows[len(page) - 1].room
        following = RoomCursor(last.updated_at, last.room_id)
    next_cursor = None if following is None else _encode_cursor(following)
    return json_bytes(200, b'{"rooms":[%s],"next_cursor":%s}' % (b",".join(page), _encode(next_cursor)))


async def _fitting(edge: Edge, account_id: int, rows: list[RoomSummaryRow]) -> list[bytes]:
    """The rooms as JSON, up to the first that would make a page too large."""
    summaries = [await summary(edge, account_id, row) for row in rows]
    page, _ = fitting(map(_encode, summaries), ITEMS_BYTES_MAX)
    return page


async def read_room(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    account_id = call.account.account_id
    row = await edge.store.room_of(account_id, room_id)
    if row is None:
        row = await edge.newest(call, room_id, edge.store.room_of, account_id, room_id)
    if row is None:
        raise room_not_found(room_id)
    room = row.room
    name = await name_for(edge, account_id, room)
    answer = shapes.Room(room_id, room.kind, name, room.description, row.role, room.last_seq, room.created_at)
    return json_value(200, answer)


async def change_room(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    change: RoomChange = await edge.body(call, _room_change)
    if change.name is msgspec.UNSET and change.description is msgspec.UNSET:
        raise invalid("body", "must have name or description")
    name = None if isinstance(change.name, msgspec.UnsetType) else read_name(change.name)
    description = None if isinstance(change.description, msgspec.UnsetType) else change.description
    told = await edge.tell(call, ChangeRoom(call.account.account_id, room_id, name, description))
    return _room_answer(200, told)


async def delete_room(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    await edge.no_body(call)
    told = await edge.tell(call, DeleteRoom(call.account.account_id, room_id))
    return Answer(204, b"", *told.headers)


# --- members ----------------------------------------------------------------------------------------------------------


async def list_members(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    query = decode_query(call.request, ListQuery)
    await edge.access(call, room_id)
    after = 0
    if query.cursor is not None:
        after = identity(query.cursor, wrong_cursor)
    rows = await edge.store.members(room_id, after, query.limit + 1)
    page = rows[: query.limit]
    next_cursor = str(page[-1].account_id) if len(rows) > query.limit else None
    members = [shapes.Member(row.account_id, row.name, row.role, row.read_seq) for row in page]
    return json_value(200, shapes.Members(members, next_cursor))


async def list_authors(edge: Edge, call: Call) -> Answer:
    """Names for a room's history: an author who has left the room is no longer among its members."""
    room_id = _room_id(call)
    account_ids = _account_ids(decode_query(call.request, AuthorsQuery).ids)
    await edge.access(call, room_id)
    rows = [await edge.account(call, account_id) for account_id in account_ids]
    authors = [shapes.Author(row.account_id, row.name) for row in rows if row is not None]
    return json_value(200, shapes.Authors(authors))


async def put_member(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    change: MemberRole = await edge.body(call, _member_role)
    account_id = identity(call.path["account_id"], account_not_found)
    await edge.reach_positions(call)
    account = await edge.account(call, account_id)
    # Refused with the rest, so that a caller who may not know of the room does not learn which accounts there are.
    exists = account is not None
    told = await edge.tell(call, PutMember(call.account.account_id, room_id, account_id, change.role, exists))
    assert isinstance(told.answer, MemberAnswer)
    name = "" if account is None else account.name
    member = shapes.Member(account_id, name, told.answer.role, told.answer.read_seq)
    return json_value(200, member, *told.headers)


async def remove_member(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    await edge.no_body(call)
    account_id = identity(call.path["account_id"], account_not_found)
    told = await edge.tell(call, RemoveMember(call.account.account_id, room_id, account_id))
    return Answer(204, b"", *told.headers)


async def move_read(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    mark: ReadMark = await edge.body(call, _read_mark)
    await edge.reach_positions(call)
    mentions = await _mentions_behind(edge, call.account.account_id, room_id, mark)
    told = await edge.tell(call, MoveRead(call.account.account_id, room_id, mark.seq, mark.force, mentions))
    assert isinstance(told.answer, ReadAnswer)
    answer = told.answer
    return json_value(200, shapes.ReadState(room_id, answer.read_seq, answer.unread, answer.mentions), *told.headers)


# --- shared -----------------------------------------------------------------------------------------------------------


def _room_answer(status: int, told: Told, name: str | None = None) -> Answer:
    """``name``: of a direct room, which bears the other account's. It was read before the room was opened: a read that
    fails afterwards would refuse what has been done."""
    answer = told.answer
    assert isinstance(answer, RoomAnswer)
    room = shapes.Room(
        answer.room_id,
        answer.kind,
        answer.name if name is None else name,
        answer.description,
        answer.role,
        answer.last_seq,
        rfc3339(answer.created_at),
    )
    return json_value(status, room, *told.headers)


async def summary(edge: Edge, account_id: int, row: RoomSummaryRow) -> shapes.RoomSummary:
    room = row.room
    return shapes.RoomSummary(
        room_id=room.room_id,
        kind=room.kind,
        name=await name_for(edge, account_id, room),
        description=room.description,
        role=row.role,
        last_seq=room.last_seq,
        created_at=room.created_at,
        read_seq=row.read_seq,
        unread=row.unread,
        mentions=row.mentions,
        last_message=None if row.last_message is None else msgspec.Raw(shapes.messages(row.last_message)),
        updated_at=room.updated_at,
    )


async def name_for(edge: Edge, account_id: int, room: RoomRow) -> str:
    """A direct room bears, for each of the two, the other one's name."""
    if room.peers is None:
        return room.name
    smaller, larger = room.peers
    peer = await edge.store.account(larger if account_id == smaller else smaller)
    return "" if peer is None else peer.name


async def _mentions_behind(edge: Edge, account_id: int, room_id: int, mark: ReadMark) -> int:
    """What is left to read of mentions once the mark is moved; counted before, so that the answer can be kept."""
    access = await edge.store.access(room_id, account_id)
    if access is None:
        return 0  # it will be refused
    read_seq = mark.seq if mark.force else max(mark.seq, access.read_seq)
    return await edge.store.mentions(account_id, room_id, read_seq, access.last_seq)


def _room_id(call: Call) -> int:
    return identity(call.path["room_id"], room_not_found)


def _account_ids(text: str) -> list[int]:
    """Each once. Raises Problem 422."""
    parts = text.split(",")
    if len(parts) > AUTHORS_MAX:
        raise invalid("ids", f"must be at most {AUTHORS_MAX} account ids")
    return list(dict.fromkeys(identity(part, _wrong_ids) for part in parts))


def _wrong_ids(_: str) -> Problem:
    return invalid("ids", f"must be 1 to {AUTHORS_MAX} account ids, with commas between")


def _encode_cursor(cursor: RoomCursor) -> str:
    return base64.urlsafe_b64encode(_encode(cursor)).decode()


def _decode_cursor(text: str) -> RoomCursor:
    try:
        return _cursor.decode(base64.urlsafe_b64decode(text))
    except (ValueError, msgspec.DecodeError):
        raise wrong_cursor(text) from None
