"""The client that asks Falcon and its peers, against servers that say what these say; and what is made of figures."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.tools.bench.test_report import sample
from tools.bench.peers import installing
from tools.bench.peers.clients import FalconClient, MatrixClient, Refused, Seat
from tools.bench.peers.installing import PeerMissing
from tools.bench.peers.suite import slower, start_slower
from tools.bench.peers.xmpp import XmppClient
from tools.bench.samples import FALCON

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SEAT = Seat("room1", "account1", "secret")


async def serving(answer: Answer, work: Callable[[int], Awaitable[None]]) -> None:
    """``work`` hears the port of a server that treats each connection as ``answer`` says."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        await asyncio.wait_for(work(server.sockets[0].getsockname()[1]), 20)


# --- over HTTP --------------------------------------------------------------------------------------------------------


def test_an_answer_in_pieces_of_whatever_size_is_read_whole() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"messages":[{"seq":1},{"seq":2}]}'
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for part in (head[:20], head[20:] + b"10\r\n", body[:16] + b"\r\n", b"%x\r\n" % len(body[16:]), body[16:]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"\r\n0\r\n\r\n")

    async def work(port: int) -> None:
        client = FalconClient(port, SEAT)
        await client.open()
        assert client.count(await client.latest()) == 2
        client.close()

    asyncio.run(serving(answer, work))


def test_a_refusal_is_raised_with_what_was_said() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 Too Many\r\nContent-Length: 9\r\n\r\nslow down")

    async def work(port: int) -> None:
        client = MatrixClient(port, SEAT)
        await client.open()
        with pytest.raises(Refused, match="429 b'slow down'"):
            await client.send("hello")
        client.close()

    asyncio.run(serving(answer, work))


def test_each_message_has_a_key_of_its_own() -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError:
                return
            await reader.readuntil(b"}")
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")

    async def work(port: int) -> None:
        client = FalconClient(port, SEAT)
        await client.open()
        await client.send("one")
        await client.send("two")
        client.close()

    asyncio.run(serving(answer, work))
    keys = [line for head in heads for line in head.split(b"\r\n") if line.startswith(b"Idempotency-Key")]
    assert len(set(keys)) == 2


# --- over XMPP --------------------------------------------------------------------------------------------------------


async def xmpp_room(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A room that lets every client in, reflects a message after a late one, and has an archive of two."""
    features = b"<?xml version='1.0'?><stream:stream><stream:features><bind/></stream:features>"
    for end, said in (
        (b"version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", features),
        (b"</auth>", b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
        (b"xmlns:stream='http://etherx.jabber.org/streams'>", features),
        (b"</iq>", b"<iq type='result' id='bind'><bind/></iq>"),
        (b"</presence>", b"<presence><status code='110'/></presence><message><subject/></message>"),
    ):
        await reader.readuntil(end)
        writer.write(said)
    said = await reader.readuntil(b"</message>")
    number = said.partition(b"id='")[2].partition(b"'")[0]
    writer.write(b"<message id='of-before' type='groupchat'><body>late</body></message><mess")
    await writer.drain()
    await asyncio.sleep(0)
    writer.write(b"age type='groupchat' id='%b'><body>hello</body></message>" % number)
    await reader.readuntil(b"</iq>")
    writer.write(b"<message><result id='1'/></message><message><result id='2'/></message><iq type='result'><fin/></iq>")
    said = await reader.readuntil(b"</message>")
    number = said.partition(b"id='")[2].partition(b"'")[0]
    writer.write(b"<message type='error' id='%b'><error><not-allowed/></error></message>" % number)


def test_a_message_counts_when_the_room_reflects_it_and_the_archive_is_counted() -> None:
    async def work(port: int) -> None:
        client = XmppClient(port, SEAT)
        await client.open()
        await client.send("hello")
        assert client.count(await client.latest()) == 2
        with pytest.raises(Refused, match="not-allowed"):
            await client.send("what may not be said")
        client.close()

    asyncio.run(serving(xmpp_room, work))


def test_who_is_not_let_in_hears_it() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"streams'>")
        writer.write(b"<stream:stream><stream:features></stream:features>")
        await reader.readuntil(b"</auth>")
        writer.write(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")

    async def work(port: int) -> None:
        client = XmppClient(port, SEAT)
        with pytest.raises(Refused, match="not-authorized"):
            await client.open()
        client.close()

    asyncio.run(serving(answer, work))


# --- installing -------------------------------------------------------------------------------------------------------


def test_what_was_installed_once_is_not_installed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installing, "cache", lambda: tmp_path)
    attempts: list[Path] = []

    def install(folder: Path) -> None:
        attempts.append(folder)
        if len(attempts) == 1:
            (folder / "half").touch()
            raise PeerMissing("no network")

    with pytest.raises(PeerMissing, match="no network"):
        installing.installed("chat-1", install)
    folder = installing.installed("chat-1", install)
    assert installing.installed("chat-1", install) == folder
    assert len(attempts) == 2 and not (folder / "half").exists()


def test_a_program_that_is_missing_or_fails_is_one_line() -> None:
    with pytest.raises(PeerMissing, match="no no-such-program here"):
        installing.run(["no-such-program"], 5)
    with pytest.raises(PeerMissing, match="sh failed: second") as failed:
        installing.run(["sh", "-c", "echo first >&2; echo second >&2; exit 3"], 5)
    assert "\n" not in str(failed.value)


# --- in words ---------------------------------------------------------------------------------------------------------


def test_where_falcon_is_behind_a_peer_is_said_and_where_it_is_ahead_is_not() -> None:
    found = slower(
        {
            FALCON: {"send, 16 in flight": [sample(5_000.0)]},
            "synapse": {"send, 16 in flight": [sample(100.0, cpu=9_000.0, p50=90.0, p99=99.0)]},
            "prosody": {"send, 16 in flight": [sample(8_000.0, cpu=90.0, p50=0.5)]},
        }
    )
    assert "send, 16 in flight: 5,000 a second to 8,000, 0.62×" in found[0]
    assert "Prosody, archive in files" in found[0] and "not flushed" in found[1]
    assert "Synapse" not in " ".join(found)


def test_a_slower_start_and_more_memory_are_said() -> None:
    seconds = {FALCON: [0.4], "synapse": [4.0], "prosody": [0.2]}
    (text,) = start_slower(seconds, {FALCON: 50.0, "synapse": 200.0, "prosody": 20.0})
    assert "cold start: 2.00× that of Prosody, archive in files" in text
    assert "memory after a start: 2.50× that of Prosody, archive in files" in text
    assert "Synapse" not in text
