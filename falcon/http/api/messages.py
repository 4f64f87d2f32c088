"""Messages of a room: post, read by page or one, edit, delete."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import msgspec

from falcon.domain.answers import MessageAnswer
from falcon.domain.commands import (
    AddReaction,
    Command,
    DeleteMessage,
    EditMessage,
    ImportReactions,
    PostMessage,
    RemoveReaction,
)
from falcon.domain.ids import RoomId, Seq
from falcon.http import shapes
from falcon.http.command_client import CommandResult, NotReadableYet
from falcon.http.edge import Edge
from falcon.http.problems import Problem, invalid, message_not_found, room_not_found
from falcon.http.requests import AuthedRequest, check_text
from falcon.http.responses import BytesResponse, encoded_json_response, matches
from falcon.http.shapes import MessageChange, NewMessage, PageQuery
from falcon.read.memberships.queries import Access
from falcon.read.reactions.queries import NO_REACTIONS, UNKNOWN_REACTIONS, ShownReactions
from falcon.read.store import BeingFilled
from falcon.read.timeline.messages import MISSING, message_in
from falcon.read.timeline.pages import TimelinePage, shown

_post: Final = msgspec.json.Decoder(NewMessage)
_change: Final = msgspec.json.Decoder(MessageChange)
_encode: Final = msgspec.json.Encoder().encode
# A message may change while its author edits it: this many views are tried before the request is refused.
_VIEWS_MAX: Final = 3

C = TypeVar("C", EditMessage, DeleteMessage, AddReaction, RemoveReaction, ImportReactions)


async def post_message(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    new: NewMessage = await request.json(_post)
    check_text(new.text, edge.limits.text_max)
    mentions = tuple(dict.fromkeys(new.mentions)) if new.mentions else ()
    command = PostMessage(request.account_id, room_id, new.text, new.reply_to, mentions)
    result = await edge.commands.dispatch(request, command)
    return _message_response(201, result, ())


async def read_page(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """The page's ETag holds the room's last seq and the versions of its messages and reactions, so an unchanged page
    need not be read."""
    room_id = request.path_id("room_id", room_not_found)
    query = request.query(PageQuery)
    access = await edge.reads.access(request, room_id)
    first, last = _bounds(query, access.last_seq)
    reactions = await _reactions(edge, room_id, first, last)
    etag = _page_etag(room_id, access.version, reactions.version, access.last_seq, first, last)
    known = request.headers.get(b"if-none-match")
    if known is not None and matches(known, etag[1]):
        return BytesResponse(304, b"", etag)
    page, last_seq = await _page(edge, room_id, access, query)
    if page.first < first:
        reactions = await _reactions(edge, room_id, page.first, page.last)
    if reactions.by_seq:
        page = page.with_reactions(reactions.by_seq, _middle(query, page))
    has_before = b"true" if page.first > 1 and last_seq else b"false"
    has_after = b"true" if page.last < last_seq else b"false"
    body = b'{"messages":[%s],"has_before":%s,"has_after":%s}' % (page.messages, has_before, has_after)
    if not page.lasting or reactions is UNKNOWN_REACTIONS:
        return encoded_json_response(200, body)
    etag = _page_etag(room_id, access.version, reactions.version, last_seq, page.first, page.last)
    return encoded_json_response(200, body, etag)


async def _page(edge: Edge, room_id: RoomId, access: Access, query: PageQuery) -> tuple[TimelinePage, Seq]:
    """The page, and the last seq of the room as the page shows it.

    The timeline's table may be behind the room's row. Then the page ends where the timeline does, so that it still has
    as many messages as the client asked for, if the timeline has that many.
    """
    last_seq = access.last_seq
    while True:
        first, last = _bounds(query, last_seq)
        if query.around is None:
            page = await edge.pages.page(room_id, access.version, first, last, from_last=query.after is None)
        else:
            middle = min(max(query.around, first), last)
            page = await edge.pages.around(room_id, access.version, first, middle, last)
        if page.last >= last or page.more:
            return page, last_seq
        last_seq = page.last if page.count else await edge.store.newest(room_id, first - 1)


async def _reactions(edge: Edge, room_id: RoomId, first: Seq, last: Seq) -> ShownReactions:
    """While they are being filled from the log messages are shown without: people read on, and react later."""
    if first > last:
        return NO_REACTIONS
    try:
        return await edge.store.shown_reactions(room_id, first, last)
    except BeingFilled:
        return UNKNOWN_REACTIONS


def _middle(query: PageQuery, page: TimelinePage) -> Seq:
    """The message that a page has in any case."""
    if query.around is not None:
        return min(max(query.around, page.first), page.last)
    return page.first if query.after is not None else page.last


def _page_etag(
    room_id: RoomId, version: int, reactions: int, last_seq: Seq, first: Seq, last: Seq
) -> tuple[bytes, bytes]:
    return b"etag", b'"%d.%d.%d.%d.%d-%d"' % (room_id, last_seq, version, reactions, first, last)


async def read_message(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    access = await edge.reads.access(request, room_id)
    seq = request.path_id("seq", message_not_found)
    reactions = await _reactions(edge, room_id, seq, seq)
    etag = (b"etag", b'"%d.%d.%d.%d"' % (room_id, seq, access.version, reactions.version))
    known = request.headers.get(b"if-none-match")
    if known is not None and seq <= access.last_seq and matches(known, etag[1]):
        return BytesResponse(304, b"", etag)
    message = await find_message(edge, request, room_id, seq, access)
    body = shown(message, reactions.by_seq.get(seq))
    is_lasting = MISSING not in message and reactions is not UNKNOWN_REACTIONS
    return encoded_json_response(200, body, *((etag,) if is_lasting else ()))


async def find_message(edge: Edge, request: AuthedRequest, room_id: RoomId, seq: Seq, access: Access) -> bytes:
    """The message's row. Raises Problem 404, 503."""
    message = await edge.store.message(room_id, seq) if seq <= access.last_seq else None
    if message is None:
        message = await edge.reads.newest(request, room_id, edge.store.message, room_id, seq)
    if message is None:
        raise message_not_found(seq)
    return message


