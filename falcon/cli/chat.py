"""Rooms and messages."""

import sys
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from falcon.cli.calling import (
    DEFAULT_DATA_DIR,
    Caller,
    DataDirOption,
    RoomArgument,
    TokenOption,
    UrlOption,
    outside_of,
)
from falcon.cli.display import local_time, visible
from falcon.cli.faults import Fault

if TYPE_CHECKING:
    from falcon.client import FalconClient, Role, RoomSummary

_PAGE = 200  # the most that the API gives at once


def send(
    ctx: typer.Context,
    room: RoomArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads it from standard input.")],
    reply_to: Annotated[
        int | None, typer.Option("--reply-to", metavar="SEQ", min=1, help="The message that this one answers.")
    ] = None,
    mention: Annotated[
        list[int] | None, typer.Option("--mention", metavar="ACCOUNT", help="Mention an account; may be repeated.")
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Send a message to a room.

    Prints the message's number in the room (its seq). From standard input the text is taken as it is, without the line break at its end.

    \b
    Examples:
      falcon send 64 "Who wants tea?"
      git log -3 | falcon send 64 - --reply-to 12 --mention 130
    """  # noqa: E501
    words = _standard_input() if text == "-" else text
    caller = Caller(ctx, url, token, data_dir)
    message = caller.run(lambda falcon: falcon.post(room, words, reply_to=reply_to, mentions=mention or ()))
    typer.echo(message.seq)


def tail(
    ctx: typer.Context,
    room: RoomArgument,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="How many messages.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show the newest messages of a room.

    Each with its time, number and author. Control characters are shown and not obeyed.

    With --follow a message that is edited or deleted is shown again, and restarts of the server are waited for.

    \b
    Examples:
      falcon tail 64
      falcon tail 64 -n 100 --follow
    """
    from falcon.cli.tailing import tail

    clock = outside_of(ctx).clock
    Caller(ctx, url, token, data_dir).run(lambda falcon: tail(falcon, room, lines, follow, clock))


def rooms(
    ctx: typer.Context,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=1, help="How many rooms at most.")] = 50,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List your rooms, the newest activity first.

    \b
    Examples:
      falcon rooms
      falcon rooms -n 500 --token "$TOKEN"
    """
    found, more = Caller(ctx, url, token, data_dir).run(lambda falcon: _rooms(falcon, lines))
    _print_rooms(found)
    if more:
        typer.echo(f"There are more; falcon rooms -n {lines * 2} shows some of them.", err=True)


def create_room(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the room is called.")],
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is for.")] = "",
    member: Annotated[
        list[str] | None,
        typer.Option(
            "--member",
            metavar="ID[:ROLE]",
            help="An account and its role (admin, member or readonly; by default member); may be repeated.",
        ),
    ] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Make a room; you are its admin. Prints its id.

    \b
    Examples:
      falcon room create "Tea"
      falcon room create "Tea" --member 130 --member 131:readonly
    """
    members = dict(_parsed_member(entry) for entry in member or ())
    caller = Caller(ctx, url, token, data_dir)
    room = caller.run(lambda falcon: falcon.create_room(name, description=description, members=members))
    typer.echo(room.room_id)


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as fault:
        raise Fault(f"standard input is not UTF-8 at byte {fault.start}: a message is text") from fault


def _parsed_member(entry: str) -> "tuple[int, Role]":
    from falcon.client import Role

    account_id, _, named = entry.partition(":")
    for role in get_args(Role):
        if account_id.isdecimal() and role == (named or "member"):
            return int(account_id), role
    raise typer.BadParameter(f"{entry!r}: it should look like 130 or 130:readonly", param_hint="--member")


async def _rooms(falcon: "FalconClient", count: int) -> "tuple[list[RoomSummary], bool]":
    """At most ``count`` rooms, and whether there are more."""
    found: list[RoomSummary] = []
    cursor: str | None = None
    while True:
        page = await falcon.rooms(limit=min(_PAGE, count - len(found)), cursor=cursor)
        found.extend(page.rooms)
        cursor = page.next_cursor
        if cursor is None or len(found) >= count:
            return found[:count], cursor is not None


def _print_rooms(found: "list[RoomSummary]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("Room", "Unread", "Mentions"):
        table.add_column(title, justify="right")
    table.add_column("Name", overflow="fold", min_width=12)
    table.add_column("Active", no_wrap=True)
    table.add_column("Last message", no_wrap=True, overflow="ellipsis", ratio=1)
    for room in found:
        table.add_row(
            str(room.room_id),
            Text(str(room.unread), style="bold" if room.unread else "dim"),
            Text(str(room.mentions), style="bold red" if room.mentions else "dim"),
            Text(visible(room.name)),
            local_time(room.updated_at),
            Text(visible(room.last_message.text) if room.last_message else ""),
        )
    Console().print(table)
