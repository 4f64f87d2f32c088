"""The fast lane answers as uvicorn and the router do, byte for byte, and takes usual requests only."""

import asyncio
import re
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Final, NamedTuple

import pytest

from falcon.http.responses import BUDGET
from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.fast_lane import FastLane, LaneRequest
from falcon.http.server.serving import create_server
from tests.support.http import Falcon, Person
from tests.support.protocol_server import Client
from tools.harness.waiting import eventually

# What differs from one message to the next: its time, which has no last zeros, and so the length; places in the log.
_OWN: Final = re.compile(
    rb'(?<="posted_at":")[^"]+|(?<=content-length: )\d+|(?<=falcon-position: )[\d:]+|(?<=etag: ")[^"]+'
)
_SECONDS: Final = 60


class Chat(NamedTuple):
    """Anna has two rooms in which the same is said, one for each way, and a third. ``stranger`` is in none."""

    falcon: Falcon
    anna: Person
    stranger: Person
    rooms: tuple[int, ...]


@pytest.fixture(scope="module", params=["off", "on"])
def chat(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Chat]:
    """With limits that are not reached, and without."""
    wide = dict.fromkeys(("account_commands", "account_burst", "account_reads", "address_requests"), 10_000)
    with Falcon(tmp_path_factory.mktemp("lane"), limits=request.param, address_burst=10_000, **wide) as falcon:
        anna = falcon.account("Anna")
        rooms = tuple(anna.makes_room("Tea kitchen").room_id for _ in range(3))
        yield Chat(falcon, anna, falcon.account("Stranger"), rooms)


