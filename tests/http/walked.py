"""The table of permissions as a walk: who asks for what of whom, and the status of the answer.

A walk brings people and rooms of its own, and is given a function that asks: so tests walk it at any Falcon.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

WHO: Final = ("owner", "admin", "member", "guest", "bot", "left")


class Answer(NamedTuple):
    status: int
    body: Any


# Token, method, path, body: the answer.
Ask = Callable[[str, str, str, Any], Answer]


class Row(NamedTuple):
    """``expected``: the status for each of WHO. ``body``: JSON, or nothing."""

    expected: tuple[int, ...]
    method: str
    path: str
    body: str


class Scene:
    """The member is the admin of a den, which has the guest. The owner is the admin of a lobby, which is open and has
    no one else. The stranger shares no room. ``left`` is deactivated."""

    def __init__(self, ask: Ask, admin_token: str) -> None:
        self._ask = ask
        self._admin_token = admin_token
        self.tokens: dict[str, str] = {}
        self.ids: dict[str, int] = {}
        for name in (*WHO, "stranger"):
            made = self._makes(name if name not in ("left", "stranger") else "member")
            self.tokens[name], self.ids[name] = made["token"], made["account_id"]
        den = self._done("member", "POST", "/v1/rooms", {"name": "Den", "members": [{"account_id": self.ids["guest"]}]})
        lobby = self._done("owner", "POST", "/v1/rooms", {"name": "Lobby"})
        self.ids |= {"den": den["room_id"], "lobby": lobby["room_id"]}
        self._done("owner", "PATCH", "/v1/rooms/<lobby>", {"open": True})
        self._done("owner", "POST", "/v1/rooms/<lobby>/messages", {"text": "Tea?"})
        self._done("member", "POST", "/v1/rooms/<den>/messages", {"text": "Tea?"})
        self._done("owner", "PATCH", "/v1/accounts/<left>", {"deactivated": True})

    def differences(self, rows: Sequence[Row]) -> list[str]:
        """What the answers say against the table."""
        found: list[str] = []
        for row in rows:
            for who, expected in zip(WHO, row.expected, strict=True):
                body = msgspec.json.decode(self.filled(row.body)) if row.body else None
                answer = self._ask(self.tokens[who], row.method, self.filled(row.path, who), body)
                if answer.status != expected:
                    found.append(f"{who} {row.method} {row.path} {row.body}: {answer}, not {expected}")
        return found

    def filled(self, path: str, who: str = "") -> str:
        """With the ids of the scene. ``<own>`` is the account that asks, ``<fresh_owner>`` an owner made for this."""

        def id_of(found: re.Match[str]) -> str:
            name = found[1]
            if name.startswith("fresh_"):
                return str(self._makes(name.removeprefix("fresh_"))["account_id"])
            return str(self.ids[who if name == "own" else name])

        return re.sub(r"<(\w+)>", id_of, path)

    def _makes(self, role: str) -> Any:
        answer = self._ask(self._admin_token, "POST", "/v1/accounts", {"name": f"The {role}", "role": role})
        assert answer.status == 201, answer
        return answer.body

    def _done(self, who: str, method: str, path: str, body: Any) -> Any:
        answer = self._ask(self.tokens[who], method, self.filled(path), body)
        assert answer.status < 300, answer
        return answer.body


def _row(line: str) -> Row:
    *statuses, method, path = line.split(None, 6)
    path, _, body = path.partition(" ")
    return Row((*map(int, statuses), 401), method, path, body)


# The statuses for the owner, the admin, the member, the guest and the bot; one who has left gets 401.
TABLE: Final = [
    _row(line)
    for line in """
