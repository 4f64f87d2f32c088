"""Bad input of any kind is refused with its fault. It is never a 500, and never half done."""

import base64
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, get_args, get_type_hints
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from falcon.http.api.examples import as_sent
from falcon.http.api.operation import ApiOperation
from falcon.http.api.operations import OPERATIONS
from tests.http.commands import COMMANDS, TAKE_A_BODY, Scene, set_scene
from tests.support.builders import tried
from tests.support.http import OF_PYTHON, Falcon, Person, Room, problem, texts

JSON = {"Content-Type": "application/json"}
BODY_MAX = 512 << 10


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """Used by one test alone, so that every event in it is that test's."""
    with Falcon(tmp_path_factory.mktemp("bad-input")) as falcon:
        yield falcon


@pytest.fixture(scope="module")
def scene(own: Falcon) -> Scene:
    return set_scene(own)


@pytest.fixture
def unchanged(own: Falcon, scene: Scene) -> Iterator[None]:
    """Checks that the test changes nothing at all."""

    before = own.log_length()
    yield
    assert own.log_length() == before


# --- bodies -----------------------------------------------------------------------------------------------------------

# A valid request is turned into each of these.
NO_JSON: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: b"",
    "blanks": lambda data: b"  \n",
    "half an object": lambda data: data[:-1],
    "half a value": lambda data: data[:-3],
    "a trailing comma": lambda data: data[:-1] + b",}",
    "two values": lambda data: data + data,
    "something behind": lambda data: data + b"x",
    "NUL behind": lambda data: data + b"\0",
    "NUL before": lambda data: b"\0" + data,
    "single quotes": lambda data: data.replace(b'"', b"'"),
    "no quotes": lambda data: data.replace(b'"', b""),
    "not a number": lambda data: b"NaN",
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "compressed": gzip.compress,
    "a form": lambda data: b"text=Hi&name=Hi",
    "random bytes": lambda data: bytes(range(256)),
}


@pytest.mark.parametrize("damage", NO_JSON.values(), ids=NO_JSON)
@pytest.mark.parametrize("name", TAKE_A_BODY)
def test_what_is_no_json_is_malformed(
    scene: Scene, unchanged: None, name: str, damage: Callable[[bytes], bytes]
) -> None:
    command = COMMANDS[name](scene)
    data = damage(json.dumps(command.body).encode())
    problem(command.by.send(command.method, command.path, content=data, headers=JSON), 400, "malformed")


@pytest.mark.parametrize("control", range(0x20))
def test_a_control_character_in_a_text_is_escaped_or_malformed(scene: Scene, unchanged: None, control: int) -> None:
    data = b'{"text": "a%cb"}' % control
    problem(scene.anna.post(f"{scene.room}/messages", content=data, headers=JSON), 400, "malformed")


@pytest.mark.parametrize("value", ["[]", "null", "true", "1", "1e400", '""', '"{}"', "[{}]", '[{"text": "Hi"}]'])
@pytest.mark.parametrize("name", TAKE_A_BODY)
def test_a_body_is_an_object(scene: Scene, unchanged: None, name: str, value: str) -> None:
    command = COMMANDS[name](scene)
    refused = command.by.send(command.method, command.path, content=value.encode(), headers=JSON)
    problem(refused, 422, "invalid", "body")


@pytest.mark.parametrize(
    "field", ["unknown", "", "\0", "a`b", "x` - at `$y", "é", "x" * 10_000, "room_id", "__class__"]
)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_field_that_nobody_knows_is_refused(scene: Scene, unchanged: None, name: str, field: str) -> None:
    command = COMMANDS[name](scene)
    refused = command.by.send(command.method, command.path, {**(command.body or {}), field: 1})
    body = problem(refused, 422, "invalid")
    assert "unknown field" in body["errors"][0]["rule"]
    if field in ("unknown", "room_id", "__class__"):
        assert body["errors"][0]["field"] == field


@pytest.mark.parametrize("value", [None, 1, -1, 1.5, True, "x", [], {}, ["x"], {"x": 1}, 2**63, 2**64, 10**400])
@pytest.mark.parametrize("name", TAKE_A_BODY)
def test_a_value_of_the_wrong_type_names_its_field(scene: Scene, unchanged: None, name: str, value: Any) -> None:
    command = COMMANDS[name](scene)
    assert command.body is not None
    for field, right in command.body.items():
        if type(value) is not type(right):
            refused = command.by.send(command.method, command.path, {**command.body, field: value})
            problem(refused, 422, "invalid", field)


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1e5000", "1" + "0" * 400 + ".5", "9007199254740992"])
@pytest.mark.parametrize(
    ("name", "field"), [("move the read mark", "seq"), ("send a message", "reply_to"), ("send a message", "mentions")]
)
def test_a_number_past_all_bounds_names_its_field(
    scene: Scene, unchanged: None, name: str, field: str, number: str
) -> None:
    command = COMMANDS[name](scene)
    value = f"[{number}]" if field == "mentions" else number
    others = "".join(f"{json.dumps(k)}:{json.dumps(v)}," for k, v in (command.body or {}).items() if k != field)
    data = f'{{{others}"{field}":{value}}}'.encode()
    refused = command.by.send(command.method, command.path, content=data, headers=JSON)
    problem(refused, 422, "invalid", "mentions[0]" if field == "mentions" else field)


