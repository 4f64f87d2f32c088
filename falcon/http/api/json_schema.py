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


def query_parameters(query_type: type[Any]) -> dict[str, dict[str, Any]]:
    """The schema of each parameter of a query, by its name."""
    _, named = msgspec.json.schema_components([query_type])
    return {name: _not_null(schema) for name, schema in named[query_type.__name__]["properties"].items()}


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a query parameter, which is left out and never null."""
    kept = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    for choice in schema.get("anyOf", ()):
        if choice != {"type": "null"}:
            kept.update(choice)
    if schema.get("default") is not None:
        kept["default"] = schema["default"]
    return kept


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
