"""Each operation declares the problem codes that its handler raises, and no others.

A handler raises a code if the code is a constant in it, or in a function of ``falcon.http`` that it names. A handler
that names a command also answers with the refusals of the functions of the domain that take this command. Names are
followed, and not flows, so the search may find more than a handler raises: ``NEVER`` says so. What it misses is
found by ``tests.support.http.check_documented`` in each refusal of the tests.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType, ModuleType, UnionType
from typing import Any, get_args, get_type_hints

import pytest

from falcon.domain.rejections import NotYetReadable, Rejection
from falcon.features.catalogue import Command, modules
from falcon.http import problems
from falcon.http.api.operation import ApiOperation
from falcon.http.api.operations import OPERATIONS
from falcon.http.problems import _REASONS, KINDS, room_not_found
from falcon.http.stream.endpoints import open_stream

COMMANDS = frozenset(get_args(Command))
REJECTIONS = frozenset(get_args(Rejection)) - {NotYetReadable}  # the edge reads again and retries
# Codes that an operation shares a rule with, and never answers with.
NEVER = {
    ("DELETE", "/v1/rooms/{room_id}/messages/{seq}"): {"message_deleted"},  # deleting again changes nothing
    ("GET", "/v1/bookmarks"): {"room_not_found"},  # the message is null then
    # Each cause gets one and the same answer.
    ("POST", "/v1/sign-in"): {"account_not_found", "not_allowed"},
    ("GET", "/v1/sign-in/by-code/{code}"): {"account_not_found", "not_allowed"},
    ("POST", "/v1/sign-in/by-code/{code}"): {"account_not_found", "not_allowed"},
    ("DELETE", "/v1/sessions/{session_id}"): {"token_not_found"},
    ("DELETE", "/v1/session"): {"token_not_found"},
    ("GET", "/v1/invitations/by-code/{code}"): {"not_allowed"},
    # A newcomer is no owner yet, and joins what rooms there are.
    ("POST", "/v1/invitations/by-code/{code}"): {
        *("account_not_found", "last_admin", "last_owner", "not_allowed", "room_not_found")
    },
    # What is refused is said by the page.
    ("GET", "/v1/sign-in/{provider}/callback"): {
        *("account_not_found", "email_taken", "handle_taken", "last_owner", "not_allowed", "unsupported_media_type")
    },
    # An account comes in without what another has.
    ("POST", "/v1/import"): {"email_taken", "handle_taken"},
    # All of an account's tokens are at least none.
    ("DELETE", "/v1/sessions"): {"item_not_found", "token_not_found"},
    ("POST", "/v1/accounts/{account_id}/sign-out"): {"item_not_found", "token_not_found"},
}


def operation_of(method: str, path: str) -> ApiOperation:
    (found,) = (each for each in OPERATIONS if (each.method, each.path) == (method, path))
    return found


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_an_operation_declares_the_codes_that_its_handler_raises(operation: ApiOperation) -> None:
    found = raised_by(operation.handler or open_stream) - NEVER.get((operation.method, operation.path), set())
    assert set(operation.problems) <= found <= operation.codes()


def test_each_exception_is_one() -> None:
    for (method, path), codes in NEVER.items():
        operation = operation_of(method, path)
        assert codes <= raised_by(operation.handler) - operation.codes()


def test_a_handler_that_begins_to_refuse_has_a_new_code() -> None:
    async def me(edge: object, request: object) -> None:
        raise room_not_found(1)

    assert "room_not_found" in raised_by(me)
    assert "room_not_found" not in raised_by(operation_of("GET", "/v1/me").handler)


# --- the search -------------------------------------------------------------------------------------------------------


def raised_by(handler: Any) -> set[str]:
    codes: set[str] = set()
    waiting, seen = [handler], set()
    while waiting:
        function = waiting.pop()
        if function in seen:
            continue
        seen.add(function)
        codes |= constants(function) & KINDS.keys()
        for each in named(function):
            if each in COMMANDS:
                codes |= rejected(each) | {code for code, _ in _REASONS.values()}
            elif each.__module__.startswith(("falcon.http", "falcon.features")):
                waiting += methods(each) if inspect.isclass(each) else [each]
    return codes


def rejected(command: type) -> set[str]:
    """The codes of the refusals in rules that take the command, and in rules that these share."""
    taking = [
        each
        for rules in modules("rules")
        for each in vars(rules).values()
        if is_function_of(rules, each) and command in taken(each)
    ]
    found = list(taking)
    for function in found:
        found += [each for each in named(function) if is_rule(each) and each not in found]
    rejections = {each for function in found for each in named(function) if each in REJECTIONS}
    return {problems.from_rejection(each(*("" for _ in each.__struct_fields__))).code for each in rejections}


def is_rule(each: Any) -> bool:
    return any(is_function_of(rules, each) for rules in modules("rules")) and not taken(each)


def is_function_of(module: ModuleType, each: Any) -> bool:
    return isinstance(each, FunctionType) and each.__module__ == module.__name__


@functools.cache
def taken(function: FunctionType) -> set[Any]:
    """The types of command that the function takes."""
    kind = get_type_hints(function).get("command")
    return set(get_args(kind)) if isinstance(kind, UnionType) else {kind} - {None}


def methods(kind: type) -> list[FunctionType]:
    return [method for method in vars(kind).values() if isinstance(method, FunctionType)]


@functools.cache
def parsed(function: FunctionType) -> list[ast.AST]:
    """All nodes of its source but annotations, which name types and call nothing."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):  # made by a library, without source
        return []
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if hasattr(node, field):
                setattr(node, field, None)
    return list(ast.walk(tree))


def constants(function: FunctionType) -> set[str]:
    return {node.value for node in parsed(function) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def named(function: FunctionType) -> Iterator[Any]:
    """The classes and functions that the function names, also those in a tuple that it names."""
    for node in parsed(function):
        if isinstance(node, ast.Name):
            yield from flattened(function.__globals__.get(node.id))


def flattened(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for each in value:
            yield from flattened(each)
    elif inspect.isclass(value) or isinstance(value, FunctionType):
        yield value
