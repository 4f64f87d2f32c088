"""What the read models of SQLite share.

Queries run on the caller's thread: a page of a warm database takes some tens of microseconds, less than handing it to
another thread and back. docs/decisions says when that is right.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol


class SqliteModel(NamedTuple):
    """How a read model lies in SQLite.

    ``tables``: how each is made. "{}" is empty for the live ones and a suffix for those of a rebuild; an index keeps
    its name when its table is renamed, so it has a "{unique}" one. ``statements``: of each kind of write; ?1, ?2 ...
    are its fields in their order, "{}" is the suffix. ``folded``: writes that come for each message, with what gives
    their key: only the last of a batch is made.
    """

    tables: Mapping[str, str]
    statements: Mapping[type[Any], tuple[str, ...]]
    folded: Mapping[type[Any], Callable[[Any], tuple[int, ...]]] = MappingProxyType({})


class SqliteQueryContext(Protocol):
    """The tables as they are for one query."""

    @property
    def execute(self) -> Callable[..., Any]:
        """As a connection's."""

    def generation(self, projection: str) -> int:
        """How often its tables were made again."""

    def check_shown(self, read_models: Sequence[str]) -> None:
        """Raises BeingFilled."""