async def edit_message(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    change: MessageChange = await request.json(_change)
    check_text(change.text, edge.limits.text_max)
    mentions = None if change.mentions is None else tuple(dict.fromkeys(change.mentions))
    command = EditMessage(request.account_id, room_id, request.path_id("seq", message_not_found), change.text, mentions)
    result = await _dispatch_with_view(edge, request, command)
    return _message_response(200, result)


async def delete_message(edge: Edge, request: AuthedRequest) -> BytesResponse:
    room_id = request.path_id("room_id", room_not_found)
    await request.no_body()
    command = DeleteMessage(request.account_id, room_id, request.path_id("seq", message_not_found))
    result = await _dispatch_with_view(edge, request, command)
    return BytesResponse(204, b"", *result.headers)


async def with_message(edge: Edge, command: C) -> C:
    """The command with the message as the read tables show it."""
    known, revision = await edge.store.message_at(command.room_id, command.seq)
    return msgspec.structs.replace(command, known=None if known is None else message_in(known), known_revision=revision)


async def decided_on_view(
    edge: Edge,
    view: Callable[[], Awaitable[Command]],
    dispatch: Callable[[Command], Awaitable[CommandResult]],
) -> CommandResult:
    """Dispatch the command that ``view`` makes from the read tables. Where the write side knows a newer revision, wait
    until the tables show that one, and dispatch again."""
    for _ in range(_VIEWS_MAX):
        try:
            return await dispatch(await view())
        except NotReadableYet as newer:
            await edge.reads.reach(newer.partition, newer.offset, edge.limits.wait_seconds)
    raise Problem(503, "unavailable", "The message keeps changing. Nothing was done.", retry_after=1)


async def _dispatch_with_view(edge: Edge, request: AuthedRequest, command: C) -> CommandResult:
    return await decided_on_view(edge, lambda: with_message(edge, command), partial(edge.commands.dispatch, request))


def _bounds(query: PageQuery, last_seq: Seq) -> tuple[Seq, Seq]:
    """The first and the last seq of a page. An empty page has first > last."""
    cursors = [name for name in ("before", "after", "around") if getattr(query, name) is not None]
    if len(cursors) > 1:
        raise invalid(cursors[1], f"cannot go with {cursors[0]}")
    if query.after is not None:
        first = min(query.after, last_seq) + 1
        return first, min(first + query.limit - 1, last_seq)
    if query.around is not None:
        last = min(max(query.around - query.limit // 2, 1) + query.limit - 1, last_seq)
        return max(1, last - query.limit + 1), last
    last = last_seq if query.before is None else min(max(query.before, 1) - 1, last_seq)
    return max(1, last - query.limit + 1), last


def _message_response(
    status: int, result: CommandResult, reactions: tuple[()] | msgspec.UnsetType = msgspec.UNSET
) -> BytesResponse:
    assert isinstance(result.answer, MessageAnswer)
    return encoded_json_response(status, _encode(shapes.message(result.answer.message, reactions)), *result.headers)
