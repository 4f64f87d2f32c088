"""Accounts and their tokens: for admins."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from falcon.cli.asking import PersonArgument, asking
from falcon.cli.calling import KeyOption, find_running, read_settings
from falcon.cli.display import local_minute
from falcon.cli.faults import Fault
from falcon.cli.tables import Column, JsonOption, print_json, print_table

if TYPE_CHECKING:
    from falcon_chat import Account, FalconClient


@asking(admin=True)
async def add(
    falcon: "FalconClient",
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name that others see.")],
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an account. Prints its id and its first token, which is shown only once.

    It warns if another account has the name: commands then need the id.

    \b
    Examples:
      falcon account add "Alice"
      read -r ID TOKEN < <(falcon account add "Build bot")
    """
    from falcon.cli.naming import all_accounts
    from falcon_chat import Problem, Unreachable

    added = await falcon.create_account(name, key=key)
    if as_json:
        print_json([added])
    else:
        typer.echo(f"{added.account_id} {added.token}")
    try:
        others = [each for each in await all_accounts(falcon) if each.account_id != added.account_id]
    except (Problem, Unreachable):  # the account was created, and its token is printed
        return
    namesakes = [str(each.account_id) for each in others if each.name.casefold() == added.name.casefold()]
    if namesakes:
        typer.echo(f"Warning: {', '.join(namesakes)} is called {added.name!r}, too: use ids.", err=True)


def _print_accounts(accounts: "list[Account]") -> None:
    columns = (Column("Account", "right"), Column("Name", width_max=40), Column("Admin"), Column("Created"))
    print_table(
        columns,
        [
            (str(account.account_id), account.name, "yes" if account.is_admin else "", local_minute(account.created_at))
            for account in accounts
        ],
    )


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
        columns = (Column("Token", "right"), Column("Created"))
        print_table(columns, [(str(entry.token_id), local_minute(entry.created_at)) for entry in tokens])
        typer.echo("Nothing is revoked: name one of these, or add --all.", err=True)
        raise typer.Exit(2)
    ids = [each.token_id for each in tokens] if token_id is None else [token_id]
    for each in ids:
        await falcon.revoke_token(account, each)
    typer.echo(f"Revoked: {', '.join(map(str, ids)) or 'none; there were no tokens'}")
