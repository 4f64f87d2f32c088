"""Rooms, their members, and their read marks."""

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
from falcon.http.command_client import CommandResult
from falcon.http.edge import Edge
from falcon.http.problems import Problem, account_not_found, invalid, room_not_found, wrong_cursor
from falcon.http.requests import AuthedRequest, identity, read_name
from falcon.http.responses import BytesResponse, encoded_json_response, json_response
from falcon.http.room_views import room_name, room_summary
from falcon.http.shapes import AUTHORS_MAX, AuthorsQuery, ListQuery, MemberRole, NewRoom, ReadMarkShape, RoomChange
from falcon.read.accounts.queries import AccountRow
from falcon.read.memberships.queries import RoomCursor, RoomSummaryRow
from falcon.read.timeline.runs import ITEMS_BYTES_MAX, fitting
from falcon.read.times import rfc3339

_new_room: Final = msgspec.json.Decoder(NewRoom)
_room_change: Final = msgspec.json.Decoder(RoomChange)
_member_role: Final = msgspec.json.Decoder(MemberRole)
_read_mark: Final = msgspec.json.Decoder(ReadMarkShape)
_cursor: Final = msgspec.json.Decoder(RoomCursor)
_encode: Final = msgspec.json.Encoder().encode


# --- rooms ------------------------------------------------------------------------------------------------------------


async def create_room(edge: Edge, request: AuthedRequest) -> BytesResponse:
    new: NewRoom = await request.json(_new_room)
    await edge.reads.reach_positions(request)
    account_id = request.account_id
    edge.limiter.check_new_room(account_id)
    await edge.room_counts.check(account_id)
    for index, member in enumerate(new.members):
        if await edge.reads.account(request, member.account_id) is None:
            raise invalid(f"members[{index}].account_id", f"there is no account {member.account_id}")
    members = tuple(Invitation(member.account_id, member.role) for member in new.members)
    command = CreateRoom(account_id, read_name(new.name), new.description, members)
    result = await edge.commands.dispatch(request, command)
    if not result.is_replayed:
        edge.limiter.made_room(account_id)
        edge.room_counts.made(account_id)
    return _room_response(201, result)


async def open_direct(edge: Edge, request: AuthedRequest) -> BytesResponse:
    peer_id = request.path_id("account_id", account_not_found)
    await request.no_body()
    await edge.reads.reach_positions(request)
    peer = await edge.reads.account(request, peer_id)
    if peer is None:
        raise account_not_found(peer_id)
    account_id = request.account_id
    if await edge.store.direct_room(min(account_id, peer_id), max(account_id, peer_id)) is None:
        edge.limiter.check_new_room(account_id)
    return await _opened(edge, request, peer)


async def _opened(edge: Edge, request: AuthedRequest, peer: AccountRow) -> BytesResponse:
    result = await edge.commands.dispatch(request, OpenDirect(request.account_id, peer.account_id))
    assert isinstance(result.answer, RoomAnswer)
    if result.answer.created and not result.is_replayed:
        edge.limiter.made_room(request.account_id)
    return _room_response(201 if result.answer.created else 200, result, peer.name)


async def list_rooms(edge: Edge, request: AuthedRequest) -> BytesResponse:
    query = request.query(ListQuery)
    cursor = None if query.cursor is None else _decode_cursor(query.cursor)
    listed = await edge.streams.room_lists.page(request.account_id, cursor, query.limit)
    page = await _fitting(edge, request.account_id, listed.rows)
    following = listed.next
    if len(page) < len(listed.rows):
        last = listed.rows[len(page) - 1].room
        following = RoomCursor(last.updated_at, last.room_id)
    next_cursor = None if following is None else _encode_cursor(following)
    return encoded_json_response(200, b'{"rooms":[%s],"next_cursor":%s}' % (b",".join(page), _encode(next_cursor)))


async def _fitting(edge: Edge, account_id: int, rows: list[RoomSummaryRow]) -> list[bytes]:
    """The rooms as JSON, without those that would make the page too large."""
    summaries = [await room_summary(edge.store, account_id, row) for row in rows]
    page, _ = fitting(map(_encode, summaries), ITEMS_BYTES_MAX)
    return page


