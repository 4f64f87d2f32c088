"""The parsers of bytes that any client may send, each with good inputs to begin from, and the errors that it may
raise."""

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from falcon.adapters.kafka import records
from falcon.features.read_marks.table import RoomCursor
from falcon.features.rooms import api as rooms
from falcon.http import bearer_tokens, requests
from falcon.http.problems import Problem
from falcon.http.shapes import ExportQuery, ListQuery, PageQuery
from falcon.http.stream.endpoints import StreamQuery
from falcon.journal import codec
from falcon.journal.record import Record
from falcon.streams import differences, resume_tokens
from falcon.streams.cuts import Cut
from falcon.streams.differences import Differences
from falcon.streams.resume_tokens import Reference
from falcon.streams.varints import Malformed
from falcon.write import framing

_SECRET: Final = secrets.token_bytes(32)
_NOW: Final = 1_795_599_000.0
_LOG: Final = "a-log"
_TOKEN_HASH: Final = hashlib.sha256(b"a token").hexdigest()
_HISTORY: Final = Path(__file__).parents[2] / "tests" / "history"


class Parser(NamedTuple):
    """``read`` gives None for what it refuses, and raises nothing but ``refusals``."""

    seeds: Sequence[bytes]
    read: Callable[[bytes], Any]
    refusals: tuple[type[Exception], ...] = ()


class Deceived(Exception):
    """A parser took what it may not take."""


def _token(data: bytes) -> Any:
    text = data.decode("latin-1")
    found = bearer_tokens.parse(text)
    if found is not None and bearer_tokens.token(*found) != text:
        raise Deceived(f"{text!r} was read as another token")
    return found


_TICKETS: Final = [bearer_tokens.ticket(_SECRET, account_id, _TOKEN_HASH, _NOW) for account_id in (1, 65, 2**53 - 1)]


def _ticket(data: bytes) -> Any:
    text = data.decode("latin-1")
    found = bearer_tokens.read_ticket(_SECRET, text, _NOW)
    if found is not None and text not in _TICKETS:
        raise Deceived(f"{text!r} was taken for a ticket")
    return found


def _cursor(data: bytes) -> RoomCursor:
    return rooms.decode_cursor(data.decode("latin-1"))


_CUTS: Final = {number: Cut(number, range(1_000 + number, 1_060 + number), number) for number in range(130)}


def _resume(data: bytes) -> Mapping[int, int]:
    text = data.decode("latin-1")
    found = resume_tokens.decode(_LOG, text, _CUTS).offsets
    if any(place < 0 for pair in found.items() for place in pair):
        raise Deceived(f"{data!r} names a place before the log")
    return found


def _differences(data: bytes) -> list[int]:
    zeros = list(range(60))
    found = differences.read(data, zeros)
    if len(found) != len(zeros) or min(found) < 0:
        raise Deceived(f"{data!r} names a place before the log")
    return found


def _record(data: bytes) -> Any:
    return codec.decode(records.record(bytes(8), data), 1, 2, 3, 4)


def _stored() -> list[bytes]:
    """Every shape that was ever written, as it stands in Kafka."""
    found: list[bytes] = []
    for path in sorted(_HISTORY.glob("*.json")):
        beside, data = path.read_bytes().split(b"\n", 1)
        name, version, critical, key = msgspec.json.decode(beside)
        found.append(records.body(Record(name, version, critical, key, data.rstrip())))
    return found


_INTERNAL_KEY: Final = secrets.token_bytes(32)
_CHALLENGE: Final = framing.new_challenge()
_, _HELLO = framing.answer(_CHALLENGE, _INTERNAL_KEY)


def _hello(data: bytes) -> Any:
    channel = framing.accept(_CHALLENGE, data, [_INTERNAL_KEY])
    if data != _HELLO:
        raise Deceived(f"{data!r} was taken for a hello")
    return channel.internal_key


_QUERIES: Final = {
    "page query": (PageQuery, [b"limit=50&before=17", b"after=0&limit=200", b"around=9007199254740991"]),
    "list query": (ListQuery, [b"limit=1&cursor=abc", b"cursor=", b"limit=200"]),
    "stream query": (StreamQuery, [b"rooms=1,2,3&signals=typing,presence&watch=65", b"resume=AQID", b"ticket=abc"]),
    "export query": (ExportQuery, [b"resume=message:1:2&since=0:17,1:18", b"resume=changes&since=0:1"]),
}

PARSERS: Final[dict[str, Parser]] = {
    "token": Parser([f"falcon_{n}_{'aZ9-_' * 8}xyz".encode() for n in (1, 65, 10**15)], _token),
    "ticket": Parser([ticket.encode() for ticket in _TICKETS], _ticket),
    "cursor": Parser(
        [
            base64.urlsafe_b64encode(msgspec.json.encode(RoomCursor("2026-11-25T12:00:00.000Z", n)))
            for n in (1, 2**53 - 1)
        ],
        _cursor,
        (Problem,),
    ),
    "resume token": Parser(
        [resume_tokens.encode(_LOG, {segment: 2**segment for segment in range(count)}).encode() for count in (0, 1, 60)]
        + [
            resume_tokens.encode(_LOG, dict.fromkeys(range(60), 1_100), reference).encode()
            for reference in (Reference(_CUTS[9]), Reference(_CUTS[129], _CUTS[7], 31))
        ],
        _resume,
        (resume_tokens.WrongToken,),
    ),
    "differences of a token or a cut": Parser(
        [Differences(range(60), offsets).encoded() for offsets in (range(60), range(3, 63), [99] + [40] * 59)],
        _differences,
        (Malformed,),
    ),
    **{
        name: Parser(seeds, partial(requests._decode_query, query_type=kind), (Problem,))
        for name, (kind, seeds) in _QUERIES.items()
    },
    "hello of an edge": Parser([_HELLO], _hello, (framing.WrongFrame,)),
    "record": Parser(_stored(), _record, (codec.Undecodable,)),
}
