"""Requests made from the OpenAPI document, sent to a real Falcon in each role: the answers are as the document says,
and no role sees data that is not for it, even by odd requests.

Each role sends each twice: as it was made, and with the ids of things that exist. FALCON_EXAMPLES: how many of each
operation.
They are random ones: ``test_openapi.py`` sends those of every kind, as an admin.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig

from falcon.http.api.openapi import document
from tests.http.test_openapi import CHECKS, as_httpx
from tests.support.volume import volume
from tools.harness.falcon import Falcon

pytestmark = [pytest.mark.processes, pytest.mark.timeout(volume("FALCON_EXAMPLES_SECONDS", 300))]

ROLES: Final = ("admin", "member", "stranger", "nobody")
EXAMPLES: Final = int(volume("FALCON_EXAMPLES", 3))
_FOR_ADMINS: Final = (("POST", "/v1/accounts"), ("POST", "/v1/import"), ("GET", "/v1/export"))
_FOR_ALL: Final = ("/v1/sign-in", "/v1/invitations/by-code")  # without a token
_ENDS_TOKENS: Final = "/v1/me/token"
_TAKES_BACK: Final = ("DELETE", "/v1/bookmarks/{room_id}/{seq}")  # a mark of one's own, also after one has left

_RANDOM_ONES: Final = {"phases": {"examples": {"enabled": False}, "coverage": {"enabled": False}}}
schema = schemathesis.openapi.from_dict(document(), config=SchemathesisConfig.from_dict(_RANDOM_ONES)).exclude(
    path="/v1/stream"
)


class Scene:
    """An owner's room with a member and a guest; an admin and a stranger, who are in no room."""

    def __init__(self, url: str, admin_token: str, stack: ExitStack) -> None:
        self._client = stack.enter_context(httpx.Client(base_url=url, timeout=60))
        self.tokens = {"admin": admin_token, "nobody": ""}
        names = {
            name: self._makes(admin_token, "/v1/accounts", {"name": name}) for name in ("owner", "member", "guest")
        }
        names["stranger"] = self._makes(admin_token, "/v1/accounts", {"name": "stranger"})
        self.tokens |= {name: str(made["token"]) for name, made in names.items()}
        members = [{"account_id": names[name]["account_id"]} for name in ("member", "guest")]
        room = self._makes(self.tokens["owner"], "/v1/rooms", {"name": "Tea kitchen", "members": members})
        self._makes(self.tokens["owner"], f"/v1/rooms/{room['room_id']}/messages", {"text": "Tea?"})
        self.ids = {
            "room_id": room["room_id"],
            "account_id": names["guest"]["account_id"],
            "seq": 1,
            "token_id": 1,
            "emoji": "👍",
        }

    def sends(self, role: str, case: "schemathesis.Case[Any]") -> httpx.Response:
        token = self.tokens[role]
        if case.path == _ENDS_TOKENS and role != "nobody":
            account_id = self._asks("GET", "/v1/me", token)["account_id"]
            token = self._makes(token, f"/v1/accounts/{account_id}/tokens", {})["token"]
        request = as_httpx(case, token)
        if role == "nobody":
            del request["headers"]["authorization"]
        try:
            return self._client.request(case.method, case.formatted_path, **request)
        except httpx.LocalProtocolError:
            assume(False)
            raise

    def _makes(self, token: str, path: str, body: Any) -> dict[str, Any]:
        return self._asks("POST", path, token, body)

    def _asks(self, method: str, path: str, token: str, body: Any = None) -> dict[str, Any]:
        answer = self._client.request(method, path, json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    falcon = Falcon(tmp_path_factory.mktemp("roles")).start()
    try:
        with ExitStack() as stack:
            yield Scene(falcon.info["url"], falcon.info["admin_token"], stack)
    finally:
        falcon.stop()
    assert "Traceback" not in falcon.log()


def check(role: str, case: "schemathesis.Case[Any]", answer: httpx.Response, *, exists: bool) -> None:
    waited = answer.status_code == 503 and "falcon-position" in answer.request.headers
    case.validate_response(answer, checks=[each for each in CHECKS if not (waited and each is not_a_server_error)])
    if role == "nobody" and not case.path.startswith(_FOR_ALL):
        assert not answer.is_success, "without a token there is nothing"
    takes_back = (case.method, case.path) == _TAKES_BACK
    if role == "stranger" and exists and "{room_id}" in case.path and not takes_back:
        assert not answer.is_success, "a room is its members'"
    if role in ("member", "stranger") and (case.method, case.path) in _FOR_ADMINS:
        assert not answer.is_success, "this is for admins"


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_each_role_gets_what_is_for_it_and_nothing_else(scene: Scene, case: "schemathesis.Case[Any]") -> None:
    for role in ROLES:
        check(role, case, scene.sends(role, case), exists=False)
    if case.path_parameters:
        case.path_parameters = {name: scene.ids.get(name, one) for name, one in case.path_parameters.items()}
        for role in reversed(ROLES):  # an admin deletes what the others ask for, so it comes last
            check(role, case, scene.sends(role, case), exists=True)
