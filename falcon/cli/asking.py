"""Commands that ask the server. Each is an async function; the options for the server and the output are made here.

A new command is a function with a docstring, in a module of commands, and its name in `falcon/cli/__init__.py`.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from falcon.cli.calling import (
    DEFAULT_DATA_DIR,
    AdminTokenOption,
    Caller,
    DataDirOption,
    TokenOption,
    UrlOption,
)
from falcon.cli.tables import JsonOption, print_json

if TYPE_CHECKING:
    from falcon_chat import FalconClient


@dataclass(frozen=True)
class Named:
    """``typed``: how the command line gives the argument. The method ``by`` of Naming makes ids of it for the
    function."""

    typed: Any
    by: str


RoomArgument: TypeAlias = Annotated[
    int,
    typer.Argument(
        metavar="ROOM",
        help="Id of the room, or its name if only one of your rooms has it.",
    ),
    Named(str, "room"),
]
PersonArgument: TypeAlias = Annotated[
    int,
    typer.Argument(metavar="ACCOUNT", help="Handle or id of the account, or its name if only one account has it."),
    Named(str, "account"),
]
_people = typer.Argument(metavar="ACCOUNT", help="Handles or ids of accounts, or names that only one account has.")
PeopleArgument: TypeAlias = Annotated[list[int], _people, Named(list[str], "accounts")]
MembersArgument: TypeAlias = Annotated[list[int], _people, Named(list[str], "members")]
SeqArgument: TypeAlias = Annotated[int, typer.Argument(metavar="SEQ", min=1, help="The message's number in the room.")]

_ASKED: tuple[tuple[str, Any, Any], ...] = (("url", UrlOption, None), ("data_dir", DataDirOption, DEFAULT_DATA_DIR))


def asking(
    show: Callable[[Any], object] | None = None,
    *,
    admin: bool = False,
    here: Callable[[typer.Context, Path], Any] | None = None,
) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., None]]:
    """Make a command of a function of ``falcon``, the client, and of the command's own arguments; ``ctx`` if it likes.

    ``show``: prints the answer, or returns the text to print; the command has ``--json``, too. Without it the function
    prints. ``admin``: it takes an admin. ``here``: an answer without a server; None to ask the server.
    """

    def command_of(work: Callable[..., Awaitable[Any]]) -> Callable[..., None]:
        own = [each for each in inspect.signature(work).parameters.values() if each.name not in ("falcon", "ctx")]
        takes_ctx = len(inspect.signature(work).parameters) > len(own) + 1
        named = {
            each.name: how
            for each in own
            for how in getattr(each.annotation, "__metadata__", ())
            if isinstance(how, Named)
        }

        def command(ctx: typer.Context, **given: Any) -> None:
            url, data_dir, token = given.pop("url"), given.pop("data_dir"), given.pop("token")
            as_json = given.pop("as_json") if show else False
            caller = Caller(ctx, url, token, data_dir, admin=admin)

            async def ask(falcon: "FalconClient") -> Any:
                from falcon.cli.naming import Naming

                naming = Naming(caller, falcon)
                ids = {name: await getattr(naming, how.by)(given[name]) for name, how in named.items()}
                return await work(falcon, **given | ids, **({"ctx": ctx} if takes_ctx else {}))

            answer = here(ctx, data_dir) if here and not (url or token) else None
            if answer is None:
                answer = caller.run(ask)
            if answer is None or show is None:
                return
            if as_json:
                print_json(answer if isinstance(answer, list) else [answer])
            elif (told := show(answer)) is not None:
                typer.echo(told)

        typed = [each.replace(annotation=_typed(each, named.get(each.name))) for each in own]
        options: list[tuple[str, Any, Any]] = [("as_json", JsonOption, False)] if show else []
        options += [_ASKED[0], ("token", AdminTokenOption if admin else TokenOption, None), _ASKED[1]]
        ctx = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        parameters = [
            ctx,
            *typed,
            *(ctx.replace(name=name, annotation=of, default=default) for name, of, default in options),
        ]
        command.__name__, command.__doc__ = work.__name__, work.__doc__
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return command_of


def _typed(parameter: inspect.Parameter, how: Named | None) -> Any:
    """The annotation for Typer."""
    if how is None:
        return parameter.annotation
    return Annotated[(how.typed, *(each for each in parameter.annotation.__metadata__ if each is not how))]
