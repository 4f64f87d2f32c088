"""What the SQLite read models share.

Queries run on the caller's thread: a page of a warm database takes some tens of microseconds, less than handing it to
another thread and back. docs/decisions says when that is right.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import msgspec


class SqliteModel(NamedTuple):
    """The layout of a read model in SQLite.

    ``tables``: the statement that makes each. "{}" is empty for live tables and a suffix for those of a rebuild. An
    index keeps its name when its table is renamed, so its name contains "{unique}". ``statements``: for each kind of
    write; ?1, ?2 ... are its fields in order, "{}" is the suffix. ``folded``: writes that come with each message, with
    the function that gives their key: only the last of a batch is executed.
    """

    tables: Mapping[str, str]
    statements: Mapping[type[Any], tuple[str, ...]]
    folded: Mapping[type[Any], Callable[[Any], object]] = MappingProxyType({})


class SqliteQueryContext(Protocol):
    """The tables during one query."""

    @property
    def execute(self) -> Callable[..., Any]:
        """``execute`` of the connection."""

    def generation(self, projection: str) -> int:
        """How often the projection's tables were rebuilt."""

    def check_shown(self, read_models: Sequence[str]) -> None:
        """Raises BeingFilled."""


def json_of(values: Iterable[Any]) -> str:
    """An argument for ``json_each``."""
    return msgspec.json.encode(list(values)).decode()
