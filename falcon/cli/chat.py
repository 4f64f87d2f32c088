"""Messages, and the list of the caller's rooms."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from falcon.cli.calling import (
    DEFAULT_DATA_DIR,
    Caller,
    DataDirOption,
    KeyOption,
    RoomArgument,
    TokenOption,
    UrlOption,
    outside_of,
)
from falcon.cli.display import counted, local_minute
from falcon.cli.faults import Fault
from falcon.cli.tables import Cell, Column, JsonOption, print_json, print_table

if TYPE_CHECKING:
    from falcon_chat import FalconClient, Message, Names, ReactionCount, ReadState, RoomSummary


def send(
    ctx: typer.Context,
    room: RoomArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads it from standard input.")],
    reply_to: Annotated[
        int | None, typer.Option("--reply-to", metavar="SEQ", min=1, help="The message that this one answers.")
    ] = None,
    mention: Annotated[
        list[str] | None,
        typer.Option("--mention", metavar="ACCOUNT", help="Mention a member, by id or name; may be repeated."),
    ] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Send a message to a room.

    Prints the message's number in the room (its seq). From standard input the text is taken as it is, without the line break at its end.

    \b
    Examples:
      falcon send 64 "Who wants tea?"
      falcon send "Tea kitchen" "Who wants tea?" --mention Ben
      git log -3 | falcon send 64 - --reply-to 12 --mention 130
      falcon send 64 "Backup done" --key "backup-$(date +%F)"
    """  # noqa: E501
    words = _standard_input() if text == "-" else text

    async def post(falcon: "FalconClient") -> "Message":
        from falcon.cli.naming import member_ids_of, room_id_of

        room_id = await room_id_of(falcon, room)
        mentions = await member_ids_of(falcon, room_id, mention or ())
        return await falcon.post(room_id, words, reply_to=reply_to, mentions=mentions, key=key)

    message = Caller(ctx, url, token, data_dir).run(post)
    if as_json:
        print_json([message])
    else:
        typer.echo(message.seq)


