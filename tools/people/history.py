"""Records each act and answer, a line of JSON each, on disk at once: a long run needs no more memory than a short
one.

A message's text begins with a *token*, ``SESSION.NUMBER/VERSION``, from which the rest of the text follows, so the
token alone stands for it here. The first half names the message for ever; each edit raises the version. A name that
ends with ``+`` stands in a thread and in its room, where one command has posted both; each is then edited by itself.
"""

import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

Outcome: TypeAlias = Literal["", "acknowledged", "refused", "rejected", "unknown"]
Seen: TypeAlias = tuple[int, str]  # seq, and the token; "" for a deleted message

DELETED: Final = ""


class Operation(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One attempt at one request, or a finding afterwards.

    ``kind``, as attempts: post, edit, delete, mark, open, direct, thread (``name``: its message), member, read. As
    findings: final (a room's messages as one API shows them), summary (an account's view of a room: ``seq`` the last,
    ``at`` the read mark), members, logged (an event in the journal; ``name`` says which), wrong (``name``: what the
    log contradicts). And: fault.

    ``outcome``: acknowledged; refused (503, nothing was done); rejected (it never will be); unknown (503 that says so,
    no answer, a broken connection). ``answer`` is a digest of an acknowledgement's body. ``at`` and ``limit``: where a
    page was asked for. ``heard``: messages on a stream. ``listed``: a room in a list of rooms, as a summary. Times are
    in seconds since the run began. ``number``: which session, or which partition. ``parent``: the room of the thread,
    if the message is posted there, too, as ``in_room``; of a logged message, the room of its thread.
    """

    kind: str
    session: int = -1
    api: int = -1
    room: int = 0
    key: str = ""
    started: float = 0.0
    ended: float = 0.0
    outcome: Outcome = ""
    status: int = 0
    code: str = ""
    seq: int = 0
    token: str = ""
    position: str = ""
    replayed: bool = False
    answer: str = ""
    query: str = ""
    at: int = 0
    limit: int = 0
    seen: list[Seen] = []
    who: int = 0
    role: str = ""
    unread: int = 0
    name: str = ""
    parent: int = 0
    in_room: int = 0


class History:
    """Written as it happens; may be read again at any time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("wb")
        self._began = time.monotonic()
        self._encode = msgspec.json.Encoder().encode

    def now(self) -> float:
        """Seconds since the run began."""
        return round(time.monotonic() - self._began, 4)

    def note(self, operation: Operation) -> None:
        self._file.write(self._encode(operation) + b"\n")

    def operations(self) -> "Iterator[Operation]":
        """All that has been noted by now."""
        self._file.flush()
        return operations(self.path)

    def close(self) -> None:
        self._file.close()


def operations(path: Path) -> Iterator[Operation]:
    """In the order in which they ended."""
    decode = msgspec.json.Decoder(Operation).decode
    with path.open("rb") as file:
        for line in file:
            yield decode(line)


def spoken(token: str) -> str:
    """The text that the token stands for: mostly short, sometimes a few hundred words."""
    chance = zlib.crc32(token.encode())
    words = chance % 8 if chance % 16 else chance % 400
    return f"{token} " + "and some more tea " * words + "."


def token_of(text: str) -> str:
    """The text's token; something that no session has said where the rest of the text is not as it should be."""
    token = text.partition(" ")[0]
    return token if spoken(token) == text else f"damaged: {text[:80]}"


def name_of(token: str) -> str:
    """The name of the message, whatever its version."""
    return token.partition("/")[0]


def is_in_both(token: str) -> bool:
    return name_of(token).endswith("+")


def version_of(token: str) -> int:
    """A deleted message is newer than each of its versions."""
    if token == DELETED:
        return 1 << 30
    version = token.partition("/")[2]
    return int(version) if version.isdecimal() else -1
