"""The layout and the context of queries, which the read models in SQLite share.

Queries run on the caller's thread: a page of a warm database takes some tens of microseconds, less than handing it to
another thread and back. docs/decisions says when that is right.
"""

import functools
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

import msgspec

from falcon.journal.envelope import Recorded
from falcon.read.store import ReadStoreUnavailable
from falcon.read.write import Write
from falcon.telemetry import metrics

P = ParamSpec("P")
T = TypeVar("T")


class SqliteModel(NamedTuple):
    """The layout of a read model in SQLite.

    ``tables``: the statement that makes each. "{}" is empty for live tables and a suffix for those of a rebuild. An
    index keeps its name when its table is renamed, so its name contains "{unique}". ``identities``: for each table, the
    expression of the room or account whose events write a row; a data folder of several files has the row in the file
    of that one's partition. ``statements``: for each kind of write; ?1, ?2 ... are its fields in order, "{}" is the
    suffix. ``folded``: writes that come with each message, with the function that gives their key: only the last of a
    batch is executed. ``project``: the projection, if rows refer to events of the log in the same file; without it that
    of the read model.
    """

    tables: Mapping[str, str]
    identities: Mapping[str, str]
    statements: Mapping[type[Any], tuple[str, ...]]
    folded: Mapping[type[Any], Callable[[Any], object]] = MappingProxyType({})
    project: Callable[[Recorded], tuple[Write, ...]] | None = None


class SqliteQueryContext(Protocol):
    """The tables during one query."""

    @property
    def execute(self) -> Callable[..., Any]:
        """``execute`` of the connection."""

    @property
    def faults(self) -> type[Exception]:
        """The errors that ``execute`` raises when the file cannot be read."""

    @property
    def shows_all(self) -> bool:
        """True once no read model is being filled."""

    def generation(self, projection: str) -> int:
        """How often the projection's tables were rebuilt."""

    def check_shown(self, read_models: Sequence[str]) -> None:
        """Raises BeingFilled."""


class Files(Protocol):
    """The tables of a data folder of several files. Each file has those of its partitions."""

    @property
    def files(self) -> Sequence[SqliteQueryContext]: ...

    def file_of(self, identity: int) -> SqliteQueryContext:
        """The file that has the rows of a room or account."""


def json_of(values: Iterable[Any]) -> str:
    """An argument for ``json_each``."""
    return msgspec.json.encode(list(values)).decode()


def query(
    ask: Callable[Concatenate[SqliteQueryContext, P], T], *read_models: str
) -> Callable[Concatenate[SqliteQueryContext, P], Coroutine[Any, Any, T]]:
    """Makes a method of the read store, which runs a query of these read models."""
    seconds = metrics.read_seconds.labels(ask.__name__)
    failures = metrics.read_failures.labels(ask.__name__)

    @functools.wraps(ask)
    async def asked(self: SqliteQueryContext, /, *args: P.args, **kwargs: P.kwargs) -> T:
        began = time.monotonic()
        try:
            if not self.shows_all:
                self.check_shown(read_models)
            found = ask(self, *args, **kwargs)
            seconds.observe(time.monotonic() - began)
            return found
        except self.faults as error:
            failures.inc()
            raise ReadStoreUnavailable(f"cannot read the tables: {error}") from error

    return asked


def in_file_of(
    ask: Callable[Concatenate[SqliteQueryContext, P], Coroutine[Any, Any, T]], argument: int = 0
) -> Callable[Concatenate[Files, P], Coroutine[Any, Any, T]]:
    """Makes a method of the read store of several files: one of them answers. ``argument``: the number of the argument
    that is the room or account; callers give it by position."""

    @functools.wraps(ask)
    def asked(self: Files, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        identity: Any = args[argument]
        return ask(self.file_of(identity), *args, **kwargs)

    return asked


def by_file(self: Files, identities: Iterable[int]) -> dict[SqliteQueryContext, list[int]]:
    """The rooms or accounts that each file has, for those files that have some."""
    found: dict[SqliteQueryContext, list[int]] = {}
    for identity in identities:
        found.setdefault(self.file_of(identity), []).append(identity)
    return found
