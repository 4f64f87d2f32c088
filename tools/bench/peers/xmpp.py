"""The part of XMPP that is needed to speak in a room and to read its archive, over TCP without TLS."""

from __future__ import annotations

import asyncio
import base64
import itertools
import secrets
from xml.sax.saxutils import escape

from tools.bench.peers.clients import PAGE, Refused, Seat

DOMAIN = "localhost"
ROOMS = "rooms.localhost"
_STREAM = (
    f"<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
)
_BIND = "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
_ANSWER_SECONDS = 30.0


class XmppClient:
    """A session that has joined a room (XEP-0045) and asks for its archive (XEP-0313).

    A message counts as accepted when the room reflects it, which it does when it is archived. Not a parser of XML: what
    is waited for is found by its last bytes, since never more than one thing is under way.
    """

    def __init__(self, port: int, seat: Seat) -> None:
        self._port = port
        self._seat = seat
        self._room = f"{seat.room}@{ROOMS}"
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._rest = b""

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._write(_STREAM)
        await self._until(b"</stream:features>")
        plain = base64.b64encode(f"\0{self._seat.account}\0{self._seat.secret}".encode()).decode()
        self._write(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>")
        await self._until(b"<success")
        self._write(_STREAM)
        await self._until(b"</stream:features>")
        self._write(_BIND)
        await self._until(b"</iq>")
        self._write(
            f"<presence to='{self._room}/{self._seat.account}'>"
            "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
        )
        await self._until(b"<subject")  # the last thing that a room sends to a new member
        self._rest = b""

    def close(self) -> None:
        self._writer.close()

    async def send(self, text: str) -> None:
        number = f"{self._prefix}-{next(self._numbers)}"
        self._write(f"<message to='{self._room}' type='groupchat' id='{number}'><body>{escape(text)}</body></message>")
        mark = f"id='{number}'".encode()
        while mark not in (said := await self._until(b"</message>")):
            continue  # what came late from before
        _check(said)

    async def latest(self) -> bytes:
        number = f"{self._prefix}-{next(self._numbers)}"
        self._write(
            f"<iq to='{self._room}' type='set' id='{number}'><query xmlns='urn:xmpp:mam:2'>"
            f"<set xmlns='http://jabber.org/protocol/rsm'><max>{PAGE}</max><before/></set></query></iq>"
        )
        page = await self._until(b"</iq>")
        _check(page)
        return page

    def count(self, page: bytes) -> int:
        return page.count(b"<result ")

    def _write(self, text: str) -> None:
        self._writer.write(text.encode())

    async def _until(self, end: bytes) -> bytes:
        """Read up to and with ``end``. Raises ConnectionError, Refused, TimeoutError."""
        parts = bytearray(self._rest)
        begin = 0
        async with asyncio.timeout(_ANSWER_SECONDS):
            while (at := parts.find(end, begin)) < 0:
                begin = max(0, len(parts) - len(end))
                data = await self._reader.read(1 << 17)
                if not data or b"<failure" in data or b"<stream:error" in data:
                    raise Refused(f"waiting for {end.decode()}: {bytes(parts + data)[-300:]!r}")
                parts += data
        at += len(end)
        self._rest = bytes(parts[at:])
        return bytes(parts[:at])


def _check(said: bytes) -> None:
    if b"type='error'" in said:
        raise Refused(said[-300:].decode(errors="replace"))
