"""The OpenAPI 3.1 document, made from the table of operations and the types that validate."""

import re
from typing import Any, Final

import msgspec

from falcon import __version__
from falcon.http.api import json_schema, tickets
from falcon.http.api.examples import TEXTS, as_json, as_sent
from falcon.http.api.operation import ApiOperation
from falcon.http.api.operations import GROUPS, OPERATIONS
from falcon.http.problems import KINDS, Problem
from falcon.http.read_your_writes import WAIT_SECONDS, WAIT_SECONDS_MAX
from falcon.http.shapes import Nothing, ProblemBody

_POSITION: Final = {
    "Falcon-Position": {
        "description": "The place of the command in the log. A read that sends it back waits until it can see what "
        "the command did.",
        "schema": {"type": "string", "examples": ["12:345"]},
    },
    "Idempotency-Replayed": {
        "description": "true if an earlier request with the same key executed the command.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
_RATE_LIMITED: Final = {
    "Retry-After": {
        "description": "Seconds to wait before the next request.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit": {
        "description": "The limit that was reached, and the seconds until requests are possible again "
        "(draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string", "examples": ['"account-commands";r=0;t=1']},
    },
    "RateLimit-Policy": {
        "description": "What the limit allows: q requests in w seconds, or q at the same time.",
        "schema": {"type": "string", "examples": ['"account-commands";q=100;w=5']},
    },
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A key of your choice. For ten minutes a request with the same key gets the same answer, and is "
    "executed once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$"},
}
_LAST_EVENT_ID: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that you processed. It replaces `resume`.",
    "schema": {"type": "string"},
}
_WAITING: Final[list[dict[str, Any]]] = [
    {
        "name": "Falcon-Position",
        "in": "header",
        "required": False,
        "description": "Wait until this position, from the answer to a command, can be read. A command that reads "
        "nothing does not wait.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,5}:[0-9]{1,18}(,[0-9]{1,5}:[0-9]{1,18})*$"},
    },
    {
        "name": "Falcon-Wait",
        "in": "header",
        "required": False,
        "description": "How many seconds to wait for what cannot be read yet. After that the answer is 503.",
        "schema": {"type": "number", "minimum": 0, "maximum": WAIT_SECONDS_MAX, "default": WAIT_SECONDS},
    },
]
_SUCCESSES: Final = {
    200: "Done",
    201: "Created",
    204: "Done; the answer has no body",
    303: "See the address in Location",
}


def document() -> dict[str, Any]:
    """A new dict each time, with the same content."""
    types = _types()
    schemas, components = json_schema.components(types)
    by_type = dict(zip(map(_name, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Falcon",
            "version": __version__,
            "summary": "A chat messaging backend.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The Falcon that this document comes from."}],
        "tags": [{"name": group.name, "description": group.description} for group in GROUPS],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _types() -> list[Any]:
    types: dict[str, Any] = {_name(ProblemBody): ProblemBody}
    for operation in OPERATIONS:
        for used in (operation.body_type, *(type(answer) for answer in operation.answers.values() if answer)):
            if used is not None:
                types[_name(used)] = used
    return list(types.values())


def _name(used: Any) -> str:
    return getattr(used, "__name__", None) or str(used)


def _operation(operation: ApiOperation, schemas: dict[str, Any]) -> dict[str, Any]:
    handler = "stream" if operation.handler is None else operation.handler.__name__
    described: dict[str, Any] = {
        "operationId": handler,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.group.name],
        "x-permission": operation.permission.said(),
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_header_parameters(operation)],
        "responses": _responses(operation, schemas),
    }
    if operation.permission.is_public:
        described["security"] = []
    if operation.body is not None:
        content = {"schema": schemas[_name(operation.body_type)], "example": as_sent(operation.body)}
        described["requestBody"] = {
            "required": operation.body_type is not Nothing,
            "content": {operation.media_type: content},
        }
    return described


def _path_parameters(operation: ApiOperation) -> list[dict[str, Any]]:
    named = ((name, operation.parameter(name)) for name in re.findall(r"{(\w+)}", operation.path))
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": parameter.description,
            "example": parameter.example,
            "schema": dict(parameter.schema),
        }
        for name, parameter in named
    ]


def _query_parameters(operation: ApiOperation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in json_schema.query_parameters(operation.query).items()
    ]


def _header_parameters(operation: ApiOperation) -> list[dict[str, Any]]:
    if operation.path == tickets.STREAM:
        return [_LAST_EVENT_ID]
    if operation.command:
        return [_KEY, *_WAITING]
    return _WAITING if operation.method == "GET" and not operation.permission.is_public else []


def _responses(operation: ApiOperation, schemas: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in operation.answers.items():
        response: dict[str, Any] = {"description": _SUCCESSES[status]}
        if answer is not None:
            content = {"schema": schemas[_name(type(answer))], "example": as_json(answer)}
            response["content"] = {"application/json": content}
        if operation.command:
            response["headers"] = _POSITION
        responses[str(status)] = response
    if operation.path in ("/v1/export", tickets.STREAM):
        media_type = "application/x-ndjson" if operation.path != tickets.STREAM else operation.media_type
        responses["200"]["content"] = {media_type: {"schema": {"type": "string"}, "example": TEXTS[media_type]}}
    if operation.method == "GET" and operation.path.endswith(("/messages", "/messages/{seq}")):
        responses["304"] = {"description": "Unchanged since the ETag in If-None-Match"}
    problem = schemas[_name(ProblemBody)]
    for status, codes in operation.codes_by_status().items():
        responses[str(status)] = _problem(status, codes, problem)
    return responses


def _problem(status: int, codes: list[str], schema: dict[str, Any]) -> dict[str, Any]:
    content = {
        "schema": {"allOf": [schema, {"type": "object", "properties": {"code": {"enum": codes}}}]},
        "examples": {code: {"value": _example(status, code)} for code in codes},
    }
    return {
        "description": "\n\n".join(f"`{code}`: {KINDS[code].meaning}" for code in codes),
        "content": {"application/problem+json": content},
        **({"headers": _RATE_LIMITED} if status == 429 else {}),
    }


def _example(status: int, code: str) -> Any:
    meaning = KINDS[code].meaning
    return msgspec.json.decode(Problem(status, code, f"{meaning[0].upper()}{meaning[1:]}.").body())
