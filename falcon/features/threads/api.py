"""Threads: start the one of a message, follow it, list the followed ones; and their lines in exports and imports."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from falcon.domain.ids import RoomId
from falcon.features.catalogue import Command
from falcon.features.messages.api import decided_on_view, message_view
from falcon.features.messages.bodies import missing_message
from falcon.features.messages.ranges import ITEMS_BYTES_MAX, fit
from falcon.features.read_marks.table import RoomCursor, RoomSummaryRow, followed_threads
from falcon.features.rooms.api import decode_cursor, encode_cursor
from falcon.features.threads.rules import (
    FOLLOWERS_MAX,
    FollowThread,
    ImportThread,
    StartThread,
    ThreadAnswer,
    ThreadFollowed,
    ThreadUnfollowed,
    UnfollowThread,
)
from falcon.features.threads.table import known_thread
from falcon.http import shapes
from falcon.http.api import examples, permissions
from falcon.http.api.lines import Checks, ImportCommands, ImportedLines, LineKind, all_of, check_time, reference
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.command_client import CommandResult
from falcon.http.edge import Edge
from falcon.http.problems import message_not_found, room_not_found
from falcon.http.requests import AuthedRequest
from falcon.http.responses import JSON, BytesResponse, json_response
from falcon.http.room_views import room_summaries
from falcon.http.shapes import ListQuery
from falcon.read.times import parse_rfc3339, rfc3339

_encode: Final = msgspec.json.Encoder().encode


class ThreadsQuery(ListQuery, frozen=True):
    unread: Annotated[bool, Meta(description="Only threads with messages that the caller has not read")] = False


class ListedThread(shapes.RoomSummary, frozen=True, kw_only=True):
    """``root``: the message that the thread belongs to."""

    root: shapes.ShownMessage


class Threads(msgspec.Struct, frozen=True):
    """A page has at most 1 MiB, so there may be fewer than ``limit`` though there are more."""

    threads: list[ListedThread]
    next_cursor: str | None


async def thread(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Start the thread of a message.

    A message has one thread for ever: 201 if this request starts it, 200 if it exists. The thread is a room, which all
    members of the message's room read and write with their roles there. Its own members are the accounts that follow
    it. A message of a thread has no thread (422).
    """
    room_id = request.path_id("room_id", room_not_found)
    seq = request.path_id("seq", message_not_found)
    await request.no_body()

    async def viewed() -> StartThread:
        known, revision = await message_view(edge, room_id, seq)
        return StartThread(
            request.account_id, room_id, seq, known, revision, *await known_thread(edge.store, room_id, seq)
        )

    async def sent(command: Command) -> CommandResult:
        assert isinstance(command, StartThread)
        refusal = None if command.thread_id else edge.limiter.refusal_of_new_room(request.account_id)
        return await edge.commands.dispatch(request, command, refusal=refusal)

    result = await decided_on_view(edge, partial(edge.reads.seconds_left, request), viewed, sent)
    answer = result.answer
    assert isinstance(answer, ThreadAnswer)
    if answer.created and not result.is_replayed:
        edge.limiter.made_room(request.account_id)
    room = shapes.RoomShape(
        answer.thread_id,
        "thread",
        "",
        "",
        answer.role,
        answer.last_seq,
        rfc3339(answer.created_at),
        None,
        False,
        False,
        shapes.ThreadParent(room_id, seq),
        answer.follows,
    )
    return json_response(201 if answer.created else 200, room, *result.headers)


