"""Pins of a room: pin a message, unpin it, list all; and their lines in exports and imports."""

from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from falcon.domain.ids import RoomId, Seq
from falcon.features.messages.api import decided_on_view, message_view, shown_messages
from falcon.features.pins.rules import PINS_MAX, AddPin, ImportPin, PinAdded, PinAnswer, PinRemoved, RemovePin
from falcon.features.pins.table import pins_among
from falcon.http.api import examples, permissions
from falcon.http.api.lines import (
    Checks,
    Followers,
    ImportCommands,
    ImportedLines,
    LineKind,
    all_of,
    by_room,
    check_time,
    encoded,
)
from falcon.http.api.operation import ApiOperation, Group, in_group
from falcon.http.edge import Edge
from falcon.http.problems import message_not_found, room_not_found
from falcon.http.requests import AuthedRequest
from falcon.http.responses import JSON, BytesResponse, json_response
from falcon.http.shapes import Id, RequestShape, SeqFrom1, ShownMessage, Time
from falcon.read.times import parse_rfc3339, rfc3339

C = TypeVar("C", AddPin, ImportPin)


class Pin(msgspec.Struct, frozen=True):
    """``pinned_by``: the account that has pinned the message."""

    room_id: Id
    seq: SeqFrom1
    pinned_by: Id
    pinned_at: Time


class PinnedMessage(msgspec.Struct, frozen=True):
    message: ShownMessage
    pinned_by: Id
    pinned_at: Time


class Pins(msgspec.Struct, frozen=True):
    """The newest pin first."""

    pins: Annotated[list[PinnedMessage], Meta(max_length=PINS_MAX)]


async def add_pin(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Pin a message.

    A room has at most 100 pins. The same request again, and that of another member, change nothing.
    """
    command = AddPin(request.account_id, *await _asked(request))
    result = await decided_on_view(
        edge,
        partial(edge.reads.seconds_left, request),
        partial(_with_message, edge, command),
        partial(edge.commands.dispatch, request),
    )
    answer = result.answer
    assert isinstance(answer, PinAnswer)
    body = Pin(answer.room_id, answer.seq, answer.pinned_by, rfc3339(answer.pinned_at))
    return json_response(200, body, *result.headers)


async def remove_pin(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Unpin a message.

    Without a pin nothing changes. Deleting a message removes its pin.
    """
    result = await edge.commands.dispatch(request, RemovePin(request.account_id, *await _asked(request)))
    return BytesResponse(204, b"", *result.headers)


async def list_pins(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List the pinned messages of a room.

    The newest pin comes first.
    """
    room_id = request.path_id("room_id", room_not_found)
    access = await edge.reads.access(request, room_id)
    rows = await pins_among(edge.store, room_id)
    messages = await shown_messages(edge, request, access, room_id, [row.seq for row in rows])
    pins = (
        b'{"message":%b,"pinned_by":%d,"pinned_at":"%b"}' % (messages[row.seq], row.account_id, row.pinned_at.encode())
        for row in rows
        if row.seq in messages
    )
    return BytesResponse(200, b'{"pins":[%b]}' % b",".join(pins), JSON)


async def _asked(request: AuthedRequest) -> tuple[RoomId, Seq]:
    room_id = request.path_id("room_id", room_not_found)
    seq = request.path_id("seq", message_not_found)
    await request.no_body()
    return room_id, seq


async def _with_message(edge: Edge, command: C) -> C:
    known, revision = await message_view(edge, command.room_id, command.seq)
    return msgspec.structs.replace(command, known=known, known_revision=revision)


# --- lines of exports and imports -------------------------------------------------------------------------------------


class PinLineShape(RequestShape, frozen=True, tag_field="type", tag="pin"):
    room_id: Id
    seq: SeqFrom1
    account_id: Id
    pinned_at: Time


class PinOut(msgspec.Struct, frozen=True, tag_field="type", tag="pin", omit_defaults=True):
    """Follows the message."""

    room: str
    seq: int
    account: str
    pinned_at: str
    at: str | None = None


class PinRemovedOut(msgspec.Struct, frozen=True, tag_field="type", tag="pin-removed"):
    room: str
    seq: int
    at: str


def _added_line(event: PinAdded, at: str) -> PinOut:
    return PinOut(str(event.room_id), event.seq, str(event.account_id), rfc3339(event.pinned_at), at)


def _removed_line(event: PinRemoved, at: str) -> PinRemovedOut:
    return PinRemovedOut(str(event.room_id), event.seq, at)


async def _having_pins(edge: Edge, room_id: RoomId, first: Seq, last: Seq) -> Collection[Seq]:
    return {row.seq for row in await pins_among(edge.store, room_id, first, last)}


async def _lines_of(edge: Edge, room_id: RoomId, seq: Seq) -> AsyncIterator[bytes]:
    for row in await pins_among(edge.store, room_id, seq, seq):
        yield encoded(PinOut(str(room_id), seq, str(row.account_id), row.pinned_at))


def _rules(line: PinLineShape, at: str) -> None:
    check_time(line.pinned_at, f"{at}pinned_at")


async def _import_pins(commands: ImportCommands, lines: Sequence[PinLineShape]) -> ImportedLines:
    async def imported(of_room: Sequence[PinLineShape]) -> None:
        for line in of_room:
            command = ImportPin(line.room_id, line.seq, line.account_id, parse_rfc3339(line.pinned_at))
            view = partial(_with_message, commands.edge, command)
            await decided_on_view(commands.edge, commands.seconds_left, view, commands.dispatch)

    await all_of(map(imported, by_room(lines)))
    return ImportedLines()


LINES: Final = (
    LineKind(
        PinLineShape,
        _import_pins,
        {PinAdded: _added_line, PinRemoved: _removed_line},
        _rules,
        Checks.about_message,
        Followers(_having_pins, _lines_of),
        accounts=lambda line: (line.account_id,),
    ),
)


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Pins", "Keep messages in sight of a room.")
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/pins/{seq}",
        add_pin,
        permissions.WRITERS,
        {200: Pin(examples.ROOM, 1, examples.BEN, examples.SAID)},
        problems=("message_deleted", "message_not_found", "not_allowed", "read_only", "room_not_found"),
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/pins/{seq}",
        remove_pin,
        permissions.WRITERS,
        {204: None},
        problems=("message_not_found", "not_allowed", "read_only", "room_not_found"),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/pins",
        list_pins,
        permissions.READERS,
        {200: Pins([PinnedMessage(examples.SHOWN, examples.BEN, examples.SAID)])},
        problems=("room_not_found",),
    ),
)
