"""Names cannot look like other names, and do not hide the text around them."""

import json
import unicodedata
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.domain.limits import NAME_CHARS_MAX
from falcon.domain.names import broken_rule, cleaned, normalized
from tests.support.http import Falcon, Person, problem

GOOD = [
    "Ann",
    "Tea kitchen, 2nd floor",
    "#general",
    "茶室",
    "\u05ea\u05d4 / tea",
    "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",  # a joiner that Persian needs
    "\u0915\u094d\u200d\u0937",  # and one that Hindi does
    "Zo\u00eb",
    "\U0001f469\u200d\U0001f680",  # a joiner within an emoji
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "1\ufe0f\u20e3",
    "\u0915\u093f",
    "x" * NAME_CHARS_MAX,
]
CONTROLS = ["\0", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u2029"]
TURNING = ["\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"]
UNSEEN = [
    " ",
    "\u00a0",
    "\u200b",
    "\u200b\u200d\ufeff",
    "\u00ad",
    "\u3164",
    "\u115f\u1160",
    "\u2800",
    "\u3000 ",
    "\u034f",
]
HIDDEN = [
    "Ali\u200bce",
    "Ali\u200dce",
    "Al\u00adice",
    "Ali\u200fce",
    "Ali\u061cce",
    "Al\u2060ice",
    "Alice" + "".join(chr(0xE0000 + ord(each)) for each in "hello"),
    "Alice\ufe0f",
    "Ali\u034fce",
    "\u200f\u0634\u0627\u064a",
    "\U0001f469\u200d",
]
MEANING = ["#64", "@all"]
BAD = [*(f"A{each}nn" for each in CONTROLS + TURNING), *CONTROLS, *UNSEEN, *HIDDEN, *MEANING, "b" + "\u0301" * 5]

MAKES: dict[str, Callable[[Falcon, Person, str], httpx.Response]] = {
    "an account": lambda falcon, anna, name: falcon.admin.post("/v1/accounts", {"name": name}),
    "a room": lambda falcon, anna, name: anna.post("/v1/rooms", {"name": name}),
    "another name of a room": lambda falcon, anna, name: anna.patch(f"{anna.makes_room('Tea')}", {"name": name}),
}
EVERYWHERE = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
Make = Callable[[Falcon, Person, str], httpx.Response]


@EVERYWHERE
@pytest.mark.parametrize("name", GOOD)
def test_a_name_may_have_what_people_write_with(falcon: Falcon, anna: Person, make: Make, name: str) -> None:
    assert make(falcon, anna, name).json()["name"] == unicodedata.normalize("NFC", name)


@EVERYWHERE
@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_a_name_that_deceives_is_refused(falcon: Falcon, anna: Person, make: Make, name: str) -> None:
    problem(make(falcon, anna, name), 422, "invalid", "name")


@EVERYWHERE
def test_names_that_look_the_same_are_the_same(falcon: Falcon, anna: Person, make: Make) -> None:
    assert make(falcon, anna, "  Alice\u00a0 ").json()["name"] == "Alice"
    assert make(falcon, anna, "Zoe\u0308").json()["name"] == "Zo\u00eb"
    assert make(falcon, anna, "\u212bngstr\u00f6m").json()["name"] == "\u00c5ngstr\u00f6m"


@EVERYWHERE
def test_a_name_is_not_longer_when_it_is_kept_than_it_may_be(falcon: Falcon, anna: Person, make: Make) -> None:
    problem(make(falcon, anna, "\u0958" * NAME_CHARS_MAX), 422, "invalid", "name")  # two characters each, as NFC


def test_what_comes_from_elsewhere_is_let_in_under_a_name_that_does_not_deceive(falcon: Falcon) -> None:
    for number, name in enumerate(BAD):
        line = json.dumps({"type": "account", "source": "elsewhere", "ref": str(number), "name": name})
        headers = {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {falcon.admin.token}"}
        answer = falcon.send("POST", "/v1/import", content=line, headers=headers)
        assert answer.status_code == 200, answer.text
    accounts = falcon.admin.get("/v1/accounts", params={"limit": 200}).json()["accounts"]
    assert [account["name"] for account in accounts if broken_rule(account["name"]) is not None] == []


@given(st.text(max_size=400))
def test_a_cleaned_name_is_a_good_one_and_a_good_one_stays(name: str) -> None:
    assert cleaned(name) == "" if not name else broken_rule(normalized(cleaned(name))[:NAME_CHARS_MAX]) is None
    if broken_rule(normalized(name)) is None:
        assert cleaned(name) == normalized(name)


def test_an_imported_name_loses_the_selectors_of_its_ideographs_and_nothing_else() -> None:
    assert cleaned("\u845b\U000e0100\u57ce") == "\u845b\u57ce"
