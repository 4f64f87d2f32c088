"""An example of each request and answer, for the OpenAPI document.

Examples are values of the types that validate, so an example cannot have a field that the type has not.
"""

from typing import Any, Final

import msgspec

from falcon.http import shapes
from falcon.http.api.tickets import Ticket

_ALICE: Final = 65
_BEN: Final = 130
_ROOM: Final = 64
_MADE: Final = "2026-11-25T09:30:00.000Z"
_SAID: Final = "2026-11-25T09:31:07.250Z"
_TOKEN: Final = "falcon_130_V2hvIHdhbnRzIHNvbWU_"  # noqa: S105 - an invented one

_MESSAGE: Final = shapes.MessageShape(_ROOM, 1, _ALICE, "Who wants some?", _SAID, mentions=(_BEN,))
_SHOWN: Final = shapes.ShownMessage(_ROOM, 1, _ALICE, "Who wants some?", _SAID, mentions=(_BEN,))
_SUMMARY: Final = shapes.RoomSummary(
    room_id=_ROOM,
    kind="group",
    name="Tea kitchen",
    description="",
    role="admin",
    last_seq=1,
    created_at=_MADE,
    read_seq=1,
    unread=0,
    mentions=0,
    last_message=_SHOWN,
    updated_at=_SAID,
)

# The example of a body, by its type.
BODIES: Final[dict[Any, Any]] = {
    shapes.Nothing: shapes.Nothing(),
    shapes.NewAccount: shapes.NewAccount("Ben"),
    shapes.NewRoom: shapes.NewRoom("Tea kitchen", "For a break", (shapes.NewMember(_BEN),)),
    shapes.RoomChange: shapes.RoomChange(name="Coffee kitchen"),
    shapes.MemberRole: shapes.MemberRole("member"),
    shapes.NewMessage: shapes.NewMessage("Who wants some?"),
    shapes.MessageChange: shapes.MessageChange("Who wants some tea?"),
    shapes.ReadMarkShape: shapes.ReadMarkShape(1),
    shapes.ImportLine: shapes.AccountLineShape("old-chat", "al", "Alice"),
    shapes.Me: shapes.Me(_ALICE, "Alice", None, True),
    shapes.CreatedAccount: shapes.CreatedAccount(_BEN, "Ben", _TOKEN),
    shapes.Accounts: shapes.Accounts([shapes.AccountShape(_BEN, "Ben", False, _MADE)], None),
    shapes.IssuedToken: shapes.IssuedToken(2, _TOKEN),
    shapes.Tokens: shapes.Tokens([shapes.TokenShape(1, _MADE), shapes.TokenShape(2, _SAID)]),
    shapes.RoomShape: shapes.RoomShape(_ROOM, "group", "Tea kitchen", "For a break", "admin", 0, _MADE),
    shapes.Rooms: shapes.Rooms([_SUMMARY], None),
    shapes.MessageShape: _MESSAGE,
    shapes.ShownMessage: _SHOWN,
    shapes.Messages: shapes.Messages([_SHOWN], has_before=False, has_after=False),
    shapes.MemberShape: shapes.MemberShape(_BEN, "Ben", "member", 0),
    shapes.Members: shapes.Members([shapes.MemberShape(_ALICE, "Alice", "admin", 1)], None),
    shapes.Authors: shapes.Authors([shapes.Author(_ALICE, "Alice"), shapes.Author(_BEN, "Ben")]),
    shapes.ReactionCount: shapes.ReactionCount(_ROOM, 1, "👍", 1),
    shapes.Reactions: shapes.Reactions([shapes.ReactionEntry("👍", _BEN, "2026-11-25T09:31:00.123Z")], None),
    shapes.ReadState: shapes.ReadState(_ROOM, 1, 0, 0),
    shapes.Imported: shapes.Imported({"al": _ALICE}, {}, 0, 0),
    Ticket: Ticket("MTMwLjE3NjQwNjMwMDA"),
}
# The example of a body that is a text, by its media type.
TEXTS: Final = {
    "text/event-stream": "id: AQpvb\nevent: typing\ndata: {\"room_id\":64,\"account_id\":130}\n\n",
    "application/x-ndjson": "{\"type\":\"falcon-export\",\"version\":2,\"source\":\"old-chat\"}\n",
}  # fmt: skip
PATHS: Final = {"room_id": _ROOM, "account_id": _BEN, "seq": 1, "token_id": 2, "emoji": "👍"}


def request_example(kind: Any) -> Any:
    """As a client sends it: without the fields that it leaves out."""
    return {field: value for field, value in answer_example(kind).items() if value not in (None, [])}


def answer_example(kind: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(BODIES[kind]))
