"""Search: messages by their words, in all rooms that the caller may read now."""

import asyncio
import base64
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from falcon.domain.ids import Millis, RoomId
from falcon.features.messages.api import messages_in_rooms
from falcon.features.messages.bodies import stored_in
from falcon.features.people.api import check_room
from falcon.features.people.search import all_by_name
from falcon.features.read_marks.table import Access, roles_in_parts
from falcon.features.search.index import Has, Key, SearchIndex, Wanted
from falcon.features.search.snippets import Snippet, snippet_of
from falcon.features.search.terms import QUERY_CHARS_MAX, TERMS_MAX, WrongQuery, matches, parse
from falcon.http.api import examples, permissions
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.edge import Edge
from falcon.http.problems import Problem, invalid, wrong_cursor
from falcon.http.read_your_writes import WAIT_SECONDS_MAX
from falcon.http.requests import AuthedRequest
from falcon.http.responses import JSON, BytesResponse
from falcon.http.shapes import Id, RequestShape, ShownMessage, Time
from falcon.read.times import parse_rfc3339

_HITS_MAX: Final = 1_000  # of a query, over all pages: who looks further narrows the query down
_PAGE_MAX: Final = 50  # each hit is a message that is read, and its room's rights
# Looks for one page, where hits may not be shown: they were edited, or the room was left, since the index saw them.
_LOOKS_MAX: Final = 5
_ROOMS_AT_ONCE: Final = 1_000  # memberships, or names of open rooms, that one query reads
_OPEN_ROOMS_MAX: Final = 10_000  # in which the search looks beside the rooms that the caller has joined
_LONG_BYTES: Final = 4 << 10  # of a hit: looking for its words takes a millisecond or more
_POLL_SECONDS: Final = 0.05  # the index is some tenths of a second late
_Q: Final = Meta(
    max_length=QUERY_CHARS_MAX,
    description=f'Words, `"phrases"`, `prefix*`, `-not`; at most {TERMS_MAX} terms, all of which a message has. Case '
    "and width do not matter. Words are whole words; within runs of kanji and kana any part is found",
)

_encode: Final = msgspec.json.Encoder().encode


class TextQuery(RequestShape, frozen=True):
    q: Annotated[str, _Q] = ""
    room: Annotated[Id | None, Meta(description="Only this room")] = None
    author: Annotated[Id | None, Meta(description="Only messages by this account")] = msgspec.field(
        default=None, name="from"
    )
    mentions: Annotated[Literal["me"] | None, Meta(description="Only messages that mention the caller")] = None
    has: Annotated[Has | None, Meta(description="Only messages with a file, or with a link")] = None
    after: Annotated[Time | None, Meta(description="Only messages that are newer")] = None
    before: Annotated[Time | None, Meta(description="Only messages that are older")] = None
    sort: Annotated[Literal["newest", "relevance"], Meta(description="`relevance` ranks the newest 10,000 hits")] = (
        "newest"
    )
    limit: Annotated[int, Meta(ge=1, le=_PAGE_MAX, description="How many hits the page has at most")] = 20
    cursor: Annotated[str | None, Meta(description="The next_cursor of the page before")] = None


class Hit(msgspec.Struct, frozen=True):
    """``snippet``: the part of the text that was found, in pieces; True marks what was asked for."""

    room_id: Id
    message: ShownMessage
    snippet: list[tuple[str, bool]]


class FoundMessages(msgspec.Struct, frozen=True):
    hits: list[Hit]
    next_cursor: str | None


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    """``shown``: hits so far. ``below``: newest first continues there; by relevance only what is older is ranked."""

    sort: Literal["newest", "relevance"]
    shown: Annotated[int, Meta(ge=0, le=_HITS_MAX)]
    below: Key


_cursor: Final = msgspec.json.Decoder(_Cursor)


