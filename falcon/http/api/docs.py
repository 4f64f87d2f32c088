"""The documentation page: plain HTML made from the OpenAPI document. It has no script, and loads nothing."""

import json
from html import escape
from typing import Any

_STYLE = """
:root{color-scheme:light dark;--soft:#8882;--line:#8885}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:var(--soft);padding:.7rem;overflow:auto;border-radius:6px}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}.m{display:inline-block;min-width:4.5rem;font-weight:700}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid var(--line);padding:.3rem;text-align:left;
vertical-align:top}nav{margin:1rem 0}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_INTRODUCTION = """
<p>Send <code>Authorization: Bearer TOKEN</code> with every request, and an <code>Idempotency-Key</code> of your own
with every command: if no answer comes, send the same again, and it is done once. A command's answer carries
<code>Falcon-Position</code>; send it back with a read and the read waits until it can see what you did. What an
answer said is done is never denied: where it can't be read yet, the answer is 503 and not 404.
Errors are <code>application/problem+json</code> with a <code>code</code> to switch on; 503 comes with
<code>Retry-After</code> and is safe to retry with the same key.</p>
<pre>curl -X POST {url}/v1/rooms -H "Authorization: Bearer $TOKEN" \\
     -H "Content-Type: application/json" -d '{{"name": "Tea kitchen"}}'
curl -X POST {url}/v1/rooms/$ROOM/messages -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: $(uuidgen)" \\
     -H "Content-Type: application/json" -d '{{"text": "Hello"}}'
curl {url}/v1/rooms/$ROOM/messages -H "Authorization: Bearer $TOKEN"</pre>
"""


_ADDRESS = "FALCON-ADDRESS"


class DocsPage:
    """Made once, since that takes long and needs no token. Each response only puts the address in."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._page = _page(document)

    def at(self, url: str) -> str:
        return self._page.replace(_ADDRESS, escape(url))


def _page(document: dict[str, Any]) -> str:
    operations = "".join(
        _operation(method.upper(), path, operation, document)
        for path, methods in sorted(document["paths"].items())
        for method, operation in methods.items()
    )
    schemas = "".join(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Falcon API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>Falcon API {escape(document['info']['version'])}</h1>{_INTRODUCTION.format(url=_ADDRESS)}"
        f'<nav><a href="/openapi.json">openapi.json</a> · <a href="#types">Types</a></nav>'
        f'<h2>Operations</h2>{operations}<h2 id="types">Types</h2>{schemas}</body></html>'
    )


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{p['in']}</td><td>{_rule(p['schema'])} "
        f"{escape(p.get('description', ''))}</td></tr>"
        for p in operation["parameters"]
    )
    body = ""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        body = f"<p>Body, <code>{escape(media_type)}</code>: {_rule(content['schema'])}</p>"
    responses = "".join(
        f"<tr><td>{status}</td><td>{_content(response)}</td></tr>"
        for status, response in operation["responses"].items()
    )
    return (
        f'<details><summary><span class="m">{method}</span> <code>{escape(path)}</code> — '
        f"{escape(operation['summary'])}</summary>"
        f"{f'<table>{parameters}</table>' if parameters else ''}{body}<table>{responses}</table></details>"
    )


def _content(response: dict[str, Any]) -> str:
    for media_type, content in response.get("content", {}).items():
        return f"<code>{escape(media_type)}</code> {_rule(content['schema'])}"
    return escape(response["description"])


def _rule(schema: dict[str, Any]) -> str:
    """A schema in one line, with a link where its type has a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_rule(choice) for choice in schema["anyOf"])
    return f"<code>{escape(json.dumps(schema, ensure_ascii=False))}</code>"


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code>{'' if field in required else ' (optional)'}</td>"
        f"<td>{_rule(rule)}</td></tr>"
        for field, rule in schema.get("properties", {}).items()
    )
    text = f"<p>{escape(schema['description'])}</p>" if "description" in schema else ""
    return f'<section id="{escape(name)}"><h3>{escape(name)}</h3>{text}<table>{rows}</table></section>'
