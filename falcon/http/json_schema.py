"""JSON Schemas of the types that are sent and received, for the documents that describe them."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

_REF: Final = "#/components/schemas/{name}"


def components(types: Iterable[Any]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """A schema for each type, and the components that they refer to."""
    schemas, named = msgspec.json.schema_components(types, ref_template=_REF)
    return tuple(_without_raw(schema) for schema in schemas), _without_raw(named)


def _without_raw(node: Any) -> Any:
    """``msgspec.Raw`` beside another type is that type, already encoded; alone its schema would allow anything."""
    if isinstance(node, list):
        return [_without_raw(each) for each in node]
    if not isinstance(node, dict):
        return node
    cleaned = {name: _without_raw(value) for name, value in node.items()}
    if "anyOf" in cleaned:
        cleaned["anyOf"] = [choice for choice in cleaned["anyOf"] if choice != {}]
    return cleaned