async def search(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Find messages.

    In all rooms that you may read, or in one. A new message is found within a second; with `Falcon-Position` the
    search waits for it, up to 10 s. A query has at most 1,000 hits over all pages; a page may have fewer than `limit`,
    and yet a `next_cursor`.
    """
    query = request.query(TextQuery)
    cursor = None if query.cursor is None else _decode_cursor(query.cursor, query.sort)
    wanted = await _wanted(edge, request, query)
    if edge.search is None:
        raise Problem(
            503,
            "unavailable",
            "This Falcon has no index of messages: FALCON_OPENSEARCH_URL names none.",
            retry_after=60,
        )
    await _reach_positions(edge, request, edge.search)
    if not wanted.rooms:
        hits, following = list[bytes](), None
    elif query.sort == "newest":
        hits, following = await _newest(edge, request, edge.search, wanted, cursor, query.limit)
    else:
        hits, following = await _best(edge, request, edge.search, wanted, cursor, query.limit)
    next_cursor = None if following is None else base64.urlsafe_b64encode(_encode(following)).decode()
    return BytesResponse(200, b'{"hits":[%b],"next_cursor":%b}' % (b",".join(hits), _encode(next_cursor)), JSON)


async def _wanted(edge: Edge, request: AuthedRequest, query: TextQuery) -> Wanted:
    """Raises Problem 404, 422, 503."""
    try:
        terms = parse(query.q)
    except WrongQuery as error:
        raise invalid("q", str(error)) from None
    after, before = _time("after", query.after), _time("before", query.before)
    if query.room is not None:
        await check_room(edge, request, query.room)
        rooms: Collection[RoomId] = (query.room,)
    else:
        rooms = await _rooms(edge, request)
    mentioned = request.account_id if query.mentions else None
    charge = partial(edge.limiter.charge, request.account_id)
    return Wanted(terms, rooms, query.author, mentioned, query.has, after, before, charge)


def _time(field: str, text: str | None) -> Millis | None:
    try:
        return None if text is None else parse_rfc3339(text)
    except (ValueError, OverflowError):
        raise invalid(field, "must be a time as in 2026-11-25T09:30:00.123Z") from None


async def _rooms(edge: Edge, request: AuthedRequest) -> set[RoomId]:
    """The rooms that the caller may read. Their threads are found with them."""
    rooms = set[RoomId]()
    async for part in roles_in_parts(edge.store, request.account_id, _ROOMS_AT_ONCE):
        rooms.update(part)
    after = b""
    while not request.is_guest and len(rooms) < _OPEN_ROOMS_MAX:
        named = await all_by_name(edge.store, "room", after, _ROOMS_AT_ONCE)
        rooms.update(entry.identity for _, entry in named)
        if len(named) < _ROOMS_AT_ONCE:
            break
        after = named[-1][0]
    return rooms


async def _reach_positions(edge: Edge, request: AuthedRequest, index: SearchIndex) -> None:
    """Wait until the index shows the request's Falcon-Position. Raises Problem 503."""
    header = request.headers.get(b"falcon-position")
    if header is None:
        return
    wanted = edge.reads.parse_positions(header)
    has_wait = b"falcon-wait" in request.headers
    until = time.monotonic() + (edge.reads.wait_seconds(request.headers) if has_wait else WAIT_SECONDS_MAX)
    while True:
        reached = await index.reached()
        if all(partition in reached and reached[partition].offset > offset for partition, offset in wanted):
            return
        if time.monotonic() >= until:
            raise Problem(503, "unavailable", "The index of messages has not come so far in time.", retry_after=1)
        await asyncio.sleep(_POLL_SECONDS)


# --- pages of hits ----------------------------------------------------------------------------------------------------


async def _newest(
    edge: Edge, request: AuthedRequest, index: SearchIndex, wanted: Wanted, cursor: _Cursor | None, limit: int
) -> tuple[list[bytes], _Cursor | None]:
    below, shown = (None, 0) if cursor is None else (cursor.below, cursor.shown)
    limit = min(limit, _HITS_MAX - shown)
    hits = list[bytes]()
    for _ in range(_LOOKS_MAX):
        found = await index.newest(wanted, below, limit - len(hits))
        hits += await _shown(edge, request, wanted, found.keys)
        below = found.through
        if below is None or len(hits) == limit:
            break
    shown += len(hits)
    return hits, None if below is None or shown == _HITS_MAX else _Cursor("newest", shown, below)


async def _best(
    edge: Edge, request: AuthedRequest, index: SearchIndex, wanted: Wanted, cursor: _Cursor | None, limit: int
) -> tuple[list[bytes], _Cursor | None]:
    """Later pages rank the messages that the first one did."""
    if cursor is not None:
        end = cursor.below.posted_at
        wanted = wanted._replace(before=end if wanted.before is None else min(wanted.before, end))
    ranked = await index.best(wanted, _HITS_MAX)
    hits, at = list[bytes](), 0 if cursor is None else cursor.shown
    while at < len(ranked) and len(hits) < limit:
        part = ranked[at : at + limit - len(hits)]
        hits += await _shown(edge, request, wanted, part)
        at += len(part)
    if at >= len(ranked):
        return hits, None
    end = max(key.posted_at for key in ranked) + 1
    return hits, _Cursor("relevance", at, Key(end, 0, 0) if cursor is None else cursor.below)


async def _shown(edge: Edge, request: AuthedRequest, wanted: Wanted, keys: Sequence[Key]) -> list[bytes]:
    """The hits among these messages that the caller may read now, and that still have what is wanted."""

    async def access_to(room_id: RoomId) -> Access | None:
        access = await edge.store.access(room_id, request.account_id)
        return None if access is None or (access.role is None and request.is_guest) else access

    messages = await messages_in_rooms(edge, request, ((key.room_id, key.seq) for key in keys), access_to)
    shown = list[bytes]()
    for key in keys:
        message = messages.get((key.room_id, key.seq))
        if message is not None and (snippet := _snippet(message, wanted)) is not None:
            shown.append(b'{"room_id":%d,"message":%b,"snippet":%b}' % (key.room_id, message, _encode(snippet)))
        if message is not None and len(message) > _LONG_BYTES:
            await asyncio.sleep(
                0
            )  # others have their turn, or fifty of the largest texts would hold them up for a second
    return shown


def _snippet(message: bytes, wanted: Wanted) -> Snippet | None:
    """None if the message has been edited, and is not wanted any more."""
    now = stored_in(message)
    if not matches(wanted.terms, now.text) or (wanted.mentioned is not None and wanted.mentioned not in now.mentions):
        return None
    return snippet_of(now.text, wanted.terms)


def _decode_cursor(text: str, sort: str) -> _Cursor:
    """Raises Problem 422."""
    try:
        cursor = _cursor.decode(base64.urlsafe_b64decode(text))
    except (ValueError, msgspec.DecodeError):
        raise wrong_cursor(text) from None
    if cursor.sort != sort:
        raise wrong_cursor(text)
    return cursor


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Search", "Find messages by their words.")
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "GET",
        "/v1/search",
        search,
        permissions.EVERYBODY,
        {
            200: FoundMessages(
                [Hit(examples.ROOM, examples.SHOWN, [("Who wants ", False), ("some", True), ("?", False)])], None
            )
        },
        query=TextQuery,
        problems=("room_not_found",),
    ),
)
