"""Pairs a value of the domain with its shape in the log."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

D = TypeVar("D")
S = TypeVar("S", bound=msgspec.Struct)


class Shape(msgspec.Struct, Generic[D, S], frozen=True):
    """``name``, ``version``: as written in the log. ``critical``: see ``Record``.

    All versions of a ``value`` are read; the last one is written.
    """

    name: str
    version: int
    value: type[D]
    stored: type[S]
    store: Callable[[D], S]
    restore: Callable[[S], D]
    critical: bool = True


def alike(name: str, value: type[D], stored: type[S], *, critical: bool = True) -> Shape[D, S]:
    """Version 1 of a value whose fields are still those of the shape. The import fails when one of the two changes."""
    assert issubclass(value, msgspec.Struct)
    assert value.__struct_fields__ == stored.__struct_fields__, (
        f"{name} has another shape now: give it the next version"
    )
    return Shape(name, 1, value, stored, _copy(stored), _copy(value), critical)


def earlier(name: str, version: int, value: type[D], stored: type[S], restore: Callable[[S], D]) -> Shape[D, S]:
    """A version that is read and no longer written."""

    def store(value: D) -> S:
        raise AssertionError(f"{name} is written in a later version")

    return Shape(name, version, value, stored, store, restore)


def event(name: str, value: type[D], /, *, critical: bool = True, **fields: Any) -> Shape[D, Any]:
    """Version 1 of an event of plain ``fields``, with the types that stand in the log. As :func:`alike`."""
    return alike(
        name, value, msgspec.defstruct(f"{value.__name__}V1", [*fields.items()], frozen=True), critical=critical
    )


def answer(name: str, value: type[D], /, **fields: Any) -> Shape[D, Any]:
    """Version 1 of an answer or a refusal of plain ``fields``. As :func:`alike`."""
    kind = msgspec.defstruct(f"{value.__name__}V1", [*fields.items()], frozen=True, tag=f"{name}.v1")
    return alike(name, value, kind)


def grown(name: str, value: type[D], first: type[Any], second: type[Any]) -> tuple[Shape[D, Any], Shape[D, Any]]:
    """Both versions of a value whose fields are those of the second shape. The first lacks the last of them, which have
    defaults. The import fails when one of the three changes."""
    fields = second.__struct_fields__
    assert first.__struct_fields__ == fields[: len(first.__struct_fields__)], f"{name} has lost a field"
    return earlier(name, 1, value, first, _copy(value)), replace(alike(name, value, second), version=2)


def _copy(kind: type[Any]) -> Callable[[Any], Any]:
    fields = msgspec.structs.astuple
    return lambda value: kind(*fields(value))
