"""Answers show the name of now, whichever process changed it; what the stream has shown stays as it was."""

import json
import time
from collections.abc import Callable

import pytest

from falcon.features.accounts.rules import ChangeAccount
from falcon.write.gateway import partition_for
from falcon.write.protocol import Accepted, CommandEnvelope
from tests.streams.reader import Listen
from tests.support.http import Falcon, Json, Person, Room
from tools.harness.waiting import until

Rename = Callable[[Person, str], None]


def here(person: Person, name: str) -> None:
    assert person.patch("/v1/me", {"name": name}).status_code == 200


def at_another_process(person: Person, name: str) -> None:
    """This process hears of it by the log alone."""
    edge = person.falcon.edge
    command = ChangeAccount(person.account_id, name=name)
    partition = partition_for(command, person.account_id, None, edge.partitions)

    async def ask() -> None:
        envelope = CommandEnvelope(partition, person.account_id, command, time.monotonic() + 60)
        assert isinstance(await edge.gateway.ask(envelope), Accepted)

    person.falcon.run(ask())


def named(entries: list[Json], person: Person) -> list[str]:
    return [entry["name"] for entry in entries if entry["account_id"] == person.account_id]


def names_of(anna: Person, ben: Person, room: Room, direct: Room, invitation: str) -> dict[str, list[str]]:
    """Anna's name in all answers that have one."""
    admin, number = anna.falcon.admin, anna.account_id

    def got(person: Person, path: str) -> Json:
        answer: Json = person.get(path).json()
        return answer

    link = admin.post(f"/v1/accounts/{number}/sign-in-link").json()["url"].rpartition("sign-in=")[2]
    rooms = got(ben, "/v1/rooms")["rooms"]
    exported = [json.loads(line) for line in admin.get("/v1/export").content.splitlines()]
    return {
        "me": [got(anna, "/v1/me")["name"]],
        "account": [got(ben, f"/v1/accounts/{number}")["name"]],
        "ids": named(got(ben, f"/v1/accounts?ids={number}")["accounts"], anna),
        "accounts": named(got(admin, f"/v1/accounts?limit=200&cursor={number - 1}")["accounts"], anna)[:1],
        "members": named(got(ben, f"{room}/members")["members"], anna),
        "member": [ben.put(f"{room}/members/{number}", {"role": "member"}).json()["name"]],
        "authors": named(got(ben, f"{room}/authors?ids={number}")["authors"], anna),
        "direct room": [got(ben, str(direct))["name"]],
        "direct room again": [ben.put(f"/v1/direct/{number}").json()["name"]],
        "rooms": [each["name"] for each in rooms if each["peer_id"] == number],
        "sign-in link": [got(ben, f"/v1/sign-in/by-code/{link}")["name"]],
        "invitation": [got(ben, f"/v1/invitations/by-code/{invitation}")["by"]],
        "export": [each["name"] for each in exported if each["type"] == "account" and each["ref"] == str(number)][-1:],
    }


@pytest.mark.parametrize("rename", [here, at_another_process])
def test_each_answer_shows_the_name_of_now(falcon: Falcon, ben: Person, rename: Rename) -> None:
    anna = falcon.account("Anna Old")
    room = ben.makes_room("Tea kitchen", anna)
    direct = ben.direct_with(anna)
    ben.put(f"{room}/members/{anna.account_id}", {"role": "admin"})
    invited = anna.post("/v1/invitations", {"role": "guest", "rooms": [room.room_id]}).json()
    invitation = invited["url"].rpartition("invitation=")[2]
    ben.put(f"{room}/members/{anna.account_id}", {"role": "member"})
    before = names_of(anna, ben, room, direct, invitation)
    assert {where: names for where, names in before.items() if names != ["Anna Old"]} == {}
    rename(anna, "Anna New")
    if rename is at_another_process:  # the log tells within two seconds
        until(lambda: ben.get(str(direct)).json()["name"] == "Anna New", seconds=60)
    after = names_of(anna, ben, room, direct, invitation)
    assert {where: names for where, names in after.items() if names != ["Anna New"]} == {}
    found = [ben.get("/v1/accounts/search", params={"q": f"anna {word}"}).json()["accounts"] for word in ("new", "old")]
    assert [named(accounts, anna) for accounts in found] == [["Anna New"], []]


def test_a_stream_shows_the_name_of_then_and_one_that_begins_the_name_of_now(
    falcon: Falcon, ben: Person, request: pytest.FixtureRequest
) -> None:
    anna = falcon.account("Anna Old")
    listening = Listen()
    request.addfinalizer(listening.close)
    stream = listening(ben)
    hello = stream.next("hello")
    ben.direct_with(anna)
    created = stream.next("room.created")
    here(anna, "Anna New")
    resumed = listening.resume(ben, hello).next("room.created")
    assert (created.data["name"], resumed.data["name"]) == ("Anna Old", "Anna Old")
    rooms = listening(ben).next("hello").data["rooms"]
    assert [each["name"] for each in rooms if each["peer_id"] == anna.account_id] == ["Anna New"]