async def read_room(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    account_id = request.account_id
    row = await edge.store.room_of(account_id, room_id)
    if row is None:
        row = await edge.reads.newest(request, room_id, edge.store.room_of, account_id, room_id)
    if row is None:
        raise room_not_found(room_id)
    room = row.room
    name = await room_name(edge.store, account_id, room)
    answer = shapes.RoomShape(room_id, room.kind, name, room.description, row.role, room.last_seq, room.created_at)
    return json_response(200, answer)


async def change_room(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    change: RoomChange = await request.json(_room_change)
    if change.name is msgspec.UNSET and change.description is msgspec.UNSET:
        raise invalid("body", "must have name or description")
    name = None if isinstance(change.name, msgspec.UnsetType) else read_name(change.name)
    description = None if isinstance(change.description, msgspec.UnsetType) else change.description
    result = await edge.commands.dispatch(request, ChangeRoom(request.account_id, room_id, name, description))
    return _room_response(200, result)


async def delete_room(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    await request.no_body()
    result = await edge.commands.dispatch(request, DeleteRoom(request.account_id, room_id))
    return BytesResponse(204, b"", *result.headers)


# --- members ----------------------------------------------------------------------------------------------------------


async def list_members(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    query = request.query(ListQuery)
    await edge.reads.access(request, room_id)
    after = 0
    if query.cursor is not None:
        after = identity(query.cursor, wrong_cursor)
    rows = await edge.store.members(room_id, after, query.limit + 1)
    page = rows[: query.limit]
    next_cursor = str(page[-1].account_id) if len(rows) > query.limit else None
    members = [shapes.MemberShape(row.account_id, row.name, row.role, row.read_seq) for row in page]
    return json_response(200, shapes.Members(members, next_cursor))


async def list_authors(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Names for a room's history. Authors who have left the room are not among its members."""
    room_id = request.path_id("room_id", room_not_found)
    account_ids = _account_ids(request.query(AuthorsQuery).ids)
    await edge.reads.access(request, room_id)
    rows = [await edge.reads.account(request, account_id) for account_id in account_ids]
    authors = [shapes.Author(row.account_id, row.name) for row in rows if row is not None]
    return json_response(200, shapes.Authors(authors))


async def put_member(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    change: MemberRole = await request.json(_member_role)
    account_id = request.path_id("account_id", account_not_found)
    await edge.reads.reach_positions(request)
    account = await edge.reads.account(request, account_id)
    # The owner refuses an unknown account, after the caller's membership: a caller who may not see the room must not
    # learn here which accounts exist.
    command = PutMember(request.account_id, room_id, account_id, change.role, account is not None)
    result = await edge.commands.dispatch(request, command)
    assert isinstance(result.answer, MemberAnswer)
    name = "" if account is None else account.name
    member = shapes.MemberShape(account_id, name, result.answer.role, result.answer.read_seq)
    return json_response(200, member, *result.headers)


async def remove_member(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    await request.no_body()
    account_id = request.path_id("account_id", account_not_found)
    result = await edge.commands.dispatch(request, RemoveMember(request.account_id, room_id, account_id))
    return BytesResponse(204, b"", *result.headers)


async def move_read(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    mark: ReadMarkShape = await request.json(_read_mark)
    command = MoveRead(request.account_id, room_id, mark.seq, mark.force, mentions=None)
    result = await edge.read_marks.move(request, command)
    answer = result.answer
    assert isinstance(answer, ReadAnswer)
    state = shapes.ReadState(room_id, answer.read_seq, answer.unread, answer.mentions)
    return json_response(200, state, *result.headers)


# --- shared -----------------------------------------------------------------------------------------------------------


def _room_response(status: int, result: CommandResult, name: str | None = None) -> BytesResponse:
    """``name``: of a direct room, which is the other account's. It is read before the command: a read that fails
    afterwards would turn a command that was done into a refusal."""
    answer = result.answer
    assert isinstance(answer, RoomAnswer)
    room = shapes.RoomShape(
        answer.room_id,
        answer.kind,
        answer.name if name is None else name,
        answer.description,
        answer.role,
        answer.last_seq,
        rfc3339(answer.created_at),
    )
    return json_response(status, room, *result.headers)


def _account_ids(text: str) -> list[int]:
    """Without duplicates. Raises Problem 422."""
    parts = text.split(",")
    if len(parts) > AUTHORS_MAX:
        raise invalid("ids", f"must have at most {AUTHORS_MAX} account ids")
    return list(dict.fromkeys(identity(part, _wrong_ids) for part in parts))


def _wrong_ids(_: str) -> Problem:
    return invalid("ids", f"must be 1 to {AUTHORS_MAX} account ids, separated by commas")


def _encode_cursor(cursor: RoomCursor) -> str:
    return base64.urlsafe_b64encode(_encode(cursor)).decode()


def _decode_cursor(text: str) -> RoomCursor:
    try:
        return _cursor.decode(base64.urlsafe_b64decode(text))
    except (ValueError, msgspec.DecodeError):
        raise wrong_cursor(text) from None
