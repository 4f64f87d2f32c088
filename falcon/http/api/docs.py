"""The documentation page: plain HTML made from the OpenAPI and the AsyncAPI document.

It can be read without its one script, which adds a form to each operation to try it."""

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from falcon.http import web

_STYLE = """
:root{color-scheme:light dark;--soft:#8882;--line:#8885;--accent:#2563eb}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
code,pre{font:14px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
pre{background:var(--soft);padding:.7rem;overflow:auto;border-radius:6px;margin:.3rem 0;max-height:24rem}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}.m{display:inline-block;min-width:4.5rem;font-weight:700}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid var(--line);padding:.3rem;text-align:left;
vertical-align:top}nav{margin:1rem 0}#try:not(:empty),form.try{background:var(--soft);border-radius:6px;padding:.7rem;
margin:.7rem 0}#try{display:flex;gap:.2rem .7rem;flex-wrap:wrap;align-items:center}#try:empty{display:none}
#try input{flex:1 1 16rem}.field{display:grid;grid-template-columns:16rem 1fr;gap:.2rem .7rem;margin:.3rem 0}
input,textarea,button{font:14px/1.4 ui-monospace,monospace;padding:.3rem .5rem;border:1px solid var(--line);
border-radius:4px;box-sizing:border-box;background:Canvas;color:CanvasText}textarea{width:100%}
button{font-family:system-ui,sans-serif;cursor:pointer;min-width:5rem}
button[type=submit]{background:var(--accent);color:#fff}
:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.good{color:light-dark(#15803d,#4ade80)}.bad{color:light-dark(#b91c1c,#f87171)}
.answers td:first-child{width:3rem}
@media(max-width:40rem){.field{grid-template-columns:1fr}table{table-layout:fixed}}
"""
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_INTRODUCTION = """
<p>Send <code>Authorization: Bearer TOKEN</code> with every request, and an <code>Idempotency-Key</code> with every
command. If no answer comes, send the same request again with the same key: it is executed once. Every command's answer
carries <code>Falcon-Position</code>. Send it with a read, and the read waits until it can see what you did. Errors are
<code>application/problem+json</code>, described by the type <a href="#ProblemBody">ProblemBody</a>; switch on their
<code>code</code>. 503 comes with <code>Retry-After</code> and is
safe to retry with the same key. Ignore fields that you do not know: later versions add some.</p>
<pre>FALCON=<span id="address">https://chat.example.org</span>
curl -X POST $FALCON/v1/rooms -H "Authorization: Bearer $TOKEN" \\
     -H "Idempotency-Key: $(uuidgen)" -H "Content-Type: application/json" -d '{"name": "Tea kitchen"}'
curl -X POST $FALCON/v1/rooms/$ROOM/messages -H "Authorization: Bearer $TOKEN" \\
     -H "Idempotency-Key: $(uuidgen)" -H "Content-Type: application/json" -d '{"text": "Hello"}'
curl $FALCON/v1/rooms/$ROOM/messages -H "Authorization: Bearer $TOKEN"</pre>
"""


_EVENTS = """
<p>Each has an <code>id</code>, a name and data. Send the last id that you have processed as
<code>Last-Event-ID</code> or <code>resume</code>, and you receive everything that you missed, once and in order, then
<code>caught_up</code>. Signals are best effort: ask who types with <code>signals=typing</code>, and name those whose
presence you want with <code>watch=65,130</code>. Ignore events and fields that you do not know.</p>
"""
_CODE: Final = re.compile("`([^`]*)`")
_PROBLEM: Final = "application/problem+json"
_LARGEST: Final = 2**53 - 1  # integers up to here are exact in JavaScript


def page(document: dict[str, Any], events: dict[str, Any]) -> str:
    """The page, the same for all; its script puts in the address that the browser has."""
    groups = "".join(_group(name, description, document) for name, description in _tags(document))
    listed = "".join(_event(event, events, document) for event in events["components"]["messages"].values())
    schemas = "".join(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    headers = "".join(_header(header) for header in _headers(document).values())
    contents = " · ".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name, _ in _tags(document))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Falcon API</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="{web.address("icon.svg")}">'
        f"<style>{_STYLE}</style>"
        f'<script type="module" src="{web.address("tryit.js")}"></script></head><body>'
        f"<h1>Falcon API {escape(document['info']['version'])}</h1>{_INTRODUCTION}"
        f'<nav>{contents} · <a href="#events">Events</a> · <a href="#headers">Headers</a> · '
        f'<a href="#permissions">Who may do what</a> · <a href="#types">Types</a> · '
        f'<a href="/openapi.json">openapi.json</a> · <a href="/asyncapi.json">asyncapi.json</a></nav>'
        f'<div id="try"></div>{groups}<h2 id="events">Events of the stream</h2>{_EVENTS}{listed}'
        f'<h2 id="headers">Headers</h2><table>{headers}</table>'
        f'<h2 id="permissions">Who may do what</h2><table>{_permissions(document)}</table>'
        f'<h2 id="types">Types</h2>{schemas}</body></html>'
    )


