"""People and open rooms, found by the words of their names."""

import base64
from collections.abc import Collection, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from falcon.domain.ids import AccountId, RoomId
from falcon.domain.words import begin_words, longest_words, words_of
from falcon.features.accounts.api import account_shape
from falcon.features.accounts.table import AccountRow
from falcon.features.people import search
from falcon.features.people.table import ALL, LAST, Entry, all_key, key_of, order_of
from falcon.http.api import examples, permissions
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.edge import Edge
from falcon.http.problems import Problem, invalid, room_not_found, wrong_cursor
from falcon.http.requests import AuthedRequest
from falcon.http.responses import BytesResponse, json_response
from falcon.http.shapes import AccountShape, Id, ListQuery, RequestShape, Time
from falcon.read.catalogue import ReadStore

_PEOPLE_MAX: Final = 20  # that a search gives: as many as a person looks through
_Q: Final = Meta(max_length=100, description="Each word begins a word of the name. Case, width and kana do not matter")
_MEMBERS_MAX: Final = 1_000  # of a room that are looked at beside the directory: some milliseconds on HBase


class SearchQuery(RequestShape, frozen=True):
    q: Annotated[str, _Q] = ""
    room: Annotated[Id | None, Meta(description="Members of this room come first")] = None
    limit: Annotated[int, Meta(ge=1, le=_PEOPLE_MAX, description="How many accounts are given at most")] = _PEOPLE_MAX


class DirectoryQuery(ListQuery, frozen=True):
    q: Annotated[str, _Q] = ""


class FoundAccounts(msgspec.Struct, frozen=True):
    accounts: list[AccountShape]


class ListedRoom(msgspec.Struct, frozen=True):
    """An open room. ``members``: how many it has; ``joined``: the caller is one of them."""

    room_id: Id
    name: str
    description: str
    members: int
    joined: bool
    updated_at: Time


class ListedRooms(msgspec.Struct, frozen=True):
    rooms: list[ListedRoom]
    next_cursor: str | None


# --- people -----------------------------------------------------------------------------------------------------------


