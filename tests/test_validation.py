"""Refusals speak to people: no name of a Python type, no operator, and the field that is wrong."""

import json
from typing import Any

import msgspec
import pytest

from falcon.base.validation import broken_rule
from falcon.http import shapes
from falcon.http.api.importing import LINE_KINDS, ImportLine

*_OTHERS, _LAST = (str(kind.shape.__struct_config__.tag) for kind in LINE_KINDS)
LINES = f"{', '.join(_OTHERS)} or {_LAST}"


@pytest.mark.parametrize(
    ("kind", "value", "field", "rule"),
    [
        (shapes.NewMessage, {"text": ""}, "text", "must not be empty"),
        (shapes.NewMessage, {"text": 1}, "text", "must be a text"),
        (shapes.NewMessage, {}, "text", "is missing"),
        (shapes.NewMessage, [], "", "must be an object"),
        (shapes.NewMessage, {"text": "a", "colour": 1}, "colour", "is an unknown field"),
        (shapes.NewMessage, {"text": "a", "reply_to": 0}, "reply_to", "must be at least 1"),
        (shapes.NewMessage, {"text": "a", "reply_to": "x"}, "reply_to", "must be a whole number or null"),
        (shapes.NewMessage, {"text": "a", "reply_to": 2**53}, "reply_to", "must be at most 9,007,199,254,740,991"),
        (shapes.NewMessage, {"text": "a", "mentions": [1, "x"]}, "mentions[1]", "must be a whole number"),
        (shapes.NewMessage, {"text": "a", "mentions": [1] * 501}, "mentions", "must have at most 500 entries"),
        (shapes.NewMessage, {"text": "a", "mentions": 1}, "mentions", "must be a list"),
        (shapes.NewRoom, {"name": "a" * 256}, "name", "must have at most 255 characters"),
        (shapes.NewRoom, {"name": "a", "members": [{}]}, "members[0].account_id", "is missing"),
        (
            shapes.NewRoom,
            {"name": "a", "members": [{"account_id": 1, "role": "boss"}]},
            "members[0].role",
            "must be admin, member or readonly",
        ),
        (shapes.MemberRole, {"role": "boss"}, "role", "must be admin, member or readonly"),
        (shapes.ReadMarkShape, {"seq": 1, "force": 1}, "force", "must be true or false"),
        (shapes.ListQuery, {"limit": 999}, "limit", "must be at most 200"),
        (ImportLine, {"type": "poll"}, "type", f"must be {LINES}"),
        (ImportLine, {"type": 1}, "type", "must be a text"),
        (ImportLine, {"type": "account"}, "source", "is missing"),
    ],
)
def test_a_broken_rule_is_said_in_words(kind: Any, value: Any, field: str, rule: str) -> None:
    with pytest.raises(msgspec.ValidationError) as broken:
        msgspec.json.decode(json.dumps(value), type=kind)
    assert broken_rule(broken.value, kind) == (field, rule)
