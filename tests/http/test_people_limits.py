"""What people may be called and asked for: each bound from both sides, and a refusal that names the field."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.http import Falcon, Person, problem

ME: Final = ("PATCH", "/v1/me")
OTHER: Final = ("PATCH", "/v1/accounts/{other}")
NEW: Final = ("POST", "/v1/accounts")
ROOM: Final = ("PATCH", "/v1/rooms/{room}")

NO_OBJECTS: Final[list[Any]] = [[], "text", 5]

GOOD: Final[list[tuple[str, str, Any]]] = [
    (*ME, {"title": "t" * 100, "about": "a" * 500, "handle": "h" * 32, "hide_reads": True, "name": "n" * 255}),
    (*ME, {}),
    (*OTHER, {"email": f"{'e' * 250}@b.c", "handle": "0._-", "title": "", "about": ""}),
    (*OTHER, {"email": None, "handle": None}),
    (*NEW, {"name": "N", "bot": True, "role": "bot", "title": "t" * 100}),
    ("GET", f"/v1/accounts?ids={','.join(map(str, range(1, 201)))}", None),
    ("GET", "/v1/accounts?ids={own},{own},999999", None),
    ("GET", "/v1/accounts?limit=200&role=guest&deactivated=false", None),
    ("GET", f"/v1/accounts/search?q={'q' * 100}&limit=20", None),
    ("GET", "/v1/accounts/search?q=%20", None),
    ("GET", "/v1/rooms/directory?q=&limit=200", None),
    (*ROOM, {"open": True}),
]
BAD: Final[list[tuple[str, str, Any, str]]] = [
    *((*ME, {field: value}, field) for field, value in [("role", "admin"), ("deactivated", True), ("bot", True)]),
    *((*ME, {"name": value}, "name") for value in ("", None, 5, "n" * 256, "@ken")),
    *((*ME, {"handle": value}, "handle") for value in ("", "Ken", "a b", 5, "h" * 33, "ké")),
    *((*ME, {"title": value}, "title") for value in (None, 5, "t" * 101)),
    *((*ME, {"about": value}, "about") for value in (None, "a" * 501)),
    *((*ME, {"hide_reads": value}, "hide_reads") for value in (None, "yes", 1)),
    *((*ME, body, "body") for body in NO_OBJECTS),
    *((*OTHER, {"email": value}, "email") for value in ("", "none", "@ab", "ab@", "a b@c", 5, f"{'e' * 251}@b.c")),
    *((*OTHER, {"role": value}, "role") for value in ("king", None, "bot")),
    *((*OTHER, {"deactivated": value}, "deactivated") for value in (None, "yes")),
    (*OTHER, {"hide_reads": True}, "hide_reads"),
    *((*NEW, body, "name") for body in ({}, {"name": ""}, {"name": "n" * 256})),
    *((*NEW, {"name": "N", field: "x"}, field) for field in ("about", "deactivated", "role", "bot")),
    (*NEW, {"name": "N", "bot": True, "role": "guest"}, "role"),
    *(("GET", f"/v1/accounts?ids={ids}", None, "ids") for ids in ("", "0", "x", "1,", "-1", 2**53)),
    ("GET", f"/v1/accounts?ids={','.join(map(str, range(1, 202)))}", None, "ids"),
    *(("GET", f"/v1/accounts?limit={limit}", None, "limit") for limit in (0, 201, "x", "1e2", "")),
    *(("GET", f"/v1/accounts?cursor={cursor}", None, "cursor") for cursor in ("", "x", "-1")),
    *(("GET", f"/v1/accounts?{field}=x", None, field) for field in ("role", "deactivated", "foo")),
    *(("GET", f"/v1/accounts/search?q={q}", None, "q") for q in ("", "q" * 101)),
    *(("GET", f"/v1/accounts/search?q=a&limit={limit}", None, "limit") for limit in (0, 21)),
    *(("GET", f"/v1/accounts/search?q=a&room={room}", None, "room") for room in (0, "x", 2**53)),
    ("GET", "/v1/accounts/search?q=a&cursor=x", None, "cursor"),
    *(("GET", f"/v1/rooms/directory?limit={limit}", None, "limit") for limit in (0, 201)),
    *(("GET", f"/v1/rooms/directory?cursor={cursor}", None, "cursor") for cursor in ("65", "x", "MTA=", "")),
    ("GET", f"/v1/rooms/directory?q={'q' * 101}", None, "q"),
    *((*ROOM, {field: value}, field) for field in ("open", "default") for value in (None, "yes", 1)),
    (*ROOM, {}, "body"),
]


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """One whose administrator may be called anything."""
    with Falcon(tmp_path_factory.mktemp("limits")) as started:
        yield started


@pytest.fixture(scope="module")
def path(falcon: Falcon) -> dict[str, int]:
    other = falcon.account("Other")
    room = falcon.admin.makes_room("Limits")
    return {"own": falcon.admin.account_id, "other": other.account_id, "room": room.room_id}


def asks(admin: Person, method: str, path: str, body: Any, ids: dict[str, int]) -> Any:
    return admin.send(method, path.format(**ids), body)


@pytest.mark.parametrize(("method", "asked", "body"), GOOD)
def test_up_to_its_bounds_a_request_is_taken(
    admin: Person, path: dict[str, int], method: str, asked: str, body: Any
) -> None:
    assert asks(admin, method, asked, body, path).is_success


@pytest.mark.parametrize(("method", "asked", "body", "field"), BAD)
def test_beyond_them_it_is_refused_and_changes_nothing(
    falcon: Falcon, admin: Person, path: dict[str, int], method: str, asked: str, body: Any, field: str
) -> None:
    before = falcon.log_length()
    problem(asks(admin, method, asked, body, path), 422, "invalid", field)
    assert falcon.log_length() == before
