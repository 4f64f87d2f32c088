"""The OpenAPI document and the page made from it."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import jsonschema_rs
import pytest

from falcon import __version__
from falcon.domain import limits
from falcon.features.bookmarks.rules import BOOKMARKS_MAX
from falcon.http.api.operations import OPERATIONS
from falcon.http.problems import KINDS
from falcon.http.read_your_writes import WAIT_SECONDS_MAX
from falcon.http.web import address, policy
from tests.support.http import Falcon, Json

# The operations that the contract names, in its order. All others are Falcon's own.
PROMISED = [
    ("GET", "/v1/me"),
    ("POST", "/v1/accounts"),
    ("POST", "/v1/rooms"),
    ("PUT", "/v1/direct/{account_id}"),
    ("GET", "/v1/rooms"),
    ("GET", "/v1/rooms/{room_id}"),
    ("PATCH", "/v1/rooms/{room_id}"),
    ("DELETE", "/v1/rooms/{room_id}"),
    ("GET", "/v1/rooms/{room_id}/members"),
    ("PUT", "/v1/rooms/{room_id}/members/{account_id}"),
    ("DELETE", "/v1/rooms/{room_id}/members/{account_id}"),
    ("POST", "/v1/rooms/{room_id}/messages"),
    ("GET", "/v1/rooms/{room_id}/messages"),
    ("GET", "/v1/rooms/{room_id}/messages/{seq}"),
    ("PATCH", "/v1/rooms/{room_id}/messages/{seq}"),
    ("DELETE", "/v1/rooms/{room_id}/messages/{seq}"),
    ("PUT", "/v1/rooms/{room_id}/read"),
]


@pytest.fixture(scope="module")
def document(falcon: Falcon) -> Json:
    answer = falcon.send("GET", "/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return dict(answer.json())


@pytest.fixture(scope="module")
def page(falcon: Falcon) -> httpx.Response:
    answer = falcon.send("GET", "/docs")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    return answer


def values(node: Any, key: str) -> Iterator[Any]:
    """Every value of the key, at any depth."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(node, list):
        for item in node:
            yield from values(item, key)


def without_examples(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: without_examples(value) for name, value in node.items() if name not in ("example", "examples")}
    return [without_examples(item) for item in node] if isinstance(node, list) else node


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


# --- the document -----------------------------------------------------------------------------------------------------


def test_the_words_about_an_operation_name_the_bounds_that_hold() -> None:
    said = {operation.summary: operation.description for operation in OPERATIONS}
    assert f"at most {BOOKMARKS_MAX:,} bookmarks" in said["Bookmark a message"]
    assert f"up to {WAIT_SECONDS_MAX} s" in said["Find messages"]


def test_the_document_is_openapi_3_1(document: Json) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"] == "Falcon" and document["info"]["version"] == __version__
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}


def test_the_document_has_every_operation_once(document: Json) -> None:
    described = [(method, path) for method, path, _ in operations(document)]
    assert set(PROMISED) <= set(described)
    assert sorted(described) == sorted((operation.method, operation.path) for operation in OPERATIONS)
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere(document: Json) -> None:
    references = set(values(document, "$ref"))
    assert references
    for reference in references:
        assert reference.startswith("#/components/schemas/")
        assert reference.rpartition("/")[2] in document["components"]["schemas"]


def test_every_parameter_of_a_path_is_described(document: Json) -> None:
    for _, path, operation in operations(document):
        described = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert described == set(re.findall(r"{(\w+)}", path))


def is_of_strangers(operation: Json) -> bool:
    """It needs no token."""
    return operation.get("security") == []


def test_commands_of_accounts_take_a_key_and_all_take_a_position(document: Json) -> None:
    for method, path, operation in operations(document):
        headers = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
        if path.startswith("/v1/stream"):
            assert headers == ({"Last-Event-ID"} if method == "GET" else set())
        elif is_of_strangers(operation):  # keys belong to accounts, and what strangers read does not wait
            assert headers == set()
        elif method == "GET":
            assert headers == {"Falcon-Position", "Falcon-Wait"}
        elif path not in ("/v1/import", "/v1/rooms/{room_id}/typing"):
            assert headers == {"Idempotency-Key", "Falcon-Position", "Falcon-Wait"}
            for status, response in operation["responses"].items():
                if status.startswith("2"):
                    assert {"Falcon-Position", "Idempotency-Replayed"} <= set(response["headers"])


def test_every_refusal_is_described_with_the_codes_that_it_can_have(document: Json) -> None:
    for _, path, operation in operations(document):
        assert {"400", "408", "422", "429", "431", "500", "503"} <= set(operation["responses"])
        signs_in = path == "/v1/sign-in" and "requestBody" in operation
        assert ("401" in operation["responses"]) is (signs_in or not is_of_strangers(operation))
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                (content,) = [response["content"]["application/problem+json"]]
                codes = content["schema"]["allOf"][1]["properties"]["code"]["enum"]
                assert codes and all(int(status) in KINDS[code].statuses for code in codes)
                assert all(code in response["description"] for code in codes)