def react(
    ctx: typer.Context,
    room: RoomArgument,
    seq: Annotated[int, typer.Argument(metavar="SEQ", min=1, help="The message's number in the room.")],
    emoji: Annotated[str, typer.Argument(metavar="EMOJI", help="One emoji.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the reaction back.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """React to a message with an emoji.

    Prints how many accounts have reacted with it. Doing it again changes nothing.

    \b
    Examples:
      falcon react 64 12 👍
      falcon react "Tea kitchen" 12 🎉 --remove
    """

    async def change(falcon: "FalconClient") -> "ReactionCount | None":
        from falcon.cli.naming import room_id_of

        room_id = await room_id_of(falcon, room)
        if remove:
            await falcon.remove_reaction(room_id, seq, emoji)
            return None
        return await falcon.add_reaction(room_id, seq, emoji)

    reacted = Caller(ctx, url, token, data_dir).run(change)
    if reacted is not None:
        if as_json:
            print_json([reacted])
        else:
            typer.echo(reacted.count)


def pin(
    ctx: typer.Context,
    room: RoomArgument,
    seq: Annotated[int, typer.Argument(metavar="SEQ", min=1, help="The message's number in the room.")],
    remove: Annotated[bool, typer.Option("--remove", help="Unpin it.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Pin a message to its room, so that it stays in sight.

    Doing it again changes nothing.

    \b
    Examples:
      falcon pin 64 12
      falcon pin "Tea kitchen" 12 --remove
    """

    async def change(falcon: "FalconClient") -> None:
        from falcon.cli.naming import room_id_of

        room_id = await room_id_of(falcon, room)
        await (falcon.remove_pin(room_id, seq) if remove else falcon.add_pin(room_id, seq))

    Caller(ctx, url, token, data_dir).run(change)


def pins(
    ctx: typer.Context,
    room: RoomArgument,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show the pinned messages of a room, the newest pin first.

    \b
    Examples:
      falcon pins 64
      falcon pins "Tea kitchen" --json | jq -r .message.text
    """
    from falcon.cli.tailing import show_pins

    Caller(ctx, url, token, data_dir).run(lambda falcon: show_pins(falcon, room, as_json=as_json))


def tail(
    ctx: typer.Context,
    room: RoomArgument,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="How many messages at most.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing new messages, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show the newest messages of a room.

    Each line has the time, the number, the author and the reactions. Control characters are made visible.

    With --follow it keeps showing new messages and reactions, and shows an edited or deleted message again. It waits while the server restarts.

    \b
    Examples:
      falcon tail 64
      falcon tail "Tea kitchen" -n 100 --follow
      falcon tail 64 -n 1000 --json | jq -r .text
    """  # noqa: E501
    from falcon.cli.tailing import tail

    clock = outside_of(ctx).clock
    Caller(ctx, url, token, data_dir).run(lambda falcon: tail(falcon, room, lines, follow, clock, as_json=as_json))


def read(
    ctx: typer.Context,
    room: RoomArgument,
    seq: Annotated[
        int | None,
        typer.Argument(metavar="SEQ", min=0, help="The last message that is read; by default the newest."),
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Also move the mark back.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Mark a room's messages as read, up to the newest or up to SEQ.

    \b
    Examples:
      falcon read 64
      falcon read "Tea kitchen" 12
      falcon read 64 0 --back
    """

    async def mark(falcon: "FalconClient") -> "ReadState":
        from falcon.cli.naming import room_id_of

        room_id = await room_id_of(falcon, room)
        newest = (await falcon.room(room_id)).last_seq if seq is None else seq
        return await falcon.mark_read(room_id, newest, force=back)

    marked = Caller(ctx, url, token, data_dir).run(mark)
    if as_json:
        print_json([marked])
    else:
        typer.echo(
            f"Room {marked.room_id} is read up to #{marked.read_seq}: {marked.unread:,} unread, "
            f"{counted(marked.mentions, 'mention')}."
        )


def rooms(
    ctx: typer.Context,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=1, help="How many rooms at most.")] = 50,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List your rooms, the most recently active first.

    Unread counts all messages after the last one that you have read, also your own.

    \b
    Examples:
      falcon rooms
      falcon rooms -n 500 --token "$TOKEN"
      falcon rooms --json | jq 'select(.unread > 0)'
    """

    async def listed(falcon: "FalconClient") -> "tuple[list[RoomSummary], bool, list[str]]":
        from falcon.cli.listing import newest_rooms
        from falcon_chat import Names

        found, more = await newest_rooms(falcon, lines)
        names = Names(falcon)
        return found, more, [] if as_json else [await _last_words(room, names) for room in found]

    found, more, last_words = Caller(ctx, url, token, data_dir).run(listed)
    if as_json:
        print_json(found)
    else:
        print_table(_COLUMNS, [_row(room, words) for room, words in zip(found, last_words, strict=True)])
    if more:
        typer.echo(f"There are more; falcon rooms -n {lines * 2} shows some of them.", err=True)


# The help lists the commands in this order.
COMMANDS: Final = (rooms, send, react, pin, pins, tail, read)

_COLUMNS = (
    Column("Room", "right"),
    Column("Unread", "right"),
    Column("Mentions", "right"),
    Column("Name", width_max=20),
    Column("Active"),
    Column("Last message", rest=True),
)


def _row(room: "RoomSummary", last_words: str) -> tuple[Cell, ...]:
    return (
        str(room.room_id),
        (str(room.unread), "bold" if room.unread else "dim"),
        (str(room.mentions), "bold red" if room.mentions else "dim"),
        room.name,
        local_minute(room.updated_at),
        last_words,
    )


async def _last_words(room: "RoomSummary", names: "Names") -> str:
    last = room.last_message
    if last is None:
        return ""
    if last.missing:
        return "(missing)"
    from falcon_chat import Problem

    try:
        author = await names.of(room.room_id, last.author_id)
    except Problem as problem:
        if problem.code != "room_not_found":  # the caller has left the room since the list was read
            raise
        author = f"account {last.author_id}"
    return f"{author}: {'(deleted)' if last.deleted else last.text}"


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as fault:
        raise Fault(f"standard input is not UTF-8 at byte {fault.start}: a message is text") from fault
