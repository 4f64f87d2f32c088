"""Rooms and who is in them."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar, get_args

import typer

from falcon.cli.calling import (
    DEFAULT_DATA_DIR,
    Caller,
    DataDirOption,
    KeyOption,
    PeopleArgument,
    PersonArgument,
    RoomArgument,
    TokenOption,
    UrlOption,
)
from falcon.cli.display import counted, visible
from falcon.cli.tables import Column, JsonOption, print_json, print_table

if TYPE_CHECKING:
    from falcon_chat import FalconClient, Member, Role, Room

T = TypeVar("T")

YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the room is called.")],
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is for.")] = "",
    member: Annotated[
        list[str] | None,
        typer.Option(
            "--member",
            metavar="ACCOUNT[:ROLE]",
            help="An account, by id or name, and its role (admin, member or readonly; by default member); "
            "may be repeated.",
        ),
    ] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Create a room; you are its admin. Prints its id.

    \b
    Examples:
      falcon room create "Tea kitchen"
      falcon room create "Tea kitchen" --member Ben --member 131:readonly
    """
    invited = [_parsed_member(entry) for entry in member or ()]
    caller = Caller(ctx, url, token, data_dir)

    async def made(falcon: "FalconClient") -> "Room":
        from falcon.cli.naming import account_ids_of

        ids = await account_ids_of(caller, falcon, [person for person, _ in invited])
        members = {account_id: role for account_id, (_, role) in zip(ids, invited, strict=True)}
        return await falcon.create_room(name, description=description, members=members, key=key)

    _print_room(caller.run(made), as_json)


