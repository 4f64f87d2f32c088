"""The problem codes of each operation, found in the code that raises them.

A handler raises a code if the code is a constant in it, or in a function of ``falcon.http`` that it names. A handler
that dispatches a command also answers with the rejections that the domain decides for this command.
"""

import functools
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, UnionType
from typing import Any, Final, get_args, get_type_hints

from falcon.domain import decider
from falcon.domain.catalogue import Command
from falcon.domain.rejections import KeyReused, NotYetReadable, Rejection
from falcon.http import problems
from falcon.http.api.operation import ApiOperation
from falcon.http.problems import KINDS, UNAVAILABLE_CODES
from falcon.http.stream.endpoints import open_stream

# What the server, the authenticator and the limiter answer to any request.
_ANY_REQUEST: Final = {
    "malformed",
    "unauthenticated",
    "timeout",
    "too_large",
    "invalid",
    "rate_limited",
    "internal",
    "overloaded",
    "unavailable",
}
_TOO_LARGE_BODY: Final = 413
_COMMANDS: Final = frozenset(get_args(Command))
_REJECTIONS: Final = frozenset(get_args(Rejection)) - {NotYetReadable}  # the edge reads again and retries


def codes_by_status(operation: ApiOperation) -> dict[int, list[str]]:
    """The codes that the operation can answer with, by status; both in order."""
    reads_a_body = operation.method != "GET"
    codes = _ANY_REQUEST | _raised_by(operation.handler or open_stream)
    if reads_a_body:
        codes |= {"unsupported_media_type"}
    if operation.command:
        codes |= {problems.from_rejection(KeyReused()).code}
    found: dict[int, list[str]] = {}
    for code in sorted(codes):
        for status in KINDS[code].statuses:
            if status != _TOO_LARGE_BODY or reads_a_body:
                found.setdefault(status, []).append(code)
    return dict(sorted(found.items()))


def _raised_by(handler: Any) -> set[str]:
    codes: set[str] = set()
    for function in _called(handler):
        codes |= _constants(function.__code__) & KINDS.keys()
        for command in _COMMANDS.intersection(_globals(function)):
            codes |= _rejected(command) | UNAVAILABLE_CODES
    return codes


def _called(handler: Any) -> Iterator[FunctionType]:
    """The handler and the functions of ``falcon.http`` that it names, and those that these name."""
    waiting, seen = [handler], set()
    while waiting:
        function = waiting.pop()
        if function not in seen:
            seen.add(function)
            yield function
            for each in _globals(function):
                if each.__module__.startswith("falcon.http"):
                    waiting += _methods(each) if inspect.isclass(each) else [each]


def _methods(kind: type) -> list[FunctionType]:
    return [method for method in vars(kind).values() if isinstance(method, FunctionType)]


def _rejected(command: type) -> set[str]:
    """The codes of the rejections that the domain can decide for a command of this type."""
    rejections: set[Any] = set()
    for function in _deciding(command):
        rejections |= set(_globals(function)) & _REJECTIONS
    return {_code(rejection) for rejection in rejections}


def _deciding(command: type) -> Iterator[FunctionType]:
    """Functions of the domain that take the command, and the rules that these share with others."""
    taking = [each for each in vars(decider).values() if isinstance(each, FunctionType) and command in _commands(each)]
    yield from taking
    for function in taking:
        for each in _globals(function):
            if isinstance(each, FunctionType) and each.__module__ == decider.__name__ and not _commands(each):
                yield each


@functools.cache
def _commands(function: FunctionType) -> set[Any]:
    """The types of command that the function takes."""
    kind = get_type_hints(function).get("command")
    return set(get_args(kind)) if isinstance(kind, UnionType) else {kind} - {None}


def _code(rejection: Any) -> str:
    """The fields do not matter for the code."""
    return problems.from_rejection(rejection(*("" for _ in rejection.__struct_fields__))).code


def _globals(function: FunctionType) -> list[Any]:
    """The classes and functions that the function names, also those in a tuple that it names."""
    named = (function.__globals__.get(name) for code in _codes(function.__code__) for name in code.co_names)
    return [each for value in named for each in _flattened(value)]


def _flattened(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for each in value:
            yield from _flattened(each)
    elif inspect.isclass(value) or isinstance(value, FunctionType):
        yield value


def _constants(code: CodeType) -> set[Any]:
    return {constant for each in _codes(code) for constant in each.co_consts if isinstance(constant, str)}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function, and of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
