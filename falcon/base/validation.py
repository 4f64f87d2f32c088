"""msgspec's validation errors in words for people: which field breaks which rule."""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

_QUOTED_MAX: Final = 200  # characters of a field's name that is repeated
_AT: Final = re.compile(r"^(?P<rule>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[")
_TYPES: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "datetime": "a time as in 2026-11-25T09:30:00.123Z",
    "null": "null",
}
_UNITS: Final = {"str": "character", "array": "entry"}
_PLURALS: Final = {"character": "characters", "entry": "entries"}


class BrokenRule(NamedTuple):
    """``field``: a path such as ``members[0].role``; empty for the value itself."""

    field: str
    rule: str

    def __str__(self) -> str:
        return f"{self.field}: {self.rule}" if self.field else self.rule


def broken_rule(error: msgspec.ValidationError, kind: Any) -> BrokenRule:
    """The field and the rule. ``kind``: the type that was decoded."""
    match = _AT.match(str(error))
    assert match is not None  # it matches everything
    path = match["path"] or ""
    for sentence, phrase in _SENTENCES:
        said = sentence.fullmatch(match["rule"])
        if said is not None:
            named = said.groupdict().get("field")
            field = path if named is None else f"{path}.{named}"
            return BrokenRule(field.removeprefix(".")[:_QUOTED_MAX], phrase(said, kind, path))
    return BrokenRule(path.removeprefix(".")[:_QUOTED_MAX], match["rule"][:_QUOTED_MAX])


# --- phrases ----------------------------------------------------------------------------------------------------------


def _of_length(said: re.Match[str], kind: Any, path: str) -> str:
    bound, unit = int(said["bound"]), _UNITS.get(said["type"], "character")
    if said["order"] == ">=" and bound == 1:
        return "must not be empty"
    return f"must have at {_extreme(said)} {bound:,} {unit if bound == 1 else _PLURALS[unit]}"


def _of_size(said: re.Match[str], kind: Any, path: str) -> str:
    return f"must be at {_extreme(said)} {int(said['bound']):,}"


def _extreme(said: re.Match[str]) -> str:
    return "least" if said["order"] == ">=" else "most"


def _of_type(said: re.Match[str], kind: Any, path: str) -> str:
    return f"must be {' or '.join(_TYPES.get(name, name) for name in said['types'].split(' | '))}"


def _of_choices(said: re.Match[str], kind: Any, path: str) -> str:
    choices = _choices(inspect.type_info(kind), [step[1] for step in _STEP.finditer(path)])
    if not choices:
        return "has a value that is not allowed"
    *others, last = choices
    return f"must be {', '.join(others)} or {last}" if others else f"must be {last}"


def _choices(kind: Any, steps: list[str | None]) -> list[str]:
    """The values that a Literal, or the tag of a union, allows.

    ``steps``: names of fields, None for a place in a list.
    """
    match kind:
        case inspect.UnionType(types=types):
            return list(dict.fromkeys(choice for each in types for choice in _choices(each, steps)))
        case inspect.Metadata(type=inner):
            return _choices(inner, steps)
        case inspect.LiteralType(values=values) if not steps:
            return [str(value) for value in values]
        case inspect.StructType(tag_field=str(tag_field), tag=tag) if steps == [tag_field]:
            return [str(tag)]
        case inspect.StructType(fields=fields) if steps:
            return [c for each in fields if each.encode_name == steps[0] for c in _choices(each.type, steps[1:])]
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) if steps and steps[0] is None:
            return _choices(item, steps[1:])
        case _:
            return []


_Phrase = Callable[[re.Match[str], Any, str], str]
_SENTENCES: Final[tuple[tuple[re.Pattern[str], _Phrase], ...]] = (
    (re.compile(r"Expected `(?P<type>\w+)` of length (?P<order>[<>]=) (?P<bound>\d+)"), _of_length),
    (re.compile(r"Expected `int` (?P<order>[<>]=) (?P<bound>-?\d+)"), _of_size),
    (re.compile(r"Expected `datetime` with a timezone component"), lambda *_: "must have a time zone, such as Z"),
    (re.compile(r"Invalid RFC3339 encoded datetime"), lambda *_: f"must be {_TYPES['datetime']}"),
    (re.compile(r"Expected `(?P<types>[^`]+)`(?:, got `[^`]+`)?"), _of_type),
    (re.compile(r"(?:Integer value|Number) out of range"), lambda *_: "is out of range"),
    (re.compile(r"Invalid (?:enum )?value .*", re.DOTALL), _of_choices),
    (re.compile(r"Object missing required field `(?P<field>.*)`", re.DOTALL), lambda *_: "is missing"),
    (re.compile(r"Object contains unknown field `(?P<field>.*)`", re.DOTALL), lambda *_: "is an unknown field"),
)
