"""A retry with the same key gets the same answer, and nothing is done twice."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from falcon.write.answers import UsedKeys
from tests.http.commands import COMMANDS, Command, Scene, set_scene
from tests.support.http import Falcon, Person, Room, problem, texts


@pytest.fixture
def scene(falcon: Falcon) -> Scene:
    return set_scene(falcon)


@pytest.fixture
def key(scene: Scene) -> str:
    """A key that no account has used yet, not even the admin that all tests share."""
    return f"key-of-{scene.anna.account_id}"


def replayed(answer: httpx.Response) -> bool:
    header = answer.headers.get("idempotency-replayed")
    assert header in (None, "true")
    return header is not None


def the_same(first: httpx.Response, again: httpx.Response) -> None:
    assert not replayed(first) and replayed(again)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers.get("content-type") == first.headers.get("content-type")


# --- every command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_a_retry_gets_the_same_answer(scene: Scene, key: str, name: str) -> None:
    command = COMMANDS[name](scene)
    first = command.send(key=key)
    assert first.is_success, first.text
    for _ in range(2):
        again = command.send(key=key)
        the_same(first, again)
        assert again.headers["falcon-position"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_key_for_another_body_is_refused(scene: Scene, key: str, name: str) -> None:
    command = COMMANDS[name](scene)
    assert command.send(key=key).is_success
    other: dict[str, object]
    if command.body is None:
        # An empty object means the same as no body, but is another request.
        other = {}
    else:
        other = dict(command.body)
        field = next(iter(other))
        other[field] = {"seq": 0, "role": "readonly"}.get(field, "Something else")
    refused = command.by.send(command.method, command.path, other, key=key)
    problem(refused, 422, "idempotency_key_reused", "Idempotency-Key")
    assert not replayed(refused)
    the_same_again = command.send(key=key)
    assert the_same_again.is_success and replayed(the_same_again)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_retry_at_the_same_time_is_done_once(falcon: Falcon, scene: Scene, key: str, name: str) -> None:
    command = COMMANDS[name](scene)
    answers = falcon.together(
        *(command.by.request(command.method, command.path, command.body, key=key) for _ in range(10))
    )
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert sorted(map(replayed, answers)) == [False] + [True] * 9


# --- what is done once ------------------------------------------------------------------------------------------------


def test_without_a_key_each_request_counts(anna: Person, room: Room) -> None:
    for _ in range(3):
        anna.post(f"{room}/messages", {"text": "Hi"})
    assert texts(anna.reads(room)) == ["Hi"] * 3


def test_a_retried_account_creation_shows_the_token_again_and_it_works(falcon: Falcon, admin: Person) -> None:
    first, again = (admin.post("/v1/accounts", {"name": "Dora"}, key="dora") for _ in "xx")
    the_same(first, again)
    dora = Person(falcon, first.json()["account_id"], "Dora", again.json()["token"])
    assert dora.get("/v1/me").json()["account_id"] == dora.account_id


def test_a_retried_token_is_the_same_token(falcon: Falcon, anna: Person) -> None:
    path = f"/v1/accounts/{anna.account_id}/tokens"
    first, again = anna.post(path, key="t"), anna.post(path, key="t")
    the_same(first, again)
    assert Person(falcon, anna.account_id, "Anna", again.json()["token"]).get("/v1/me").status_code == 200
    assert len(anna.get(path).json()["tokens"]) == 2


def test_a_retry_shows_no_wrong_token_while_the_secret_of_the_server_is_another(tmp_path: Path) -> None:
    secret, kept = tmp_path / "secret", tmp_path / "kept"
    with Falcon(tmp_path) as falcon:
        made = falcon.admin.post("/v1/accounts", {"name": "Ben"}, key="Ben")
        issued = falcon.admin.post(f"/v1/accounts/{made.json()['account_id']}/tokens", {}, key="Ben-2")
    secret.rename(kept)
    retries = [(made, "/v1/accounts", {"name": "Ben"}, "Ben")]
    retries.append((issued, f"/v1/accounts/{made.json()['account_id']}/tokens", {}, "Ben-2"))
    with Falcon(tmp_path) as falcon:
        for _, path, body, key in retries:
            refused = falcon.admin.post(path, body, key=key)
            problem(refused, 409, "token_unreadable", "Idempotency-Key")
            assert "retry-after" not in refused.headers
            assert f"account {made.json()['account_id']}" in refused.json()["detail"]
    kept.replace(secret)
    with Falcon(tmp_path) as falcon:
        for first, path, body, key in retries:
            again = falcon.admin.post(path, body, key=key)
            assert (again.status_code, again.content) == (first.status_code, first.content)


def test_a_retried_read_mark_counts_as_it_did(anna: Person, ben: Person, room: Room) -> None:
    for text in ("One", "Two", "Three"):
        anna.says(room, text, mentions=[ben.account_id])
    moved = ben.put(f"{room}/read", {"seq": 1}, key="r")
    anna.says(room, "Four", mentions=[ben.account_id])
    ben.marks_read(room, 4)
    the_same(moved, ben.put(f"{room}/read", {"seq": 1}, key="r"))
    assert ben.summary(room)["read_seq"] == 4


def test_a_retried_read_mark_counts_the_mentions_as_they_were(anna: Person, ben: Person, room: Room) -> None:
    anna.says(room, "Ben?", mentions=[ben.account_id])
    moved = ben.put(f"{room}/read", {"seq": 0}, key="r")
    anna.delete(f"{room}/messages/1")
    the_same(moved, ben.put(f"{room}/read", {"seq": 0}, key="r"))


def test_a_retried_invitation_is_answered_as_it_was_after_leaving(scene: Scene) -> None:
    anna, ben, cleo, room = scene.anna, scene.ben, scene.cleo, scene.room
    anna.put(f"{room}/members/{ben.account_id}", {"role": "admin"})
    invited = anna.put(f"{room}/members/{cleo.account_id}", {"role": "member"}, key="c")
    anna.delete(f"{room}/members/{anna.account_id}")
    the_same(invited, anna.put(f"{room}/members/{cleo.account_id}", {"role": "member"}, key="c"))


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "status", "code"),
    [
        (lambda s: Command(s.cleo, "POST", f"{s.room}/messages", {"text": "Hi"}), 404, "room_not_found"),
        (lambda s: Command(s.cleo, "DELETE", f"{s.room}/members/{s.cleo.account_id}"), 404, "room_not_found"),
        (lambda s: Command(s.anna, "POST", f"{s.room}/messages", {"text": "x", "reply_to": 9}), 422, "invalid"),
        (lambda s: Command(s.anna, "PATCH", f"{s.room}/messages/9", {"text": "x"}), 404, "message_not_found"),
        (lambda s: Command(s.ben, "PATCH", f"{s.room}/messages/1", {"text": "x"}), 403, "not_the_author"),
        (lambda s: Command(s.ben, "DELETE", f"{s.room}/messages/1"), 403, "not_the_author"),
        (lambda s: Command(s.ben, "PATCH", f"{s.room}", {"name": "x"}), 403, "not_allowed"),
        (lambda s: Command(s.ben, "DELETE", f"{s.room}"), 403, "not_allowed"),
        (lambda s: Command(s.anna, "PUT", f"{s.room}/read", {"seq": 9}), 422, "invalid"),
        (lambda s: Command(s.anna, "PUT", f"/v1/direct/{s.anna.account_id}"), 422, "invalid"),
        (lambda s: Command(s.admin, "POST", f"/v1/accounts/{2**53 - 1}/tokens"), 404, "account_not_found"),
        (lambda s: Command(s.anna, "DELETE", f"/v1/accounts/{s.anna.account_id}/tokens/9"), 404, "token_not_found"),
    ],
)
def test_refusals_that_are_remembered(
    scene: Scene, key: str, refused: Callable[[Scene], Command], status: int, code: str
) -> None:
    command = refused(scene)
    first = command.send(key=key)
    problem(first, status, code)
    the_same(first, command.send(key=key))


def test_what_was_not_understood_uses_up_no_key(anna: Person, room: Room) -> None:
    problem(anna.post(f"{room}/messages", {"txet": "Hi"}, key="k"), 422, "invalid")
    problem(anna.post(f"{room}/messages", content=b"{", key="k"), 415, "unsupported_media_type")
    posted = anna.post(f"{room}/messages", {"text": "Hi"}, key="k")
    assert posted.status_code == 201 and not replayed(posted)


# --- whose key, and what for ------------------------------------------------------------------------------------------


def test_a_key_of_an_account_is_the_same_with_each_of_its_tokens(falcon: Falcon, anna: Person, room: Room) -> None:
    token = anna.post(f"/v1/accounts/{anna.account_id}/tokens").json()["token"]
    first = anna.post(f"{room}/messages", {"text": "Hi"}, key="k")
    the_same(first, Person(falcon, anna.account_id, "Anna", token).post(f"{room}/messages", {"text": "Hi"}, key="k"))


def test_the_same_key_for_another_path_or_method_is_refused(anna: Person, room: Room) -> None:
    anna.says(room, "One"), anna.says(room, "Two")
    assert anna.patch(f"{room}/messages/1", {"text": "Edited"}, key="k").status_code == 200
    problem(anna.patch(f"{room}/messages/2", {"text": "Edited"}, key="k"), 422, "idempotency_key_reused")
    problem(anna.post(f"{room}/messages", {"text": "Edited"}, key="k"), 422, "idempotency_key_reused")
    problem(anna.delete(f"{room}/messages/1", key="k"), 422, "idempotency_key_reused")
    assert texts(anna.reads(room)) == ["Edited", "Two"]


def test_the_same_key_for_another_room_is_refused(anna: Person) -> None:
    rooms = [anna.makes_room(str(i)) for i in range(6)]  # in as many partitions, or nearly; each keeps its own log
    assert anna.post(f"{rooms[0]}/messages", {"text": "Hi"}, key="k").status_code == 201
    for room in rooms[1:]:
        problem(anna.post(f"{room}/messages", {"text": "Hi"}, key="k"), 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    "key", ["a", "~!@#$%^&*()", "x" * 64, "0", "null", '"', "ec6c1d2e-1c5a-4f0e-9c6f-1f7d2f7f3c11"]
)
def test_a_key_is_1_to_64_visible_characters(anna: Person, room: Room, key: str) -> None:
    the_same(*(anna.post(f"{room}/messages", {"text": "Hi"}, key=key) for _ in "xx"))


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 65, "\t", "\x7f", "é".encode(), "茶".encode(), "x" * 10_000])
def test_and_nothing_else(anna: Person, room: Room, key: str | bytes) -> None:
    refused = anna.post(f"{room}/messages", {"text": "Hi"}, headers={"Idempotency-Key": key})
    problem(refused, 422, "invalid", "Idempotency-Key")
    assert texts(anna.reads(room)) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_minds_the_form_of_the_key(scene: Scene, name: str) -> None:
    command = COMMANDS[name](scene)
    problem(command.send(key="a b"), 422, "invalid", "Idempotency-Key")
    assert command.send().is_success


# --- how long ---------------------------------------------------------------------------------------------------------


def test_keys_are_remembered_across_a_restart(tmp_path: Path) -> None:
    with Falcon(tmp_path) as falcon:
        scene = set_scene(falcon)
        commands = [COMMANDS[name](scene) for name in ("send a message", "make a room", "make an account")]
        first = [command.send(key=f"k{index}") for index, command in enumerate(commands)]
        refused = scene.ben.patch(str(scene.room), {"name": "x"}, key="no")
    with Falcon(tmp_path) as falcon:
        for index, (command, answer) in enumerate(zip(commands, first, strict=True)):
            by = Person(falcon, command.by.account_id, command.by.name, command.by.token)
            the_same(answer, command._replace(by=by).send(key=f"k{index}"))
        ben = Person(falcon, scene.ben.account_id, "Ben", scene.ben.token)
        the_same(refused, ben.patch(str(scene.room), {"name": "x"}, key="no"))
        assert texts(ben.reads(scene.room)) == ["Tea?", "Please"]


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Falcon]:
    """Remembers keys for a millisecond."""
    with Falcon(tmp_path, answer_window_seconds=0.001) as falcon:
        yield falcon


def some_milliseconds_pass(person: Person, room: Room) -> None:
    """Waits by the clock that stamps messages."""
    first = person.message(room, person.says(room, "tick"))["posted_at"]
    while person.message(room, person.says(room, "tock"))["posted_at"][:-2] == first[:-2]:
        pass
    person.says(room, "tock")
    while person.message(room, person.says(room, "tock"))["posted_at"][:-2] == first[:-2]:
        pass


def test_after_the_window_a_token_is_another_token(forgetful: Falcon) -> None:
    anna = forgetful.account("Anna")
    room = anna.makes_room()
    path = f"/v1/accounts/{anna.account_id}/tokens"
    first = anna.post(path, key="t").json()
    anna.delete(f"{path}/{first['token_id']}")
    some_milliseconds_pass(anna, room)
    second = anna.post(path, key="t").json()
    assert second["token_id"] != first["token_id"]
    assert second["token"] != first["token"]


def test_an_edge_remembers_only_so_many_keys(tmp_path: Path) -> None:
    with Falcon(tmp_path) as falcon:
        falcon.edge.commands._keys = UsedKeys(3, 600.0)
        anna = falcon.account("Anna")
        rooms = [anna.makes_room(str(i)) for i in range(6)]  # in as many partitions, or nearly
        assert len({room.room_id % falcon.settings.partitions for room in rooms}) > 1
        first, *others = rooms
        there = next(room for room in others if room.room_id % 64 != first.room_id % 64)
        assert anna.post(f"{first}/messages", {"text": "Hi"}, key="k").status_code == 201
        problem(anna.post(f"{there}/messages", {"text": "Hi"}, key="k"), 422, "idempotency_key_reused")
        for other in ("a", "b", "c", "d", "e"):
            assert anna.post(f"{there}/messages", {"text": "Hi"}, key=other).status_code == 201
        assert anna.post(f"{there}/messages", {"text": "Hi"}, key="k").status_code == 201, "it has been forgotten here"
        the_same(*(anna.post(f"{first}/messages", {"text": "Hi"}, key=key) for key in ("f", "f")))
        assert len(falcon.edge.commands._keys) < 6


def test_a_request_that_the_owner_refused_for_its_key_does_not_take_the_key_from_the_right_one(
    falcon: Falcon, anna: Person, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"right-{room.room_id}"
    right = anna.post(f"{room}/messages", {"text": "right"}, key=key)
    monkeypatch.setattr(falcon.edge.commands, "_keys", UsedKeys(100, 600.0))  # as at another process
    problem(anna.post(f"{room}/messages", {"text": "wrong"}, key=key), 422, "idempotency_key_reused")
    the_same(right, anna.post(f"{room}/messages", {"text": "right"}, key=key))


def test_a_request_that_its_owner_has_done_is_repeated_where_its_key_was_seen_with_another_one(
    falcon: Falcon, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client used one key for two rooms, at two processes."""
    rooms = [anna.makes_room(name) for name in ("Tea", "Coffee", "Milk", "Sugar")]
    first = rooms[0]
    other = next(room for room in rooms if room.room_id % 64 != first.room_id % 64)
    key, hello = f"two-rooms-{first.room_id}", {"text": "hello"}
    done = anna.post(f"{first}/messages", hello, key=key)
    monkeypatch.setattr(falcon.edge.commands, "_keys", UsedKeys(100, 600.0))
    assert anna.post(f"{other}/messages", hello, key=key).status_code == 201, "as docs/building.md says"
    the_same(done, anna.post(f"{first}/messages", hello, key=key))
    third = next(room for room in rooms if room not in (first, other))
    problem(anna.post(f"{third}/messages", hello, key=key), 422, "idempotency_key_reused")


def test_a_key_whose_request_was_refused_belongs_to_that_request(anna: Person, ben: Person) -> None:
    rooms = [ben.makes_room(name) for name in ("Tea", "Coffee", "Milk", "Sugar")]
    other = anna.makes_room()
    room = next(room for room in rooms if room.room_id % 64 != other.room_id % 64)
    key = f"refused-{room.room_id}"
    problem(anna.post(f"{room}/messages", {"text": "hello"}, key=key), 404, "room_not_found")
    problem(anna.post(f"{other}/messages", {"text": "hello"}, key=key), 422, "idempotency_key_reused")
