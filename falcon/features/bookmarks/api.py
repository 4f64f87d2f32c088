"""Bookmarks of one's own: set one, remove it, list all; and their lines in exports and imports."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from falcon.domain import limits
from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.bookmarks.rules import (
    BookmarkAnswer,
    BookmarkRemoved,
    BookmarkSet,
    Found,
    ImportBookmark,
    RemoveBookmark,
    SetBookmark,
)
from falcon.features.bookmarks.table import LAST, BookmarkRow, bookmarks_of
from falcon.features.messages.api import find_message, messages_in_rooms
from falcon.features.messages.pages import is_deleted
from falcon.features.read_marks.table import Access
from falcon.http.api import examples, permissions
from falcon.http.api.lines import Checks, ImportCommands, ImportedLines, LineKind, all_of, check_time, encoded
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.edge import Edge
from falcon.http.problems import Problem, message_not_found, room_not_found, wrong_cursor
from falcon.http.requests import AuthedRequest, check_text
from falcon.http.responses import JSON, BytesResponse, json_response
from falcon.http.shapes import Id, ListQuery, NewBookmark, RequestShape, SeqFrom1, ShownMessage, Time
from falcon.read.times import parse_rfc3339, rfc3339

_PART: Final = 200  # of an account's bookmarks that one query of an export reads
_new_bookmark: Final = msgspec.json.Decoder(NewBookmark)
_encode: Final = msgspec.json.Encoder().encode


class Bookmark(msgspec.Struct, frozen=True):
    room_id: Id
    seq: SeqFrom1
    note: str
    created_at: Time


class BookmarkedMessage(Bookmark, frozen=True):
    """``message``: null once the room cannot be read."""

    message: ShownMessage | None


class BookmarkPage(msgspec.Struct, frozen=True):
    bookmarks: list[BookmarkedMessage]
    next_cursor: str | None


async def set_bookmark(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Bookmark a message.

    The same request again changes the note. An account has at most 10,000 bookmarks.
    """
    body: NewBookmark = await request.json(_new_bookmark)
    check_text(body.note, "note")
    room_id = request.path_id("room_id", room_not_found)
    seq = request.path_id("seq", message_not_found)
    found = await _find(edge, request, room_id, seq)
    command = SetBookmark(request.account_id, room_id, seq, body.note, found)
    result = await edge.commands.dispatch(request, command)
    answer = result.answer
    assert isinstance(answer, BookmarkAnswer)
    bookmark = Bookmark(answer.room_id, answer.seq, answer.note, rfc3339(answer.created_at))
    return json_response(200, bookmark, *result.headers)


async def _find(edge: Edge, request: AuthedRequest, room_id: RoomId, seq: Seq) -> Found:
    try:
        access = await edge.reads.access(request, room_id)
        message = await find_message(edge, request, room_id, seq, access)
    except Problem as problem:
        match problem.code:
            case "room_not_found":
                return "no room"
            case "message_not_found":
                return "no message"
        raise
    return "deleted message" if is_deleted(message) else "message"


