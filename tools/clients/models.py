"""The models of the Python client, made from the OpenAPI document.

``python -m tools.clients.types`` writes them; a test fails when they are not current.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from falcon.http.api import openapi

FILE: Final = Path(__file__).parents[2] / "clients" / "python" / "falcon_chat" / "models.py"
# Problems are exceptions, and tickets are for browsers. One class is for messages in all answers.
_WITHOUT: Final = {"FieldError", "ProblemBody", "Ticket", "Message"}
_NAMES: Final = {"ShownMessage": "Message"}
_BASES: Final = {"RoomSummary": "Room", "ListedThread": "RoomSummary", "PostedMessage": "ShownMessage"}
_ALIASES: Final = {"Role": ("Member", "role"), "RoomKind": ("Room", "kind")}
_TIME: Final = "RFC 3339, UTC"  # the description of every time
_SIMPLE: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_HEAD: Final = '''\
"""Answers of the server. Fields that a newer server adds are passed over, so an older client still works.

Made by ``python -m tools.clients.types``. Do not edit.
"""

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

'''


def text() -> str:
    """The text of the module."""
    schemas = openapi.document()["components"]["schemas"]
    aliases = {name: _type(schemas[model]["properties"][field], {}) for name, (model, field) in _ALIASES.items()}
    declared = "".join(f"{name}: TypeAlias = {literal}\n" for name, literal in aliases.items())
    short = {literal: name for name, literal in aliases.items()}
    return _HEAD + declared + "".join(_class(name, schemas, short) for name in _in_order(schemas))


def _in_order(schemas: dict[str, Any]) -> list[str]:
    """The schemas of answers; each comes after the ones that it names."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        for other in sorted((*_named(schemas[name]), *([_BASES[name]] if name in _BASES else []))):
            add(other)
        if not (name in _WITHOUT or name.endswith("Line") or schemas[name].get("additionalProperties") is False):
            found.setdefault(name)

    for name in sorted(schemas):
        add(name)
    return [name for name in found if schemas[name].get("properties")]


def _named(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for each in node.values():
            yield from _named(each)
    elif isinstance(node, list):
        for each in node:
            yield from _named(each)


def _class(name: str, schemas: dict[str, Any], short: dict[str, str]) -> str:
    schema, base = schemas[name], _BASES.get(name, "msgspec.Struct")
    inherited = schemas[base]["properties"] if base in schemas else ()
    fields = {key: field for key, field in schema["properties"].items() if key not in inherited}
    defaults = {key: _default(key, field, schema) for key, field in fields.items()}
    said = " ".join(schema.get("description", "").split())
    docstring = textwrap.indent(textwrap.fill(f'"""{said}"""', 115), "    ") + "\n\n" if said else ""
    lines = "".join(
        f"    {key}: {_or_unset(_type(field, short), defaults[key])}{defaults[key] and f' = {defaults[key]}'}\n"
        for key, field in fields.items()
    )
    how = "frozen=True, kw_only=True" if inherited else "frozen=True"
    return f"\n\nclass {_NAMES.get(name, name)}({_NAMES.get(base, base)}, {how}):\n{docstring}{lines}"


_UNSET: Final = "msgspec.UNSET"


def _or_unset(type: str, default: str) -> str:
    """The type of a field that answers may leave out; None comes last."""
    if default != _UNSET:
        return type
    return f"{type.removesuffix(' | None')} | msgspec.UnsetType{' | None' if type.endswith(' | None') else ''}"


def _default(key: str, field: dict[str, Any], schema: dict[str, Any]) -> str:
    """Empty for a field that every answer has."""
    if "default" in field:
        return {"null": "None", "false": "False", "[]": "()", '""': '""', "{}": "{}"}[json.dumps(field["default"])]
    return "" if key in schema.get("required", ()) else _UNSET


def _type(schema: dict[str, Any], short: dict[str, str]) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"].rpartition("/")[2])
        return _NAMES.get(name, name)
    if "anyOf" in schema:
        return " | ".join(_type(choice, short) for choice in schema["anyOf"])
    if "enum" in schema:
        literal = f"Literal[{', '.join(json.dumps(value) for value in schema['enum'])}]"
        return short.get(literal, literal)
    if "prefixItems" in schema:
        return f"tuple[{', '.join(_type(each, short) for each in schema['prefixItems'])}]"
    match schema["type"]:
        case "string" if schema.get("description") == _TIME:
            return "datetime"
        case "array":
            return f"tuple[{_type(schema['items'], short)}, ...]"
        case "object":
            return f"dict[str, {_type(schema['additionalProperties'], short)}]"
        case simple:
            return _SIMPLE[str(simple)]
