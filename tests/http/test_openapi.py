"""Valid and invalid requests, made from the OpenAPI document: the answers are as it says.

Each is sent twice: as it was made, and with ids of things that exist, so that it is not just a 404.
FALCON_EXAMPLES: how many of each operation.
"""

import json
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

from falcon.http.api.openapi import document
from tests.support.http import Falcon, Json, Room
from tests.support.volume import volume

pytestmark = [pytest.mark.processes, pytest.mark.timeout(volume("FALCON_EXAMPLES_SECONDS", 300))]

EXAMPLES: Final = int(volume("FALCON_EXAMPLES", 3))

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

# Without the stream, which does not end.
schema = schemathesis.openapi.from_dict(document()).exclude(path="/v1/stream")


@schemathesis.serializer("application/x-ndjson")
def _one_line(context: schemathesis.SerializationContext, value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


class Scene:
    """An admin who is also in a room, so that no operation is refused for want of a role."""

    def __init__(self, falcon: Falcon) -> None:
        self.falcon = falcon
        self.caller = falcon.admin
        self.other = falcon.account("Ben")
        self._room: Room | None = None

    def ids(self) -> Json:
        """Ids of things that exist, by the names of path parameters."""
        if self._room is None or self.caller.get(str(self._room)).status_code != 200:
            self._room = self.caller.makes_room("Tea kitchen", self.other)
            self.caller.says(self._room, "Tea?", mentions=[self.other.account_id])
            self.falcon.admin.post(f"/v1/accounts/{self.other.account_id}/tokens")
        self.caller.put(f"{self._room}/members/{self.other.account_id}", {"role": "member"})
        token_ids = self.falcon.admin.get(f"/v1/accounts/{self.other.account_id}/tokens").json()["tokens"]
        return {
            "room_id": self._room.room_id,
            "account_id": self.other.account_id,
            "seq": 1,
            "token_id": token_ids[-1]["token_id"] if token_ids else 1,
            "emoji": "👍",
            "session_id": 1,
            "provider": "idp",
            "invitation_id": 1,
            "code": f"1_{'x' * 43}",
        }

    def send(self, case: "schemathesis.Case[Any]") -> None:
        response = self.falcon.send(case.method, case.formatted_path, **as_httpx(case, self.caller.token))
        checks = list(CHECKS)
        if response.status_code == 503 and "falcon-position" in response.request.headers:
            checks.remove(not_a_server_error)  # it has not reached that position yet; the request may be sent again
        case.validate_response(response, checks=checks)


def as_httpx(case: "schemathesis.Case[Any]", token: str) -> Json:
    headers = {name.lower(): _header(str(value)) for name, value in (case.headers or {}).items()}
    request: Json = {"headers": headers, "params": case.query or {}}
    if isinstance(case.body, bytes):
        request["content"] = case.body
    elif isinstance(case.body, list | dict | str | int | float | None):  # else there is none
        request["content"] = json.dumps(case.body).encode("utf-8", "surrogatepass")
    if "content" in request and case.media_type is not None:
        headers["content-type"] = case.media_type.encode()
    headers["authorization"] = f"Bearer {token}".encode()
    headers["falcon-wait"] = _no_time(headers.get("falcon-wait", b"0"))
    return request


def _header(value: str) -> bytes:
    """The bytes, if a server would let them through."""
    return value.encode("utf-8", "surrogatepass").translate(None, b"\r\n\0")


def _no_time(wait: bytes) -> bytes:
    """A valid Falcon-Wait becomes 0, since invented positions never come."""
    try:
        return b"0" if 0 <= float(wait) <= 10 else wait
    except ValueError:
        return wait


@pytest.fixture(scope="module")
def scene(falcon: Falcon) -> Scene:
    return Scene(falcon)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_the_document_says(scene: Scene, case: "schemathesis.Case[Any]") -> None:
    scene.send(case)
    if case.path_parameters:
        case.path_parameters = {name: scene.ids()[name] for name in case.path_parameters}
        scene.send(case)
