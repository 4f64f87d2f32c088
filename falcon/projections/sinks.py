"""Sinks: consumers of the log that act outside of the read tables. Reads do not wait for them.

The same consumer runs them that runs projections, with ``read.store.ConsumedTables`` of their own.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from falcon.features.catalogue import Event
from falcon.features.search import index
from falcon.read.catalogue import READ_MODELS, Project, ReadModel


class LogSink(NamedTuple):
    """Fields as of a ReadModel."""

    project: Project
    loss: Callable[[Event], str | None]
    passed_over: Project


SINKS: Final[dict[str, LogSink]] = {"search": LogSink(index.project, index.loss, index.passed_over)}


def consumed(name: str) -> ReadModel | LogSink:
    """A read model or a sink."""
    return READ_MODELS[name] if name in READ_MODELS else SINKS[name]
