"""The command line. A module that takes long to import is imported by the command that needs it."""

from typing import Annotated

import typer

from falcon import __version__
from falcon.cli import accounts, chat, cluster, health, rooms, smoke, top, transfer, upkeep
from falcon.cli.faults import FaultTellingGroup


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"falcon {__version__}")
        raise typer.Exit


def _falcon(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Falcon, a chat messaging backend: run it, chat through it, and operate it.

    Commands talk to the `falcon up` that runs on ./data, as its first account. To talk to another server or as another account, use --url and --token, or FALCON_URL, FALCON_TOKEN and FALCON_ADMIN_TOKEN. Rooms and accounts are named by id or by name. Times are shown in this machine's time zone.

    \b
    To begin:
      falcon up
      falcon account add Ben
      falcon room create "Tea kitchen" --member Ben
      falcon send "Tea kitchen" "Who wants some?"
      falcon tail "Tea kitchen" --follow
      falcon --install-completion

    \b
    Exit codes:
      0    done
      1    refused or failed; standard error says why in one line
      2    wrong arguments
      130  interrupted with Ctrl-C
    """  # noqa: E501


app = typer.Typer(
    cls=FaultTellingGroup,
    callback=_falcon,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    # Show an unexpected fault without the values of variables, which may be tokens.
    pretty_exceptions_enable=False,
)
_CHAT = "Chat"
_MACHINE = "Run Falcon on this machine"
_DATA = "Data"
_CLUSTER = "Run a cluster"

app.command(rich_help_panel=_MACHINE)(upkeep.up)

for command in chat.COMMANDS:
    app.command(rich_help_panel=_CHAT)(command)

_room = typer.Typer(help="Create and change rooms, and manage their members.", no_args_is_help=True)
_room.command("create")(rooms.create)
_room.command("direct")(rooms.direct)
_room.command("members")(rooms.members)
_room.command("add")(rooms.add)
_room.command("remove")(rooms.remove)
_room.command("rename")(rooms.rename)
_room.command("describe")(rooms.describe)
_room.command("delete")(rooms.delete)
app.add_typer(_room, name="room", rich_help_panel=_CHAT)

_account = typer.Typer(help="Create accounts and manage their tokens: for admins.", no_args_is_help=True)
_account.command("add")(accounts.add)
_account.command("list")(accounts.list_all)
_account.command("token")(accounts.new_token)
_account.command("revoke")(accounts.revoke)
app.add_typer(_account, name="account", rich_help_panel=_CHAT)

app.command("export", rich_help_panel=_DATA)(transfer.export_file)
app.command("import", rich_help_panel=_DATA)(transfer.import_file)
app.command(rich_help_panel=_DATA)(upkeep.copy)
app.command(rich_help_panel=_DATA)(upkeep.rebuild)

app.command(rich_help_panel=_MACHINE)(health.health)
app.command(rich_help_panel=_MACHINE)(top.top)
app.command(rich_help_panel=_MACHINE)(upkeep.doctor)
app.command(rich_help_panel=_MACHINE)(smoke.smoke)

app.command(rich_help_panel=_CLUSTER)(cluster.prepare)
app.command(rich_help_panel=_CLUSTER)(cluster.api)
app.command(rich_help_panel=_CLUSTER)(cluster.write)
app.command(rich_help_panel=_CLUSTER)(cluster.project)
app.command(rich_help_panel=_CLUSTER)(cluster.credentials)
app.command(rich_help_panel=_CLUSTER)(cluster.verify)
app.command(rich_help_panel=_CLUSTER)(cluster.skip)
app.command(rich_help_panel=_CLUSTER)(cluster.restored)
