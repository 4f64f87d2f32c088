"""Reactions to a message: add one's own, remove it, list all; and their lines in exports and imports."""

from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Final, TypeVar

import emoji as unicode
import msgspec
from msgspec import Meta

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.messages.api import decided_on_view, find_message, message_view
from falcon.features.messages.pages import is_deleted
from falcon.features.reactions.rules import (
    EMOJI_BYTES_MAX,
    AddReaction,
    ImportedReaction,
    ImportReactions,
    ReactionAdded,
    ReactionAnswer,
    ReactionRemoved,
    RemoveReaction,
)
from falcon.http.api import examples, permissions
from falcon.http.api.lines import (
    CHUNK_LINES,
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
from falcon.http.api.lists import page_of, start_of
from falcon.http.api.operation import ApiOperation, Group, PathParameter, in_group
from falcon.http.command_client import CommandResult
from falcon.http.edge import Edge
from falcon.http.problems import invalid, message_not_found, room_not_found
from falcon.http.requests import AuthedRequest
from falcon.http.responses import BytesResponse, json_response
from falcon.http.shapes import Id, ListQuery, RequestShape, SeqFrom1, Time
from falcon.read.times import parse_rfc3339, rfc3339

C = TypeVar("C", AddReaction, RemoveReaction, ImportReactions)

_ROWS: Final = 200  # at once, for an export
_QUALIFIED: Final = unicode.STATUS["fully_qualified"]


def check_emoji(text: str, field: str = "emoji") -> str:
    """Emoji that look the same have one spelling here, the fully qualified one. Raises Problem 422."""
    found = unicode.EMOJI_DATA.get(text)
    if found is None or found["status"] != _QUALIFIED:
        raise invalid(field, "must be one emoji of Unicode's list, fully qualified")
    if len(text.encode()) > EMOJI_BYTES_MAX:
        raise invalid(field, f"must be at most {EMOJI_BYTES_MAX} bytes of UTF-8")
    return text


class ReactionsQuery(ListQuery, frozen=True):
    """``emoji``: only the reactions with it."""

    emoji: Annotated[str | None, Meta(description="Only the reactions with this emoji")] = None


class ReactionCount(msgspec.Struct, frozen=True):
    """``count``: how many accounts have reacted with the emoji."""

    room_id: Id
    seq: SeqFrom1
    emoji: str
    count: Annotated[int, Meta(ge=1)]


class ReactionEntry(msgspec.Struct, frozen=True):
    emoji: str
    account_id: Id
    reacted_at: Time


class Reactions(msgspec.Struct, frozen=True):
    """Oldest first."""

    reactions: list[ReactionEntry]
    next_cursor: str | None


async def add_reaction(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """React to a message.

    The same request again changes nothing. `emoji` is one emoji of Unicode's list.
    """
    command = AddReaction(request.account_id, *await _asked(request))
    result = await _dispatch(edge, request, command)
    answer = result.answer
    assert isinstance(answer, ReactionAnswer)
    body = ReactionCount(answer.room_id, answer.seq, answer.emoji, answer.count)
    return json_response(200, body, *result.headers)


async def remove_reaction(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Remove your reaction.

    Without a reaction of yours nothing changes.
    """
    command = RemoveReaction(request.account_id, *await _asked(request))
    result = await _dispatch(edge, request, command)
    return BytesResponse(204, b"", *result.headers)


async def list_reactions(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List the reactions to a message.

    The oldest reaction comes first. `emoji` asks for the reactions with this emoji.
    """
    room_id = request.path_id("room_id", room_not_found)
    query = request.query(ReactionsQuery)
    after = start_of(query)
    wanted = None if query.emoji is None else check_emoji(query.emoji)
    access = await edge.reads.access(request, room_id)
    seq = request.path_id("seq", message_not_found)
    message = await find_message(edge, request, room_id, seq, access)
    rows = [] if is_deleted(message) else await edge.store.reactions(room_id, seq, wanted, after, query.limit + 1)
    page, next_cursor = page_of(rows, query.limit, attrgetter("revision"))
    reactions = [ReactionEntry(row.emoji, row.account_id, row.reacted_at) for row in page]
    return json_response(200, Reactions(reactions, next_cursor))


async def _with_reactions(edge: Edge, command: C, accounts: Collection[AccountId]) -> C:
    """The command with the message and its reactions as the read tables show them."""
    known, revision = await message_view(edge, command.room_id, command.seq)
    reactions = await edge.store.known_reactions(command.room_id, command.seq, command.emoji, accounts)
    return msgspec.structs.replace(command, known=known, known_revision=revision, reactions=reactions)


async def _asked(request: AuthedRequest) -> tuple[RoomId, Seq, str]:
    room_id = request.path_id("room_id", room_not_found)
    seq = request.path_id("seq", message_not_found)
    emoji = check_emoji(request.scope["path_params"]["emoji"])
    await request.no_body()
    return room_id, seq, emoji


async def _dispatch(edge: Edge, request: AuthedRequest, command: C) -> CommandResult:
    return await decided_on_view(
        edge,
        partial(edge.reads.seconds_left, request),
        partial(_with_reactions, edge, command, [request.account_id]),
        partial(edge.commands.dispatch, request),
    )


# --- lines of exports and imports -------------------------------------------------------------------------------------


class ReactionLineShape(RequestShape, frozen=True, tag_field="type", tag="reaction"):
    """The lines of a message's reactions are in their order."""

    room_id: Id
    seq: SeqFrom1
    emoji: str
    account_id: Id
    reacted_at: Time


class ReactionOut(msgspec.Struct, frozen=True, tag_field="type", tag="reaction", omit_defaults=True):
    """Follows the message, oldest first."""

    room: str
    seq: int
    emoji: str
    account: str
    reacted_at: str
    at: str | None = None


class ReactionRemovedOut(msgspec.Struct, frozen=True, tag_field="type", tag="reaction-removed"):
    room: str
    seq: int
    emoji: str
    account: str
    at: str


def _added_line(event: ReactionAdded, at: str) -> ReactionOut:
    return ReactionOut(str(event.room_id), event.seq, event.emoji, str(event.account_id), rfc3339(event.reacted_at), at)


def _removed_line(event: ReactionRemoved, at: str) -> ReactionRemovedOut:
    return ReactionRemovedOut(str(event.room_id), event.seq, event.emoji, str(event.account_id), at)


async def _having_reactions(edge: Edge, room_id: RoomId, first: Seq, last: Seq) -> Collection[Seq]:
    return (await edge.store.shown_reactions(room_id, first, last)).by_seq


async def _lines_of(edge: Edge, room_id: RoomId, seq: Seq) -> AsyncIterator[bytes]:
    after = 0
    while rows := await edge.store.reactions(room_id, seq, None, after, _ROWS):
        yield b"".join(
            encoded(ReactionOut(str(room_id), seq, row.emoji, str(row.account_id), row.reacted_at)) for row in rows
        )
        after = rows[-1].revision


def _rules(line: ReactionLineShape, at: str) -> None:
    check_time(line.reacted_at, f"{at}reacted_at")
    check_emoji(line.emoji, f"{at}emoji")


async def _import_reactions(commands: ImportCommands, lines: Sequence[ReactionLineShape]) -> ImportedLines:
    async def imported(of_room: Sequence[ReactionLineShape]) -> None:
        """Imports reactions one after another: their order is the order in which messages show them."""
        for (room_id, seq, emoji), run in groupby(of_room, lambda line: (line.room_id, line.seq, line.emoji)):
            new = tuple(ImportedReaction(line.account_id, parse_rfc3339(line.reacted_at)) for line in run)
            for start in range(0, len(new), CHUNK_LINES):
                await _import(commands, ImportReactions(room_id, seq, emoji, new[start : start + CHUNK_LINES]))

    await all_of(map(imported, by_room(lines)))
    return ImportedLines()


async def _import(commands: ImportCommands, command: ImportReactions) -> None:
    accounts = [each.account_id for each in command.imported]
    edge = commands.edge
    view = partial(_with_reactions, edge, command, accounts)
    await decided_on_view(edge, commands.seconds_left, view, commands.dispatch)


LINES: Final = (
    LineKind(
        ReactionLineShape,
        _import_reactions,
        {ReactionAdded: _added_line, ReactionRemoved: _removed_line},
        _rules,
        Checks.about_message,
        Followers(_having_reactions, _lines_of),
        accounts=lambda line: (line.account_id,),
    ),
)


# --- operations -------------------------------------------------------------------------------------------------------

_EMOJI: Final = {
    "emoji": PathParameter(
        "One emoji of Unicode's list, fully qualified; percent-encoded UTF-8", "👍", {"type": "string", "minLength": 1}
    )
}
GROUP: Final = Group("Reactions", "React to messages with emoji.")
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "PUT",
        "/v1/rooms/{room_id}/messages/{seq}/reactions/{emoji}",
        add_reaction,
        permissions.WRITERS,
        {200: ReactionCount(examples.ROOM, 1, "👍", 1)},
        parameters=_EMOJI,
        problems=("message_deleted", "message_not_found", "not_allowed", "read_only", "room_not_found"),
    ),
    ApiOperation(
        "DELETE",
        "/v1/rooms/{room_id}/messages/{seq}/reactions/{emoji}",
        remove_reaction,
        permissions.WRITERS,
        {204: None},
        parameters=_EMOJI,
        problems=("message_deleted", "message_not_found", "not_allowed", "read_only", "room_not_found"),
    ),
    ApiOperation(
        "GET",
        "/v1/rooms/{room_id}/messages/{seq}/reactions",
        list_reactions,
        permissions.READERS,
        {200: Reactions([ReactionEntry("👍", examples.BEN, "2026-11-25T09:31:00.123Z")], None)},
        query=ReactionsQuery,
        problems=("message_not_found", "room_not_found"),
    ),
)
