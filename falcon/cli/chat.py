"""Messages, and the list of the caller's rooms."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from falcon.cli.asking import Named, RoomArgument, SeqArgument, asking
from falcon.cli.calling import KeyOption, outside_of
from falcon.cli.display import counted, local_minute, local_time, visible
from falcon.cli.faults import Fault
from falcon.cli.tables import Column, JsonOption, print_json, print_table

if TYPE_CHECKING:
    from falcon_chat import FalconClient, Message, Names, ReactionCount, ReadState, Room, RoomSummary


def _words(text: str) -> str:
    if text != "-":
        return text
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as fault:
        raise Fault(f"standard input is not UTF-8 at byte {fault.start}: a message is text") from fault


@asking(lambda message: message.seq)
async def send(
    falcon: "FalconClient",
    room: RoomArgument,
    text: Annotated[
        str,
        typer.Argument(metavar="TEXT", help="What to say; - reads it from standard input.", callback=_words),
    ],
    reply_to: Annotated[
        int | None, typer.Option("--reply-to", metavar="SEQ", min=1, help="The message that this one answers.")
    ] = None,
    mention: Annotated[
        list[int] | None,
        typer.Option("--mention", metavar="ACCOUNT", help="Mention a member, by handle, id or name; may be repeated."),
        Named(list[str] | None, "members"),
    ] = None,
    key: KeyOption = None,
) -> "Message":
    """Send a message to a room.

    Prints the message's number in the room (its seq). From standard input the text is taken as it is, without the line break at its end.

    \b
    Examples:
      falcon send 64 "Who wants tea?"
      falcon send "Tea kitchen" "Who wants tea?" --mention Ben
      git log -3 | falcon send 64 - --reply-to 12 --mention 130
      falcon send 64 "Backup done" --key "backup-$(date +%F)"
    """  # noqa: E501
    return await falcon.post(room, text, reply_to=reply_to, mentions=mention or (), key=key)


@asking(lambda reacted: reacted.count)
async def react(
    falcon: "FalconClient",
    room: RoomArgument,
    seq: SeqArgument,
    emoji: Annotated[str, typer.Argument(metavar="EMOJI", help="One emoji.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the reaction back.")] = False,
) -> "ReactionCount | None":
    """React to a message with an emoji.

    Prints how many accounts have reacted with it. Doing it again changes nothing.

    \b
    Examples:
      falcon react 64 12 👍
      falcon react "Tea kitchen" 12 🎉 --remove
    """
    return await (falcon.remove_reaction if remove else falcon.add_reaction)(room, seq, emoji)


@asking()
async def pin(
    falcon: "FalconClient",
    room: RoomArgument,
    seq: SeqArgument,
    remove: Annotated[bool, typer.Option("--remove", help="Unpin it.")] = False,
) -> None:
    """Pin a message to its room, so that it stays in sight.

    Doing it again changes nothing.

    \b
    Examples:
      falcon pin 64 12
      falcon pin "Tea kitchen" 12 --remove
    """
    await (falcon.remove_pin if remove else falcon.add_pin)(room, seq)


@asking()
async def pins(falcon: "FalconClient", room: RoomArgument, as_json: JsonOption = False) -> None:
    """Show the pinned messages of a room, the newest pin first.

    \b
    Examples:
      falcon pins 64
      falcon pins "Tea kitchen" --json | jq -r .message.text
    """
    from falcon.cli.tailing import Printer

    pins = (await falcon.pins(room)).pins
    if as_json:
        print_json(pins)
    else:
        await Printer(falcon, as_json).show_all([pin.message for pin in pins])


@asking(lambda thread: thread.room_id)
async def thread(
    falcon: "FalconClient",
    room: RoomArgument,
    seq: SeqArgument,
    follow: Annotated[
        bool | None, typer.Option("--follow/--unfollow", help="Follow it, or follow it no more.", show_default=False)
    ] = None,
) -> "Room":
    """Start the thread of a message, or find the one that it has.

    Prints the thread's number, which the other commands take as a room.

    \b
    Examples:
      falcon thread 64 12
      falcon send "$(falcon thread "Tea kitchen" 12)" "Green, please"
      falcon thread 64 12 --unfollow
    """
    found = await falcon.thread(room, seq)
    if follow is not None:
        await (falcon.follow if follow else falcon.unfollow)(found.room_id)
    return found


@asking()
async def search(
    falcon: "FalconClient",
    words: Annotated[list[str], typer.Argument(metavar="WORDS…", help="What the messages have.")],
    room: Annotated[
        int | None, typer.Option("--in", metavar="ROOM", help="Only this room."), Named(str | None, "room_if_any")
    ] = None,
    author: Annotated[
        int | None,
        typer.Option("--from", metavar="ACCOUNT", help="Only messages by this account."),
        Named(str | None, "own_or_other"),
    ] = None,
    relevance: Annotated[bool, typer.Option("--relevance", help="The best hits first, not the newest.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many hits are shown.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Find messages by their words in all rooms that you may read.

    \b
    Examples:
      falcon search 会議
      falcon search '"next meeting"' 'budg*' --in "Tea kitchen"
      falcon search tea --json -- -coffee
    """
    found = await falcon.search(
        " ".join(words),
        room_id=room,
        author_id=author,
        sort="relevance" if relevance else None,
        limit=limit,
    )
    if as_json:
        print_json(found.hits)
        return
    from falcon_chat import Names

    names = Names(falcon)
    for hit in found.hits:
        by = visible(await names.of(hit.room_id, hit.message.author_id))
        pieces = ((visible(piece), is_hit) for piece, is_hit in hit.snippet)
        text = "".join(typer.style(piece, bold=True) if is_hit else piece for piece, is_hit in pieces)
        typer.echo(f"{local_time(hit.message.posted_at)}  {hit.room_id} #{hit.message.seq}  {by}: {text}")


