"""What joins a value of the domain and its shape in the log."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

D = TypeVar("D")
S = TypeVar("S", bound=msgspec.Struct)


class Shape(msgspec.Struct, Generic[D, S], frozen=True):
    """``name``, ``version``: as the log has them. ``critical``: see ``Record``. Of the versions of a ``value`` the last
    is written; all of them are read."""

    name: str
    version: int
    value: type[D]
    stored: type[S]
    store: Callable[[D], S]
    restore: Callable[[S], D]
    critical: bool = True


def alike(name: str, value: type[D], stored: type[S]) -> Shape[D, S]:
    """The first version of a value that has kept the fields of that shape; where one is changed this fails at once."""
    assert issubclass(value, msgspec.Struct)
    assert value.__struct_fields__ == stored.__struct_fields__, (
        f"{name} has another shape now: give it the next version"
    )
    return Shape(name, 1, value, stored, _copy(stored), _copy(value))


def _copy(kind: type[Any]) -> Callable[[Any], Any]:
    fields = msgspec.structs.astuple
    return lambda value: kind(*fields(value))