async def remove_bookmark(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Remove a bookmark.

    If there is no bookmark nothing changes.
    """
    room_id = request.path_id("room_id", room_not_found)
    seq = request.path_id("seq", message_not_found)
    await request.no_body()
    result = await edge.commands.dispatch(request, RemoveBookmark(request.account_id, room_id, seq))
    return BytesResponse(204, b"", *result.headers)


async def list_bookmarks(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List your bookmarks.

    The newest bookmark comes first. A deleted message is shown as deleted; `message` is null once you cannot read its
    room.
    """
    query = request.query(ListQuery)
    after = b"" if query.cursor is None else _read_cursor(query.cursor)
    rows = await bookmarks_of(edge.store, request.account_id, after, query.limit + 1)
    page = rows[: query.limit]
    places = ((row.room_id, row.seq) for row in page)
    messages = await messages_in_rooms(edge, request, places, partial(_access, edge, request), deleted=True)
    shown = (_shown(row, messages.get((row.room_id, row.seq), b"null")) for row in page)
    cursor = page[-1].key.hex() if len(rows) > len(page) else None
    return BytesResponse(200, b'{"bookmarks":[%b],"next_cursor":%b}' % (b",".join(shown), _encode(cursor)), JSON)


def _read_cursor(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise wrong_cursor(text) from None
    if len(key) != len(LAST):
        raise wrong_cursor(text)
    return key


def _shown(row: BookmarkRow, message: bytes) -> bytes:
    return b'{"room_id":%d,"seq":%d,"note":%b,"created_at":"%b","message":%b}' % (
        row.room_id,
        row.seq,
        _encode(row.note),
        rfc3339(row.created_at).encode(),
        message,
    )


async def _access(edge: Edge, request: AuthedRequest, room_id: RoomId) -> Access | None:
    """None if the account may not read the room."""
    try:
        return await edge.reads.access(request, room_id)
    except Problem as problem:
        if problem.code != "room_not_found":
            raise
        return None


# --- lines of exports and imports -------------------------------------------------------------------------------------


class BookmarkLineShape(RequestShape, frozen=True, tag_field="type", tag="bookmark"):
    account_id: Id
    room_id: Id
    seq: SeqFrom1
    created_at: Time
    note: Annotated[str, Meta(max_length=limits.NOTE_CHARS_MAX)] = ""


class BookmarkOut(msgspec.Struct, frozen=True, tag_field="type", tag="bookmark", omit_defaults=True):
    account: str
    room: str
    seq: int
    created_at: str
    note: str = ""
    at: str | None = None


class BookmarkRemovedOut(msgspec.Struct, frozen=True, tag_field="type", tag="bookmark-removed"):
    account: str
    room: str
    seq: int
    at: str


def _set_line(event: BookmarkSet, at: str) -> BookmarkOut:
    return BookmarkOut(str(event.account_id), str(event.room_id), event.seq, rfc3339(event.created_at), event.note, at)


def _removed_line(event: BookmarkRemoved, at: str) -> BookmarkRemovedOut:
    return BookmarkRemovedOut(str(event.account_id), str(event.room_id), event.seq, at)


async def _lines_of(edge: Edge, account_id: AccountId) -> AsyncIterator[bytes]:
    rows = await bookmarks_of(edge.store, account_id, b"", _PART)
    while rows:
        for row in rows:
            line = BookmarkOut(str(account_id), str(row.room_id), row.seq, rfc3339(row.created_at), row.note)
            yield encoded(line)
        rows = await bookmarks_of(edge.store, account_id, rows[-1].key, _PART)


def _rules(line: BookmarkLineShape, at: str) -> None:
    check_time(line.created_at, f"{at}created_at")
    check_text(line.note, f"{at}note")


async def _import_bookmarks(commands: ImportCommands, lines: Sequence[BookmarkLineShape]) -> ImportedLines:
    async def imported(line: BookmarkLineShape) -> None:
        created_at = parse_rfc3339(line.created_at)
        await commands.dispatch(ImportBookmark(line.account_id, line.room_id, line.seq, line.note, created_at))

    await all_of(map(imported, lines))
    return ImportedLines()


LINES: Final = (
    LineKind(
        BookmarkLineShape,
        _import_bookmarks,
        {BookmarkSet: _set_line, BookmarkRemoved: _removed_line},
        _rules,
        Checks.about_message,
        accounts=lambda line: (line.account_id,),
        of_account=_lines_of,
    ),
)


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Bookmarks", "Keep messages for yourself.")
_MARK: Final = Bookmark(examples.ROOM, 1, "Answer by Friday", examples.SAID)
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "PUT",
        "/v1/bookmarks/{room_id}/{seq}",
        set_bookmark,
        permissions.READERS,
        {200: _MARK},
        NewBookmark("Answer by Friday"),
        problems=("message_deleted", "message_not_found", "room_not_found"),
    ),
    ApiOperation(
        "DELETE",
        "/v1/bookmarks/{room_id}/{seq}",
        remove_bookmark,
        permissions.EVERYBODY,
        {204: None},
        problems=("message_not_found", "room_not_found"),
    ),
    ApiOperation(
        "GET",
        "/v1/bookmarks",
        list_bookmarks,
        permissions.EVERYBODY,
        {
            200: BookmarkPage(
                [BookmarkedMessage(examples.ROOM, 1, "Answer by Friday", examples.SAID, examples.SHOWN)], None
            )
        },
        query=ListQuery,
    ),
)
