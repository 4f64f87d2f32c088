"""Members of rooms, and their names."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.messages.bodies import message_in
from falcon.features.people.search import people_near
from falcon.features.rooms.rules import MemberAnswer, PutMember, RemoveMember
from falcon.http import shapes
from falcon.http.api import examples, permissions
from falcon.http.api.lists import page_of, start_of
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.edge import Edge
from falcon.http.problems import account_not_found, room_not_found
from falcon.http.requests import AuthedRequest, read_ids
from falcon.http.responses import BytesResponse, json_response
from falcon.http.shapes import AUTHORS_MAX, AuthorsQuery, ListQuery, MemberRole

_WRITTEN_MAX: Final = 1_000  # messages of a room that are looked at for a guest: a megabyte at most
_member_role: Final = msgspec.json.Decoder(MemberRole)


async def list_members(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List the members of a room.

    In the order of their account ids, with role and read mark.
    """
    room_id = request.path_id("room_id", room_not_found)
    query = request.query(ListQuery)
    await edge.reads.access(request, room_id)
    rows = await edge.store.members(room_id, start_of(query), query.limit + 1)
    page, next_cursor = page_of(rows, query.limit, attrgetter("account_id"))
    members = [shapes.MemberShape(row.account_id, row.name, row.role, row.read_seq) for row in page]
    return json_response(200, shapes.Members(members, next_cursor))


async def list_authors(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Look up names by account id.

    Also finds accounts that have left the room, so that a client can show the names in its history.
    """
    room_id = request.path_id("room_id", room_not_found)
    account_ids = read_ids(request.query(AuthorsQuery).ids, AUTHORS_MAX)
    access = await edge.reads.access(request, room_id)
    if request.is_guest:
        account_ids = await _known_to_guest(edge, request, room_id, access.last_seq, account_ids)
    names = await edge.reads.names(request, account_ids)
    authors = [shapes.Author(account_id, names[account_id]) for account_id in account_ids if account_id in names]
    return json_response(200, shapes.Authors(authors))


async def _known_to_guest(
    edge: Edge, request: AuthedRequest, room_id: RoomId, last: Seq, account_ids: Sequence[AccountId]
) -> list[AccountId]:
    """The people in the guest's rooms, and who wrote one of the room's newest messages and has left. Raises
    ReadStoreUnavailable."""
    known = await people_near(edge.store, request.account_id)
    if not known.issuperset(account_ids) and last:
        page = await edge.store.page(room_id, max(1, last - _WRITTEN_MAX + 1), last, from_last=True)
        known |= {message_in(each).author_id for each in page.messages}
    return [account_id for account_id in account_ids if account_id in known]


async def put_member(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Add a member, change a member's role, or join an open room.

    Requires an admin of the room. Everybody but guests joins an open room with their own account id and the role
    `member`. A group room keeps at least one admin.
    """
    room_id = request.path_id("room_id", room_not_found)
    change: MemberRole = await request.json(_member_role)
    account_id = request.path_id("account_id", account_not_found)
    await edge.reads.reach_positions(request)
    name = await edge.reads.name(request, account_id)
    # The owner refuses an unknown account, after the caller's membership: a caller who may not see the room must not
    # learn here which accounts exist.
    is_active = await edge.reads.first_inactive(request, [account_id]) is None
    command = PutMember(
        request.account_id, room_id, account_id, change.role, name is not None, request.is_guest, is_active
    )
    result = await edge.commands.dispatch(request, command)
    assert isinstance(result.answer, MemberAnswer)
    member = shapes.MemberShape(account_id, name or "", result.answer.role, result.answer.read_seq)
    return json_response(200, member, *result.headers)


async def remove_member(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Remove a member, or leave a room.

    An admin of the room can remove any member. Everybody can leave a group room with their own account id, except its
    last admin.
    """
    room_id = request.path_id("room_id", room_not_found)
    await request.no_body()
    account_id = request.path_id("account_id", account_not_found)
    result = await edge.commands.dispatch(request, RemoveMember(request.account_id, room_id, account_id))
    return BytesResponse(204, b"", *result.headers)


# --- operations -------------------------------------------------------------------------------------------------------

MEMBERS: Final = Group("Members", "Who is in a room, with which role, and what authors are called.", learned=5)
OPERATIONS: Final = in_group(
    MEMBERS,
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/members",
        list_members,
        permissions.READERS,
        {200: shapes.Members([shapes.MemberShape(examples.ALICE, "Alice", "admin", 1)], None)},
        query=shapes.ListQuery,
        problems=("room_not_found",),
    ),
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/members/{account_id}",
        put_member,
        permissions.Permission(room=("admin",), more="an open room: every account but guests for itself"),
        {200: shapes.MemberShape(examples.BEN, "Ben", "member", 0)},
        shapes.MemberRole("member"),
        problems=("account_not_found", "last_admin", "not_allowed", "room_not_found"),
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/members/{account_id}",
        remove_member,
        permissions.ROOM_ADMINS_OR_ONESELF,
        {204: None},
        problems=("account_not_found", "last_admin", "not_allowed", "room_not_found"),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/authors",
        list_authors,
        permissions.READERS,
        {200: shapes.Authors([shapes.Author(examples.ALICE, "Alice"), shapes.Author(examples.BEN, "Ben")])},
        query=shapes.AuthorsQuery,
        problems=("room_not_found",),
    ),
)
