"""Which request something belongs to: W3C Trace Context, from the HTTP header through command and event to whoever
applies it. https://www.w3.org/TR/trace-context/

What a client sends is handed on and logged, always. Spans are made where an exporter is configured (``otel``); without
one that costs nothing.
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
_LENGTH: Final = 55


class Span(Protocol):
    """Something that takes its time. ``traceparent``: what belongs to it says so by this."""

    traceparent: str

    def end(self, status: int) -> None:
        """With the status of the HTTP answer; 0 for none."""


class Exporter(Protocol):
    def begin(self, name: str, parent: str | None) -> Span:
        """A request is being answered."""

    def record(self, name: str, parent: str, began: float, ended: float) -> None:
        """Something has been done. Times in seconds since 1970."""


class _Current(msgspec.Struct, frozen=True):
    traceparent: str | None = None
    command: str | None = None
    span: Span | None = None


_NOTHING: Final = _Current()
_current: ContextVar[_Current] = ContextVar("falcon-trace", default=_NOTHING)
_exporter: Exporter | None = None


def export_to(exporter: Exporter | None) -> None:
    """For the life of the process."""
    global _exporter
    _exporter = exporter


def enter(name: str, header: bytes | None, key: bytes | None) -> None:
    """The current task answers a request. ``header``: its traceparent. ``key``: of its command, if it has one."""
    if header is None and key is None and _exporter is None:
        return
    parent = _parse(header)
    command = None if key is None else key.decode("latin-1")[:64]
    span = None if _exporter is None else _exporter.begin(name, parent)
    _current.set(_Current(parent if span is None else span.traceparent, command, span))


def leave(status: int) -> None:
    if _exporter is not None and (span := _current.get().span) is not None:
        span.end(status)


def traceparent() -> str | None:
    """Of what the current task does, to be handed on."""
    return _current.get().traceparent


def done(name: str, traceparents: Iterable[str | None], seconds: float) -> None:
    """What these requests led to has just been done, and took that long."""
    if _exporter is not None:
        ended = time.time()
        for parent in {each for each in traceparents if each is not None}:
            _exporter.record(name, parent, ended - seconds, ended)


def log_fields() -> dict[str, str]:
    current = _current.get()
    fields: dict[str, str] = {}
    if current.traceparent is not None:
        fields |= {"trace_id": current.traceparent[3:35], "span_id": current.traceparent[36:52]}
    if current.command is not None:
        fields["command_id"] = current.command
    return fields


def _parse(header: bytes | None) -> str | None:
    """As it is handed on; None for what is not a traceparent: such a header is to be passed over."""
    if header is None or _TRACEPARENT.fullmatch(header) is None:
        return None
    return header[:_LENGTH].decode()
