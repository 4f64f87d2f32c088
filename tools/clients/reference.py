"""docs/clients.md: every public method of both clients, made from their sources and the OpenAPI document.

``python -m tools.clients.types`` writes it; a test fails when it is not current.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from falcon.http.api import openapi

_ROOT: Final = Path(__file__).parents[2]
PAGE: Final = _ROOT / "docs" / "clients.md"
_PYTHON: Final = _ROOT / "clients" / "python" / "falcon_chat"
_JAVASCRIPT: Final = _ROOT / "clients" / "javascript" / "src" / "index.d.ts"

# The method of each operation, where it has another name in the clients. A list is called by what it lists.
_METHODS: Final = {
    "post_message": "post",
    "read_page": "messages",
    "read_message": "message",
    "edit_message": "edit",
    "move_read": "mark_read",
    "open_direct": "direct_room",
    "read_room": "room",
    "issue_token": "create_token",
    "export_lines": "export",
    "issue_sign_in_link": "create_sign_in_link",
    "read_sign_in_link": "sign_in_link",
}
_SPELLED: Final = {"aclose": "close"}
_PROTOCOL: Final = {"constructor", "next", "return"}  # of every class, or of every iterator
_HEAD: Final = """\
# The clients, method by method

<!-- Made by `python -m tools.clients.types`. Do not edit. -->

Each method of the [Python](../clients/python/README.md) and of the
[JavaScript client](../clients/javascript/README.md), with the same name in both but for its spelling.
[building.md](building.md) explains retries, keys, positions, streams and their events; `/docs` on every Falcon has the
fields of answers. Every method raises `Problem` if the server refuses the request, and `Unreachable` if no answer comes
in time. `CallOptions` are `timeoutMs`, `retry` and `signal`; `CommandOptions` has `key` beside them, and `PageOptions`
`limit` and `cursor`.

"""


_BESIDES: Final = {"is_end": "exporting.py", "resume_token": "exporting.py"}  # functions of Python alone

_Def = ast.FunctionDef | ast.AsyncFunctionDef


def method_of(operation: str) -> str:
    """The name of the operation's method in the Python client."""
    return _METHODS.get(operation, operation.removeprefix("list_"))


def page() -> str:
    """The text of the page."""
    parts = [
        *_class("FalconClient", "client.py", _summaries()),
        *_class("Stream", "streaming.py", {}),
        *_class("Names", "names.py", {}),
        "## Functions of the Python client\n",
        *(_entry(name, _said(node), [_python(node)]) for name, file in _BESIDES.items() for node in _named(name, file)),
        "## Errors\n",
        *(f"**{node.name}**: {_said(node)}\n" for node in _errors()),
    ]
    return _HEAD + "\n".join(parts)


def _summaries() -> dict[str, str]:
    """What each operation does, by the name of its method in Python."""
    operations = (each for methods in openapi.document()["paths"].values() for each in methods.values())
    return {method_of(each["operationId"]): each["summary"] + "." for each in operations}


def _class(name: str, file: str, summaries: dict[str, str]) -> Iterator[str]:
    (found,) = _named(name, file)
    theirs = _typescript(name)
    yield f"## {name}\n"
    yield _said(found) + "\n"
    for node in found.body:
        if isinstance(node, _Def) and not node.name.startswith("_"):
            said = " ".join(filter(None, (summaries.get(node.name, ""), _said(node))))
            other = theirs.pop(_SPELLED.get(node.name) or _camel(node.name), None)
            yield _entry(node.name, said, [_python(node), *([other] if other else [])])
    for signature in theirs.values():
        yield _entry(re.split(r"[(:]", signature)[0], "in JavaScript alone.", [signature])


def _entry(name: str, said: str, signatures: list[str]) -> str:
    return f"**{name}**{_colon(said)}\n\n```text\n" + "\n".join(signatures) + "\n```\n"


def _colon(said: str) -> str:
    return f": {said}" if said else ""


# --- Python -----------------------------------------------------------------------------------------------------------


def _errors() -> Iterator[ast.ClassDef]:
    for node in ast.parse((_PYTHON / "errors.py").read_text()).body:
        if isinstance(node, ast.ClassDef) and ast.unparse(node.bases[0]) != "msgspec.Struct":
            yield node


def _named(name: str, file: str) -> list[Any]:
    return [node for node in ast.parse((_PYTHON / file).read_text()).body if getattr(node, "name", "") == name]


def _python(node: _Def) -> str:
    """``await post(room_id: int, …) -> Message``. A generator is iterated and not awaited."""
    yields = any(isinstance(each, ast.Yield) for each in ast.walk(node))
    awaited = "await " if isinstance(node, ast.AsyncFunctionDef) and not yields else ""
    returned = ast.unparse(node.returns) if node.returns else "None"
    if any(ast.unparse(each) == "property" for each in node.decorator_list):
        return f"{node.name}: {returned}"
    node.args.args = [each for each in node.args.args if each.arg != "self"]
    return f"{awaited}{node.name}({ast.unparse(node.args)}) -> {returned}"


def _said(node: Any) -> str:
    """The first paragraph of the docstring, in Markdown."""
    text = (ast.get_docstring(node) or "").partition("\n\n")[0]
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", " ".join(text.split()))
    return text.replace("``", "`")


# --- JavaScript -------------------------------------------------------------------------------------------------------


def _typescript(name: str) -> dict[str, str]:
    """The signatures of a class, by name."""
    text = _JAVASCRIPT.read_text()
    (body,) = re.findall(rf"^export class {name}\b.*?{{\n(.*?)^}}", text, re.DOTALL | re.MULTILINE)
    body = re.sub(r"/\*\*.*?\*/", "", body, flags=re.DOTALL)
    lines = [line.strip().removesuffix(";").removeprefix("readonly ") for line in body.splitlines()]
    signatures = {re.split(r"[(:]", line)[0]: line for line in lines if re.match(r"\w", line)}
    return {each: line for each, line in signatures.items() if each not in _PROTOCOL}


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)
