"""TypeScript types of the JavaScript client, made from the OpenAPI and the AsyncAPI document.

``python -m tools.clients.types`` writes them, and the models of the Python client and the page about both clients; a
test fails when they are not current.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

from falcon.http.api import asyncapi, openapi
from tools.clients import models, reference

FOLDER: Final = Path(__file__).parents[2] / "clients" / "javascript" / "src"
_HEAD: Final = "// Made by `python -m tools.clients.types`. Do not edit.\n"
# Fields that an answer leaves out if they have their default.
_SOMETIMES: Final = {
    ("ProblemBody", "errors"),
    ("ShownMessage", "missing"),
    ("Message", "reactions"),
    ("ShownMessage", "reactions"),
}
_NOT_FOR_CLIENTS: Final = re.compile(r"Nothing|.*(Query|Line)")


def files() -> dict[str, str]:
    """The text of each file, by name."""
    api = _for_clients(openapi.document()["components"]["schemas"])
    return {"api.d.ts": _HEAD + _declared(api), "events.d.ts": _events(asyncapi.document(), _interfaces(api))}


def _for_clients(schemas: dict[str, Any]) -> dict[str, Any]:
    return {name: schema for name, schema in schemas.items() if not _NOT_FOR_CLIENTS.fullmatch(name)}


def _events(document: dict[str, Any], api: dict[str, str]) -> str:
    """Types that the API has as well are imported from there."""
    own = _interfaces(document["components"]["schemas"])
    shared = [name for name, text in own.items() if api.get(name) == text]
    declared = "".join(text for name, text in own.items() if name not in shared)
    events = document["components"]["messages"]
    members = "".join(_event(name, event) for name, event in events.items())
    listed = " | ".join(json.dumps(name) for name in events)
    return (
        f'{_HEAD}import type {{ {", ".join(shared)} }} from "./api.js";\n{declared}\n'
        f"export interface EventData {{\n{members}}}\n\n"
        f"export type EventType = {listed};\n\n"
        "/** An event of the stream. ``id`` is the token to resume after it. */\n"
        "export type Event = { [T in EventType]: { type: T; data: EventData[T]; id: string | null } }[EventType];\n"
    )


def _event(name: str, event: dict[str, Any]) -> str:
    return f"  /** {event['summary']} */\n  {json.dumps(name)}: {_type(event['payload'])};\n"


def _declared(schemas: dict[str, Any]) -> str:
    return "".join(_interfaces(schemas).values())


def _interfaces(schemas: dict[str, Any]) -> dict[str, str]:
    return {name: _interface(name, schema) for name, schema in sorted(schemas.items())}


def _interface(name: str, schema: dict[str, Any]) -> str:
    fields = "".join(
        f"{_comment(field, '  ')}  {key}{'?' if _may_be_left_out(name, schema, key) else ''}: {_type(field)};\n"
        for key, field in schema.get("properties", {}).items()
    )
    body = f"{{\n{fields}}}" if fields else "{}"
    return f"\n{_comment(schema, '')}export interface {name} {body}\n"


def _may_be_left_out(name: str, schema: dict[str, Any], key: str) -> bool:
    """A request may leave out what has a default. An answer has all its fields, with a few exceptions."""
    if schema.get("additionalProperties") is False:
        return key not in schema.get("required", ())
    return (name, key) in _SOMETIMES


def _comment(schema: dict[str, Any], indent: str) -> str:
    text = " ".join(schema.get("description", "").split())
    return f"{indent}/** {text} */\n" if text else ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " | ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "prefixItems" in schema:
        return f"[{', '.join(map(_type, schema['prefixItems']))}]"
    match schema["type"]:
        case "integer" | "number":
            return "number"
        case "array":
            return f"Array<{_type(schema['items'])}>"
        case "object":
            return f"Record<string, {_type(schema['additionalProperties'])}>"
        case simple:
            return str(simple)


def main() -> None:
    for name, text in files().items():
        (FOLDER / name).write_text(text)
    models.FILE.write_text(models.text())
    reference.PAGE.write_text(reference.page())


if __name__ == "__main__":
    main()