async def follow(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Follow a thread.

    All its earlier messages count as read. The author of the message that the thread belongs to, accounts that write
    in it and accounts that are mentioned follow by themselves, at most 1,000. A follow ends after 90 days without a
    message.
    """
    room_id = request.path_id("room_id", room_not_found)
    await request.no_body()
    result = await edge.commands.dispatch(request, FollowThread(request.account_id, room_id))
    return BytesResponse(204, b"", *result.headers)


async def unfollow(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Unfollow a thread.

    The account follows again when it is mentioned, or asks for it. Without a follow nothing changes.
    """
    room_id = request.path_id("room_id", room_not_found)
    await request.no_body()
    result = await edge.commands.dispatch(request, UnfollowThread(request.account_id, room_id))
    return BytesResponse(204, b"", *result.headers)


async def list_threads(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List the threads that the caller follows.

    The thread with the newest message comes first. Lists of rooms have no threads.
    """
    query = request.query(ThreadsQuery)
    cursor = None if query.cursor is None else decode_cursor(query.cursor)
    known = await edge.streams.room_lists.newest(request.account_id, 0)
    threads = followed_threads(known.memberships)
    places = sorted(
        (
            RoomCursor(at.updated_at, thread_id)
            for thread_id, at in threads.items()
            if not query.unread or at.last_seq > at.read_seq
        ),
        key=_order,
        reverse=True,
    )
    if cursor is not None:
        places = [place for place in places if _order(place) < _order(cursor)]
    page = places[: query.limit]
    found = await edge.store.summaries_of(request.account_id, [place.room_id for place in page])
    by_id = {
        row.room.room_id: msgspec.structs.replace(row, role=threads[row.room.room_id].role)
        for row in found
        if row.room.parent is not None
    }
    rows = [by_id[place.room_id] for place in page if place.room_id in by_id]
    listed, _ = fit(await _listed(edge, request, rows), ITEMS_BYTES_MAX)
    following = page[-1] if len(places) > len(page) else None
    if len(listed) < len(rows):
        last = rows[len(listed) - 1].room.room_id
        following = next(place for place in page if place.room_id == last)
    next_cursor = None if following is None else encode_cursor(following)
    body = b'{"threads":[%s],"next_cursor":%s}' % (b",".join(listed), _encode(next_cursor))
    return BytesResponse(200, body, JSON)


def _order(place: RoomCursor) -> tuple[str, int]:
    return place.updated_at, place.room_id


async def _listed(edge: Edge, request: AuthedRequest, rows: list[RoomSummaryRow]) -> list[bytes]:
    """The threads as JSON."""
    places = [row.room.parent for row in rows if row.room.parent is not None]
    roots = await edge.store.messages(places)
    for place in places:
        if place not in roots:  # their table may be behind
            roots |= await edge.reads.newest(request, place[0], edge.store.messages, [place])
    summaries = await room_summaries(edge.names, request.account_id, rows)
    return [
        b'%b,"root":%b}' % (_encode(summary)[:-1], roots.get(place) or missing_message(*place))
        for place, summary in zip(places, summaries, strict=True)
    ]


# --- lines of exports and imports -------------------------------------------------------------------------------------


class ThreadLineShape(shapes.RequestShape, frozen=True, tag_field="type", tag="thread"):
    """A thread of an imported room. Its message, and its own messages, come later."""

    source: shapes.Reference
    ref: shapes.Reference
    room_id: shapes.Id
    seq: shapes.SeqFrom1
    created_at: shapes.Time
    followers: Annotated[tuple[shapes.Id, ...], Meta(max_length=FOLLOWERS_MAX)] = ()


class FollowerOut(msgspec.Struct, frozen=True, tag_field="type", tag="thread-followed"):
    room: str
    account: str
    at: str


class FollowerGoneOut(msgspec.Struct, frozen=True, tag_field="type", tag="thread-unfollowed"):
    room: str
    account: str
    at: str


def _rules(line: ThreadLineShape, at: str) -> None:
    check_time(line.created_at, f"{at}created_at")


async def _check(checks: Checks, line: ThreadLineShape, at: str) -> None:
    await checks.last_seq(line.room_id, 0, at)
    for index, account_id in enumerate(line.followers):
        checks.account(account_id, f"{at}followers[{index}]")


async def _import_threads(commands: ImportCommands, lines: Sequence[ThreadLineShape]) -> ImportedLines:
    async def imported(line: ThreadLineShape) -> tuple[str, RoomId]:
        async def viewed() -> ImportThread:
            return ImportThread(
                reference("room", line.source, line.ref),
                line.room_id,
                line.seq,
                parse_rfc3339(line.created_at),
                line.followers,
                *await known_thread(commands.edge.store, line.room_id, line.seq),
            )

        result = await decided_on_view(commands.edge, commands.seconds_left, viewed, commands.dispatch)
        assert isinstance(result.answer, ThreadAnswer)
        return line.ref, result.answer.thread_id

    return ImportedLines(dict(await all_of(map(imported, lines))))


LINES: Final = (
    LineKind(
        ThreadLineShape,
        _import_threads,
        {
            ThreadFollowed: lambda event, at: FollowerOut(str(event.room_id), str(event.account_id), at),
            ThreadUnfollowed: lambda event, at: FollowerGoneOut(str(event.room_id), str(event.account_id), at),
        },
        _rules,
        _check,
        accounts=lambda line: line.followers,
    ),
)


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Threads", "Answer a message beside the room.", learned=4)
_THREAD: Final = shapes.RoomShape(
    examples.THREAD,
    "thread",
    "",
    "",
    "member",
    0,
    examples.SAID,
    None,
    False,
    False,
    shapes.ThreadParent(examples.ROOM, 1),
    False,
)
_LISTED: Final = ListedThread(
    room_id=examples.THREAD,
    kind="thread",
    name="",
    description="",
    role="member",
    last_seq=1,
    created_at=examples.SAID,
    peer_id=None,
    open=False,
    default=False,
    parent=shapes.ThreadParent(examples.ROOM, 1),
    follows=True,
    read_seq=1,
    unread=0,
    mentions=0,
    last_message=msgspec.structs.replace(examples.LAST, room_id=examples.THREAD),
    updated_at=examples.SAID,
    root=examples.LAST,
)
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/messages/{seq}/thread",
        thread,
        permissions.WRITERS,
        {200: _THREAD, 201: _THREAD},
        problems=("message_deleted", "message_not_found", "not_allowed", "read_only", "room_not_found"),
    ),
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/follow",
        follow,
        permissions.READERS,
        {204: None},
        problems=("not_allowed", "room_not_found"),
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/follow",
        unfollow,
        permissions.READERS,
        {204: None},
        problems=("not_allowed", "room_not_found"),
    ),
    ApiOperation(
        "GET", "/v1/threads", list_threads, permissions.EVERYBODY, {200: Threads([_LISTED], None)}, query=ThreadsQuery
    ),
)