200 200 200 200 200 GET /v1/me
200 200 200 200 200 PATCH /v1/me {"title": "Tea"}
200 200 200 200 200 PATCH /v1/me {"hide_reads": true}
200 200 403 403 403 PATCH /v1/me {"email": null}
200 200 403 403 403 GET /v1/accounts
200 200 200 200 200 GET /v1/accounts?ids=<stranger>
200 200 200 404 200 GET /v1/accounts/<stranger>
200 200 200 200 200 GET /v1/accounts/<member>
200 200 200 404 200 GET /v1/accounts/<left>
200 200 200 200 200 GET /v1/accounts/search?q=member
404 404 200 200 404 GET /v1/accounts/search?q=member&room=<den>
200 200 200 404 200 GET /v1/accounts/search?q=member&room=<lobby>
200 200 200 403 200 GET /v1/rooms/directory
200 200 200 404 200 GET /v1/rooms/<lobby>
200 200 200 404 200 GET /v1/rooms/<lobby>/messages
200 200 200 404 200 GET /v1/rooms/<lobby>/messages/1
200 200 200 404 200 GET /v1/rooms/<lobby>/members
200 200 200 404 200 GET /v1/rooms/<lobby>/pins
200 200 200 404 200 GET /v1/rooms/<lobby>/authors?ids=<owner>
201 403 403 404 403 POST /v1/rooms/<lobby>/messages {"text": "Hi"}
200 403 403 404 403 PUT /v1/rooms/<lobby>/read {"seq": 1}
200 403 403 404 403 PUT /v1/rooms/<lobby>/pins/1
200 403 403 404 403 PUT /v1/rooms/<lobby>/messages/1/reactions/👍
200 403 403 404 403 PATCH /v1/rooms/<lobby> {"description": "x"}
200 200 403 404 403 PATCH /v1/rooms/<lobby> {"default": true}
200 403 403 404 403 PUT /v1/rooms/<lobby>/members/<stranger> {"role": "member"}
200 403 403 404 403 PUT /v1/rooms/<lobby>/members/<own> {"role": "admin"}
409 403 403 404 403 PUT /v1/rooms/<lobby>/members/<own> {"role": "readonly"}
404 404 200 200 404 GET /v1/rooms/<den>
404 404 200 200 404 GET /v1/rooms/<den>/messages
404 404 201 201 404 POST /v1/rooms/<den>/messages {"text": "Hi"}
404 404 200 403 404 PATCH /v1/rooms/<den> {"open": false}
404 404 403 403 404 PATCH /v1/rooms/<den> {"default": false}
404 404 409 403 404 PUT /v1/rooms/<den>/members/<own> {"role": "member"}
404 404 200 403 404 PUT /v1/rooms/<den>/members/<fresh_member> {"role": "member"}
404 404 422 403 404 PUT /v1/rooms/<den>/members/<left> {"role": "member"}
404 404 404 403 404 DELETE /v1/rooms/<den>/members/<owner>
201 201 201 403 201 POST /v1/rooms {"name": "Own"}
201 201 201 403 201 PUT /v1/direct/<fresh_member>
422 422 422 403 422 PUT /v1/direct/<left>
201 201 403 403 403 POST /v1/accounts {"name": "New"}
201 201 403 403 403 POST /v1/accounts {"name": "New", "role": "admin"}
201 403 403 403 403 POST /v1/accounts {"name": "New", "role": "owner"}
200 200 403 403 403 PATCH /v1/accounts/<fresh_member> {"title": "Tea"}
200 200 403 403 403 PATCH /v1/accounts/<fresh_admin> {"title": "Tea"}
200 403 403 403 403 PATCH /v1/accounts/<fresh_owner> {"title": "Tea"}
200 200 403 403 403 PATCH /v1/accounts/<own> {"title": "Tea"}
200 200 403 403 403 PATCH /v1/accounts/<fresh_member> {"role": "admin"}
200 403 403 403 403 PATCH /v1/accounts/<fresh_member> {"role": "owner"}
422 422 403 403 403 PATCH /v1/accounts/<fresh_member> {"role": "bot"}
422 422 403 403 403 PATCH /v1/accounts/<fresh_bot> {"role": "member"}
200 403 403 403 403 PATCH /v1/accounts/<fresh_owner> {"role": "member"}
200 403 403 403 403 PATCH /v1/accounts/<fresh_owner> {"deactivated": true}
200 200 403 403 403 PATCH /v1/accounts/<fresh_admin> {"deactivated": true}
200 200 403 403 403 PATCH /v1/accounts/<fresh_member> {"deactivated": true}
201 201 403 403 403 POST /v1/accounts/<fresh_member>/tokens
201 403 403 403 403 POST /v1/accounts/<fresh_owner>/tokens
201 201 201 201 201 POST /v1/accounts/<own>/tokens
403 403 403 403 403 POST /v1/accounts/<left>/tokens
200 200 403 403 403 GET /v1/accounts/<fresh_owner>/tokens
200 200 200 200 200 GET /v1/accounts/<own>/tokens
204 204 403 403 403 DELETE /v1/accounts/<fresh_member>/tokens/1
409 403 403 403 403 DELETE /v1/accounts/<fresh_owner>/tokens/1
201 201 403 403 403 POST /v1/accounts/<fresh_member>/sign-in-link
201 403 403 403 403 POST /v1/accounts/<fresh_owner>/sign-in-link
403 403 403 403 403 POST /v1/accounts/<left>/sign-in-link
201 201 403 403 403 POST /v1/accounts/<own>/sign-in-link
204 204 403 403 403 POST /v1/accounts/<fresh_member>/sign-out
204 403 403 403 403 POST /v1/accounts/<fresh_owner>/sign-out
201 201 403 403 403 POST /v1/invitations {"role": "member"}
201 201 403 403 403 POST /v1/invitations {"role": "admin"}
201 403 403 403 403 POST /v1/invitations {"role": "owner"}
201 201 403 403 403 POST /v1/invitations {"role": "guest"}
404 404 201 403 404 POST /v1/invitations {"role": "guest", "rooms": [<den>]}
201 403 403 403 403 POST /v1/invitations {"role": "guest", "rooms": [<lobby>]}
404 404 403 403 403 POST /v1/invitations {"role": "member", "rooms": [<den>]}
200 200 200 403 200 GET /v1/invitations
200 200 200 200 200 GET /v1/sessions
200 200 403 403 403 GET /v1/export
201 201 201 201 201 POST /v1/stream/tickets
""".strip().splitlines()
]