async def search_accounts(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Find people.

    Each word of `q` begins a word of the name or the handle. The account whose handle is `q` comes first, then members
    of `room`, then others by name; in a thread, its followers and then the members of its room. Deactivated accounts
    are left out. Guests find people with whom they share a room.

    """
    query = request.query(SearchQuery)
    if not query.q:
        raise invalid("q", "must have 1 to 100 characters")
    store, near = edge.store, list[RoomId]()
    if query.room is not None:
        await check_room(edge, request, query.room)
        near = await _near(store, query.room)
    if request.is_guest:
        found = await _among(store, query.q, await search.people_near(store, request.account_id))
        exact = next((each.account_id for each in found if each.handle == query.q.strip().removeprefix("@")), None)
    else:
        found, exact = await _everywhere(store, query, near)
    ids = [each.account_id for each in found]
    here = [await store.members_among(room_id, ids) for room_id in near]
    here = [members & here[-1] for members in here]  # an account that has left a room keeps the threads that it follows
    places = {each: (each != exact, *(each not in members for members in here)) for each in ids}
    found = sorted(found, key=lambda each: (places[each.account_id], order_of(each.name), each.account_id))
    shown = [account_shape(row, request.account) for row in found[: query.limit]]
    return json_response(200, FoundAccounts(shown))


async def check_room(edge: Edge, request: AuthedRequest, room_id: RoomId) -> None:
    """Raises Problem 404 unless the caller may read the room, 503."""
    try:
        await edge.reads.access(request, room_id)
    except Problem as problem:
        raise room_not_found(room_id, "room") if problem.code == "room_not_found" else problem from None


async def _near(store: ReadStore, room_id: RoomId) -> list[RoomId]:
    """The room, and that of a thread: its members write there, too, and may be mentioned."""
    room = await store.room(room_id)
    return [room_id] if room is None or room.parent is None else [room_id, room.parent[0]]


async def _everywhere(
    store: ReadStore, query: SearchQuery, near: Sequence[RoomId]
) -> tuple[list[AccountRow], AccountId | None]:
    """The accounts that match, as far as they may be shown, and the one whose handle was asked for."""
    found = await search.find(store, "person", query.q)
    exact = await search.with_handle(store, query.q)
    ids = {entry.identity for entry in search.by_name(found.entries.values())[: query.limit]}
    if exact is not None:
        ids.add(exact)
    for room_id in near:
        members = await store.members_among(room_id, list(found.entries))
        ids |= {entry.identity for entry in search.by_name(found.entries[each] for each in members)[: query.limit]}
    rows = await _active(store, ids)
    if near and not found.whole:
        others = [row.account_id for row in await store.members(near[-1], 0, _MEMBERS_MAX)]
        rows += [row for row in await _among(store, query.q, others) if row.account_id not in ids]
    return rows, exact


async def _among(store: ReadStore, text: str, account_ids: Collection[AccountId]) -> list[AccountRow]:
    """The accounts among these that match."""
    wanted = longest_words(words_of(text))
    rows = await _active(store, account_ids) if wanted else []
    return [row for row in rows if begin_words(wanted, (*words_of(row.name), *words_of(row.handle or "")))]


async def _active(store: ReadStore, account_ids: Collection[AccountId]) -> list[AccountRow]:
    return [row for row in (await store.accounts_of(account_ids)).values() if not row.deactivated]


# --- rooms ------------------------------------------------------------------------------------------------------------


async def list_open_rooms(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List open rooms.

    By name. Each word of `q` begins a word of the name. Join one with `PUT …/members/{own account_id}`.
    """
    query = request.query(DirectoryQuery)
    after = b"" if query.cursor is None else _decode_cursor(query.cursor)
    if query.q:
        entries = search.by_name((await search.find(edge.store, "room", query.q)).entries.values())
        keyed = [(key_of("room", ALL, "", entry.name, entry.identity), entry) for entry in entries]
        page: Sequence[tuple[bytes, Entry]] = [each for each in keyed if each[0] > after][: query.limit + 1]
    else:
        page = await search.all_by_name(edge.store, "room", after, query.limit + 1)
    more, page = len(page) > query.limit, page[: query.limit]
    room_ids = [entry.identity for _, entry in page]
    rooms = {room.room_id: room for room in await edge.store.rooms_among(room_ids) if room.open}
    joined = {each.room.room_id for each in await edge.store.member_rooms_among(request.account_id, room_ids)}
    listed = [
        ListedRoom(room.room_id, room.name, room.description, room.members, room_id in joined, room.updated_at)
        for room_id in room_ids
        if (room := rooms.get(room_id)) is not None
    ]
    next_cursor = base64.urlsafe_b64encode(page[-1][0]).decode() if more else None
    return json_response(200, ListedRooms(listed, next_cursor))


def _decode_cursor(text: str) -> bytes:
    """The key of the last room of the page before. Raises Problem 422."""
    try:
        key = base64.urlsafe_b64decode(text)
    except ValueError:
        raise wrong_cursor(text) from None
    first = all_key("room")
    if not first <= key < first + LAST or len(key) < len(first) + 9:
        raise wrong_cursor(text)
    return key


# --- operations -------------------------------------------------------------------------------------------------------

_BEN: Final = account_shape(
    AccountRow(examples.BEN, "Ben", "member", examples.MADE, "Tea taster", handle="ben"),
    AccountRow(examples.ALICE, "Alice", "member", examples.MADE),
)
GROUP: Final = Group("People and open rooms", "Find them by their names.", learned=4)
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "GET",
        "/v1/accounts/search",
        search_accounts,
        permissions.EVERYBODY,
        {200: FoundAccounts([_BEN])},
        query=SearchQuery,
        problems=("room_not_found",),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/directory",
        list_open_rooms,
        permissions.MEMBERS,
        {200: ListedRooms([ListedRoom(examples.ROOM, "Tea kitchen", "For a break", 2, False, examples.SAID)], None)},
        query=DirectoryQuery,
    ),
)
