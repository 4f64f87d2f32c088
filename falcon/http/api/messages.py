"""Messages of a room: post, read by page or one, edit, delete."""

from typing import Final, TypeVar

import msgspec

from falcon.domain.answers import MessageAnswer
from falcon.domain.commands import DeleteMessage, EditMessage, PostMessage
from falcon.domain.ids import RoomId, Seq
from falcon.http import shapes
from falcon.http.edge import Call, Edge, NotReadableYet, Told
from falcon.http.problems import Problem, invalid, message_not_found, room_not_found
from falcon.http.requests import Answer, check_text, decode_query, identity, json_bytes, matches
from falcon.http.shapes import MessageChange, NewMessage, PageQuery, messages
from falcon.read.memberships.queries import Access
from falcon.read.timeline.messages import MISSING, message_in
from falcon.read.timeline.pages import Page

_post: Final = msgspec.json.Decoder(NewMessage)
_change: Final = msgspec.json.Decoder(MessageChange)
_encode: Final = msgspec.json.Encoder().encode
# A message changes while its author edits it: try with a newer view this often before giving up.
_VIEWS_MAX: Final = 3

C = TypeVar("C", EditMessage, DeleteMessage)


async def post_message(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    new: NewMessage = await edge.body(call, _post)
    check_text(new.text, edge.bounds.text_max)
    mentions = tuple(dict.fromkeys(new.mentions)) if new.mentions else ()
    told = await edge.tell(call, PostMessage(call.account.account_id, room_id, new.text, new.reply_to, mentions))
    return _message_answer(201, told)


async def read_page(edge: Edge, call: Call) -> Answer:
    """The page's ETag says how far the room's messages and changes go, so an unchanged one is not read at all."""
    room_id = _room_id(call)
    query = decode_query(call.request, PageQuery)
    access = await edge.access(call, room_id)
    etag = _page_etag(room_id, access.version, access.last_seq, *_bounds(query, access.last_seq))
    if matches(call.headers.get(b"if-none-match"), etag[1]):
        return Answer(304, b"", etag)
    page, last_seq = await _page(edge, room_id, access, query)
    has_before = b"true" if page.first > 1 and last_seq else b"false"
    has_after = b"true" if page.last < last_seq else b"false"
    body = b'{"messages":[%s],"has_before":%s,"has_after":%s}' % (messages(page.messages), has_before, has_after)
    if not page.lasting:
        return json_bytes(200, body)
    return json_bytes(200, body, _page_etag(room_id, access.version, last_seq, page.first, page.last))


async def _page(edge: Edge, room_id: RoomId, access: Access, query: PageQuery) -> tuple[Page, Seq]:
    """The page, and how far the room's messages go as of it.

    That is how far the room's row says, or less: the timeline's table may be behind. The page is then one of a room
    that goes no further yet than the timeline does, so that it has as many messages as there are to be had.
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


def _page_etag(room_id: RoomId, version: int, last_seq: Seq, first: Seq, last: Seq) -> tuple[bytes, bytes]:
    return b"etag", b'"%d.%d.%d.%d-%d"' % (room_id, last_seq, version, first, last)


async def read_message(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    access = await edge.access(call, room_id)
    seq = _seq(call)
    etag = (b"etag", b'"%d.%d.%d"' % (room_id, seq, access.version))
    if seq <= access.last_seq and matches(call.headers.get(b"if-none-match"), etag[1]):
        return Answer(304, b"", etag)
    message = await edge.store.message(room_id, seq) if seq <= access.last_seq else None
    if message is None:
        message = await edge.newest(call, room_id, edge.store.message, room_id, seq)
    if message is None:
        raise message_not_found(seq)
    return json_bytes(200, messages(message), *(() if MISSING in message else (etag,)))


async def edit_message(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    change: MessageChange = await edge.body(call, _change)
    check_text(change.text, edge.bounds.text_max)
    mentions = None if change.mentions is None else tuple(dict.fromkeys(change.mentions))
    seq = _seq(call)
    told = await _with_view(edge, call, EditMessage(call.account.account_id, room_id, seq, change.text, mentions))
    return _message_answer(200, told)


async def delete_message(edge: Edge, call: Call) -> Answer:
    room_id = _room_id(call)
    await edge.no_body(call)
    told = await _with_view(edge, call, DeleteMessage(call.account.account_id, room_id, _seq(call)))
    return Answer(204, b"", *told.headers)


async def _with_view(edge: Edge, call: Call, command: C) -> Told:
    """Ask with the message as the read side shows it; where the write side knows better, wait and look again."""
    for _ in range(_VIEWS_MAX):
        known, revision = await edge.store.message_at(command.room_id, command.seq)
        viewed = msgspec.structs.replace(
            command, known=None if known is None else message_in(known), known_revision=revision
        )
        try:
            return await edge.tell(call, viewed)
        except NotReadableYet as newer:
            await edge.readable(newer.partition, newer.offset, edge.bounds.wait_seconds)
    raise Problem(503, "unavailable", "The message keeps changing. Nothing was done.", retry_after=1)


def _bounds(query: PageQuery, last_seq: Seq) -> tuple[Seq, Seq]:
    """The first and the last seq of a page. An empty page has its first behind its last."""
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


def _message_answer(status: int, told: Told) -> Answer:
    assert isinstance(told.answer, MessageAnswer)
    return json_bytes(status, _encode(shapes.message(told.answer.message)), *told.headers)


def _room_id(call: Call) -> RoomId:
    return identity(call.path["room_id"], room_not_found)


def _seq(call: Call) -> Seq:
    return identity(call.path["seq"], message_not_found)