@pytest.mark.parametrize("depth", [10, 900, 1_100, 50_000])
@pytest.mark.parametrize("shape", ["arrays", "objects"])
@pytest.mark.parametrize("field", ["text", "unknown", "mentions"])
def test_deep_nesting_is_refused_like_anything_else(
    scene: Scene, unchanged: None, field: str, shape: str, depth: int
) -> None:
    nested = "[" * depth + "]" * depth if shape == "arrays" else '{"x":' * depth + "1" + "}" * depth
    data = f'{{"{field}": {nested}, "text": "Hi"}}'.encode()
    refused = scene.anna.post(f"{scene.room}/messages", content=data, headers=JSON)
    assert problem(refused, refused.status_code, "invalid" if refused.status_code == 422 else "malformed")


@pytest.mark.parametrize(
    "data",
    [
        b'{"text": "\\ud800"}',
        b'{"text": "\\udc00"}',
        b'{"text": "\\udc00\\ud800"}',
        b'{"text": "\\ud83d"}',
        b'{"text": "\\ud83d\\u0041"}',
        b'{"text": "\\ud83d and on"}',
        b'{"text": "\xed\xa0\x80"}',
        b'{"text": "\xed\xa0\xbd\xed\xb8\x80"}',
        b'{"text": "\xff"}',
        b'{"text": "\xc3"}',
        b'{"text": "\xc0\xaf"}',
        b'{"text": "\xf5\x80\x80\x80"}',
        b'{"\xff": 1, "text": "Hi"}',
        b'{"text": "\\x41"}',
        b'{"text": "\\u00g0"}',
    ],
)
def test_what_is_no_unicode_is_malformed(scene: Scene, unchanged: None, data: bytes) -> None:
    for method, path in (("POST", f"{scene.room}/messages"), ("PATCH", f"{scene.room}/messages/1")):
        problem(scene.anna.send(method, path, content=data, headers=JSON), 400, "malformed")


def test_a_pair_of_surrogates_is_one_character(anna: Person, room: Room) -> None:
    anna.post(f"{room}/messages", content=rb'{"text": "\ud83e\uded6"}', headers=JSON)
    assert texts(anna.reads(room)) == ["🫖"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": "Hi", "reply_to": 0}, "reply_to"),
        ({"text": "Hi", "reply_to": -1}, "reply_to"),
        ({"text": "Hi", "reply_to": "1"}, "reply_to"),
        ({"text": "Hi", "reply_to": True}, "reply_to"),
        ({"text": "Hi", "reply_to": 1.0}, "reply_to"),
        ({"text": "Hi", "mentions": None}, "mentions"),
        ({"text": "Hi", "mentions": 1}, "mentions"),
        ({"text": "Hi", "mentions": {}}, "mentions"),
        ({"text": "Hi", "mentions": [1, 0]}, "mentions[1]"),
        ({"text": "Hi", "mentions": ["1"]}, "mentions[0]"),
        ({"text": "Hi", "mentions": [[1]]}, "mentions[0]"),
        ({"text": "Hi", "mentions": [1] * 101}, "mentions"),
        ({"text": "Hi", "seq": 7}, "seq"),
        ({"text": "Hi", "author_id": 1}, "author_id"),
        ({"text": "Hi", "posted_at": "2026-11-25T09:30:00.123Z"}, "posted_at"),
    ],
)
def test_a_message_that_cannot_be_names_the_field(scene: Scene, unchanged: None, body: Any, field: str) -> None:
    problem(scene.ben.post(f"{scene.room}/messages", body), 422, "invalid", field)


# These values break the rule of a field of any type; of one that may be null, None does not.
BROKEN: tuple[Any, ...] = ("", "x" * 70_000, -1, 2**53, 1.5, True, None, [], [None], {})


def may_be_null(body: Any, field: str) -> bool:
    return type(None) in get_args(get_type_hints(type(body)).get(field))  # the tag of a line is none of its fields


@pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.method != "GET"], ids=lambda each: each.summary
)
def test_a_bad_body_is_refused_with_the_field_and_the_rule_in_words(own: Falcon, operation: ApiOperation) -> None:
    scene = set_scene(own)
    ids = {"room_id": scene.room.room_id, "account_id": scene.cleo.account_id, "seq": 1, "token_id": 1}
    ids |= {"session_id": 1, "invitation_id": 1}
    code = f"{scene.cleo.account_id}_{'x' * 43}"
    path = operation.path.format(**ids, emoji=quote("👍"), code=code)
    by = scene.admin if operation.path.startswith(("/v1/accounts", "/v1/import")) else scene.anna
    example = as_sent(operation.body) if operation.body else {}
    bodies = [[], "x", {**example, "unknown": 1}]
    bodies += [
        {**example, field: value}
        for field in example
        for value in BROKEN
        if type(value) is not type(example[field]) and not (value is None and may_be_null(operation.body, field))
    ]
    for body in bodies:
        content, headers = json.dumps(body).encode(), {"Content-Type": operation.media_type}
        refused = by.send(operation.method, path, content=content, headers=headers)  # which looks at the words
        assert problem(refused, 422, "invalid")["errors"]


# --- how a body is sent -----------------------------------------------------------------------------------------------


