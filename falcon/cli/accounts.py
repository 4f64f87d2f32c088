"""Accounts and their tokens: for admins."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from falcon.cli.calling import (
    DEFAULT_DATA_DIR,
    AdminTokenOption,
    Caller,
    DataDirOption,
    KeyOption,
    PersonArgument,
    UrlOption,
    find_running,
)
from falcon.cli.display import local_minute
from falcon.cli.faults import Fault
from falcon.cli.tables import Column, JsonOption, print_json, print_table

if TYPE_CHECKING:
    from falcon_chat import Account, CreatedAccount, FalconClient, IssuedToken


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that others see.")],
    key: KeyOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: AdminTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Create an account. Prints its id and its first token, which is shown only once.

    It warns if another account has the name: commands then need the id.

    \b
    Examples:
      falcon account add "Alice"
      read -r ID TOKEN < <(falcon account add "Build bot")
    """
    caller = Caller(ctx, url, token, data_dir, admin=True)
    account = caller.run(lambda falcon: falcon.create_account(name, key=key))
    if as_json:
        print_json([account])
    else:
        typer.echo(f"{account.account_id} {account.token}")
    caller.run(lambda falcon: _warn_of_namesakes(falcon, account))


def list_all(
    ctx: typer.Context,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: AdminTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """List the accounts.

    \b
    Examples:
      falcon account list
      falcon account list --json | jq -r .name
    """

    async def listed(falcon: "FalconClient") -> "list[Account]":
        from falcon.cli.listing import all_accounts

        return await all_accounts(falcon)

    accounts = Caller(ctx, url, token, data_dir, admin=True).run(listed)
    if as_json:
        print_json(accounts)
        return
    columns = (Column("Account", "right"), Column("Name", width_max=40), Column("Admin"), Column("Created"))
    print_table(
        columns,
        [
            (str(account.account_id), account.name, "yes" if account.is_admin else "", local_minute(account.created_at))
            for account in accounts
        ],
    )


def new_token(
    ctx: typer.Context,
    account: PersonArgument,
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: AdminTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Create another token for an account. Prints it; it is shown only once.

    Existing tokens stay valid; `falcon account revoke` revokes them.

    If the admin's token is lost, create another one from Falcon's own files, with the account's id: stop `falcon up` and run this command on its data directory, or run it where FALCON_KAFKA and the secrets of the cluster are set.

    \b
    Examples:
      falcon account token Ben
      falcon account token 130 --json
      export FALCON_TOKEN="$(falcon account token 130)"
    """  # noqa: E501
    made_here = None if url or token else _token_made_here(data_dir, account)
    if made_here is not None:
        _print_token(int(account), None, made_here, as_json)
        return
    caller = Caller(ctx, url, token, data_dir, admin=True)

    async def made(falcon: "FalconClient") -> "tuple[int, IssuedToken]":
        account_id = await _account_id(caller, falcon, account)
        return account_id, await falcon.create_token(account_id)

    account_id, created = caller.run(made)
    _print_token(account_id, created.token_id, created.token, as_json)


def revoke(
    ctx: typer.Context,
    account: PersonArgument,
    token_id: Annotated[
        int | None, typer.Argument(metavar="TOKEN_ID", min=1, help="The token to revoke.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All tokens of the account.")] = False,
    url: UrlOption = None,
    token: AdminTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
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
    caller = Caller(ctx, url, token, data_dir, admin=True)
    account_id = caller.run(lambda falcon: _account_id(caller, falcon, account))
    if token_id is None and not every:
        tokens = caller.run(lambda falcon: falcon.tokens(account_id))
        columns = (Column("Token", "right"), Column("Created"))
        print_table(columns, [(str(entry.token_id), local_minute(entry.created_at)) for entry in tokens])
        typer.echo("Nothing is revoked: name one of these, or add --all.", err=True)
        raise typer.Exit(2)
    revoked = caller.run(lambda falcon: _revoke(falcon, account_id, token_id))
    typer.echo(f"Revoked: {', '.join(map(str, revoked)) or 'none; there were no tokens'}")


async def _warn_of_namesakes(falcon: "FalconClient", added: "CreatedAccount") -> None:
    from falcon.cli.listing import all_accounts
    from falcon_chat import Problem, Unreachable

    try:
        accounts = await all_accounts(falcon)
    except (Problem, Unreachable):  # the account was created, and its token is printed
        return
    name = added.name.casefold()
    others = [
        each.account_id for each in accounts if each.name.casefold() == name and each.account_id != added.account_id
    ]
    if others:
        typer.echo(f"Warning: {', '.join(map(str, others))} is called {added.name!r}, too: use ids.", err=True)


async def _account_id(caller: Caller, falcon: "FalconClient", account: str) -> int:
    from falcon.cli.naming import account_ids_of

    (account_id,) = await account_ids_of(caller, falcon, [account])
    return account_id


def _print_token(account_id: int, token_id: int | None, token: str, as_json: bool) -> None:
    """``token_id``: None if the token was made from Falcon's files, which do not say it."""
    if as_json:
        print_json([{"account_id": account_id, "token_id": token_id, "token": token}])
    else:
        typer.echo(token)


def _token_made_here(data_dir: Path, account: str) -> str | None:
    """A token from Falcon's own files. None if a Falcon runs on them: then ask it. Raises Fault."""
    from falcon.run.settings import Settings, WrongSettings

    try:
        settings = replace(Settings.from_env(), data_dir=data_dir)
    except WrongSettings as fault:
        raise Fault("; ".join(str(fault).splitlines())) from fault
    running = find_running(data_dir)
    if not settings.kafka and (not settings.database.exists() or (running is not None and running.alive)):
        return None
    from falcon.cli.naming import is_id

    if not is_id(account):
        raise Fault(f"no Falcon runs that could look up {account!r}: give the account's id")
    account_id = int(account)
    from falcon.run.bootstrap import NotIssued, cluster, embedded

    try:
        if settings.kafka:
            return asyncio.run(cluster.issue_token(settings, account_id))
        return asyncio.run(embedded.issue_token(settings, account_id))
    except (NotIssued, embedded.InUse, *embedded.REFUSALS, *cluster.REFUSALS) as fault:
        raise Fault(str(fault)) from fault


async def _revoke(falcon: "FalconClient", account_id: int, token_id: int | None) -> list[int]:
    """``token_id``: None for all tokens."""
    ids = [token_id] if token_id is not None else [token.token_id for token in await falcon.tokens(account_id)]
    for each in ids:
        await falcon.revoke_token(account_id, each)
    return ids
