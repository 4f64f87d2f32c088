"""Read marks: move one's own, and see who has read a message."""

from typing import Final

import msgspec

from falcon.domain.ids import NOBODY
from falcon.features.messages.api import find_message
from falcon.features.messages.bodies import message_in
from falcon.features.read_marks.rules import MoveRead, ReadAnswer
from falcon.http import shapes
from falcon.http.api import examples, permissions
from falcon.http.api.lists import page_of, start_of
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.command_client import CommandResult, StaleView
from falcon.http.edge import Edge
from falcon.http.problems import invalid, message_not_found, room_not_found
from falcon.http.requests import AuthedRequest
from falcon.http.responses import BytesResponse, json_response
from falcon.http.shapes import Id, ListQuery, ReadMarkShape, SeqFrom0

_NO_END: Final = (1 << 53) - 1  # no message has such a seq
READ_MEMBERS_MAX: Final = 1_000  # of a room that is asked who has read it: one scan, some milliseconds
_COUNTS_MAX: Final = 4  # of the mentions after a mark. On a cluster a count takes some 0.3 s, the delay of the tables.
_read_mark: Final = msgspec.json.Decoder(ReadMarkShape)


async def move_read(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Move your read mark.

    The mark moves forward to `seq`. With `force` it also moves back.
    """
    room_id = request.path_id("room_id", room_not_found)
    mark: ReadMarkShape = await request.json(_read_mark)
    command = MoveRead(request.account_id, room_id, mark.seq, mark.force, mentions=None)
    result = await _dispatch_mark(edge, request, command)
    answer = result.answer
    assert isinstance(answer, ReadAnswer)
    state = shapes.ReadState(room_id, answer.read_seq, answer.unread, answer.mentions)
    return json_response(200, state, *result.headers)


async def _dispatch_mark(edge: Edge, request: AuthedRequest, command: MoveRead) -> CommandResult:
    """The owner knows how far mentions go. If some may be unread the read tables count them, once they show what the
    owner knew and what the client knows of. A mention that comes meanwhile is counted, too, unless every count meets
    one."""
    for _ in range(_COUNTS_MAX):
        try:
            return await edge.commands.dispatch(request, command)
        except StaleView as stale:
            await edge.reads.reach_positions(request)
            await edge.reads.freshness.reach(stale.partition, stale.offset, edge.reads.seconds_left(request))
            mentions = await edge.store.mentions(command.by, command.room_id, stale.seq, _NO_END)
            command = msgspec.structs.replace(command, mentions=mentions, counted_to=stale.mentions_to)
    return await edge.commands.dispatch(request, msgspec.structs.replace(command, counted_to=None))


class MessageReader(msgspec.Struct, frozen=True):
    account_id: Id
    name: str
    read_seq: SeqFrom0


class MessageReaders(msgspec.Struct, frozen=True):
    readers: list[MessageReader]
    next_cursor: str | None


async def list_readers(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List who has read a message.

    By account id, without the author and members who hide how far they read. Only in rooms of at most 1,000 members.
    """
    room_id = request.path_id("room_id", room_not_found)
    seq = request.path_id("seq", message_not_found)
    query = request.query(ListQuery)
    after = start_of(query)
    access = await edge.reads.access(request, room_id)
    author = message_in(await find_message(edge, request, room_id, seq, access)).author_id
    members = await edge.store.members(room_id, 0, READ_MEMBERS_MAX + 1)
    if len(members) > READ_MEMBERS_MAX:
        raise invalid("room_id", f"must be a room of at most {READ_MEMBERS_MAX:,} members")
    read = [each for each in members if each.read_seq >= seq and each.account_id not in (author, NOBODY)]
    accounts = await edge.store.accounts_of([each.account_id for each in read if each.account_id > after])
    shown = [
        MessageReader(each.account_id, accounts[each.account_id].name, each.read_seq)
        for each in read
        if each.account_id in accounts and not accounts[each.account_id].hide_reads
    ]
    page, cursor = page_of(shown, query.limit, lambda each: each.account_id)
    return json_response(200, MessageReaders([*page], cursor))


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Read marks", "How far you have read.", learned=6)
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/read",
        move_read,
        permissions.READERS,
        {200: shapes.ReadState(examples.ROOM, 1, 0, 0)},
        shapes.ReadMarkShape(1),
        problems=("not_allowed", "room_not_found"),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/messages/{seq}/readers",
        list_readers,
        permissions.READERS,
        {200: MessageReaders([MessageReader(examples.BEN, "Ben", 1)], None)},
        query=ListQuery,
        problems=("message_not_found", "room_not_found"),
    ),
)
