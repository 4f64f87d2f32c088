"""Accounts and their tokens."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import typer

from falcon.cli.asking import Named, PersonArgument, asking
from falcon.cli.calling import KeyOption, find_running, read_settings
from falcon.cli.display import day, local_minute, visible_lines
from falcon.cli.faults import Fault
from falcon.cli.tables import Column, print_table

if TYPE_CHECKING:
    from falcon_chat import Account, CreatedAccount, FalconClient


Role: TypeAlias = Literal["owner", "admin", "member", "guest", "bot"]
_REPEATED_SECONDS: Final = 600.0  # for so long the server executes a command with the same key once
HandleOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--handle", help="Lower-case letters, digits and . _ -, at most 32.", show_default=False),
]
EmailOption: TypeAlias = Annotated[
    str | None, typer.Option("--email", help="The address by which they sign in.", show_default=False)
]
TitleOption: TypeAlias = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", help="What they do, in a few words.", show_default=False)
]
GivenRole: TypeAlias = Annotated[Role, typer.Argument(metavar="ROLE", help="owner, admin, member or guest.")]
DeactivatedArgument: TypeAlias = Annotated[
    int,
    typer.Argument(metavar="ACCOUNT", help="Handle, id or name of an account that was deactivated."),
    Named(str, "deactivated"),
]


def _given(**changes: str | None) -> dict[str, str]:
    return {field: value for field, value in changes.items() if value is not None}


@asking(lambda added: f"{added.account_id} {added.token}", admin=True)
async def add(
    falcon: "FalconClient",
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that others see.")],
    role: Annotated[
        Role, typer.Option("--role", metavar="ROLE", help="owner, admin, member, guest or bot.")
    ] = "member",
    handle: HandleOption = None,
    email: EmailOption = None,
    title: TitleOption = None,
    same_name: Annotated[bool, typer.Option("--same-name", help="Even if another account has the name.")] = False,
    key: KeyOption = None,
) -> "CreatedAccount":
    """Create an account. Prints its id and its first token, which is shown only once.

    If an active account has the name, it creates none unless you add --same-name.

    \b
    Examples:
      falcon account add "Alice" --handle alice --email alice@example.org
      read -r ID TOKEN < <(falcon account add "Build bot" --role bot)
    """
    from falcon.cli.naming import namesakes

    others = [] if same_name else await namesakes(falcon, name)
    if key is not None:  # an earlier attempt with the key may have created the account
        now = datetime.now(UTC)
        others = [each for each in others if (now - each.created_at).total_seconds() > _REPEATED_SECONDS]
    if others:
        ids = ", ".join(str(each.account_id) for each in others)
        raise Fault(f"an account is called {name!r} already ({ids}): add --same-name to create another one")
    return await falcon.create_account(name, key=key, role=role, **_given(handle=handle, email=email, title=title))


def _print_accounts(accounts: "list[Account]") -> None:
    columns = (
        Column("Account", "right"),
        Column("Name", width_max=40),
        Column("Handle"),
        Column("Role"),
        Column("Created"),
        Column("State"),
    )
    rows = [
        (*_person(each), local_minute(each.created_at), "deactivated" if each.deactivated else "") for each in accounts
    ]
    print_table(columns, rows)


def _person(account: "Account") -> tuple[str, str, str, str]:
    handle = f"@{account.handle}" if account.handle else ""
    return str(account.account_id), account.name, handle, account.role


@asking(_print_accounts, admin=True)
async def list_all(falcon: "FalconClient") -> "list[Account]":
    """List the accounts.

    \b
    Examples:
      falcon account list
      falcon account list --json | jq -r .name
    """
    from falcon.cli.naming import all_accounts

    return await all_accounts(falcon)


def _print_people(accounts: "list[Account]") -> None:
    columns = (
        Column("Account", "right"),
        Column("Name", width_max=40),
        Column("Handle"),
        Column("Role"),
        Column("Title", rest=True),
    )
    print_table(columns, [(*_person(each), each.title) for each in accounts])


@asking(_print_people)
async def find(
    falcon: "FalconClient",
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Beginnings of words of the name or handle.")],
) -> "list[Account]":
    """Find people by the beginnings of words of their names and handles, at most 20.

    \b
    Examples:
      falcon account find "al smi"
      falcon account find @alice --json | jq .account_id
    """
    return list(await falcon.search_accounts(text))


def _print_profile(account: "Account") -> None:
    shown: dict[str, Any] = {
        "Account": account.account_id,
        "Name": account.name,
        "Handle": account.handle and f"@{account.handle}",
        "E-mail": account.email or None,
        "Role": account.role,
        "Title": account.title,
        "About": account.about,
        "Created": local_minute(account.created_at),
        "Deactivated": "yes" if account.deactivated else None,
    }
    for field, value in shown.items():
        if value:
            typer.echo(f"{field + ':':<13}{visible_lines(str(value), indent=' ' * 13)}")


@asking(_print_profile)
async def show(falcon: "FalconClient", account: PersonArgument) -> "Account":
    """Show an account. Only admins, and the account itself, see its e-mail.

    \b
    Examples:
      falcon account show @alice
      falcon account show 130 --json
    """
    return await falcon.account(account)


async def _change(falcon: "FalconClient", account: int, **changes: Any) -> "Account":
    """The account changes itself, or an admin changes it."""
    if (await falcon.me()).account_id == account:
        return await falcon.change_me(**changes)
    return await falcon.change_account(account, **changes)


@asking(lambda account: f"Account {account.account_id} is called {account.name!r} now.", admin=True)
async def rename(
    falcon: "FalconClient",
    account: PersonArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that others see from now on.")],
) -> "Account":
    """Rename an account: an admin any, with another token your own.

    \b
    Example:
      falcon account rename @alice "Alice Smith"
    """
    return await _change(falcon, account, name=name)


@asking(_print_profile, admin=True)
async def change(
    falcon: "FalconClient",
    account: PersonArgument,
    handle: HandleOption = None,
    email: EmailOption = None,
    title: TitleOption = None,
    about: Annotated[
        str | None, typer.Option("--about", metavar="TEXT", help="More about them.", show_default=False)
    ] = None,
) -> "Account":
    """Set a handle, e-mail, title or text about an account; "" takes it away.

    An admin sets those of any account, with another token you set your own, but for the e-mail.

    \b
    Examples:
      falcon account set Alice --handle alice --email alice@example.org
      falcon account set @alice --title "Tea taster" --about ""
    """
    texts = {field: value or None for field, value in _given(handle=handle, email=email).items()}
    changes = texts | _given(title=title, about=about)
    if not changes:
        raise typer.BadParameter("give at least one of --handle, --email, --title and --about")
    return await _change(falcon, account, **changes)


@asking(
    lambda account: f"The role of account {account.account_id}, {account.name!r}, is {account.role} now.", admin=True
)
async def role(falcon: "FalconClient", account: PersonArgument, role: GivenRole) -> "Account":
    """Give an account another role, at most your own.

    \b
    Example:
      falcon account role @alice admin
    """
    return await falcon.change_account(account, role=role)


@asking(lambda account: f"Account {account.account_id}, {account.name!r}, is deactivated.", admin=True)
async def deactivate(
    falcon: "FalconClient",
    account: PersonArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> "Account":
    """Deactivate the account of a person who leaves.

    All its tokens and sessions end within two seconds. Its name, handle, messages and rooms stay.

    \b
    Examples:
      falcon account deactivate @alice
      falcon account deactivate 130 --yes
    """
    if not yes:
        found = await falcon.account(account)
        typer.confirm(f"Deactivate account {account}, {found.name!r}, and end its tokens?", abort=True, err=True)
    return await falcon.change_account(account, deactivated=True)


@asking(lambda account: f"Account {account.account_id}, {account.name!r}, is active.", admin=True)
async def reactivate(falcon: "FalconClient", account: DeactivatedArgument) -> "Account":
    """Activate an account again. It has no token: see `falcon account token` and `falcon sign-in`.

    \b
    Example:
      falcon account reactivate @alice
    """
    return await falcon.change_account(account, deactivated=False)


def _made_here(ctx: typer.Context, data_dir: Path) -> dict[str, Any] | None:
    """A token from Falcon's own files. None if a Falcon runs on them: then ask it. Raises Fault."""
    account: str = ctx.params["account"]
    settings = read_settings(data_dir)
    running = find_running(data_dir)
    if not settings.kafka and (not settings.database.exists() or (running is not None and running.alive)):
        return None
    from falcon.cli.naming import is_id

    if not is_id(account):
        raise Fault(f"no Falcon runs that could look up {account!r}: give the account's id")
    from falcon.run.bootstrap import NotIssued, cluster, embedded

    try:
        issued = (cluster if settings.kafka else embedded).issue_token(settings, int(account))
        return {"account_id": int(account), "token_id": None, "token": asyncio.run(issued)}  # the files name no id
    except (NotIssued, embedded.InUse, *embedded.REFUSALS, *cluster.REFUSALS) as fault:
        raise Fault(str(fault)) from fault


