"""A chat with a past: accounts, rooms and messages as `falcon import` reads them.

`python -m tools.harness.generate --accounts 1000 --rooms 10000 --messages 1000000 | falcon import -`

Rooms go by popularity: the k-th has messages as `k ** -0.9` says, and members as `k ** -0.7`. The same seed gives the
same lines again, so an import that was broken off continues with the same command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from random import Random
from typing import BinaryIO

import msgspec

_MESSAGES_EXPONENT = 0.9
_MEMBERS_EXPONENT = 0.7
_BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)
_DAYS = 90
_TEXTS = 4_000  # different ones
_CHUNK_BYTES = 1 << 20
_REPLIES, _MENTIONS, _EDITED, _DELETED = 0.08, 0.04, 0.03, 0.01
_WORDS = (
    "tea the when who lunch release tomorrow we can you review this build green red moved meeting thanks done later "
    "please look at numbers customer asked again ship it wait why yes no maybe kitchen printer door key train late"
)

_encode = msgspec.json.Encoder().encode


class WrongSizes(ValueError):
    """These sizes do not go together; the text says which and why."""


@dataclass(frozen=True)
class Past:
    """The chat to make. ``source`` names it: things of the same source and name are imported once."""

    accounts: int
    rooms: int
    messages: int
    seed: int = 1
    source: str = ""

    def __post_init__(self) -> None:
        """Raises WrongSizes."""
        if self.accounts < 2 or self.rooms < 1 or self.messages < 0:
            raise WrongSizes("there must be at least 2 accounts, 1 room and 0 messages")

    @cached_property
    def members(self) -> list[list[int]]:
        """Members of each room, as numbers of accounts, its admin first. No room is empty."""
        chance = Random(self.seed)
        found = []
        for rank in range(1, self.rooms + 1):
            size = max(2, round(self.accounts * 0.5 * rank**-_MEMBERS_EXPONENT))
            found.append(chance.sample(range(self.accounts), min(size, self.accounts)))
        placed = {account for members in found for account in members}
        for account in range(self.accounts):
            if account not in placed:
                found[account % self.rooms].append(account)
        return found

    @cached_property
    def message_counts(self) -> list[int]:
        """The number of messages in each room; together exactly as many as wanted."""
        weights = [rank**-_MESSAGES_EXPONENT for rank in range(1, self.rooms + 1)]
        total = sum(weights)
        counts = [int(self.messages * weight / total) for weight in weights]
        for rank in range(self.messages - sum(counts)):
            counts[rank % self.rooms] += 1
        return counts

    def lines(self) -> Iterator[bytes]:
        """The header, the accounts, the rooms, and the messages room by room."""
        yield _line(
            type="falcon-export",
            version=1,
            source=self.source or f"generated-{self.seed}",
            accounts=self.accounts,
            rooms=self.rooms,
            messages=self.messages,
        )
        for number in range(self.accounts):
            yield _line(type="account", ref=account_ref(number), name=f"Person {number + 1}")
        for number, members in enumerate(self.members):
            yield _line(
                type="room",
                ref=room_ref(number),
                kind="group",
                name=f"Room {number + 1}",
                description="",
                created_at=_time(_BEGIN),
                members=[
                    {"account": account_ref(account), "role": "member" if place else "admin"}
                    for place, account in enumerate(members)
                ],
            )
        chance = Random(f"messages {self.seed}")
        texts = _texts(chance)
        for number, (members, count) in enumerate(zip(self.members, self.message_counts, strict=True)):
            yield from _messages(number, members, count, texts, chance)


def account_ref(number: int) -> str:
    return f"person-{number + 1}"


def room_ref(number: int) -> str:
    return f"room-{number + 1}"


def _line(**fields: object) -> bytes:
    return _encode(fields) + b"\n"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _texts(chance: Random) -> list[bytes]:
    """Texts as JSON. Most are a line, some a paragraph."""
    words = _WORDS.split()
    lengths = [max(1, round(chance.lognormvariate(1.9, 0.8))) for _ in range(_TEXTS)]
    return [_encode(" ".join(chance.choices(words, k=length))) for length in lengths]


def _messages(room: int, members: list[int], count: int, texts: list[bytes], chance: Random) -> Iterator[bytes]:
    """Written by hand and not encoded, which would take several times as long."""
    ref = _encode(room_ref(room))
    authors = [_encode(account_ref(account)) for account in members]
    step = timedelta(days=_DAYS) / max(1, count)
    draw = chance.random
    for seq in range(1, count + 1):
        at = _time(_BEGIN + step * seq).encode()
        what = draw()
        text = texts[int(draw() * len(texts))]
        more = b""
        if what < _REPLIES:
            more = b',"reply_to":%d' % (seq - 1) if seq > 1 else b""
        elif what < _REPLIES + _MENTIONS:
            more = b',"mentions":[%b]' % authors[int(draw() * len(authors))]
        elif what < _REPLIES + _MENTIONS + _EDITED:
            more = b',"edited_at":"%b"' % at
        elif what < _REPLIES + _MENTIONS + _EDITED + _DELETED:
            text, more = b'""', b',"deleted":true'
        author = authors[int(draw() ** 2 * len(authors))]  # some say more than others
        yield b'{"type":"message","room":%b,"seq":%d,"author":%b,"text":%b,"posted_at":"%b"%b}\n' % (
            ref,
            seq,
            author,
            text,
            at,
            more,
        )


def write(past: Past, out: BinaryIO) -> None:
    """Raises OSError."""
    chunk: list[bytes] = []
    size = 0
    for line in past.lines():
        chunk.append(line)
        size += len(line)
        if size >= _CHUNK_BYTES:
            out.write(b"".join(chunk))
            chunk, size = [], 0
    out.write(b"".join(chunk))
    out.flush()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.harness.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--rooms", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", default="", help="the name under which it is imported (generated-SEED)")
    parser.add_argument("--out", type=Path, help="a file; without it, standard output")
    given = parser.parse_args(arguments)
    try:
        past = Past(given.accounts, given.rooms, given.messages, given.seed, given.source)
    except WrongSizes as wrong:
        parser.error(str(wrong))
    if given.out is None:
        with suppress(BrokenPipeError):  # the reader says why it has stopped
            write(past, sys.stdout.buffer)
        return 0
    with given.out.open("wb") as out:
        write(past, out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
