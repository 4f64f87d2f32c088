"""The version of stored states, made of the names and types of what they have."""

from collections.abc import Iterable
from hashlib import blake2s
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import inspect

_Shape: TypeAlias = str | list[Any]

_BYTES: Final = 4  # a version is a part of each key
_PLAIN: Final = (
    inspect.BoolType,
    inspect.BytesType,
    inspect.FloatType,
    inspect.IntType,
    inspect.NoneType,
    inspect.StrType,
)


def version_of(types: Iterable[Any], *numbers: int) -> int:
    """A number that differs if a field of one of these types has another name, type or place, or if one of the
    ``numbers`` differs. Raises TypeError for a type that it cannot describe."""
    described = [_shape(each) for each in inspect.multi_type_info(types)]
    return int.from_bytes(blake2s(msgspec.json.encode([described, numbers]), digest_size=_BYTES).digest())


def _shape(info: inspect.Type) -> _Shape:
    """Names and types. Defaults are not part of it: each field is written. Modules are not: a class may move."""
    kind = type(info).__name__
    match info:
        case inspect.StructType(cls=cls, fields=fields, tag=tag, array_like=array_like):
            return [kind, cls.__name__, tag, array_like, [[field.name, _shape(field.type)] for field in fields]]
        case inspect.CollectionType(item_type=item):
            return [kind, _shape(item)]
        case inspect.TupleType(item_types=items):
            return [kind, *map(_shape, items)]
        case inspect.DictType(key_type=key, value_type=value):
            return [kind, _shape(key), _shape(value)]
        case inspect.UnionType(types=types):
            return [kind, *map(_shape, types)]
        case inspect.LiteralType(values=values):
            return [kind, *sorted(map(str, values))]
        case _ if isinstance(info, _PLAIN):
            return kind
        case _:
            raise TypeError(f"{info} has no description yet")
