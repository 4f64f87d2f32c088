import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_chat import (
    Event,
    FalconClient,
    MessagePosted,
    Problem,
    Stream,
)
from falcon_chat import (
    streaming as streaming_module,
)
from falcon_chat.sse import Block, Parser
from tests.cli.fake import (
    FakeClock,
    Script,
    busy,
    event,
    message,
    problem,
    streaming,
    unanswered,
)

T = TypeVar("T")

ONE = "http://one.test"
TWO = "http://two.test"
HELLO = event("h", "hello", {"account_id": 130, "rooms": [], "truncated": False, "unread_threads": 0})
THE_END = problem(401, "unauthenticated", "the token has been revoked")
LOST = httpx.ReadError("the connection broke")


def posted(seq: int, text: str = "Hi") -> bytes:
    return event(f"m{seq}", "message.posted", message(64, seq, text))


def bye(id: str, reason: str = "draining", after: int = 3000) -> bytes:
    return event(id, "bye", {"reason": reason, "retry_after_ms": after})


def talk(
    transport: httpx.AsyncBaseTransport | None,
    work: Callable[[FalconClient], Awaitable[T]],
    urls: str | list[str] = ONE,
    clock: FakeClock | None = None,
) -> T:
    async def session() -> T:
        passing = (clock or FakeClock(3000)).clock()
        async with FalconClient(urls, "t0ken", transport=transport, clock=passing) as falcon:
            return await work(falcon)

    return asyncio.run(session())


async def until_refused(stream: Stream) -> AsyncIterator[Event]:
    with suppress(Problem):
        async for happened in stream:
            yield happened


def heard(server: Script, urls: str | list[str] = ONE, clock: FakeClock | None = None, **asked: Any) -> list[Event]:
    """All events until the server refuses."""

    async def listen(falcon: FalconClient) -> list[Event]:
        return [happened async for happened in until_refused(falcon.stream(**asked))]

    return talk(server.transport(), listen, urls, clock)


def resumed(server: Script) -> list[str | None]:
    return [request.url.params.get("resume") for request in server.requests]


def ids(events: list[Event]) -> list[str]:
    return [each.id for each in events]


# --- connections that are lost ----------------------------------------------------------------------------------------


@dataclass
class Forgetful:
    """Sends each client the same events from its resume token on, and drops the connection again and again."""

    story: list[bytes]
    breaks_after: list[int]
    pieces_of: int
    opened: int = 0

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._respond)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.opened += 1
        resume = request.url.params.get("resume")
        start = 0 if resume is None else int(resume.removeprefix("m"))
        rest = b"".join(self.story[start:])
        if self.breaks_after:
            sent = rest[: self.breaks_after.pop(0)]
        elif rest:
            sent = rest
        else:
            return THE_END
        pieces = (sent[at : at + self.pieces_of] for at in range(0, len(sent), self.pieces_of))
        return streaming(*pieces, LOST)(request)


STORY = [b": still here\n\n" + posted(seq, f"tea \U0001fad6 {seq}") for seq in range(1, 5)]


async def texts(falcon: FalconClient) -> list[str]:
    told = until_refused(falcon.stream())
    return [happened.message.text async for happened in told if isinstance(happened, MessagePosted)]


@pytest.mark.parametrize("pieces_of", [1, 7, 1000])
def test_wherever_connections_break_each_event_comes_once_and_in_order(pieces_of: int) -> None:
    whole = b"".join(STORY)
    for broken_after in range(0, len(whole), 5):
        server = Forgetful(STORY, [broken_after, 40, len(STORY[0]) - 1, len(STORY[0])], pieces_of)
        assert talk(server.transport(), texts) == [f"tea \U0001fad6 {seq}" for seq in range(1, 5)]
        assert server.opened >= 5


def test_pauses_grow_while_nothing_answers_and_it_is_never_given_up() -> None:
    clock = FakeClock(3000)
    server = Script(*[unanswered] * 2000, streaming(HELLO, LOST), unanswered, THE_END)
    assert ids(heard(server, clock=clock)) == ["h"]
    assert clock.slept[0] < 0.06 and 1 <= clock.slept[1999] <= 2
    assert clock.slept[2000] < 0.06, "what was told began the pauses again"


def test_an_interruption_is_logged_once_and_a_bye_is_not(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "falcon_chat"):
        heard(Script(streaming(HELLO, bye("b")), streaming(posted(1), LOST), unanswered, busy(), THE_END))
    assert [record.message for record in caplog.records] == [
        "the stream is interrupted, and goes on when it can: the connection broke"
    ]