# --- as linters of OpenAPI want it ------------------------------------------------------------------------------------


def test_every_operation_is_described(document: Json) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for _, _, operation in operations(document):
        assert operation["operationId"].isidentifier()
        assert operation["summary"] and operation["description"] and set(operation["tags"]) <= tags
        assert not operation["summary"].endswith(".") and operation["description"].endswith(".")
        assert any(status.startswith("2") or status == "303" for status in operation["responses"])
        for parameter in operation["parameters"]:
            assert parameter.get("description") or parameter["schema"].get("description"), parameter
    assert all(tag["description"] for tag in document["tags"])
    assert document["servers"] and document["security"] and document["info"]["license"]


def test_every_component_is_used(document: Json) -> None:
    used = {reference.rpartition("/")[2] for reference in values(document, "$ref")}
    assert used == set(document["components"]["schemas"])


def test_every_body_has_an_example_that_keeps_its_schema(document: Json) -> None:
    checked = 0
    for _, _, operation in operations(document):
        for part in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in part.get("content", {}).values():
                examples = [each["value"] for each in content["examples"].values()] if "examples" in content else []
                for example in examples or [content["example"]]:
                    schema = {**content["schema"], "components": document["components"]}
                    jsonschema_rs.validate(schema, example)
                    checked += 1
    assert checked > 300


def test_the_types_say_the_limits(document: Json) -> None:
    schemas = document["components"]["schemas"]
    name = schemas["NewRoom"]["properties"]["name"]
    assert (name["minLength"], name["maxLength"]) == (1, limits.NAME_CHARS_MAX)
    assert schemas["NewMessage"]["properties"]["mentions"]["maxItems"] == limits.MENTIONS_MAX
    assert schemas["Message"]["properties"]["room_id"]["type"] == "integer"
    assert set(schemas["NewMessage"]["required"]) == {"text"}
    for request in ("NewRoom", "NewMessage", "MessageChange", "RoomChange", "MemberRole", "ReadMark", "NewAccount"):
        assert schemas[request]["additionalProperties"] is False


def test_the_document_points_nowhere_outside(document: Json) -> None:
    assert "://" not in json.dumps(without_examples(document))
    assert set(re.findall(r'://([^/"]*)', json.dumps(document))) == {"chat.example"}  # a name for examples


def test_the_document_is_for_everybody(falcon: Falcon) -> None:
    assert falcon.send("GET", "/").json() == {"name": "Falcon", "docs": "/docs", "openapi": "/openapi.json"}


# --- the page ---------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The resources and links of a page. It checks that the page's tags match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "link", "br", "hr", "img", "input"):
            self._open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "srcset", "action", "data", "poster"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            assert not name.startswith("on")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_the_page_needs_nothing_but_itself(page: httpx.Response) -> None:
    """It has a script, a style sheet and an icon of this server, and no link to another site. Without an icon a browser
    asks for /favicon.ico, which is a 404 in its console and in Falcon's log."""
    parsed = Page(page.text)
    assert f'<link rel="icon" href="{address("icon.svg")}">' in page.text
    assert not {"img", "iframe", "object", "embed", "form", "style"} & set(parsed.tags)
    assert parsed.tags.count("script") == 1 and address("docs.js") in parsed.links
    files = [address(name) for name in ("docs.js", "docs.css", "tryit.js", "dom.js", "icon.svg")]
    known = ("/openapi.json", "/asyncapi.json", *files)
    assert all(link in known or link.startswith("#") for link in parsed.links)


def test_the_browser_holds_the_page_to_it(page: httpx.Response) -> None:
    assert page.headers["content-security-policy"] == policy()


def test_what_anybody_may_read_is_made_once(falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/openapi.json", "/asyncapi.json", "/docs"):
        assert falcon.send("GET", path).status_code == 200

    def made_again() -> Json:
        raise AssertionError("each request would take a twentieth of a second")

    monkeypatch.setattr("falcon.http.api.openapi._types", made_again)
    for path in ("/openapi.json", "/asyncapi.json", "/docs"):
        assert falcon.send("GET", path).status_code == 200


@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json", "/docs"])
def test_what_anybody_may_read_is_the_same_for_all_compressed_and_asked_for_again(falcon: Falcon, path: str) -> None:
    plain = falcon.send("GET", path, headers={"Host": "elsewhere.test", "Accept-Encoding": "identity"})
    small = falcon.send("GET", path, headers={"Accept-Encoding": "gzip"})
    assert "elsewhere" not in plain.text and small.content == plain.content
    share = 2 if path == "/docs" else 4
    assert int(small.headers["content-length"]) < int(plain.headers["content-length"]) / share
    assert (small.headers["vary"], small.headers["cache-control"]) == ("Accept-Encoding", "no-cache")
    known = {"Accept-Encoding": "gzip", "If-None-Match": small.headers["etag"]}
    assert falcon.send("GET", path, headers=known).status_code == 304
