"""JSON Schemas of the types that are sent and received, for the documents that describe them."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

_REF: Final = "#/components/schemas/{name}"
_SUFFIX: Final = "Shape"


def components(types: Iterable[Any]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """A schema for each type, and the components that they refer to."""
    schemas, named = msgspec.json.schema_components(types, ref_template=_REF)
    return tuple(_public(_without_raw(schema)) for schema in schemas), _public(_without_raw(named))


def _public(document: Any) -> Any:
    """The same without ``Shape`` at the end of types' names."""
    if isinstance(document, str):
        return document.removesuffix(_SUFFIX) if document.startswith(_REF.format(name="")) else document
    if isinstance(document, (list, tuple)):
        return [_public(each) for each in document]
    if isinstance(document, dict):
        public = {name.removesuffix(_SUFFIX): _public(value) for name, value in document.items()}
        title = public.get("title")
        return public | {"title": title.removesuffix(_SUFFIX)} if isinstance(title, str) else public
    return document


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
