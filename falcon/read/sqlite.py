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

from falcon.read.store import ReadStoreUnavailable
from falcon.telemetry import metrics

P = ParamSpec("P")
T = TypeVar("T")


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
