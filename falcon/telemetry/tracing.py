"""W3C Trace Context: the trace of a request, from the HTTP header through command and event to the projections.
https://www.w3.org/TR/trace-context/

A client's trace is always passed on and logged. Spans are made if an exporter is configured (``otel``). Without one
that costs nothing.
"""

import re
import time
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final, Protocol

import msgspec

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?"
)
_LENGTH: Final = 55  # characters of a traceparent of version 00


class Span(Protocol):
    """An operation with a duration. ``traceparent``: the operations within it carry this."""

    traceparent: str

    def end(self, status: int) -> None:
        """``status``: of the HTTP answer; 0 for none."""


class Exporter(Protocol):
    def begin(self, name: str, parent: str | None) -> Span:
        """A request is being answered."""

    def record(self, name: str, parent: str, began: float, ended: float) -> None:
        """An operation is done. Times in seconds since 1970."""


class _Current(msgspec.Struct, frozen=True):
    traceparent: str | None = None
    command: str | None = None
    span: Span | None = None


_NOTHING: Final = _Current()
_current: ContextVar[_Current] = ContextVar("falcon-trace", default=_NOTHING)
exporter: Exporter | None = None  # without one no span is made


def export_to(spans: Exporter | None) -> None:
    """Set the exporter, for the life of the process."""
    global exporter
    exporter = spans


def enter(name: str, header: bytes | None, key: bytes | None) -> str | None:
    """The current task answers a request. ``header``: its traceparent. ``key``: of its command, if it has one. Not
    needed for a request without either, if there is no ``exporter``.

    Gives the traceparent that the task passes on.
    """
    parent = None if header is None else _parse(header)
    command = None if key is None else key.decode("latin-1")[:64]
    span = None if exporter is None else exporter.begin(name, parent)
    traceparent = parent if span is None else span.traceparent
    _current.set(_Current(traceparent, command, span))
    return traceparent


def leave(status: int) -> None:
    """The request is answered. Call it if there is an ``exporter``."""
    if (span := _current.get().span) is not None:
        span.end(status)


def done(name: str, traceparents: Iterable[str | None], seconds: float) -> None:
    """An operation that these requests led to is done, and took that long."""
    if exporter is not None:
        ended = time.time()
        for parent in {each for each in traceparents if each is not None}:
            exporter.record(name, parent, ended - seconds, ended)


def log_fields() -> dict[str, str]:
    current = _current.get()
    fields: dict[str, str] = {}
    if current.traceparent is not None:
        fields |= {"trace_id": current.traceparent[3:35], "span_id": current.traceparent[36:52]}
    if current.command is not None:
        fields["command_id"] = current.command
    return fields


def _parse(header: bytes) -> str | None:
    """The traceparent to pass on. None if the header is not one: then it is ignored."""
    if _TRACEPARENT.fullmatch(header) is None:
        return None
    return header[:_LENGTH].decode()
