"""Messages of a room: post, read by page or one, edit, delete."""

from typing import Final, TypeVar

import msgspec

from falcon.domain.answers import MessageAnswer
from falcon.domain.commands import DeleteMessage, EditMessage, PostMessage
from falcon.domain.ids import RoomId, Seq
from falcon.domain.message import Message
from falcon.http.edge import Call, Edge, NotReadableYet, Told
from falcon.http.problems import Problem, invalid, message_not_found, room_not_found
from falcon.http.shapes import MessageChange, NewMessage, PageQuery
from falcon.http.wire import Answer, check_text, decode_query, identity, json_bytes, matches

_post: Final = msgspec.json.Decoder(NewMessage)
_change: Final = msgspec.json.Decoder(MessageChange)
_message: Final = msgspec.json.Decoder(Message)
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
    first, last = _bounds(query, access.last_seq)
    etag = (b"etag", b'"%d.%d.%d.%d-%d"' % (room_id, access.last_seq, access.version, first, last))
    if matches(call.headers.get(b"if-none-match"), etag[1]):
        return Answer(304, b"", etag)
    page = await edge.pages.page(room_id, access.version, first, last)
    has_before = b"true" if first > 1 and access.last_seq else b"false"
    # What is there to the end of the room but was not given comes with the next page, whatever the reason.
    has_after = b"true" if first + page.count - 1 < access.last_seq else b"false"
    body = b'{"messages":[%s],"has_before":%s,"has_after":%s}' % (page.messages, has_before, has_after)
    # An ETag stands for a whole page only: one that the tables could not give yet would be taken for it later.
    return json_bytes(200, body, etag) if page.count == last - first + 1 else json_bytes(200, body)


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
    return json_bytes(200, message, etag)


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
            command, known=None if known is None else _message.decode(known), known_revision=revision
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
        first = max(1, min(query.around, last_seq) - query.limit // 2)
        return first, min(first + query.limit - 1, last_seq)
    last = last_seq if query.before is None else min(query.before - 1, last_seq)
    return max(1, last - query.limit + 1), last


def _message_answer(status: int, told: Told) -> Answer:
    assert isinstance(told.answer, MessageAnswer)
    return json_bytes(status, _encode(told.answer.message), *told.headers)


def _room_id(call: Call) -> RoomId:
    return identity(call.path["room_id"], room_not_found)


def _seq(call: Call) -> Seq:
    return identity(call.path["seq"], message_not_found)