@asking(lambda made: made["token"], admin=True, here=_made_here)
async def new_token(falcon: "FalconClient", account: PersonArgument) -> dict[str, Any]:
    """Create another token for an account. Prints it; it is shown only once.

    Existing tokens stay valid; `falcon account revoke` revokes them.

    If the admin's token is lost, create another one from Falcon's own files, with the account's id: stop `falcon up` and run this command on its data directory, or run it where FALCON_KAFKA and the secrets of the cluster are set.

    \b
    Examples:
      falcon account token Ben
      falcon account token 130 --json
      export FALCON_TOKEN="$(falcon account token 130)"
    """  # noqa: E501
    made = await falcon.create_token(account)
    return {"account_id": account, "token_id": made.token_id, "token": made.token}


@asking(admin=True)
async def revoke(
    falcon: "FalconClient",
    account: PersonArgument,
    token_id: Annotated[
        int | None, typer.Argument(metavar="TOKEN_ID", min=1, help="The token to revoke.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All tokens of the account.")] = False,
) -> None:
    """Revoke a token of an account, or all of them.

    Without a TOKEN_ID and without --all it lists the account's tokens and revokes none.

    \b
    Examples:
      falcon account revoke 130
      falcon account revoke 130 2
      falcon account revoke 130 --all
    """
    if token_id is not None and every:
        raise typer.BadParameter("give either a TOKEN_ID or --all")
    tokens = await falcon.tokens(account) if token_id is None else ()
    if token_id is None and not every:
        columns = (Column("Token", "right"), Column("Created"), Column("Last used"), Column("Name", width_max=40))
        rows = [
            (
                str(entry.token_id),
                local_minute(entry.created_at),
                day(entry.last_used_at) if entry.last_used_at else "",
                entry.name or ("(session)" if entry.kind == "session" else ""),
            )
            for entry in tokens
        ]
        print_table(columns, rows)
        typer.echo("Nothing is revoked: name one of these, or add --all.", err=True)
        raise typer.Exit(2)
    ids = [each.token_id for each in tokens] if token_id is None else [token_id]
    for each in ids:
        await falcon.revoke_token(account, each)
    typer.echo(f"Revoked: {', '.join(map(str, ids)) or 'none; there were no tokens'}")
