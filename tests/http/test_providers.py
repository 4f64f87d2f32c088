"""People sign in with an OpenID Connect provider. The one here may be slow, away, or lie."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from falcon.cli import doctor, upkeep
from falcon.http.oidc import OidcProvider
from falcon.http.providers import ProviderSettings, read_providers
from falcon.run.settings import Settings
from tests.support.http import Falcon, problem

ISSUER = "https://idp.test"
SECRET = "the secret of the client"


@dataclass
class Idp:
    """``claims``: change what the next id_token says. ``key``: signs it. ``codes``: good ones, with their challenge and
    nonce. ``away``: it does not answer."""

    claims: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    shown: list[Any] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    away: bool = False
    sign: Callable[[dict[str, Any]], str] | None = None

    def answers(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectTimeout("no answer")
        match request.url.path:
            case "/.well-known/openid-configuration":
                addresses = {
                    name: f"{ISSUER}/{name}" for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
                }
                return httpx.Response(200, json={"issuer": ISSUER, **addresses})
            case "/jwks_uri":
                return httpx.Response(200, json={"keys": [self.key.as_dict(private=False)]})
            case "/token_endpoint":
                return self._token({name: values[0] for name, values in parse_qs(request.content.decode()).items()})
        return httpx.Response(404)

    def _token(self, form: dict[str, str]) -> httpx.Response:
        asked = self.codes.pop(form["code"], None)
        if asked is None or asked["code_challenge"] != challenge_of(form["code_verifier"]):
            return httpx.Response(400, json={"error": "invalid_grant"})
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": "falcon",
            "sub": "248289",
            "iat": now,
            "exp": now + 60,
            "nonce": asked["nonce"],
            "name": "Carl",
            "email": "Carl@Idp.test",
            "email_verified": True,
            **self.claims,
        }
        signed = (self.sign or self.usual)(claims)
        return httpx.Response(200, json={"access_token": "at", "token_type": "Bearer", "id_token": signed})

    def usual(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)


def challenge_of(verifier: str) -> str:
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    return str(create_s256_code_challenge(verifier))


@pytest.fixture
def idp(falcon: Falcon, tmp_path: Path) -> Iterator[Idp]:
    idp = Idp()
    entry(falcon, idp, tmp_path)
    yield idp
    falcon.edge.providers.clear()


def entry(falcon: Falcon, idp: Idp, folder: Path, **more: Any) -> None:
    """The provider's entry in the settings."""
    secret = folder / "client-secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    settings = ProviderSettings(
        "idp", "Our company", ISSUER, "falcon", str(secret), **{"create_accounts": True, **more}
    )
    falcon.edge.providers["idp"] = OidcProvider(settings, httpx.MockTransport(idp.answers))


