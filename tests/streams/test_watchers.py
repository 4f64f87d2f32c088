"""Streams that watch an account hear what it shows now. Guests hear of people in their rooms."""

import pytest

from tests.streams.reader import Listen, Listener, Transport
from tests.support.http import Falcon, Json, Person

BOTH = pytest.mark.parametrize("transport", ["sse", "websocket"])


def a_guest(falcon: Falcon) -> Person:
    made = falcon.admin.post("/v1/accounts", {"name": "Gus", "role": "guest"}).json()
    return Person(falcon, made["account_id"], "Gus", made["token"])


def watches(listen: Listen, person: Person, *others: Person, transport: Transport = "sse") -> Listener:
    ids = ",".join(str(each.account_id) for each in others)
    stream = listen(person, transport=transport, signals="accounts", watch=ids)
    stream.next("hello")
    return stream


def changes(person: Person, **profile: object) -> None:
    assert person.patch("/v1/me", profile).status_code == 200


def shown(person: Person, **profile: object) -> Json:
    return {"account_id": person.account_id, "name": person.name, "handle": None, "title": "", **profile}


@BOTH
def test_a_member_is_told_what_a_stranger_shows(
    falcon: Falcon, anna: Person, cleo: Person, listen: Listen, transport: Transport
) -> None:
    stream = watches(listen, cleo, anna, transport=transport)
    changes(anna, about="Mornings")  # no stream shows it
    changes(anna, name="Anna Maria", title="Tea taster")
    event = stream.next()
    whole = shown(anna, name="Anna Maria", title="Tea taster", deactivated=False)
    assert (event.name, event.data) == ("account", whole)
    falcon.admin.patch(f"/v1/accounts/{anna.account_id}", {"deactivated": True})
    assert stream.next().data == whole | {"deactivated": True}


@BOTH
def test_a_guest_is_told_of_people_in_its_rooms_and_of_no_one_else(
    falcon: Falcon, anna: Person, ben: Person, listen: Listen, transport: Transport
) -> None:
    guest = a_guest(falcon)
    room = anna.makes_room("Tea kitchen", guest)
    stream = watches(listen, guest, anna, ben, transport=transport)
    changes(ben, title="Unseen")
    changes(anna, title="Seen")
    event = stream.next()
    assert (event.data["account_id"], event.data["title"]) == (anna.account_id, "Seen")
    anna.put(f"{room}/members/{ben.account_id}", {"role": "member"})
    stream.next("member.joined")
    changes(ben, title="Near")
    assert stream.next().data["title"] == "Near"
    anna.delete(f"{room}/members/{ben.account_id}")
    stream.next("member.left")
    changes(ben, title="Away")
    changes(anna, title="Still here")
    assert stream.next().data["title"] == "Still here"


def test_a_member_who_becomes_a_guest_is_told_of_strangers_no_more(
    falcon: Falcon, anna: Person, ben: Person, cleo: Person, listen: Listen
) -> None:
    anna.makes_room("Tea kitchen", cleo)
    stream = watches(listen, cleo, anna, ben)
    falcon.admin.patch(f"/v1/accounts/{cleo.account_id}", {"role": "guest"})
    changes(ben, title="Unseen")
    changes(anna, title="Seen")
    assert stream.next().data["title"] == "Seen"


def test_an_older_name_never_follows_a_newer_one(anna: Person, cleo: Person, listen: Listen) -> None:
    stream = watches(listen, cleo, anna)
    names = [f"Anna {number}" for number in range(20)]
    for name in names:
        changes(anna, name=name)
    assert [stream.next().data["name"] for _ in names] == names
