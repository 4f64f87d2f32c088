"""The AsyncAPI document of the stream."""

import re
from pathlib import Path
from typing import Final

import msgspec
import pytest

from falcon.http.api.operations import GROUPS, OPERATIONS
from falcon.http.stream.events import STREAM_EVENTS
from falcon.streams.events import LOGGED_EVENTS
from falcon.streams.signals import SIGNALS
from tests.http.test_documents import values
from tests.support.http import Falcon, Json

FOLDER: Final = Path(__file__).parents[2] / "falcon"


@pytest.fixture(scope="module")
def document(falcon: Falcon) -> Json:
    answer = falcon.send("GET", "/asyncapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return dict(answer.json())


def test_every_event_that_is_sent_is_in_the_table() -> None:
    declared = [
        name
        for path in (FOLDER / "features").glob("*/stream.py")
        for name in re.findall(r'StreamEvent\(\s*"([\w.]+)"', path.read_text())
    ]
    assert sorted(declared) == sorted(event.name for event in LOGGED_EVENTS)
    sources = "".join(
        path.read_text()
        for folder in ("streams", "http")
        for path in sorted((FOLDER / folder).rglob("*.py"))
        if path.name != "events.py"
    )
    assert not [name for name in declared if f'"{name}"' in sources], "an event that is sent without its declaration"
    of_the_stream = set(re.findall(r'"(hello|caught_up|catch_up|bye)"', sources))
    assert {event.name for event in STREAM_EVENTS if not event.signal} == {*declared, *of_the_stream}
    assert [event.name for event in STREAM_EVENTS if event.signal] == ["typing", "presence", "account", "receipts"]
    assert SIGNALS == ("typing", "presence", "accounts", "receipts")


def test_the_document_is_asyncapi_3_and_leads_somewhere(document: Json) -> None:
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"]["stream"]["address"] == "/v1/stream"
    references = set(values(document, "$ref"))
    assert references
    for reference in references:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_every_event_is_described_with_the_fields_of_its_type(document: Json) -> None:
    components = document["components"]
    assert list(components["messages"]) == [event.name for event in STREAM_EVENTS]
    for event in STREAM_EVENTS:
        described = components["messages"][event.name]
        assert described["summary"] == event.sent and event.sent.endswith(".")
        schema = components["schemas"][described["payload"]["$ref"].rpartition("/")[2]]
        assert list(schema["properties"]) == [field.encode_name for field in msgspec.structs.fields(event.data)]


def test_every_operation_is_in_one_group(falcon: Falcon) -> None:
    openapi = falcon.send("GET", "/openapi.json").json()
    assert [tag["name"] for tag in openapi["tags"]] == [group.name for group in GROUPS]
    tagged = {
        operation["operationId"]: operation["tags"]
        for methods in openapi["paths"].values()
        for operation in methods.values()
    }
    assert tagged == {
        "stream" if each.handler is None else each.handler.__name__: [each.group.name] for each in OPERATIONS
    }
    assert {each.group for each in OPERATIONS} == set(GROUPS)