def _tags(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for tag in document["tags"]:
        yield tag["name"], tag["description"]


def _anchor(name: str) -> str:
    return f"group-{escape(name.lower().replace(' ', '-'))}"


def _group(name: str, description: str, document: dict[str, Any]) -> str:
    """Operations of a tag, in the order of the document, in which one learns them."""
    listed = "".join(
        _operation(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if name in operation["tags"]
    )
    return f'<h2 id="{_anchor(name)}">{escape(name)}</h2><p>{escape(description)}</p>{listed}'


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{p['in']}</td><td>{_described(p['schema'], p)}</td></tr>"
        for p in operation["parameters"]
        if p["in"] != "header"
    )
    headers = ", ".join(
        f'<a href="#header-{escape(p["name"])}">{escape(p["name"])}</a>'
        for p in operation["parameters"]
        if p["in"] == "header"
    )
    body = "".join(
        f"<p>Body, <code>{escape(media_type)}</code>: {_rule(content['schema'])}</p>{_example(content)}"
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
    )
    name = escape(operation["operationId"])
    return (
        f'<details id="{name}" data-operation="{name}"><summary><span class="m">{method}</span> '
        f"<code>{escape(path)}</code> — {escape(operation['summary'])}</summary>"
        f"<p>{_marked(operation['description'])}</p><p>Who may: {escape(operation['x-permission'])}.</p>"
        f"{f'<table>{parameters}</table>' if parameters else ''}{f'<p>Headers: {headers}</p>' if headers else ''}{body}"
        f'<table class="answers">{_responses(operation["responses"])}</table></details>'
    )


def _permissions(document: dict[str, Any]) -> str:
    """The table by which Falcon decides who may."""
    return "".join(
        f"<tr><td><code>{method.upper()} {escape(path)}</code></td><td>{escape(operation['x-permission'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )


def _example(content: dict[str, Any]) -> str:
    if "example" not in content:
        return ""
    example = content["example"]
    text = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
    return f"<pre>{escape(text)}</pre>"


def _marked(text: str) -> str:
    """The text as HTML; text in backquotes is code, and a paragraph is a line."""
    return _CODE.sub(r"<code>\1</code>", escape(text)).replace("\n\n", "<br>")


def _headers(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The headers of requests, each once: most operations take the same."""
    return {
        parameter["name"]: parameter
        for methods in document["paths"].values()
        for operation in methods.values()
        for parameter in operation["parameters"]
        if parameter["in"] == "header"
    }


def _header(header: dict[str, Any]) -> str:
    name = escape(header["name"])
    return f'<tr id="header-{name}"><td><code>{name}</code></td><td>{_described(header["schema"], header)}</td></tr>'


def _responses(responses: dict[str, Any]) -> str:
    """A row for each status. Problems say which codes they have."""
    return "".join(f"<tr><td>{status}</td><td>{_content(response)}</td></tr>" for status, response in responses.items())


def _content(response: dict[str, Any]) -> str:
    for media_type, content in response.get("content", {}).items():
        if media_type != _PROBLEM:
            return f"<code>{escape(media_type)}</code> {_rule(content['schema'])}{_example(content)}"
    return _marked(response["description"])


def _event(event: dict[str, Any], events: dict[str, Any], document: dict[str, Any]) -> str:
    own, shared = events["components"]["schemas"], document["components"]["schemas"]
    schema = own[event["payload"]["$ref"].rpartition("/")[2]]
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{_described(_inlined(rule, own, shared))}</td></tr>"
        for field, rule in schema["properties"].items()
    )
    signal = " (signal)" if event["tags"] else ""
    return (
        f"<details><summary><code>{escape(event['name'])}</code>{signal} — {escape(event['summary'])}</summary>"
        f"{f'<table>{rows}</table>' if rows else ''}</details>"
    )


def _inlined(rule: Any, own: dict[str, Any], shared: dict[str, Any]) -> Any:
    """The rule with the types that only events have put in: the page lists those of the operations."""
    if isinstance(rule, list):
        return [_inlined(each, own, shared) for each in rule]
    if not isinstance(rule, dict):
        return rule
    name = str(rule.get("$ref", "")).rpartition("/")[2]
    if name and name not in shared:
        return _inlined(own[name], own, shared)
    return {key: _inlined(value, own, shared) for key, value in rule.items()}


def _described(schema: dict[str, Any], more: dict[str, Any] | None = None) -> str:
    """A rule with what is said about it."""
    said = (more or {}).get("description") or schema.get("description", "")
    example = f", such as <code>{escape(str(schema['examples'][0]))}</code>" if schema.get("examples") else ""
    default = f", by default {escape(json.dumps(schema['default']))}" if schema.get("default") is not None else ""
    return f"{_rule(schema)}{example}{default}{f'. {escape(said)}' if said else ''}"


def _rule(schema: dict[str, Any]) -> str:
    """A schema in a few words: a link to its type if it has a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_rule(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    match schema.get("type"):
        case "integer" | "number" as kind:
            return f"{kind}{_between(schema.get('minimum'), schema.get('maximum'))}"
        case "string":
            pattern = f", matches <code>{escape(schema['pattern'])}</code>" if "pattern" in schema else ""
            return f"text{_between(schema.get('minLength'), schema.get('maxLength'), ' characters')}{pattern}"
        case "array":
            return f"list of {_rule(schema['items'])}{_between(None, schema.get('maxItems'))}"
        case "object" if "properties" in schema:
            return f"object of {', '.join(f'<code>{escape(field)}</code>' for field in schema['properties'])}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object whose values are {_rule(schema['additionalProperties'])}"
        case simple:
            return escape(str(simple))


def _between(least: float | None, most: float | None, of: str = "") -> str:
    """Bounds in words; the largest integer that JSON has everywhere is none."""
    bounded = most is not None and most < _LARGEST
    if least is not None and bounded:
        return f", {least:,} to {most:,}{of}"
    if bounded:
        return f", at most {most:,}{of}"
    return "" if least is None else f", at least {least:,}{of}"


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{'' if field in required else ' (optional)'}</td>"
        f"<td>{_described(rule)}</td></tr>"
        for field, rule in schema.get("properties", {}).items()
    )
    text = f"<p>{escape(schema['description'])}</p>" if "description" in schema else ""
    return f'<section id="{escape(name)}"><h3>{escape(name)}</h3>{text}<table>{rows}</table></section>'