async def in_chunks(data: bytes, size: int) -> AsyncIterator[bytes]:
    """A body that is sent without its length."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def body_of(size: int) -> bytes:
    """A message as JSON of ``size`` bytes, most of them blanks."""
    data = b'{"text": "Hi"}'
    return data + b" " * (size - len(data))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_body_past_the_limit_is_too_large(scene: Scene, unchanged: None, name: str) -> None:
    command = COMMANDS[name](scene)
    data = body_of(BODY_MAX + 1)
    problem(command.by.send(command.method, command.path, content=data, headers=JSON), 413, "too_large")
    chunked = command.by.send(command.method, command.path, content=in_chunks(data, 65_536), headers=JSON)
    problem(chunked, 413, "too_large")


def test_a_body_that_says_it_is_too_large_is_not_read(scene: Scene, unchanged: None) -> None:
    headers = {**JSON, "Content-Length": str(BODY_MAX + 1)}
    problem(scene.anna.post(f"{scene.room}/messages", content=b"{}", headers=headers), 413, "too_large")


def test_a_length_may_begin_with_zeros(anna: Person, room: Room) -> None:
    headers = {**JSON, "Content-Length": "0" * 5000 + "14"}
    assert anna.post(f"{room}/messages", content=body_of(14), headers=headers).status_code == 201


def test_a_body_without_end_is_not_read_to_the_end(scene: Scene, unchanged: None) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    problem(scene.anna.post(f"{scene.room}/messages", content=endless(), headers=JSON), 413, "too_large")
    assert sent <= BODY_MAX + 2 * 65_536


@pytest.mark.parametrize("size", [1, 3, 65_536])
def test_a_body_may_come_in_pieces(anna: Person, room: Room, size: int) -> None:
    data = json.dumps({"text": "Tee – 茶 – 🫖"}, ensure_ascii=False).encode()
    assert anna.post(f"{room}/messages", content=in_chunks(data, size), headers=JSON).status_code == 201
    assert texts(anna.reads(room)) == ["Tee – 茶 – 🫖"]


def test_a_body_may_be_as_large_as_the_limit(anna: Person, room: Room) -> None:
    for content in (body_of(BODY_MAX), in_chunks(body_of(BODY_MAX), 65_536)):
        assert anna.post(f"{room}/messages", content=content, headers=JSON).status_code == 201


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        ";",
        "json",
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/x-ndjson",
        "application/merge-patch+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ],
)
@pytest.mark.parametrize("name", TAKE_A_BODY)
def test_a_body_is_json_and_says_so(scene: Scene, unchanged: None, name: str, media_type: str | None) -> None:
    command = COMMANDS[name](scene)
    headers = {} if media_type is None else {"Content-Type": media_type}
    data = json.dumps(command.body).encode()
    refused = command.by.send(command.method, command.path, content=data, headers=headers)
    problem(refused, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", " application/json ;x=y"]
)
def test_a_media_type_may_be_written_in_several_ways(anna: Person, room: Room, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    assert anna.post(f"{room}/messages", content=b'{"text": "Hi"}', headers=headers).status_code == 201


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - set(TAKE_A_BODY)))
def test_what_takes_no_body_takes_an_empty_object_at_most(falcon: Falcon, name: str) -> None:
    scene = set_scene(falcon)
    command = COMMANDS[name](scene)
    problem(command.by.send(command.method, command.path, content=b"x"), 415, "unsupported_media_type")
    problem(command.by.send(command.method, command.path, content=b"x", headers=JSON), 400, "malformed")
    problem(command.by.send(command.method, command.path, ["x"]), 422, "invalid", "body")
    assert command.by.send(command.method, command.path, {}).is_success


# --- queries and paths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/rooms", "{room}/members", "{room}/messages", "/v1/accounts", "/v1/export"])
@pytest.mark.parametrize(
    "query", ["unknown=1", "limit=0&unknown=1", "=", "=1", "%00=1", "%FF=1", "x[]=1", "limit[]=1", "LIMIT=1"]
)
def test_a_parameter_that_nobody_knows_is_refused(scene: Scene, path: str, query: str) -> None:
    problem(scene.admin.get("/v1/accounts?" + query), 422, "invalid")
    who = scene.admin if path in ("/v1/accounts", "/v1/export") else scene.anna
    problem(who.get(path.replace("{room}", str(scene.room)) + "?" + query), 422, "invalid")


@pytest.mark.parametrize("path", ["/v1/rooms", "{room}/members", "/v1/accounts"])
@pytest.mark.parametrize(
    "limit",
    [
        "0",
        "201",
        "-1",
        "x",
        "",
        "1.5",
        "9" * 5000,
        "%00",
        "%F0%9F",
        "null",
        "true",
        "1e2",
        "1e0",
        "+5",
        "%205",
        "5.0",
        "0x5",
        "%D9%A1",
    ],
)
def test_a_limit_is_1_to_200(scene: Scene, path: str, limit: str) -> None:
    who = scene.admin if path == "/v1/accounts" else scene.anna
    problem(who.get(path.replace("{room}", str(scene.room)) + f"?limit={limit}"), 422, "invalid", "limit")


def cursor_of(content: str) -> str:
    """A cursor in the form of the list of rooms."""
    return base64.urlsafe_b64encode(content.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    ["", "=", "x", "0", "\0", "é", "a" * 20_000]
    + [cursor_of(content) for content in ("", "[]", "{}", "null", "[1]", '["2026"]', '["2026", "1"]', "[" * 5000)]
    + [cursor_of(content) for content in ('["\\ud800", 1]', '["2026", 1.5]', '["2026", ' + "9" * 5000 + "]")],
)
def test_a_cursor_of_rooms_is_one_that_was_given(anna: Person, cursor: str) -> None:
    problem(anna.get("/v1/rooms", params={"cursor": cursor}), 422, "invalid", "cursor")


def test_a_made_up_cursor_is_no_fault_of_ours(anna: Person) -> None:
    problem(anna.get("/v1/rooms", params={"cursor": cursor_of(f'["2026", {2**70}]')}), 422, "invalid", "cursor")


# --- anything at all --------------------------------------------------------------------------------------------------

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(["text", "name", "members", "mentions", "seq", "role", "reply_to", "force"]) | st.text(),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(name=st.sampled_from(sorted(COMMANDS)), body=ANY_JSON)
@settings(tried(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_answered(falcon: Falcon, name: str, body: Any) -> None:
    command = COMMANDS[name](set_scene(falcon))
    answer = command.by.send(command.method, command.path, content=json.dumps(body).encode(), headers=JSON)
    assert answer.is_success or answer.status_code in (400, 403, 404, 409, 422), answer.text


@given(
    data=st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b'{"text": "' + data + b'"}'),
    path=st.sampled_from(["", "/messages", "/messages/1", "/read", "/members/1"]),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
)
@tried(200)
def test_any_bytes_are_answered(scene: Scene, data: bytes, path: str, method: str) -> None:
    answer = scene.ben.send(method, f"{scene.room}{path}", content=data, headers=JSON)
    assert answer.status_code < 500, answer.text


# A refusal repeats a part of the path, and must not speak of Python by itself.
_TAILS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: not OF_PYTHON.search(text)
)


@given(tail=_TAILS, method=st.sampled_from(["GET", "PUT"]))
@tried(150)
def test_any_path_is_answered(scene: Scene, tail: str, method: str) -> None:
    for path in (f"/v1/rooms/{tail}", f"{scene.room}/{tail}", f"/v1/direct/{tail}", f"/{tail}"):
        try:
            answer = scene.ben.send(method, path)
        except httpx.InvalidURL:
            continue
        assert answer.status_code < 500, answer.text


@given(
    header=st.sampled_from(["Falcon-Position", "Falcon-Wait", "If-None-Match", "Content-Type", "Host"]),
    value=st.binary(max_size=30),
)
@tried(150)
def test_any_header_is_answered(scene: Scene, header: str, value: bytes) -> None:
    headers = {"Falcon-Position": "0:0", header: value}
    for path in (f"{scene.room}/messages", "/docs"):
        answer = scene.ben.get(path, headers=headers)
        assert answer.status_code < 500, answer.text
