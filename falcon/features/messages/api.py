"""Messages of a room: post, read by page or one, edit, delete."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from falcon.domain.answers import ImportAnswer
from falcon.domain.ids import ID_MAX, NOBODY, AccountId, RoomId, Seq
from falcon.domain.limits import TEXT_BYTES_MAX
from falcon.features.catalogue import Command
from falcon.features.messages.bodies import MISSING, StoredMessage, message_in, stored
from falcon.features.messages.pages import TimelinePage, is_deleted, with_more
from falcon.features.messages.rules import (
    DeleteMessage,
    EditMessage,
    ImportMessages,
    Message,
    MessageAnswer,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PostMessage,
)
from falcon.features.reactions.table import NO_REACTIONS, UNKNOWN_REACTIONS, ShownReactions
from falcon.features.read_marks.table import Access, Newest
from falcon.features.threads.rules import ThreadMessageAnswer
from falcon.features.threads.table import shown_threads, shown_threads_of
from falcon.http import shapes
from falcon.http.api import examples, permissions
from falcon.http.api.lines import (
    CHUNK_LINES,
    Checks,
    ImportCommands,
    ImportedLines,
    LineKind,
    all_of,
    by_room,
    check_time,
)
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.command_client import CommandResult, StaleView
from falcon.http.edge import Edge
from falcon.http.problems import Problem, invalid, message_not_found, not_allowed, room_not_found
from falcon.http.requests import ROOM, AuthedRequest, check_text, identity
from falcon.http.responses import JSON, REVALIDATED, BytesResponse, matches
from falcon.http.shapes import MessageChange, NewMessage, PageQuery
from falcon.read.store import BeingFilled
from falcon.read.times import parse_rfc3339

_NO_THREADS: Final[Mapping[Seq, bytes]] = MappingProxyType({})
_post: Final = msgspec.json.Decoder(NewMessage)
_NEWEST: Final = PageQuery()
_change: Final = msgspec.json.Decoder(MessageChange)
_encode: Final = msgspec.json.Encoder().encode
# A message may change while its author edits it: this many views are tried before the request is refused.
_VIEWS_MAX: Final = 3
_CHUNK_BYTES: Final = 200_000  # of texts in one command of an import
_ROOMS_AT_ONCE: Final = 50  # of which one query reads a message each: they may be large, or missing

C = TypeVar("C", EditMessage, DeleteMessage)


async def post_message(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Send a message.

    The message gets the next `seq` of its room. Everybody in the room receives it as `message.posted`. Mention members
    with their account ids; the text itself is never parsed.
    """
    room_id: RoomId = request.scope.get(ROOM) or identity(request.scope["path_params"]["room_id"], room_not_found)
    new: NewMessage = await request.json(_post)
    if len(new.text) > TEXT_BYTES_MAX // 4:  # a character has at most four bytes
        check_text(new.text)
    mentions = tuple(dict.fromkeys(new.mentions)) if new.mentions else ()
    command = PostMessage(request.account_id, room_id, new.text, new.reply_to, mentions, new.also_in_room)
    result = await edge.commands.dispatch(request, command)
    answer = result.answer
    assert isinstance(answer, MessageAnswer | ThreadMessageAnswer)
    in_room = answer.in_room if isinstance(answer, ThreadMessageAnswer) else None
    return BytesResponse(201, _encode(shapes.posted_message(answer.message, in_room)), JSON, *result.headers)