@asynccontextmanager
async def served(falcon: Falcon, lane: FastLane | None) -> AsyncIterator[int]:
    """The port at which the application is served."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = create_server(falcon.app, ConnectionSweeper("lane"), lane=lane)
    serving = asyncio.create_task(server.serve([listening]))
    await eventually(lambda: server.started)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


def ask(falcon: Falcon, lane: FastLane | None, pieces: Sequence[bytes], *, patiently: bool) -> bytes:
    """Send the pieces on one connection, and read until the server has closed it, which the last of them asks for.
    ``patiently``: the first answer begins before the second piece is sent."""

    async def asked() -> bytes:
        async with served(falcon, lane) as port, asyncio.timeout(_SECONDS):
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            begun = b""
            for piece in pieces:
                await client.send(piece)
                begun = begun or (await client.reader.read(1) if patiently else b"")
            everything = begun + await client.reader.read()
            client.writer.close()
            return everything

    return falcon.run(asked())


LAST: Final = b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def post(body: bytes, *fields: str, room: str = "ROOM", token: str = "TOKEN") -> bytes:
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}", *fields)
    return request("POST", f"/v1/rooms/{room}/messages", *fields, token=token) + body


def request(method: str, target: str, *fields: str, token: str = "TOKEN") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: falcon.test", f"Authorization: Bearer {token}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def get(*fields: str, query: str = "", token: str = "TOKEN", room: str = "ROOM") -> bytes:
    return request("GET", f"/v1/rooms/{room}/messages{query}", *fields, token=token)


HELLO: Final = b'{"text":"Is there tea?"}'
# Requests that the lane takes, whatever their answer.
TAKEN: Final = {
    "a message": post(HELLO),
    "with a key": post(HELLO, "Idempotency-Key: KEY"),
    "with a key again": post(HELLO, "Idempotency-Key: KEY"),
    "with the key of another": post(b'{"text":"No"}', "Idempotency-Key: KEY"),
    "with a bad key": post(HELLO, "Idempotency-Key: " + "k" * 65),
    "a reply to nothing": post(b'{"text":"So?","reply_to":4711}'),
    "a mention of nobody": post(b'{"text":"So?","mentions":[4711]}'),
    "an empty text": post(b'{"text":""}'),
    "no text": post(b"{}"),
    "no JSON": post(b"tea"),
    "another media type": post(HELLO).replace(b"application/json", b"text/plain"),
    "no body": post(b""),
    "the fields of a browser": post(HELLO, "User-Agent: Mozilla/5.0 (X11)", "Accept: */*", "Connection: Keep-Alive"),
    "of a stranger": post(HELLO, token="STRANGER"),
    "with a wrong token": post(HELLO, token="falcon_1_nonsense"),
    "to a room that is none": post(HELLO, room="9007199254740993"),
    "a page": get(),
    "the first page": get(query="?after=0&limit=2"),
    "a page around": get(query="?around=1&limit=3"),
    "a wrong limit": get(query="?limit=0"),
    "a wrong parameter": get(query="?tea=1"),
    "an escaped parameter": get(query="?limit=%31"),
    "a page for a stranger": get(token="STRANGER"),
    "a page for nobody": get(token="nonsense"),
    "a page of nothing": get(room="1"),
    "of a page": post(HELLO, "Origin: https://falcon.test"),
    "with a cookie": get("Cookie: tea=1; __Host-falcon=TOKEN").replace(b"Authorization: Bearer TOKEN\r\n", b""),
    "of a page, with a cookie": post(HELLO, "Origin: https://falcon.test", "Cookie: __Host-falcon=TOKEN").replace(
        b"Authorization: Bearer TOKEN\r\n", b""
    ),
    "of another site, with a cookie": post(HELLO, "Origin: https://x.test", "Cookie: __Host-falcon=TOKEN").replace(
        b"Authorization: Bearer TOKEN\r\n", b""
    ),
    "through a proxy": get("X-Forwarded-For: 192.0.2.1", "Via: 1.1 proxy"),
}
# Requests that the parser must see.
UNUSUAL: Final = {
    "a field twice": get("X-Tea: 1", "X-Tea: 2"),
    "two lengths": post(HELLO, "Content-Length: 24"),
    "a length that is none": post(HELLO).replace(b"Length: 24", b"Length: +24"),
    "chunks": request("POST", "/v1/rooms/ROOM/messages", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "both": post(HELLO, "Transfer-Encoding: chunked"),
    "a body of a page": get("Content-Length: 3") + b"tea",
    "Expect": post(HELLO, "Expect: 100-continue"),
    "a trace": get("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    "a known page": get('If-None-Match: "1"'),
    "a position": get("Falcon-Position: 1:1"),
    "an upgrade": get("Connection: Upgrade", "Upgrade: tea"),
    "a folded field": get("X-Tea: a\r\n b"),
    "a space before the colon": get("X-Tea : a"),
    "a field without a name": get(": a"),
    "spaces around a value": get("X-Tea:   a  "),
    "no Host": get().replace(b"Host: falcon.test\r\n", b""),
    "an older version": get().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "bare line feeds": get().replace(b"\r\n", b"\n"),
    "a fragment": get(query="?limit=1#tea"),
    "an escaped path": get(room="%31"),
    "HEAD": get().replace(b"GET", b"HEAD"),
    "a method of this path that is none": get().replace(b"GET", b"PUT"),
    "an absolute target": get().replace(b"GET /", b"GET http://falcon.test/"),
    "a room without end": get(room="0" * 17),
    "too many fields": get(*(f"A{i}: 1" for i in range(31))),
    "a long text": post(b'{"text":"%b"}' % (b"x" * 2_000)),
}


def in_words(chat: Chat, data: bytes, way: int) -> bytes:
    for word, value in (
        ("ROOM", str(chat.rooms[way])),
        ("KEY", f"key-{way}"),
        ("TOKEN", chat.anna.token),
        ("STRANGER", chat.stranger.token),
    ):
        data = data.replace(word.encode(), value.encode())
    return data


def both_ways(chat: Chat, pieces: Sequence[bytes], *, patiently: bool = True) -> tuple[bytes, bytes]:
    """What comes back by the lane and without it, where it does not name one of the two rooms."""
    answers = []
    for way, lane in enumerate((chat.falcon.lane, None)):
        told = ask(chat.falcon, lane, [in_words(chat, piece, way) for piece in pieces], patiently=patiently)
        named = rb'(?:(?<="room_id":)|(?<=oom ))%d\b' % chat.rooms[way]
        answers.append(re.sub(named, b"ROOM", _OWN.sub(b"*", told)))
    return answers[0], answers[1]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[LaneRequest]:
    """The requests that the lane takes."""
    requests: list[LaneRequest] = []
    before = LaneRequest.__init__

    def noted(self: LaneRequest, *arguments: object) -> None:
        before(self, *arguments)
        requests.append(self)

    monkeypatch.setattr(LaneRequest, "__init__", noted)
    return requests


@pytest.mark.parametrize("name", TAKEN)
def test_a_usual_request_gets_the_same_bytes_by_the_lane(chat: Chat, taken: list[LaneRequest], name: str) -> None:
    by_lane, usual = both_ways(chat, [TAKEN[name], LAST])
    assert by_lane == usual
    assert by_lane.count(b"HTTP/1.1 ") == 2
    assert len(taken) == 1


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_request_does_not_take_the_lane(chat: Chat, taken: list[LaneRequest], name: str) -> None:
    by_lane, usual = both_ways(chat, [UNUSUAL[name], LAST])
    assert by_lane == usual
    assert not taken


def test_where_origins_have_answers_of_their_own_they_do_not_take_the_lane(
    taken: list[LaneRequest], tmp_path: Path
) -> None:
    with Falcon(tmp_path, cors_origins=("https://tea.test",)) as falcon:
        asked = get("Origin: https://tea.test", room="1", token=falcon.admin.token)
        answer = ask(falcon, falcon.lane, [asked, LAST], patiently=True)
    assert b"access-control-allow-origin: https://tea.test" in answer
    assert not taken


@pytest.mark.parametrize("cut", [1, 30, 120, -1])
def test_a_request_that_comes_in_two_pieces_does_not_take_it(chat: Chat, taken: list[LaneRequest], cut: int) -> None:
    data = in_words(chat, post(HELLO), 2)

    async def asked() -> int:
        async with served(chat.falcon, chat.falcon.lane) as port, asyncio.timeout(_SECONDS):
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            await client.send(data[:cut])
            await asyncio.sleep(0.05)  # until the first piece has come alone
            answer = await client.asks(data[cut:])
            client.writer.close()
            return answer.status

    assert chat.falcon.run(asked()) == 201
    assert not taken


def test_requests_one_after_the_other_are_answered_in_their_order(chat: Chat) -> None:
    """Each piece may come while the one before it is being answered, or with it."""
    wrong, page = post(b"tea"), get(query="?limit=1")
    for pieces in (
        [post(HELLO), page, wrong, post(HELLO), page, LAST],
        [post(HELLO) + page, wrong + post(HELLO) + page, LAST],
        [page, post(HELLO) + LAST],
    ):
        by_lane, usual = both_ways(chat, pieces, patiently=False)
        assert re.findall(rb"HTTP/1.1 (\d+)", by_lane) == re.findall(rb"HTTP/1.1 (\d+)", usual)
        assert by_lane == usual


def test_what_a_connection_holds_is_of_the_account_that_asks(chat: Chat, taken: list[LaneRequest]) -> None:
    """A wrong token leaves it to the address, although the connection has had a good one."""

    async def asked(*tokens: str) -> list[int | None]:
        async with served(chat.falcon, chat.falcon.lane) as port, asyncio.timeout(_SECONDS):
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            holders = []
            for token in tokens:
                await client.asks(in_words(chat, get(token=token), 2))
                holders.append(taken[-1].scope["state"][BUDGET].account_id)
            client.writer.close()
            return holders

    anna, stranger = chat.anna.account_id, chat.stranger.account_id
    found = chat.falcon.run(asked("TOKEN", "TOKEN", "STRANGER", "falcon_1_nonsense", "TOKEN"))
    assert found == [anna, anna, stranger, None, anna]


def test_strangers_cannot_fill_the_memory_with_the_fields_of_their_reads() -> None:
    names = ("client", "app_state", "transport", "flow", "on_response_complete", "loop")
    lane, connection = FastLane(), SimpleNamespace(**dict.fromkeys(names))
    lane.attach(None, lambda *_: SimpleNamespace(), lambda _: None, origins=True)
    tracemalloc.start()
    for number in range(1_200):
        fields = "".join(f"X-{field}: {number} {'a' * 500}\r\n" for field in range(28))
        request = f"GET /v1/rooms/64/messages HTTP/1.1\r\nHost: falcon.test\r\n{fields}\r\n"
        assert lane.request_in(request.encode(), connection) is not None
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 4 << 20


def test_a_fault_of_ours_gets_the_same_answer(
    chat: Chat, taken: list[LaneRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise ZeroDivisionError("tea")

    monkeypatch.setattr("falcon.features.messages.api._bounds", fails)
    by_lane, usual = both_ways(chat, [get(), LAST])
    assert by_lane == usual
    assert b"500 " in by_lane and len(taken) == 1


def test_a_client_that_leaves_before_its_answer_leaves_nothing(chat: Chat, taken: list[LaneRequest]) -> None:
    async def left() -> None:
        async with served(chat.falcon, chat.falcon.lane) as port, asyncio.timeout(_SECONDS):
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            await client.send(in_words(chat, post(HELLO), 2))
            client.writer.transport.abort()
            await eventually(lambda: bool(taken) and taken[0].disconnected)

    chat.falcon.run(left())
    assert not taken[0].response_complete or taken[0].transport.is_closing()


def test_a_time_limit_ends_what_a_request_waits_for(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does in a task."""

    async def for_ever(partition: int) -> int:
        await asyncio.get_running_loop().create_future()
        return 0

    monkeypatch.setattr(chat.falcon.edge.reads.freshness._positions, "confirmed", for_ever)
    monkeypatch.setattr("falcon.http.freshness._ASK_SECONDS", 0.01)
    monkeypatch.setattr("falcon.http.read_your_writes.WAIT_SECONDS", 0.01)
    by_lane, usual = both_ways(chat, [get(token="STRANGER"), LAST])
    assert by_lane == usual
    assert b"503 " in by_lane
