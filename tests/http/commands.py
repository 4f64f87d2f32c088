"""One valid request for each command of the API, for the people and the room of a test."""

from collections.abc import Callable
from typing import Final, NamedTuple

import httpx

from tests.support.http import Falcon, Json, Person, Room


class Command(NamedTuple):
    """A request that has not been sent. ``body`` is None where the command takes none."""

    by: Person
    method: str
    path: str
    body: Json | None = None

    def send(self, **request: object) -> httpx.Response:
        return self.by.send(self.method, self.path, self.body, **request)


class Scene(NamedTuple):
    """Anna's room with Ben, and a message by Anna that mentions him. Cleo is no member."""

    admin: Person
    anna: Person
    ben: Person
    cleo: Person
    room: Room


def set_scene(falcon: Falcon) -> Scene:
    anna, ben, cleo = falcon.account("Anna"), falcon.account("Ben"), falcon.account("Cleo")
    room = anna.makes_room("Tea kitchen", ben)
    anna.says(room, "Tea?", mentions=[ben.account_id])
    return Scene(falcon.admin, anna, ben, cleo, room)


COMMANDS: Final[dict[str, Callable[[Scene], Command]]] = {
    "send a message": lambda s: Command(s.ben, "POST", f"{s.room}/messages", {"text": "Please"}),
    "edit a message": lambda s: Command(s.anna, "PATCH", f"{s.room}/messages/1", {"text": "Tea!"}),
    "delete a message": lambda s: Command(s.anna, "DELETE", f"{s.room}/messages/1"),
    "move the read mark": lambda s: Command(s.ben, "PUT", f"{s.room}/read", {"seq": 1}),
    "make a room": lambda s: Command(s.ben, "POST", "/v1/rooms", {"name": "Another"}),
    "change a room": lambda s: Command(s.anna, "PATCH", f"{s.room}", {"name": "Coffee kitchen"}),
    "delete a room": lambda s: Command(s.anna, "DELETE", f"{s.room}"),
    "open a direct room": lambda s: Command(s.anna, "PUT", f"/v1/direct/{s.cleo.account_id}"),
    "bring somebody in": lambda s: Command(s.anna, "PUT", f"{s.room}/members/{s.cleo.account_id}", {"role": "member"}),
    "change a role": lambda s: Command(s.anna, "PUT", f"{s.room}/members/{s.ben.account_id}", {"role": "admin"}),
    "remove somebody": lambda s: Command(s.anna, "DELETE", f"{s.room}/members/{s.ben.account_id}"),
    "leave": lambda s: Command(s.ben, "DELETE", f"{s.room}/members/{s.ben.account_id}"),
    "make an account": lambda s: Command(s.admin, "POST", "/v1/accounts", {"name": "Dora"}),
    "issue a token": lambda s: Command(s.anna, "POST", f"/v1/accounts/{s.anna.account_id}/tokens"),
    "revoke a token": lambda s: Command(s.admin, "DELETE", f"/v1/accounts/{s.cleo.account_id}/tokens/1"),
}
TAKE_A_BODY: Final = tuple(
    name for name in COMMANDS if not name.startswith(("delete", "open", "remove", "leave", "issue", "revoke"))
)