async def read_page(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Read a page of messages.

    Without a parameter you get the newest messages. `before`, `after` and `around` take a `seq`; send at most one of
    them. Messages are in ascending order.
    """
    # The page's ETag holds the room's last seq and the versions of its messages and reactions, so an unchanged page
    # need not be read. These are right in one history of the log only, so the ETag names that, too.
    room_id: RoomId = request.scope.get(ROOM) or identity(request.scope["path_params"]["room_id"], room_not_found)
    query = request.query(PageQuery) if request.scope["query_string"] else _NEWEST
    history = edge.history_of(room_id)
    known = request.headers.get(b"if-none-match")
    newest = None
    if known is None and query.before is None and query.after is None and query.around is None:
        newest = Newest(query.limit)
    access = await edge.store.access(room_id, request.account_id, newest)
    if access is None or (access.role is None and request.is_guest):  # a refusal rests on the newest tables
        access = await edge.reads.access(request, room_id, newest)
    first, last = _bounds(query, access.last_seq)
    reactions = NO_REACTIONS
    if access.reactions != 0:
        read = None if newest is None else newest.reactions
        reactions = await _reactions(edge, access, room_id, first, last, read)
    threads = await _threads(edge, room_id, first, last) if access.has_threads else _NO_THREADS
    if known is not None and history is not None and threads is not None:
        etag = _page_etag(history, room_id, access.version, reactions.version, threads, access.last_seq, first, last)
        if matches(known, etag[1]):
            return BytesResponse(304, b"", etag, cached=REVALIDATED)
    last_seq = access.last_seq
    page = None  # the page around a message has other ends if it is too large
    if query.around is None:
        page = edge.pages.kept(room_id, access.version, first, last, from_last=query.after is None)
    if page is None:
        page, last_seq = await _page(edge, room_id, access, query, first, last, newest)
    if page.first < first:
        reactions = await _reactions(edge, access, room_id, page.first, page.last)
        if access.has_threads:
            threads = await _threads(edge, room_id, page.first, page.last)
    if reactions.by_seq or threads:
        page = page.with_more(reactions.by_seq, threads or _NO_THREADS, _middle(query, page))
    has_before = b"true" if page.first > 1 and last_seq else b"false"
    has_after = b"true" if page.last < last_seq else b"false"
    body = b'{"messages":[%s],"has_before":%s,"has_after":%s}' % (page.messages, has_before, has_after)
    if history is None or not page.lasting or reactions is UNKNOWN_REACTIONS or threads is None:
        return BytesResponse(200, body, JSON)
    etag = _page_etag(history, room_id, access.version, reactions.version, threads, last_seq, page.first, page.last)
    return BytesResponse(200, body, JSON, etag, cached=REVALIDATED)


async def _page(
    edge: Edge,
    room_id: RoomId,
    access: Access,
    query: PageQuery,
    first: Seq,
    last: Seq,
    newest: Newest | None,
) -> tuple[TimelinePage, Seq]:
    """The page, which is not cached, and the last seq of the room as the page shows it. ``first`` and ``last``: as
    :func:`_bounds` gives them. ``newest``: for a page of the newest, with its messages if they were read already.

    The timeline's table may be behind the room's row. Then the page ends where the timeline does, so that it still has
    as many messages as the client asked for, if the timeline has that many.
    """
    last_seq = access.last_seq
    while True:
        if query.around is None:
            from_last, messages = query.after is None, None if newest is None else newest.messages
            page = await edge.pages.read(room_id, access.version, first, last, from_last=from_last, newest=messages)
        else:
            middle = min(max(query.around, first), last)
            page = await edge.pages.around(room_id, access.version, first, middle, last)
        if page.last >= last or page.more:
            return page, last_seq
        last_seq = page.last if page.count else await edge.store.newest(room_id, first - 1)
        first, last = _bounds(query, last_seq)


async def _reactions(
    edge: Edge, access: Access, room_id: RoomId, first: Seq, last: Seq, read: ShownReactions | None = None
) -> ShownReactions:
    """While they are being filled from the log messages are shown without: people read on, and react later."""
    if first > last or access.reactions == 0:
        return NO_REACTIONS
    try:
        return await edge.reactions.page(room_id, access.reactions, first, last, read)
    except BeingFilled:
        return UNKNOWN_REACTIONS


async def _shown_reactions(edge: Edge, access: Access, room_id: RoomId, seqs: Collection[Seq]) -> Mapping[Seq, bytes]:
    """Like :func:`_reactions`, of any messages, and not cached."""
    if not seqs or access.reactions == 0:
        return {}
    try:
        return await edge.store.reactions_of(room_id, seqs)
    except BeingFilled:
        return {}


async def _threads(edge: Edge, room_id: RoomId, first: Seq, last: Seq) -> Mapping[Seq, bytes] | None:
    """The threads of these messages. None while they are being filled from the log: then messages are shown without."""
    try:
        return await shown_threads(edge.store, room_id, first, last) if first <= last else _NO_THREADS
    except BeingFilled:
        return None


def _middle(query: PageQuery, page: TimelinePage) -> Seq:
    """The message that a page has in any case."""
    if query.around is not None:
        return min(max(query.around, page.first), page.last)
    return page.first if query.after is not None else page.last


def _page_etag(
    history: int,
    room_id: RoomId,
    version: int,
    reactions: int,
    threads: Mapping[Seq, bytes],
    last_seq: Seq,
    first: Seq,
    last: Seq,
) -> tuple[bytes, bytes]:
    shown = _tag(threads) if threads else b""
    return b"etag", b'"%08x.%d.%d.%d.%d%b.%d-%d"' % (
        history,
        room_id,
        last_seq,
        version,
        reactions,
        shown,
        first,
        last,
    )


def _tag(threads: Mapping[Seq, bytes]) -> bytes:
    """A digest of the threads that are shown, for an ETag. They are at hand each time, so they need no version."""
    shown = b"".join(b"%d%b" % each for each in threads.items())
    return b"." + hashlib.blake2b(shown, digest_size=8).hexdigest().encode()


async def read_message(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Read one message.

    A deleted message keeps its `seq` and has no text.
    """
    room_id = request.path_id("room_id", room_not_found)
    history = edge.history_of(room_id)
    access = await edge.reads.access(request, room_id)
    seq = request.path_id("seq", message_not_found)
    reactions = await _reactions(edge, access, room_id, seq, seq)
    threads = await _threads(edge, room_id, seq, seq) if access.has_threads else _NO_THREADS
    tag = _tag(threads) if threads else b""
    versions = (history or 0, room_id, seq, access.version, reactions.version, tag)
    etag = (b"etag", b'"%08x.%d.%d.%d.%d%b"' % versions)
    known = request.headers.get(b"if-none-match")
    is_known = history is not None and seq <= access.last_seq and threads is not None
    if known is not None and is_known and matches(known, etag[1]):
        return BytesResponse(304, b"", etag, cached=REVALIDATED)
    message = await find_message(edge, request, room_id, seq, access)
    body = with_more(message, reactions.by_seq.get(seq), (threads or _NO_THREADS).get(seq))
    is_lasting = is_known and MISSING not in message and reactions is not UNKNOWN_REACTIONS
    return BytesResponse(200, body, JSON, etag, cached=REVALIDATED) if is_lasting else BytesResponse(200, body, JSON)


async def find_message(edge: Edge, request: AuthedRequest, room_id: RoomId, seq: Seq, access: Access) -> bytes:
    """The message's row. Raises Problem 404, 503."""
    message = await edge.store.message(room_id, seq) if seq <= access.last_seq else None
    if message is None:
        message = await edge.reads.newest(request, room_id, edge.store.message, room_id, seq)
    if message is None:
        raise message_not_found(seq)
    return message


async def shown_messages(
    edge: Edge, request: AuthedRequest, access: Access, room_id: RoomId, seqs: Collection[Seq], *, deleted: bool = False
) -> dict[Seq, bytes]:
    """The JSON of some messages of the room, as pages show them. One that was deleted is left out, unless ``deleted``
    is true."""
    rows = await edge.store.messages([(room_id, seq) for seq in seqs])
    lacking = [(room_id, seq) for seq in seqs if (room_id, seq) not in rows]
    if lacking:  # their table may be behind
        rows |= await edge.reads.newest(request, room_id, edge.store.messages, lacking)
    found = {seq: row for (_, seq), row in rows.items() if deleted or not is_deleted(row)}
    reactions = await _shown_reactions(edge, access, room_id, found)
    threads = _NO_THREADS
    if access.has_threads:
        with suppress(BeingFilled):  # then they are shown without
            threads = await shown_threads_of(edge.store, room_id, found)
    return {seq: with_more(row, reactions.get(seq), threads.get(seq)) for seq, row in found.items()}


async def messages_in_rooms(
    edge: Edge,
    request: AuthedRequest,
    places: Iterable[tuple[RoomId, Seq]],
    access_to: Callable[[RoomId], Awaitable[Access | None]],
    *,
    deleted: bool = False,
) -> dict[tuple[RoomId, Seq], bytes]:
    """The JSON of the messages at these places, as :func:`shown_messages` gives them. ``access_to``: the caller's
    rights in a room; None if the caller may not read it, and then its messages are left out."""
    by_room: dict[RoomId, list[Seq]] = {}
    for room_id, seq in places:
        by_room.setdefault(room_id, []).append(seq)

    async def of_room(room_id: RoomId) -> dict[Seq, bytes]:
        access = await access_to(room_id)
        if access is None:
            return {}
        return await shown_messages(edge, request, access, room_id, by_room[room_id], deleted=deleted)

    found = await asyncio.gather(*map(of_room, by_room))
    return {(room_id, seq): row for room_id, of in zip(by_room, found, strict=True) for seq, row in of.items()}


async def edit_message(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Edit a message of your own.

    The text replaces the old one. Without `mentions` the message keeps the mentions that it has.
    """
    room_id = request.path_id("room_id", room_not_found)
    change: MessageChange = await request.json(_change)
    check_text(change.text)
    mentions = None if change.mentions is None else tuple(dict.fromkeys(change.mentions))
    command = EditMessage(request.account_id, room_id, request.path_id("seq", message_not_found), change.text, mentions)
    result = await _dispatch_with_view(edge, request, command)
    assert isinstance(result.answer, MessageAnswer)
    return BytesResponse(200, _encode(shapes.message(result.answer.message)), JSON, *result.headers)


async def delete_message(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Delete a message.

    You can delete your own messages. An admin of the room can delete any. The `seq` stays, without text.
    """
    room_id = request.path_id("room_id", room_not_found)
    await request.no_body()
    command = DeleteMessage(request.account_id, room_id, request.path_id("seq", message_not_found))
    result = await _dispatch_with_view(edge, request, command)
    return BytesResponse(204, b"", *result.headers)


async def message_view(edge: Edge, room_id: RoomId, seq: Seq) -> tuple[Message | None, int]:
    """The message as the read tables show it, and the revision of the room that they show."""
    known, revision = await edge.store.message_at(room_id, seq)
    return None if known is None else message_in(known), revision


async def decided_on_view(
    edge: Edge,
    seconds_left: Callable[[], float],
    view: Callable[[], Awaitable[Command]],
    dispatch: Callable[[Command], Awaitable[CommandResult]],
) -> CommandResult:
    """Dispatch the command that ``view`` makes from the read tables. If the write side knows a newer revision, wait
    until the tables show that one, and dispatch again. ``seconds_left``: to wait for the tables."""
    stale: StaleView | None = None
    for _ in range(_VIEWS_MAX):
        if stale is not None:
            await edge.reads.freshness.reach(stale.partition, stale.offset, seconds_left())
        try:
            return await dispatch(await view())
        except StaleView as newer:
            stale = newer
    raise Problem(503, "unavailable", "The message keeps changing. Nothing was done.", retry_after=1)


async def _dispatch_with_view(edge: Edge, request: AuthedRequest, command: C) -> CommandResult:
    async def viewed() -> C:
        known, revision = await message_view(edge, command.room_id, command.seq)
        return msgspec.structs.replace(command, known=known, known_revision=revision)

    seconds_left = partial(edge.reads.seconds_left, request)
    return await decided_on_view(edge, seconds_left, viewed, partial(edge.commands.dispatch, request))


def _bounds(query: PageQuery, last_seq: Seq) -> tuple[Seq, Seq]:
    """The first and the last seq of a page. An empty page has first > last."""
    if query.before is None and query.after is None and query.around is None:
        return max(1, last_seq - query.limit + 1), last_seq
    cursors = [name for name in ("before", "after", "around") if getattr(query, name) is not None]
    if len(cursors) > 1:
        raise invalid(cursors[1], f"cannot go with {cursors[0]}")
    if query.after is not None:
        first = min(query.after, last_seq) + 1
        return first, min(first + query.limit - 1, last_seq)
    if query.around is not None:
        last = min(max(query.around - query.limit // 2, 1) + query.limit - 1, last_seq)
        return max(1, last - query.limit + 1), last
    assert query.before is not None
    last = min(max(query.before, 1) - 1, last_seq)
    return max(1, last - query.limit + 1), last


# --- lines of exports and imports -------------------------------------------------------------------------------------


class MessageLineShape(shapes.RequestShape, frozen=True, tag_field="type", tag="message"):
    """``author_id``: 0 for a deleted message whose author is unknown."""

    room_id: shapes.Id
    seq: shapes.SeqFrom1
    author_id: Annotated[int, Meta(ge=0, le=ID_MAX)]
    text: str
    posted_at: shapes.Time
    edited_at: shapes.Time | None = None
    deleted: bool = False
    reply_to: shapes.SeqFrom1 | None = None
    mentions: shapes.Mentions = ()


class MessageOut(msgspec.Struct, frozen=True, tag_field="type", tag="message", omit_defaults=True):
    """``missing``: the read tables have lost it. Then it has no author."""

    room: str
    seq: int
    author: str
    text: str
    posted_at: str
    edited_at: str | None
    deleted: bool
    reply_to: int | None
    mentions: list[str]
    missing: bool = False
    at: str | None = None


def message_line(message: StoredMessage, at: str | None = None) -> MessageOut:
    missing = message.author_id == NOBODY
    return MessageOut(
        str(message.room_id),
        message.seq,
        "" if missing else str(message.author_id),
        message.text,
        message.posted_at,
        message.edited_at,
        message.deleted,
        message.reply_to,
        [str(account_id) for account_id in message.mentions],
        missing,
        at,
    )


def _event_line(event: MessagePosted | MessageEdited | MessageDeleted, at: str) -> MessageOut:
    return message_line(stored(event.message), at)


def _rules(line: MessageLineShape, at: str) -> None:
    check_time(line.posted_at, f"{at}posted_at")
    check_time(line.edited_at, f"{at}edited_at")
    check_text(line.text, f"{at}text")
    if not line.deleted and not line.text:
        raise invalid(f"{at}text", "must not be empty")
    if not line.deleted and line.author_id == NOBODY:
        raise invalid(f"{at}author_id", "must be at least 1")


async def _check(checks: Checks, line: MessageLineShape, at: str) -> None:
    last_seq = await checks.last_seq(line.room_id, line.seq, at)
    if line.seq > last_seq + 1:
        raise invalid(f"{at}seq", f"must go on without a gap: expected {last_seq + 1}, got {line.seq}")
    if line.seq <= last_seq:
        checks.skipped[line.room_id] = (line, at)
    checks.reached(line)
    if line.author_id != NOBODY:
        checks.account(line.author_id, f"{at}author_id")
    for account_id in line.mentions:
        checks.account(account_id, f"{at}mentions")
    if line.reply_to is not None and line.reply_to >= line.seq:
        raise invalid(f"{at}reply_to", "must be a message before this one")


async def _check_skipped(checks: Checks) -> None:
    """The room has these messages, unless people have written in it before all of its messages were imported. Theirs
    stand after the ones that were imported, so the last one of the request tells."""
    skipped = list(checks.skipped.items())
    for start in range(0, len(skipped), _ROOMS_AT_ONCE):
        await _check_skipped_in(checks, dict(skipped[start : start + _ROOMS_AT_ONCE]))
        await asyncio.sleep(0)  # SQLite answers without a turn for other requests


async def _check_skipped_in(checks: Checks, skipped: Mapping[RoomId, tuple[MessageLineShape, str]]) -> None:
    rows = await checks.store.messages([(room_id, line.seq) for room_id, (line, _) in skipped.items()])
    for room_id, (line, at) in skipped.items():
        row = rows.get((room_id, line.seq))
        if row is None:
            row = await checks.newest(room_id, checks.store.message, room_id, line.seq)
        found = None if row is None else message_in(row)
        if found is None or NOBODY in (found.author_id, line.author_id):
            continue  # it is missing here, or was there
        if (found.author_id, found.posted_at) != (line.author_id, parse_rfc3339(line.posted_at)):
            rule = f"room {room_id} has another message {line.seq}: people wrote in it before its import had ended"
            raise not_allowed(f"{at}seq", rule)


def _accounts(line: MessageLineShape) -> Iterable[AccountId]:
    return (line.author_id, *line.mentions) if line.author_id != NOBODY else line.mentions


async def _import_messages(commands: ImportCommands, lines: Sequence[MessageLineShape]) -> ImportedLines:
    async def imported(of_room: Sequence[MessageLineShape]) -> tuple[int, int]:
        """Import the messages of one room, in order, some hundreds a command."""
        new = skipped = 0
        for chunk in _chunks(of_room):
            command = ImportMessages(chunk[0].room_id, tuple(map(_as_message, chunk)))
            answer = (await commands.dispatch(command)).answer
            assert isinstance(answer, ImportAnswer)
            new += answer.imported
            skipped += answer.skipped
        return new, skipped

    counts = await all_of(map(imported, by_room(lines)))
    return ImportedLines(imported=sum(new for new, _ in counts), skipped=sum(skipped for _, skipped in counts))


def _chunks(lines: Sequence[MessageLineShape]) -> list[list[MessageLineShape]]:
    chunks: list[list[MessageLineShape]] = []
    size = 0
    for line in lines:
        if not chunks or len(chunks[-1]) >= CHUNK_LINES or size + len(line.text) > _CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(line)
        size += len(line.text)
    return chunks


def _as_message(line: MessageLineShape) -> Message:
    """A deleted message keeps neither its text nor its mentions."""
    return Message(
        line.room_id,
        line.seq,
        line.author_id,
        "" if line.deleted else line.text,
        parse_rfc3339(line.posted_at),
        None if line.edited_at is None else parse_rfc3339(line.edited_at),
        line.deleted,
        line.reply_to,
        () if line.deleted else tuple(dict.fromkeys(line.mentions)),
    )


LINES: Final = (
    LineKind(
        MessageLineShape,
        _import_messages,
        {MessagePosted: _event_line, MessageEdited: _event_line, MessageDeleted: _event_line},
        _rules,
        _check,
        accounts=_accounts,
        check_all=_check_skipped,
    ),
)


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Messages", "Send and read messages. Each has a seq, 1, 2, 3 … without gaps.", learned=2)
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "POST",
        "/v1/rooms/{room_id}/messages",
        post_message,
        permissions.WRITERS,
        {201: examples.MESSAGE},
        shapes.NewMessage("Who wants some?", mentions=(examples.BEN,)),
        problems=("not_allowed", "read_only", "room_not_found"),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/messages",
        read_page,
        permissions.READERS,
        {200: shapes.Messages([examples.SHOWN], has_before=False, has_after=False)},
        query=shapes.PageQuery,
        problems=("room_not_found",),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/messages/{seq}",
        read_message,
        permissions.READERS,
        {200: examples.SHOWN},
        problems=("message_not_found", "room_not_found"),
    ),
    ApiOperation(
        "PATCH",
        "/v1/rooms/{room_id}/messages/{seq}",
        edit_message,
        permissions.AUTHORS,
        {200: examples.EDITED},
        shapes.MessageChange("Who wants some tea?"),
        problems=(
            "message_deleted",
            "message_not_found",
            "not_allowed",
            "not_the_author",
            "read_only",
            "room_not_found",
        ),
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/messages/{seq}",
        delete_message,
        permissions.AUTHORS_OR_ADMINS,
        {204: None},
        problems=("message_not_found", "not_allowed", "not_the_author", "read_only", "room_not_found"),
    ),
)