@dataclass
class Browser:
    falcon: Falcon
    cookies: dict[str, str] = field(default_factory=dict)

    def goes(self, path: str) -> str:
        """Where it is sent."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self.falcon.send("GET", path, headers={"Cookie": cookie} if cookie else {})
        assert answer.status_code == 303, answer.text
        for header in answer.headers.get_list("set-cookie"):
            name, _, value = header.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.headers["location"]

    def begins(self, idp: Idp, return_to: str = "/?room=7") -> str:
        """The path of the callback, to which the provider sends it."""
        address = urlsplit(self.goes(f"/v1/sign-in/idp?return_to={return_to}"))
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
        assert asked["redirect_uri"] == "https://falcon.test/v1/sign-in/idp/callback"
        code = f"code-{len(idp.codes)}-{asked['state']}"
        idp.codes[code] = asked
        return f"/v1/sign-in/idp/callback?code={code}&state={asked['state']}&session_state=x"

    def gets(self, path: str) -> httpx.Response:
        return self.falcon.send("GET", path, headers={"Cookie": f"__Host-falcon={self.cookies.get('__Host-falcon')}"})

    def me(self) -> httpx.Response:
        return self.gets("/v1/me")


def signs_in(falcon: Falcon, idp: Idp) -> Browser:
    browser = Browser(falcon)
    assert browser.goes(browser.begins(idp)) == "/?room=7"
    return browser


def is_refused(falcon: Falcon, idp: Idp) -> bool:
    browser = Browser(falcon)
    outcome = browser.goes(browser.begins(idp))
    return outcome == "/?sign_in=refused" and "__Host-falcon" not in browser.cookies


def test_the_first_sign_in_makes_an_account_and_the_second_finds_it(falcon: Falcon, idp: Idp) -> None:
    assert falcon.send("GET", "/v1/sign-in").json()["providers"] == [{"provider": "idp", "name": "Our company"}]
    first = signs_in(falcon, idp).me().json()
    assert (first["name"], first["role"], first["email"]) == ("Carl", "member", "carl@idp.test")
    idp.claims = {"name": "Carlo"}
    assert signs_in(falcon, idp).me().json()["account_id"] == first["account_id"]
    for subject in ("2482890", "24828"):
        idp.claims = {"sub": subject, "email": f"{subject}@tea.test"}
        assert signs_in(falcon, idp).me().json()["account_id"] != first["account_id"]


def test_the_first_sign_in_joins_the_default_rooms_and_a_later_one_does_not(falcon: Falcon, idp: Idp) -> None:
    def rooms() -> list[str]:
        return [each["name"] for each in signs_in(falcon, idp).gets("/v1/rooms").json()["rooms"]]

    room = falcon.admin.makes_room("Tea for all")
    falcon.admin.patch(str(room), {"open": True, "default": True})
    idp.claims = {"sub": "newcomer", "email": "newcomer@idp.test"}
    try:
        assert rooms() == ["Tea for all"]
        left = signs_in(falcon, idp).me().json()["account_id"]
        assert falcon.admin.delete(f"{room}/members/{left}").status_code == 204
        assert rooms() == []
    finally:  # or all newcomers of these tests join it
        falcon.admin.patch(str(room), {"default": False})


@pytest.mark.parametrize(
    "lie",
    [
        {"aud": "another"},
        {"aud": ["falcon", "another"]},
        {"iss": "https://idp.test.evil"},
        {"exp": 1},
        {"nonce": "another"},
        {"sub": ""},
        {"azp": "another"},
    ],
    ids=str,
)
def test_a_wrong_id_token_lets_nobody_in(
    falcon: Falcon, idp: Idp, lie: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    idp.claims = lie
    assert is_refused(falcon, idp)
    assert SECRET not in caplog.text and "code-" not in caplog.text


def test_an_unsigned_token_and_one_of_another_key_let_nobody_in(falcon: Falcon, idp: Idp) -> None:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    idp.sign = lambda claims: f"{part({'alg': 'none'})}.{part(claims)}."
    assert is_refused(falcon, idp)
    idp.sign = lambda claims: jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET * 2))
    assert is_refused(falcon, idp)
    stranger = RSAKey.generate_key(2048, {"kid": "1"})
    idp.sign = lambda claims: jwt.encode({"alg": "RS256", "kid": "1"}, claims, stranger)
    assert is_refused(falcon, idp)


def test_keys_of_a_provider_rotate(falcon: Falcon, idp: Idp) -> None:
    signs_in(falcon, idp)
    idp.key = RSAKey.generate_key(2048, {"kid": "2"})
    signs_in(falcon, idp)


def test_another_browsers_state_and_a_used_one_let_nobody_in(falcon: Falcon, idp: Idp) -> None:
    anna, mallory = Browser(falcon), Browser(falcon)
    callback = mallory.begins(idp)
    assert anna.goes(callback) == "/?sign_in=refused"
    anna.begins(idp)
    assert anna.goes(callback) == "/?sign_in=refused"
    cookies = dict(mallory.cookies)
    assert mallory.goes(callback) == "/?room=7"
    again = Browser(falcon, cookies)
    assert again.goes(callback) == "/?sign_in=refused"
    assert "__Host-falcon" not in again.cookies


def test_a_code_that_was_used_lets_nobody_in(falcon: Falcon, idp: Idp) -> None:
    browser = Browser(falcon)
    callback = browser.begins(idp)
    idp.codes.clear()
    assert browser.goes(callback) == "/?sign_in=refused"


def test_a_provider_that_is_away_is_said_and_passwords_go_on(falcon: Falcon, idp: Idp) -> None:
    browser = Browser(falcon)
    callback = browser.begins(idp)
    idp.away = True
    assert browser.goes(callback) == "/?sign_in=unavailable&provider=idp"
    away = falcon.edge.providers["idp"]
    assert isinstance(away, OidcProvider)
    away._asked_at = -1e9
    assert Browser(falcon).goes("/v1/sign-in/idp") == "/?sign_in=unavailable&provider=idp"
    assert falcon.send("GET", "/v1/sign-in").json()["password"] is True


@pytest.mark.parametrize("return_to", ["https://evil.test", "//evil.test", "/\\evil.test", "evil"])
def test_a_browser_comes_back_to_this_falcon_only(falcon: Falcon, idp: Idp, return_to: str) -> None:
    refused = falcon.send("GET", "/v1/sign-in/idp", params={"return_to": return_to})
    problem(refused, 422, "invalid")
    problem(falcon.send("GET", "/v1/sign-in/another"), 404, "item_not_found")


def test_an_entry_says_who_gets_an_account_and_which_role(falcon: Falcon, idp: Idp, tmp_path: Path) -> None:
    entry(falcon, idp, tmp_path, create_accounts=False)
    idp.claims = {"sub": "none"}
    assert is_refused(falcon, idp)
    entry(falcon, idp, tmp_path, domains=("tea.test",), roles={"bosses": "admin", "all": "guest"})
    for claims in (
        {"email": "x@evil.test"},
        {"email": "x@tea.test", "email_verified": False},
        {"email": "x@eviltea.test"},
    ):
        idp.claims = {"sub": "none", **claims}
        assert is_refused(falcon, idp)
    idp.claims = {"sub": "boss", "groups": ["all", "bosses"], "email": "boss@tea.test"}
    assert signs_in(falcon, idp).me().json()["role"] == "admin"
    idp.claims["groups"] = ["all"]
    assert signs_in(falcon, idp).me().json()["role"] == "guest"


def test_an_email_picks_an_account_only_where_the_entry_says_so_and_if_it_is_verified(
    falcon: Falcon, idp: Idp, tmp_path: Path
) -> None:
    eve = falcon.account("Eve")
    falcon.admin.patch(f"/v1/accounts/{eve.account_id}", {"email": "eve@tea.test"})
    idp.claims = {"sub": "eve", "email": "EVE@tea.test"}
    assert signs_in(falcon, idp).me().json()["account_id"] != eve.account_id
    entry(falcon, idp, tmp_path, match_email=True)
    assert signs_in(falcon, idp).me().json()["account_id"] == eve.account_id
    idp.claims["email_verified"] = False
    assert signs_in(falcon, idp).me().json()["account_id"] != eve.account_id


def test_a_deactivated_account_does_not_come_in(falcon: Falcon, idp: Idp) -> None:
    idp.claims = {"sub": "leaver", "email": "leaver@tea.test"}
    account_id = signs_in(falcon, idp).me().json()["account_id"]
    assert falcon.admin.patch(f"/v1/accounts/{account_id}", {"deactivated": True}).status_code == 200
    assert is_refused(falcon, idp)


def test_the_doctor_asks_each_provider(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    entry = {"provider": "a", "name": "Away", "issuer": "http://127.0.0.1:1", "client_id": "f", "create_accounts": True}
    path = tmp_path / "oidc.json"
    path.write_text(json.dumps({"providers": [{**entry, "client_secret_file": str(tmp_path / "secret")}]}))
    (found,) = upkeep._providers(Settings(oidc_file=path))
    assert (found.check, found.state) == ("Provider Away", doctor.FindingState.FAIL)
    assert doctor.provider("A", ISSUER, "").state == doctor.FindingState.OK
    path.write_text("{}")
    assert [each.state for each in upkeep._providers(Settings(oidc_file=path))] == [doctor.FindingState.FAIL]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "providers"),
        ('{"providers": [{"provider": "a b"}]}', "provider"),
        (
            '{"providers": [{"provider": "a", "name": "A", "issuer": "http://idp.test", "client_id": "f", '
            '"client_secret_file": "s", "create_accounts": true}]}',
            "must begin with https://",
        ),
        ("nonsense", "malformed"),
    ],
)
def test_a_file_that_is_wrong_says_why(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "oidc.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        read_providers(path)
