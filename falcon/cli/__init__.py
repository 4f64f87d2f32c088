"""The command line. A module that takes long to import is imported by the command that needs it."""

from collections.abc import Callable
from typing import Annotated

import typer

from falcon import __version__
from falcon.cli import accounts, chat, cluster, health, rooms, signing, smoke, top, transfer, upkeep
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

    Commands talk to the `falcon up` that runs on ./data, as its first account. To talk to another server or as another account, use --url and --token, or FALCON_URL, FALCON_TOKEN and FALCON_ADMIN_TOKEN. Rooms and accounts are named by id or by name, accounts also by handle. Times are shown in this machine's time zone.

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

app.command("sign-in", rich_help_panel=_CHAT)(signing.sign_in)
app.command(rich_help_panel=_CHAT)(signing.invite)

_GROUPS = {
    "room": (
        "Create and change rooms, and manage their members.",
        {
            "create": rooms.create,
            "direct": rooms.direct,
            "members": rooms.members,
            "add": rooms.add,
            "remove": rooms.remove,
            "rename": rooms.rename,
            "describe": rooms.describe,
            "delete": rooms.delete,
        },
    ),
    "account": (
        "Find people; create and change accounts, and manage their tokens.",
        {
            "find": accounts.find,
            "show": accounts.show,
            "add": accounts.add,
            "list": accounts.list_all,
            "rename": accounts.rename,
            "set": accounts.change,
            "role": accounts.role,
            "deactivate": accounts.deactivate,
            "reactivate": accounts.reactivate,
            "token": accounts.new_token,
            "revoke": accounts.revoke,
        },
    ),
    "session": (
        "See where you are signed in, and end it.",
        {"list": signing.sessions, "end": signing.end_session},
    ),
}
for _name, (_help, _commands) in _GROUPS.items():
    _group = typer.Typer(help=_help, no_args_is_help=True)
    for _verb, _command in _commands.items():
        _group.command(_verb)(_command)
    app.add_typer(_group, name=_name, rich_help_panel=_CHAT)

_OTHERS: tuple[tuple[str, tuple[Callable[..., None], ...]], ...] = (
    (_DATA, (transfer.export_file, transfer.import_file, upkeep.copy, upkeep.rebuild)),
    (_MACHINE, (health.health, top.top, upkeep.doctor, smoke.smoke)),
    (_CLUSTER, (cluster.prepare, cluster.api, cluster.write, cluster.project, cluster.forward)),
    (_CLUSTER, (cluster.credentials, cluster.verify, cluster.skip, cluster.restored)),
)
for _panel, _of_panel in _OTHERS:
    for _each in _of_panel:
        app.command(_each.__name__.removesuffix("_file"), rich_help_panel=_panel)(_each)