def direct(
    ctx: typer.Context,
    account: PersonArgument,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Open the room of you and one other account. Prints its id, which is always the same.

    \b
    Examples:
      falcon room direct Ben
      falcon send "$(falcon room direct 130)" "Just between us"
    """
    caller = Caller(ctx, url, token, data_dir)

    async def opened(falcon: "FalconClient") -> "Room":
        from falcon.cli.naming import account_ids_of

        (account_id,) = await account_ids_of(caller, falcon, [account])
        return await falcon.direct_room(account_id)

    _print_room(caller.run(opened), as_json)


def add(
    ctx: typer.Context,
    room: RoomArgument,
    account: PeopleArgument,
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="admin, member or readonly; a member's role is changed to it.")
    ] = "member",
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Add accounts to a room of which you are an admin, or change their roles there.

    \b
    Examples:
      falcon room add "Tea kitchen" Ben Cleo
      falcon room add 64 130 --role admin
    """
    given = _parsed_role(role)
    caller = Caller(ctx, url, token, data_dir)

    async def added(falcon: "FalconClient") -> "list[Member]":
        from falcon.cli.naming import account_ids_of, room_id_of

        room_id = await room_id_of(falcon, room)
        ids = await account_ids_of(caller, falcon, account)
        return [await falcon.put_member(room_id, each, given) for each in ids]

    members = caller.run(added)
    if as_json:
        print_json(members)
    else:
        for member in members:
            typer.echo(f"{member.account_id} {visible(member.name)}: {member.role}")


def remove(
    ctx: typer.Context,
    room: RoomArgument,
    account: PeopleArgument,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Remove accounts from a room of which you are an admin. With your own account you leave it.

    \b
    Examples:
      falcon room remove "Tea kitchen" Ben
      falcon room remove 64 130 131
    """

    async def removed(falcon: "FalconClient") -> list[str]:
        from falcon.cli.naming import member_ids_of, room_id_of
        from falcon_chat import Names

        room_id = await room_id_of(falcon, room)
        ids = list(dict.fromkeys(await member_ids_of(falcon, room_id, account)))
        names = Names(falcon)
        known = [await names.of(room_id, each) for each in ids]  # before: who leaves the room can ask no more
        for each in ids:
            await falcon.remove_member(room_id, each)
        return [f"{each} {name}" for each, name in zip(ids, known, strict=True)]

    gone = Caller(ctx, url, token, data_dir).run(removed)
    typer.echo(f"Removed: {visible(', '.join(gone))}")


def members(
    ctx: typer.Context,
    room: RoomArgument,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List a room's members, with how far each has read.

    \b
    Examples:
      falcon room members "Tea kitchen"
      falcon room members 64 --json | jq -r .name
    """

    async def listed(falcon: "FalconClient", room_id: int) -> "list[Member]":
        from falcon.cli.listing import all_members

        return await all_members(falcon, room_id)

    found = Caller(ctx, url, token, data_dir).run(_in_room(room, listed))
    if as_json:
        print_json(found)
    else:
        columns = (
            Column("Account", "right"),
            Column("Name", width_max=40),
            Column("Role"),
            Column("Read up to", "right"),
        )
        print_table(columns, [(str(each.account_id), each.name, each.role, f"#{each.read_seq}") for each in found])


def rename(
    ctx: typer.Context,
    room: RoomArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the room is called from now on.")],
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Rename a room of which you are an admin.

    \b
    Example:
      falcon room rename "Tea kitchen" "Tea and coffee"
    """
    changed = Caller(ctx, url, token, data_dir).run(
        _in_room(room, lambda falcon, room_id: falcon.change_room(room_id, name=name))
    )
    _print_changed(changed, f"Room {changed.room_id} is called {changed.name!r} now.", as_json)


def describe(
    ctx: typer.Context,
    room: RoomArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help='What the room is for; "" for nothing.')],
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Set the description of a room of which you are an admin.

    \b
    Example:
      falcon room describe "Tea kitchen" "Who puts the kettle on"
    """
    changed = Caller(ctx, url, token, data_dir).run(
        _in_room(room, lambda falcon, room_id: falcon.change_room(room_id, description=text))
    )
    _print_changed(changed, f"Room {changed.room_id} has a new description.", as_json)


def delete(
    ctx: typer.Context,
    room: RoomArgument,
    yes: YesOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Delete a room of which you are an admin, with all its messages. This cannot be undone.

    \b
    Examples:
      falcon room delete "Tea kitchen"
      falcon room delete 64 --yes
    """
    caller = Caller(ctx, url, token, data_dir)
    found = caller.run(_in_room(room, lambda falcon, room_id: falcon.room(room_id)))
    if not yes:
        messages = counted(found.last_seq, "message")
        typer.confirm(f"Delete room {found.room_id}, {found.name!r}, with its {messages}?", abort=True, err=True)
    caller.run(lambda falcon: falcon.delete_room(found.room_id))
    typer.echo(f"Room {found.room_id} is deleted.")


def _in_room(
    room: str, work: "Callable[[FalconClient, int], Awaitable[T]]"
) -> "Callable[[FalconClient], Awaitable[T]]":
    """Calls ``work`` with the id of the room that the command line names."""

    async def found(falcon: "FalconClient") -> T:
        from falcon.cli.naming import room_id_of

        return await work(falcon, await room_id_of(falcon, room))

    return found


def _print_room(room: "Room", as_json: bool) -> None:
    if as_json:
        print_json([room])
    else:
        typer.echo(room.room_id)


def _print_changed(room: "Room", told: str, as_json: bool) -> None:
    if as_json:
        print_json([room])
    else:
        typer.echo(told)


def _parsed_member(entry: str) -> "tuple[str, Role]":
    """A name may have colons: only a role after the last colon counts."""
    person, colon, named = entry.rpartition(":")
    role = _role(named)
    if person and role:
        return person, role
    if colon and (not person or person.isdecimal()):
        raise typer.BadParameter(f"{entry!r}: it should look like Ben, 130 or 130:readonly", param_hint="--member")
    return entry, "member"


def _parsed_role(text: str) -> "Role":
    role = _role(text)
    if role is None:
        raise typer.BadParameter(f"{text!r}: it should be admin, member or readonly", param_hint="--role")
    return role


def _role(text: str) -> "Role | None":
    from falcon_chat import Role

    roles: tuple[Role, ...] = get_args(Role)
    return next((role for role in roles if role == text), None)
