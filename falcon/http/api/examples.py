"""The rooms, accounts and messages of the documents' examples, and examples that several operations share."""

from typing import Any, Final

import msgspec

from falcon.http import shapes

# Ids of the examples.
ALICE: Final = 65
BEN: Final = 130
ROOM: Final = 64
THREAD: Final = 128
MADE: Final = "2026-11-25T09:30:00.000Z"
SAID: Final = "2026-11-25T09:31:07.250Z"
TOKEN: Final = "falcon_130_V2hvIHdhbnRzIHNvbWU_"  # noqa: S105 - an invented one

PROFILE: Final = shapes.Profile(BEN, "Ben", "ben", "Tea taster", "", False, "member", False, False, MADE, None)

MESSAGE: Final = shapes.PostedMessage(
    ROOM, 1, ALICE, "Who wants some?", SAID, mentions=(BEN,), reactions=(), thread=None
)
EDITED: Final = shapes.MessageShape(
    ROOM, 1, ALICE, "Who wants some tea?", SAID, "2026-11-25T09:32:10.500Z", mentions=(BEN,)
)
SHOWN: Final = shapes.ShownMessage(
    ROOM,
    1,
    ALICE,
    "Who wants some?",
    SAID,
    mentions=(BEN,),
    reactions=(shapes.ReactionSummary("👍", 1, (BEN,)),),
    thread=shapes.ThreadSummary(THREAD, 1, SAID, (BEN,)),
)
# Lists of rooms leave reactions and threads out.
LAST: Final = msgspec.structs.replace(SHOWN, reactions=msgspec.UNSET, thread=msgspec.UNSET)
# The example of a body that is a text, by its media type.
TEXTS: Final = {
    "text/event-stream": "id: AQpvb\nevent: typing\ndata: {\"room_id\":64,\"account_id\":130}\n\n",
    "application/x-ndjson": "{\"type\":\"falcon-export\",\"version\":2,\"source\":\"old-chat\"}\n",
}  # fmt: skip


def as_sent(body: msgspec.Struct) -> Any:
    """The body as a client sends it: without the fields that the client leaves out."""
    return {field: value for field, value in as_json(body).items() if value not in (None, [])}


def as_json(body: msgspec.Struct) -> Any:
    return msgspec.json.decode(msgspec.json.encode(body))
