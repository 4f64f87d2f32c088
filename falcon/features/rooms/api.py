"""Rooms, and their lines in exports and imports, members included."""

import base64
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from falcon.domain import limits, names
from falcon.domain.answers import ImportAnswer
from falcon.domain.ids import AccountId, RoomId
from falcon.features.messages.ranges import ITEMS_BYTES_MAX, fit
from falcon.features.read_marks.table import MemberRoom, RoomCursor, RoomSummaryRow, is_quiet
from falcon.features.rooms import members
from falcon.features.rooms.members import MEMBERS
from falcon.features.rooms.rules import (
    NOT_ACTIVE,
    ChangeRoom,
    CreateRoom,
    DeleteRoom,
    ImportMembers,
    ImportRoom,
    Invitation,
    ListedRoomKind,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    OpenDirect,
    RoomAnswer,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from falcon.features.rooms.table import RoomRow
from falcon.http import shapes
from falcon.http.api import examples, permissions
from falcon.http.api.lines import (
    Checks,
    ImportCommands,
    ImportedLines,
    LineKind,
    all_of,
    by_room,
    check_time,
    reference,
)
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.command_client import CommandResult
from falcon.http.edge import Edge
from falcon.http.problems import (
    Problem,
    account_not_found,
    invalid,
    not_allowed,
    room_not_found,
    wrong_cursor,
)
from falcon.http.requests import AuthedRequest, read_name
from falcon.http.responses import JSON, BytesResponse, json_response
from falcon.http.room_views import room_shape, room_summaries
from falcon.http.shapes import ListQuery, NewRoom, RoomChange
from falcon.read.times import parse_rfc3339, rfc3339

_new_room: Final = msgspec.json.Decoder(NewRoom)
_room_change: Final = msgspec.json.Decoder(RoomChange)
_cursor: Final = msgspec.json.Decoder(RoomCursor)
_encode: Final = msgspec.json.Encoder().encode
_CHUNK_MEMBERS: Final = 1_000  # one event has so many: some 30 KB
_MEMBERS_READ: Final = 200  # at once, for an export


# --- rooms ------------------------------------------------------------------------------------------------------------


async def create_room(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Create a group room.

    The caller becomes an admin of the room. `members` join it at once.
    """
    new: NewRoom = await request.json(_new_room)
    await edge.reads.reach_positions(request)
    account_id = request.account_id
    refusal = edge.limiter.refusal_of_new_room(account_id) or await edge.room_counts.refusal(account_id)
    account_ids = [member.account_id for member in new.members]
    missing = await edge.reads.first_missing(request, account_ids)
    if missing is not None:
        raise invalid(f"members[{account_ids.index(missing)}].account_id", f"there is no account {missing}")
    inactive = await edge.reads.first_inactive(request, account_ids) if account_ids else None
    if inactive is not None and refusal is None:
        refusal = invalid(f"members[{account_ids.index(inactive)}].account_id", NOT_ACTIVE.rule)
    members = tuple(Invitation(member.account_id, member.role) for member in new.members)
    command = CreateRoom(account_id, read_name(new.name), new.description, members)
    result = await edge.commands.dispatch(request, command, refusal=refusal)
    if not result.is_replayed:
        edge.limiter.made_room(account_id)
        edge.room_counts.made(account_id)
    return _room_response(201, result)


async def open_direct(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Open the direct room with an account.

    Two accounts share one direct room. The answer is 201 if this request creates it, and 200 if it exists.
    """
    peer_id = request.path_id("account_id", account_not_found)
    await request.no_body()
    await edge.reads.reach_positions(request)
    name = await edge.reads.name(request, peer_id)
    if name is None:
        raise account_not_found(peer_id)
    account_id = request.account_id
    refusal = None
    if await edge.reads.first_inactive(request, [peer_id]) is not None:
        refusal = invalid(NOT_ACTIVE.field, NOT_ACTIVE.rule)
    elif not await edge.store.direct_rooms([(min(account_id, peer_id), max(account_id, peer_id))]):
        refusal = edge.limiter.refusal_of_new_room(account_id)
    return await _opened(edge, request, peer_id, name, refusal)


async def _opened(
    edge: Edge, request: AuthedRequest, peer_id: AccountId, name: str, refusal: Problem | None
) -> BytesResponse:
    result = await edge.commands.dispatch(
        request, OpenDirect(request.account_id, peer_id, (request.account.name, name)), refusal=refusal
    )
    assert isinstance(result.answer, RoomAnswer)
    if result.answer.created and not result.is_replayed:
        edge.limiter.made_room(request.account_id)
    return _room_response(201 if result.answer.created else 200, result, name)


async def list_rooms(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List the caller's rooms.

    The room with the newest activity comes first. Each room has its unread counts and its last message.
    """
    query = request.query(ListQuery)
    cursor = None if query.cursor is None else decode_cursor(query.cursor)
    listed = await edge.streams.room_lists.page(request.account_id, cursor, query.limit)
    page = await _fitting(edge, request.account_id, listed.rows)
    following = listed.next
    if len(page) < len(listed.rows):
        last = listed.rows[len(page) - 1].room
        following = RoomCursor(last.updated_at, last.room_id)
    next_cursor = None if following is None else encode_cursor(following)
    body = b'{"rooms":[%s],"next_cursor":%s}' % (b",".join(page), _encode(next_cursor))
    return BytesResponse(200, body, JSON)


async def _fitting(edge: Edge, account_id: int, rows: list[RoomSummaryRow]) -> list[bytes]:
    """The rooms as JSON, without the ones that would make the page too large."""
    summaries = await room_summaries(edge.names, account_id, rows)
    page, _ = fit(map(_encode, summaries), ITEMS_BYTES_MAX)
    return page


async def read_room(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Get a room.

    `role` is the caller's own role in the room, or null in an open room that the caller has not joined. A direct room
    has the name of the other account.
    """
    room_id = request.path_id("room_id", room_not_found)
    access = await edge.reads.access(request, room_id)
    room = await edge.store.room(room_id)
    if room is None:  # it has just been deleted
        raise room_not_found(room_id)
    (summary,) = await edge.store.summaries(request.account_id, [MemberRoom(room, access.role, access.read_seq)])
    room = summary.room  # no further than its pages
    follows = access.follows and not is_quiet(room)
    return json_response(200, await room_shape(edge.names, request.account_id, room, access.role, follows=follows))


async def change_room(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Change the name or the description of a room, or open it.

    Requires an admin of the room. Send only the fields that change. Everybody but guests may find, read and join an
    open room. Owners and admins of Falcon make an open room a default room: new accounts are members of it.
    """
    room_id = request.path_id("room_id", room_not_found)
    change: RoomChange = await request.json(_room_change)
    fields = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not msgspec.UNSET}
    if not fields:
        raise invalid("body", "must have name, description, open or default")
    if "name" in fields:
        fields["name"] = read_name(fields["name"])
    command = ChangeRoom(request.account_id, room_id, **fields, by_manager=request.is_admin)
    return _room_response(200, await edge.commands.dispatch(request, command))


async def delete_room(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Delete a room.

    Requires an admin of the room. After that no account can read the room or its messages.
    """
    room_id = request.path_id("room_id", room_not_found)
    await request.no_body()
    result = await edge.commands.dispatch(request, DeleteRoom(request.account_id, room_id))
    return BytesResponse(204, b"", *result.headers)


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
        answer.peer_id,
        answer.open,
        answer.default,
    )
    return json_response(status, room, *result.headers)


def encode_cursor(cursor: RoomCursor) -> str:
    return base64.urlsafe_b64encode(_encode(cursor)).decode()


def decode_cursor(text: str) -> RoomCursor:
    try:
        return _cursor.decode(base64.urlsafe_b64decode(text))
    except (ValueError, msgspec.DecodeError):
        raise wrong_cursor(text) from None


# --- lines of exports and imports -------------------------------------------------------------------------------------


class RoomLineShape(shapes.RequestShape, frozen=True, tag_field="type", tag="room"):
    source: shapes.Reference
    ref: shapes.Reference
    kind: ListedRoomKind
    name: Annotated[str, Meta(max_length=limits.NAME_CHARS_MAX)]
    description: shapes.Description
    created_at: shapes.Time
    members: Annotated[tuple[shapes.NewMember, ...], Meta(max_length=limits.MEMBERS_AT_IMPORT_MAX)]
    open: bool = False
    default: bool = False


class MembersLineShape(shapes.RequestShape, frozen=True, tag_field="type", tag="members"):
    """Further members of a room that was imported."""

    room_id: shapes.Id
    members: Annotated[tuple[shapes.NewMember, ...], Meta(max_length=limits.MEMBERS_AT_IMPORT_MAX)]


class MemberOut(msgspec.Struct, frozen=True):
    account: str
    role: str


class RoomOut(msgspec.Struct, frozen=True, tag_field="type", tag="room", omit_defaults=True):
    ref: str
    kind: str
    name: str
    description: str
    created_at: str
    members: list[MemberOut]
    at: str | None = None
    open: bool = False
    default: bool = False


class ThreadOut(msgspec.Struct, frozen=True, tag_field="type", tag="thread", omit_defaults=True):
    """``room``, ``seq``: the message. Its messages name the thread as their room."""

    ref: str
    room: str
    seq: int
    created_at: str
    followers: list[str]
    at: str | None = None


class RoomChangedOut(msgspec.Struct, frozen=True, tag_field="type", tag="room-changed", omit_defaults=True):
    room: str
    name: str
    description: str
    at: str
    open: bool = False
    default: bool = False


class RoomDeletedOut(msgspec.Struct, frozen=True, tag_field="type", tag="room-deleted"):
    room: str
    at: str


class MemberChangeOut(msgspec.Struct, frozen=True, tag_field="type", tag="member"):
    room: str
    account: str
    role: str
    at: str


class MemberLeftOut(msgspec.Struct, frozen=True, tag_field="type", tag="member-left"):
    room: str
    account: str
    at: str


async def room_line(edge: Edge, room: RoomRow) -> RoomOut | ThreadOut:
    members: list[MemberOut] = []
    after = 0
    while rows := await edge.store.members(room.room_id, after, _MEMBERS_READ):
        members += [MemberOut(str(row.account_id), row.role) for row in rows]
        after = rows[-1].account_id
    if room.parent is not None:
        parent_id, seq = room.parent
        followers = [member.account for member in members]
        return ThreadOut(str(room.room_id), str(parent_id), seq, room.created_at, followers)
    return RoomOut(
        str(room.room_id),
        room.kind,
        room.name,
        room.description,
        room.created_at,
        members,
        open=room.open,
        default=room.default,
    )


def _created_line(event: RoomCreated, at: str) -> RoomOut | ThreadOut:
    if event.parent is not None:
        parent_id, seq = event.parent
        return ThreadOut(str(event.room_id), str(parent_id), seq, rfc3339(event.created_at), [], at)
    members = [MemberOut(str(member.account_id), member.role) for member in event.members]
    created_at = rfc3339(event.created_at)
    return RoomOut(
        str(event.room_id),
        event.kind,
        event.name,
        event.description,
        created_at,
        members,
        at,
        event.open,
        event.default,
    )


def _changed_line(event: RoomChanged, at: str) -> RoomChangedOut:
    return RoomChangedOut(str(event.room_id), event.name, event.description, at, event.open, event.default)


def _member_line(event: MemberJoined | MemberChanged, at: str) -> MemberChangeOut:
    return MemberChangeOut(str(event.room_id), str(event.account_id), event.role, at)


def _rules(line: RoomLineShape, at: str) -> None:
    check_time(line.created_at, f"{at}created_at")
    if line.open and line.kind == "direct":
        raise invalid(f"{at}open", "must be false: a direct room is for its two accounts")
    if line.default and not line.open:
        raise invalid(f"{at}default", "must be false unless the room is open")


async def _check(checks: Checks, line: RoomLineShape, at: str) -> None:
    _check_accounts(checks, line.members, at)
    roles = {member.account_id: member.role for member in line.members}  # the last one of an account counts
    if line.kind == "group" and "admin" not in roles.values():
        raise invalid(f"{at}members", "a group room needs at least one admin")
    if line.kind == "direct":
        accounts = sorted(roles)
        if len(accounts) != 2:
            raise invalid(f"{at}members", "a direct room has exactly two members")
        checks.pairs.setdefault((accounts[0], accounts[1]), at)


async def _check_members(checks: Checks, line: MembersLineShape, at: str) -> None:
    await checks.last_seq(line.room_id, 0, at)
    _check_accounts(checks, line.members, at)


def _check_accounts(checks: Checks, members: Sequence[shapes.NewMember], at: str) -> None:
    for index, member in enumerate(members):
        checks.account(member.account_id, f"{at}members[{index}].account_id")


def _accounts(line: RoomLineShape | MembersLineShape) -> Iterable[AccountId]:
    return (member.account_id for member in line.members)


async def _check_pairs(checks: Checks) -> None:
    if not checks.pairs:
        return
    rooms = await checks.store.direct_rooms(checks.pairs.keys())
    of_people = {room.peers for room in rooms if not room.imported}
    for pair, at in checks.pairs.items():
        if pair in of_people:
            raise not_allowed(f"{at}members", f"accounts {pair[0]} and {pair[1]} have a direct room already")


async def _import_rooms(commands: ImportCommands, lines: Sequence[RoomLineShape]) -> ImportedLines:
    names_of = await commands.edge.names.look_up(
        member.account_id for line in lines if line.kind == "direct" for member in line.members
    )

    async def imported(line: RoomLineShape) -> tuple[str, RoomId]:
        pair = dict.fromkeys(member.account_id for member in line.members) if line.kind == "direct" else ()
        command = ImportRoom(
            imported_as=reference("room", line.source, line.ref),
            kind=line.kind,
            name=names.cleaned(line.name),
            description=line.description,
            created_at=parse_rfc3339(line.created_at),
            members=tuple(map(_invitation, line.members)),
            open=line.open,
            default=line.default,
            names=tuple(names_of[account_id] for account_id in pair),
        )
        answer = (await commands.dispatch(command)).answer
        assert isinstance(answer, RoomAnswer)
        return line.ref, answer.room_id

    return ImportedLines(dict(await all_of(map(imported, lines))))


async def _import_members(commands: ImportCommands, lines: Sequence[MembersLineShape]) -> ImportedLines:
    async def imported(of_room: Sequence[MembersLineShape]) -> tuple[str, int]:
        """The room, and how many members were left out."""
        room_id, left_out = of_room[0].room_id, 0
        members = [_invitation(member) for line in of_room for member in line.members]
        for start in range(0, len(members), _CHUNK_MEMBERS):
            chunk = tuple(members[start : start + _CHUNK_MEMBERS])
            answer = (await commands.dispatch(ImportMembers(room_id, chunk))).answer
            assert isinstance(answer, ImportAnswer)
            left_out += len(chunk) - answer.imported - answer.skipped
        return str(room_id), left_out

    counts = await all_of(map(imported, by_room(lines)))
    return ImportedLines(left_out={room: left_out for room, left_out in counts if left_out})


def _invitation(member: shapes.NewMember) -> Invitation:
    return Invitation(member.account_id, member.role)


ROOM_LINES: Final = LineKind(
    RoomLineShape,
    _import_rooms,
    {
        RoomCreated: _created_line,
        RoomChanged: _changed_line,
        RoomDeleted: lambda event, at: RoomDeletedOut(str(event.room_id), at),
        MemberJoined: _member_line,
        MemberChanged: _member_line,
        MemberLeft: lambda event, at: MemberLeftOut(str(event.room_id), str(event.account_id), at),
    },
    _rules,
    _check,
    accounts=_accounts,
    check_all=_check_pairs,
)
MEMBER_LINES: Final = LineKind(MembersLineShape, _import_members, {}, check=_check_members, accounts=_accounts)
LINES: Final = (ROOM_LINES, MEMBER_LINES)


# --- operations -------------------------------------------------------------------------------------------------------

ROOMS: Final = Group("Rooms", "Start here: create a room, and list yours.", learned=1)
CHANGES: Final = Group("Changing rooms", "For admins of a room.", learned=7)
_ROOM: Final = shapes.RoomShape(
    examples.ROOM, "group", "Tea kitchen", "For a break", "admin", 0, examples.MADE, None, False, False
)
_SUMMARY: Final = shapes.RoomSummary(
    room_id=examples.ROOM,
    kind="group",
    name="Tea kitchen",
    description="",
    role="admin",
    last_seq=1,
    created_at=examples.MADE,
    peer_id=None,
    open=False,
    default=False,
    read_seq=1,
    unread=0,
    mentions=0,
    last_message=examples.LAST,
    updated_at=examples.SAID,
)
OPERATIONS: Final = (
    *members.OPERATIONS,
    *in_group(
        ROOMS,
        ApiOperation(
            "POST",
            "/v1/rooms",
            create_room,
            permissions.MEMBERS,
            {201: _ROOM},
            shapes.NewRoom("Tea kitchen", "For a break", (shapes.NewMember(examples.BEN),)),
        ),
        ApiOperation(
            "GET",
            "/v1/rooms",
            list_rooms,
            permissions.EVERYBODY,
            {200: shapes.Rooms([_SUMMARY], None)},
            query=shapes.ListQuery,
        ),
        ApiOperation(
            "GET", "/v1/rooms/{room_id}", read_room, permissions.READERS, {200: _ROOM}, problems=("room_not_found",)
        ),
    ),
    *in_group(
        CHANGES,
        ApiOperation(
            "PATCH",
            "/v1/rooms/{room_id}",
            change_room,
            permissions.Permission(room=("admin",), more="`default`: administrators and owners of Falcon"),
            {200: _ROOM},
            shapes.RoomChange(name="Coffee kitchen", open=True),
            problems=("not_allowed", "room_not_found"),
        ),
        ApiOperation(
            "DELETE",
            "/v1/rooms/{room_id}",
            delete_room,
            permissions.ROOM_ADMINS,
            {204: None},
            problems=("not_allowed", "room_not_found"),
        ),
    ),
    *in_group(
        MEMBERS,
        ApiOperation(
            "PUT",
            "/v1/direct/{account_id}",
            open_direct,
            permissions.MEMBERS,
            {200: _ROOM, 201: _ROOM},
            problems=("account_not_found",),
        ),
    ),
)