def test_a_busy_server_is_waited_for_as_long_as_it_says() -> None:
    clock = FakeClock()
    server = Script(streaming(HELLO, LOST), busy(after="7"), streaming(posted(1)), THE_END)
    assert ids(heard(server, clock=clock)) == ["h", "m1"]
    assert 7 <= clock.slept[1] < 8
    assert resumed(server) == [None, "h", "h", "m1"]


def test_a_bye_that_names_no_place_leaves_it_where_it_was() -> None:
    server = Script(streaming(HELLO, bye("")), THE_END)
    assert ids(heard(server)) == ["h", "h"]
    assert resumed(server) == [None, "h"]


def test_addresses_take_turns_and_a_dead_one_is_left_alone() -> None:
    server = Script(streaming(HELLO, LOST), unanswered, streaming(posted(1), bye("b")), THE_END)
    assert ids(heard(server, [ONE, TWO])) == ["h", "m1", "b"]
    hosts = [request.url.host for request in server.requests]
    assert hosts[:2] == ["one.test", "two.test"]
    assert len(hosts) == 4


def test_a_wait_that_is_cancelled_costs_no_event() -> None:
    class Hanging(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield HELLO + posted(1)[:20]
            await asyncio.Event().wait()

    kind = {"Content-Type": "text/event-stream"}
    server = Script(lambda _: httpx.Response(200, headers=kind, stream=Hanging()), streaming(posted(1)), THE_END)

    async def listen(falcon: FalconClient) -> list[str]:
        async with falcon.stream() as stream:
            first = await anext(stream)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(stream)
            return [first.id, (await anext(stream)).id]

    assert talk(server.transport(), listen) == ["h", "m1"]
    assert resumed(server) == [None, "h"]


# --- silence, over real sockets ---------------------------------------------------------------------------------------


@dataclass
class Mute:
    """Sends hello and then nothing; the second connection gets an event."""

    asked: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=lambda: [HELLO, posted(1)])

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + self.answers.pop(0))
        await reader.read()
        writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_silence_is_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    assert streaming_module._SILENCE_SECONDS == 30
    monkeypatch.setattr(streaming_module, "_SILENCE_SECONDS", 0.2)

    async def listen() -> list[str]:
        mute = Mute()
        async with mute.serving() as url, FalconClient(url, "t0ken") as falcon, falcon.stream() as stream:
            found = [(await anext(stream)).id, (await anext(stream)).id]
        assert b"resume=h" in mute.asked[1] and b"resume=" not in mute.asked[0]
        return found

    assert asyncio.run(asyncio.wait_for(listen(), 10)) == ["h", "m1"]


# --- Server-Sent Events -----------------------------------------------------------------------------------------------


def blocks(*pieces: bytes) -> list[Block]:
    parser = Parser()
    return [block for piece in pieces for block in parser.feed(piece)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_events_are_read_by_the_rules_of_the_html_standard(end: bytes) -> None:
    lines = [
        b"\xef\xbb\xbfid: 1",
        b": a comment",
        b"data: two",
        b"data:lines",
        b"data",
        b"",
        b"event: named",
        b"id: 2\0",
        b"unknown: field",
        b"data:  spaced",
        b"",
        b"event: without data",
        b"id: 3",
        b"",
        b"data: x",
        b"",
        b"data: cut off",
    ]
    sent = end.join(lines) + end
    expected = [Block("message", b"two\nlines\n", "1"), Block("named", b" spaced", "1"), Block("message", b"x", "3")]
    assert blocks(sent) == expected
    assert blocks(*(sent[at : at + 1] for at in range(len(sent)))) == expected


def test_an_event_is_read_as_soon_as_the_empty_line_is_there() -> None:
    parser = Parser()
    assert [*parser.feed(b"data: x\r\n\r")] == [Block("message", b"x", "")]
    assert [*parser.feed(b"\ndata: y\r\n\r\n")] == [Block("message", b"y", "")]


@given(
    st.lists(st.sampled_from([b"data: \xf0\x9f\xab\x96", b"id: 7", b"event: e", b":", b"", b"\r", b"\n", b"\r\n"])),
    st.lists(st.integers(0, 200)),
)
def test_where_the_pieces_are_cut_makes_no_difference(parts: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(parts)
    at = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    assert blocks(*(sent[a:b] for a, b in pairwise(at))) == blocks(sent)


def test_a_connection_has_what_a_stream_needs_of_it() -> None:
    server = Script(streaming(HELLO), THE_END)
    heard(server)
    first = server.requests[0]
    assert first.extensions["timeout"]["read"] == 30
    assert first.headers["Accept"] == "text/event-stream"
    assert first.headers["Accept-Encoding"] == "identity", "compressed, an event could wait for the next"
