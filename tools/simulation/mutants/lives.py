"""Mistakes that show between two lives of a machine, to people who count along."""

from typing import Any, Final

from falcon.adapters.sqlite.tail import SqliteStarts
from falcon.http.command_client import CommandClient
from falcon.http.edge import Edge
from tools.simulation.mutants.mutant import mutant
from tools.simulation.schedules import LIVES

_dispatch = CommandClient.dispatch


async def _refuses_first(
    self: CommandClient, request: Any, command: Any, size: int | None = None, refusal: Any = None
) -> Any:
    if refusal is not None:
        raise refusal
    return await _dispatch(self, request, command, size)


MUTANTS: Final = (
    mutant("a token does not say in which history it was given", SqliteStarts, "number", lambda *_: 7, LIVES),
    mutant("an ETag does not say in which history it was given", Edge, "history_of", lambda *_: 7, LIVES),
    mutant("a limit refuses before the owner has looked for the key", CommandClient, "dispatch", _refuses_first, LIVES),
)