@asking()
async def tail(
    falcon: "FalconClient",
    ctx: typer.Context,
    room: RoomArgument,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="How many messages at most.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep showing new messages, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the newest messages of a room.

    Each line has the time, the number, the author, the reactions, and the thread with how many messages it has. Control characters are made visible.

    With --follow it keeps showing new messages and reactions, and shows an edited or deleted message again. It waits while the server restarts.

    \b
    Examples:
      falcon tail 64
      falcon tail "Tea kitchen" -n 100 --follow
      falcon tail 64 -n 1000 --json | jq -r .text
    """  # noqa: E501
    from falcon.cli.tailing import Follower, Printer, newest_messages

    printer = Printer(falcon, as_json)
    if follow:
        await Follower(falcon, room, lines, outside_of(ctx).clock, printer).run()
    else:
        await printer.show_all(await newest_messages(falcon, room, lines))


def _marked(state: "ReadState") -> str:
    unread = f"{state.unread:,} unread, {counted(state.mentions, 'mention')}"
    return f"Room {state.room_id} is read up to #{state.read_seq}: {unread}."


@asking(_marked)
async def read(
    falcon: "FalconClient",
    room: RoomArgument,
    seq: Annotated[
        int | None,
        typer.Argument(metavar="SEQ", min=0, help="The last message that is read; by default the newest."),
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="Also move the mark back.")] = False,
) -> "ReadState":
    """Mark a room's messages as read, up to the newest or up to SEQ.

    \b
    Examples:
      falcon read 64
      falcon read "Tea kitchen" 12
      falcon read 64 0 --back
    """
    newest = (await falcon.room(room)).last_seq if seq is None else seq
    return await falcon.mark_read(room, newest, force=back)


@asking()
async def rooms(
    falcon: "FalconClient",
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=1, help="How many rooms at most.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List your rooms, the most recently active first.

    Unread counts all messages after the last one that you have read, also your own.

    \b
    Examples:
      falcon rooms
      falcon rooms -n 500 --token "$TOKEN"
      falcon rooms --json | jq 'select(.unread > 0)'
    """
    from falcon.cli.naming import newest_rooms
    from falcon_chat import Names

    found, more = await newest_rooms(falcon, lines)
    if as_json:
        print_json(found)
    else:
        names = Names(falcon)
        rows = [
            (
                str(room.room_id),
                (str(room.unread), "bold" if room.unread else "dim"),
                (str(room.mentions), "bold red" if room.mentions else "dim"),
                room.name,
                local_minute(room.updated_at),
                await _last_words(room, names),
            )
            for room in found
        ]
        print_table(_COLUMNS, rows)
    if more:
        typer.echo(f"There are more; falcon rooms -n {lines * 2} shows some of them.", err=True)


# The help lists the commands in this order.
COMMANDS: Final = (rooms, send, search, react, thread, pin, pins, tail, read)

_COLUMNS = (
    Column("Room", "right"),
    Column("Unread", "right"),
    Column("Mentions", "right"),
    Column("Name", width_max=20),
    Column("Active"),
    Column("Last message", rest=True),
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
