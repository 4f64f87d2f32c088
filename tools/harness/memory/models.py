"""The base of the in-memory read models."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

from falcon.read.write import Write

P = ParamSpec("P")
T = TypeVar("T")


class ModelTables(Protocol):
    """The tables of one read model."""

    def apply(self, write: Write) -> None: ...


MemoryModel: TypeAlias = type[ModelTables]


class MemoryQueryContext(Protocol):
    """The tables during one query."""

    def tables(self, projection: str) -> Any:
        """The tables of a read model. Raises BeingFilled."""

    def generation(self, projection: str) -> int:
        """How often the tables were rebuilt."""


def query(
    ask: Callable[Concatenate[MemoryQueryContext, P], T],
) -> Callable[Concatenate[MemoryQueryContext, P], Coroutine[Any, Any, T]]:
    """Makes a method of the read store, which runs a query."""

    @functools.wraps(ask)
    async def asked(self: MemoryQueryContext, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return ask(self, *args, **kwargs)

    return asked
