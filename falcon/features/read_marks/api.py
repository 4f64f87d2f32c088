"""Read marks: move one's own."""

from typing import Final

import msgspec

from falcon.features.read_marks.rules import MoveRead, ReadAnswer
from falcon.http import shapes
from falcon.http.api import examples, permissions
from falcon.http.api.operation import ApiOperation, Group
from falcon.http.command_client import CommandResult, StaleView
from falcon.http.edge import Edge
from falcon.http.problems import room_not_found
from falcon.http.requests import AuthedRequest
from falcon.http.responses import BytesResponse, json_response
from falcon.http.shapes import ReadMarkShape

_NO_END: Final = (1 << 53) - 1  # no message has such a seq
_COUNTS_MAX: Final = 4  # of the mentions after a mark. On a cluster a count takes some 0.3 s, the delay of the tables.
_read_mark: Final = msgspec.json.Decoder(ReadMarkShape)


async def move_read(edge: Edge, request: AuthedRequest) -> BytesResponse:
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


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Read marks", "How far you have read.", learned=6)
OPERATIONS: Final = (
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/read",
        move_read,
        GROUP,
        permissions.READERS,
        "Move your read mark",
        "The mark moves forward to `seq`. With `force` it also moves back.",
        {200: shapes.ReadState(examples.ROOM, 1, 0, 0)},
        shapes.ReadMarkShape(1),
        command=True,
        problems=("not_allowed", "room_not_found"),
    ),
)
