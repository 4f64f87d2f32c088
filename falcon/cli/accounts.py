"""Accounts and their tokens: for admins."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from falcon.cli.calling import DEFAULT_DATA_DIR, AdminTokenOption, Caller, DataDirOption, UrlOption, find_running
from falcon.cli.display import local_time, visible
from falcon.cli.faults import Fault

if TYPE_CHECKING:
    from falcon.client import Account, FalconClient

_PAGE = 200

AccountArgument: TypeAlias = Annotated[
    int, typer.Argument(metavar="ID", min=1, help="Id of the account, see `falcon account list`.")
]


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that others see.")],
    url: UrlOption = None,
    token: AdminTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Make an account. Prints its id and its first token, which is shown this once.

    \b
    Examples:
      falcon account add "Alice"
      read -r ID TOKEN < <(falcon account add "Build bot")
    """
    account = Caller(ctx, url, token, data_dir, admin=True).run(lambda falcon: falcon.create_account(name))
    typer.echo(f"{account.account_id} {account.token}")


def list_all(
    ctx: typer.Context,
    url: UrlOption = None,
    token: AdminTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List the accounts.

    \b
    Example:
      falcon account list
    """
    accounts = Caller(ctx, url, token, data_dir, admin=True).run(_accounts)
    _print_table(
        ("Account", "Name", "Admin", "Made"),
        [
            (str(account.account_id), account.name, "yes" if account.is_admin else "", local_time(account.created_at))
            for account in accounts
        ],
    )


def new_token(
    ctx: typer.Context,
    account_id: AccountArgument,
    url: UrlOption = None,
    token: AdminTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Make another token for an account. Prints it; it is shown this once.

    The tokens that there are stay valid; `falcon account revoke` ends them.

    Where Falcon's own files are, no admin token is needed: on a data directory on which no `falcon up` runs, and where
    FALCON_KAFKA and the secrets of a cluster are set. That is the way back when the admin's token is lost.

    \b
    Examples:
      falcon account token 130
      export FALCON_TOKEN="$(falcon account token 130)"
    """
    made_here = None if url or token else _token_made_here(data_dir, account_id)
    if made_here is not None:
        typer.echo(made_here)
        return
    made = Caller(ctx, url, token, data_dir, admin=True).run(lambda falcon: falcon.create_token(account_id))
    typer.echo(made.token)


def revoke(
    ctx: typer.Context,
    account_id: AccountArgument,
    token_id: Annotated[
        int | None, typer.Argument(metavar="[TOKEN_ID]", min=1, help="The token that ends.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All tokens of the account.")] = False,
    url: UrlOption = None,
    token: AdminTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """End a token of an account, or all of them.

    Without a TOKEN_ID and without --all it lists the account's tokens and ends none.

    \b
    Examples:
      falcon account revoke 130
      falcon account revoke 130 2
      falcon account revoke 130 --all
    """
    if token_id is not None and every:
        raise typer.BadParameter("give either a TOKEN_ID or --all")
    caller = Caller(ctx, url, token, data_dir, admin=True)
    if token_id is None and not every:
        tokens = caller.run(lambda falcon: falcon.tokens(account_id))
        _print_table(("Token", "Made"), [(str(entry.token_id), local_time(entry.created_at)) for entry in tokens])
        typer.echo("Nothing is revoked: name one of these, or say --all.", err=True)
        raise typer.Exit(2)
    revoked = caller.run(lambda falcon: _revoke(falcon, account_id, token_id))
    typer.echo(f"Revoked: {', '.join(map(str, revoked)) or 'none; there were no tokens'}")


def _token_made_here(data_dir: Path, account_id: int) -> str | None:
    """Having the files of a Falcon is leave enough. None where one runs on them, which is to be asked. Raises Fault."""
    from falcon.settings import Settings, WrongSettings

    try:
        settings = replace(Settings.from_env(), data_dir=data_dir)
    except WrongSettings as fault:
        raise Fault("; ".join(str(fault).splitlines())) from fault
    running = find_running(data_dir)
    if not settings.kafka and (not settings.database.exists() or (running is not None and running.alive)):
        return None
    from falcon.adapters.sqlite.database import WrongDatabase
    from falcon.bootstrap import NotIssued, cluster, embedded
    from falcon.journal.ports import JournalUnavailable

    try:
        if settings.kafka:
            return asyncio.run(cluster.issue_token(settings, account_id))
        return asyncio.run(embedded.issue_token(settings, account_id))
    except (NotIssued, embedded.InUse, WrongDatabase, JournalUnavailable, *cluster.REFUSALS) as fault:
        raise Fault(str(fault)) from fault


async def _accounts(falcon: "FalconClient") -> "list[Account]":
    found: list[Account] = []
    cursor: str | None = None
    while True:
        page = await falcon.accounts(limit=_PAGE, cursor=cursor)
        found.extend(page.accounts)
        cursor = page.next_cursor
        if cursor is None:
            return found


async def _revoke(falcon: "FalconClient", account_id: int, token_id: int | None) -> list[int]:
    """``token_id`` None: all."""
    ids = [token_id] if token_id is not None else [token.token_id for token in await falcon.tokens(account_id)]
    for each in ids:
        await falcon.revoke_token(account_id, each)
    return ids


def _print_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    Console().print(table)
