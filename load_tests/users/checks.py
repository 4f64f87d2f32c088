"""Notes what users see, for the checker of the promises, and checks what needs no memory.

A user's message has a token, from which all of its text follows. Messages of others, or from before the run, have
none: only their order is checked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from falcon_chat import Message, Messages
from tools.people.history import DELETED, Seen, token_of

_TOKEN: Final = re.compile(r"\w+/\d+")


def seen(messages: Sequence[Message]) -> list[Seen]:
    return [(message.seq, token(message)) for message in messages]


def token(message: Message) -> str:
    """DELETED also for a message from outside the load test."""
    found = token_of(message.text)
    return found if _TOKEN.fullmatch(found) and not message.deleted else DELETED


def sound(room_id: int, page: Messages) -> list[str]:
    """The faults of a page by itself."""
    seqs = [message.seq for message in page.messages]
    if seqs and page.has_before != (seqs[0] > 1):
        return [f"room {room_id}: a page that begins at {seqs[0]} says has_before {page.has_before}"]
    strangers = [message.seq for message in page.messages if message.room_id != room_id]
    return [f"room {room_id}: a page with messages of other rooms, at {strangers[:12]}"] if strangers else []
