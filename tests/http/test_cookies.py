"""A session's cookie says who asks, and a command with it comes from a page of this Falcon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from falcon.http.cookies import Origins
from falcon.http.problems import Problem
from tests.streams.reader import Listen, Transport, problem_of
from tests.support.http import Falcon, Person, Room, problem

OWN = "https://falcon.test"
FOREIGN = (
    "https://evil.test",
    "http://falcon.test",
    "https://falcon.test.evil.test",
    "null",
    "https://falcon.test:444",
)


@pytest.fixture
def listen() -> Iterator[Listen]:
    listening = Listen()
    yield listening
    listening.close()


def cookie(person: Person, name: str = "__Host-falcon") -> dict[str, str]:
    return {"Cookie": f"theme=dark; {name}={person.token}; tea=1"}


def test_a_page_is_read_with_the_cookie_alone(falcon: Falcon, anna: Person, room: Room) -> None:
    seq = anna.says(room, "Is there tea?")
    assert falcon.send("GET", f"{room}/messages/{seq}", headers=cookie(anna)).status_code == 200
    assert falcon.send("GET", "/v1/me", headers=cookie(anna)).json()["account_id"] == anna.account_id


@pytest.mark.parametrize("origin", [*FOREIGN, None])
def test_a_command_of_another_site_is_refused(falcon: Falcon, anna: Person, room: Room, origin: str | None) -> None:
    headers = {**cookie(anna), **({} if origin is None else {"Origin": origin})}
    refused = falcon.send("POST", f"{room}/messages", json={"text": "Not by me"}, headers=headers)
    assert problem(refused, 403, "not_allowed")["errors"][0]["field"] == "Origin"
    refused = falcon.send("POST", "/v1/stream/tickets", headers=headers)
    assert problem(refused, 403, "not_allowed")["errors"][0]["field"] == "Origin"
    assert anna.reads(room)["messages"] == []


def test_a_command_of_this_falcons_page_is_carried_out(falcon: Falcon, anna: Person, room: Room) -> None:
    headers = {**cookie(anna), "Origin": OWN}
    assert falcon.send("POST", f"{room}/messages", json={"text": "Tea!"}, headers=headers).status_code == 201


def test_a_token_needs_no_origin_also_beside_a_cookie(falcon: Falcon, anna: Person, ben: Person, room: Room) -> None:
    anna.put(f"{room}/members/{ben.account_id}", {"role": "member"})
    headers = {**cookie(anna), "Authorization": f"Bearer {ben.token}", "Origin": FOREIGN[0]}
    said = falcon.send("POST", f"{room}/messages", json={"text": "By Ben"}, headers=headers)
    assert said.json()["author_id"] == ben.account_id


def test_beyond_loopback_only_the_cookie_that_needs_tls_counts(falcon: Falcon, anna: Person) -> None:
    problem(falcon.send("GET", "/v1/me", headers=cookie(anna, "falcon")), 401, "unauthenticated")
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost"):
        headers = {**cookie(anna, "falcon"), "Host": host}
        assert falcon.send("GET", "/v1/me", headers=headers).status_code == 200
        here = falcon.send("POST", "/v1/stream/tickets", headers={**headers, "Origin": f"http://{host}"})
        assert here.status_code == 201


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_an_upgrade_needs_an_origin_and_a_stream_in_the_page_does_not(
    falcon: Falcon, anna: Person, listen: Listen, transport: Transport
) -> None:
    own = {**cookie(anna), "Origin": OWN, "Host": "falcon.test"}
    assert listen.bare(falcon, own, transport=transport).next().name == "hello"
    foreign = {**cookie(anna), "Origin": FOREIGN[0], "Host": "falcon.test"}
    if transport == "websocket":
        assert (
            problem_of(listen.bare(falcon, foreign, transport=transport), 403, "not_allowed")["errors"][0]["field"]
            == "Origin"
        )
    else:
        assert listen.bare(falcon, cookie(anna), transport=transport).next().name == "hello"


def test_an_origin_that_a_proxy_hides_is_named_by_a_setting(tmp_path: Path) -> None:
    with Falcon(tmp_path, allowed_origins=("https://chat.example",)) as falcon:
        headers = {**cookie(falcon.admin), "Host": "10.0.0.7:8080"}
        assert falcon.send(
            "POST", "/v1/stream/tickets", headers={**headers, "Origin": "https://chat.example"}
        ).is_success
        refused = falcon.send("POST", "/v1/stream/tickets", headers={**headers, "Origin": OWN})
        problem(refused, 403, "not_allowed")


@pytest.mark.parametrize(
    ("host", "more", "scheme", "url"),
    [
        (b"localhost:8080", {}, "http", "http://localhost:8080"),
        (b"localhost:8080", {b"x-forwarded-proto": b"https"}, "http", "https://localhost:8080"),
        (b"chat.example", {}, "http", "https://chat.example"),
        (b"10.0.0.7:8080", {b"origin": b"https://10.0.0.7:8080"}, "http", "https://10.0.0.7:8080"),
    ],
)
def test_links_name_the_address_that_the_browser_knows(
    host: bytes, more: dict[bytes, bytes], scheme: str, url: str
) -> None:
    assert Origins().url({b"host": host, **more}, {"scheme": scheme}) == url
    name, value = Origins().cookie("t", 60, {b"host": host, **more}, {"scheme": scheme})
    assert name == b"set-cookie" and (b"; Secure" in value) == value.startswith(b"__Host-falcon=") == url.startswith(
        "https"
    )


@pytest.mark.parametrize("host", [b"", b"a b", b"a/b", b'a"b', b"a@b"])
def test_a_host_that_names_none_is_in_no_link(host: bytes) -> None:
    with pytest.raises(Problem, match="403"):
        Origins().url({b"host": host}, {"scheme": "http"})


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_stream_ends_when_its_token_expires(
    falcon: Falcon, anna: Person, listen: Listen, transport: Transport
) -> None:
    token = anna.post(f"/v1/accounts/{anna.account_id}/tokens", {"expires_in": 1}).json()["token"]
    stream = listen.bare(falcon, {"Authorization": f"Bearer {token}"}, transport=transport)
    assert stream.next().name == "hello"
    assert stream.next("bye").data["reason"] == "unauthenticated"
