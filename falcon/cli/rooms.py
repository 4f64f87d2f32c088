"""Rooms and who is in them."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

import typer

from falcon.cli.asking import MembersArgument, Named, PeopleArgument, PersonArgument, RoomArgument, asking
from falcon.cli.calling import KeyOption
from falcon.cli.display import counted, visible
from falcon.cli.tables import Column, print_table

if TYPE_CHECKING:
    from falcon_chat import FalconClient, Member, Room

Role: TypeAlias = Literal["admin", "member", "readonly"]


def _with_roles(entries: list[str] | None) -> list[Any]:
    return [_with_role(entry) for entry in entries or ()]


def _with_role(entry: str) -> tuple[str, Role]:
    """A name may have colons: only a role after the last colon counts."""
    person, colon, named = entry.rpartition(":")
    role = next((role for role in get_args(Role) if role == named), None)
    if person and role:
        return person, role
    if colon and (not person or person.isdecimal()):
        raise typer.BadParameter(f"{entry!r}: it should look like Ben, 130 or 130:readonly", param_hint="--member")
    return entry, "member"


@asking(lambda room: room.room_id)
async def create(
    falcon: "FalconClient",
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the room is called.")],
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is for.")] = "",
    member: Annotated[
        dict[int, Role] | None,
        typer.Option(
            "--member",
            metavar="ACCOUNT[:ROLE]",
            help="An account, by handle, id or name, and its role (admin, member or readonly; by default member); "
            "may be repeated.",
            callback=_with_roles,
        ),
        Named(list[str] | None, "with_roles"),
    ] = None,
    key: KeyOption = None,
) -> "Room":
    """Create a room; you are its admin. Prints its id.

    \b
    Examples:
      falcon room create "Tea kitchen"
      falcon room create "Tea kitchen" --member Ben --member 131:readonly
    """
    return await falcon.create_room(name, description=description, members=member or {}, key=key)


@asking(lambda room: room.room_id)
async def direct(falcon: "FalconClient", account: PersonArgument) -> "Room":
    """Open the room of you and one other account. Prints its id, which is always the same.

    \b
    Examples:
      falcon room direct Ben
      falcon send "$(falcon room direct 130)" "Just between us"
    """
    return await falcon.direct_room(account)


@asking(lambda members: "\n".join(f"{each.account_id} {visible(each.name)}: {each.role}" for each in members))
async def add(
    falcon: "FalconClient",
    room: RoomArgument,
    account: PeopleArgument,
    role: Annotated[
        Role,
        typer.Option("--role", metavar="ROLE", help="admin, member or readonly; a member's role is changed to it."),
    ] = "member",
) -> "list[Member]":
    """Add accounts to a room of which you are an admin, or change their roles there.

    \b
    Examples:
      falcon room add "Tea kitchen" Ben Cleo
      falcon room add 64 130 --role admin
    """
    return [await falcon.put_member(room, each, role) for each in account]


@asking()
async def remove(falcon: "FalconClient", room: RoomArgument, account: MembersArgument) -> None:
    """Remove accounts from a room of which you are an admin. With your own account you leave it.

    \b
    Examples:
      falcon room remove "Tea kitchen" Ben
      falcon room remove 64 130 131
    """
    from falcon_chat import Names

    names = Names(falcon)
    known = {each: await names.of(room, each) for each in account}  # before: who leaves the room can ask no more
    for each in known:
        await falcon.remove_member(room, each)
    typer.echo(f"Removed: {visible(', '.join(f'{each} {name}' for each, name in known.items()))}")


def _print_members(members: "list[Member]") -> None:
    columns = (Column("Account", "right"), Column("Name", width_max=40), Column("Role"), Column("Read up to", "right"))
    print_table(columns, [(str(each.account_id), each.name, each.role, f"#{each.read_seq}") for each in members])


@asking(_print_members)
async def members(falcon: "FalconClient", room: RoomArgument) -> "list[Member]":
    """List a room's members, with how far each has read.

    \b
    Examples:
      falcon room members "Tea kitchen"
      falcon room members 64 --json | jq -r .name
    """
    from falcon.cli.naming import all_members

    return await all_members(falcon, room)


@asking(lambda room: f"Room {room.room_id} is called {room.name!r} now.")
async def rename(
    falcon: "FalconClient",
    room: RoomArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the room is called from now on.")],
) -> "Room":
    """Rename a room of which you are an admin.

    \b
    Example:
      falcon room rename "Tea kitchen" "Tea and coffee"
    """
    return await falcon.change_room(room, name=name)


@asking(lambda room: f"Room {room.room_id} has a new description.")
async def describe(
    falcon: "FalconClient",
    room: RoomArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help='What the room is for; "" for nothing.')],
) -> "Room":
    """Set the description of a room of which you are an admin.

    \b
    Example:
      falcon room describe "Tea kitchen" "Who puts the kettle on"
    """
    return await falcon.change_room(room, description=text)


@asking()
async def delete(
    falcon: "FalconClient", room: RoomArgument, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Delete a room of which you are an admin, with all its messages. This cannot be undone.

    \b
    Examples:
      falcon room delete "Tea kitchen"
      falcon room delete 64 --yes
    """
    found = await falcon.room(room)
    if not yes:
        messages = counted(found.last_seq, "message")
        typer.confirm(f"Delete room {room}, {found.name!r}, with its {messages}?", abort=True, err=True)
    await falcon.delete_room(room)
    typer.echo(f"Room {room} is deleted.")
