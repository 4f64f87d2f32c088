"""The life of one message, as docs/architecture.md tells it in ten steps, is the life of a real one.

A Falcon in this process takes a message from a socket, and a page is read back. A profiler sees each call in each
thread. What counts:

- A call is a call of a function whose file is in falcon/. A coroutine that continues after it waited makes no new call,
  and neither does a comprehension: it is a loop. Calls of libraries and of the interpreter do not count.
- Work of the journal's thread counts: the message waits for it. So do the read tables, which are written in the same
  commit.
- Work without a message does not count: ticks, sweeps, other threads. A tick's work, such as a checkpoint, comes
  between the calls of some sends, so of several sends the fewest calls count.
- The acknowledgement is sent when uvicorn says that the response is complete. What follows tidies up.
"""

import asyncio
import re
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

import pytest

import falcon
from falcon.http.server.admission import AdmissionControl
from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.serving import create_server
from tests.support.http import Falcon, Person
from tests.support.protocol_server import Client

_PACKAGE: Final = str(Path(falcon.__file__).parent) + "/"
_PAGE: Final = (Path(__file__).parent.parent / "docs/architecture.md").read_text()
_LOOPS: Final = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
_TRIES: Final = 22
# Callbacks of timers.
_BACKGROUND: Final = (
    "LocalGateway._tick",
    "Mailbox._sweep",
    "ConnectionSweeper._begin_round",
    "ConnectionSweeper._check_some",
)
_ACKNOWLEDGED: Final = ("http/server/protocol.py", "FalconHttpProtocol.on_response_complete")


class Call(NamedTuple):
    """``module``: its file below falcon/. ``caller``: the top folder of the function of ours that called; empty where a
    library did, as an event loop does."""

    module: str
    function: str
    caller: str

    @property
    def folder(self) -> str:
        return self.module.partition("/")[0]


class Profiler:
    """Notes the calls while it is ``on``, in every thread that starts after it is installed."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._on = False
        self._begun: set[FrameType] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if not self._on or event != "call" or frame in self._begun or not _is_counted(frame.f_code):
            return
        self._begun.add(frame)
        ours = [each for each in _stack(frame) if _is_ours(each)]
        if ours[-1].co_qualname in _BACKGROUND or not _is_awaited(threading.current_thread()):
            return
        folder = _module(ours[1]).partition("/")[0] if len(ours) > 1 else ""
        self.calls.append(Call(_module(frame.f_code), frame.f_code.co_qualname, folder))

    async def during(self, work: Callable[[], Awaitable[object]]) -> list[Call]:
        """The calls until the work is done and nothing that it began is left to do in the loop."""
        self.calls, self._on = [], True
        await work()
        for _ in range(3):
            await asyncio.sleep(0)
        self._on = False
        self._begun.clear()
        return self.calls


def _stack(frame: FrameType | None) -> Iterator[CodeType]:
    """The innermost first."""
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _is_awaited(thread: threading.Thread) -> bool:
    """True for the threads that a message waits for."""
    return thread is threading.main_thread() or thread.name.startswith("falcon-journal-")


def _is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(_PACKAGE)


def _is_counted(code: CodeType) -> bool:
    return _is_ours(code) and code.co_name not in _LOOPS


def _module(code: CodeType) -> str:
    return code.co_filename.removeprefix(_PACKAGE)


class Walk(NamedTuple):
    """The calls of a send before and after its acknowledgement, and those of the read of a page with the message.
    ``keyed``: before the acknowledgement of a send with an Idempotency-Key."""

    before: list[Call]
    after: list[Call]
    keyed: list[Call]
    page: list[Call]


def _at_the_acknowledgement(send: list[Call]) -> tuple[list[Call], list[Call]]:
    place = [(call.module, call.function) for call in send].index(_ACKNOWLEDGED)
    return send[:place], send[place:]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return _walk_in(tmp_path_factory.mktemp("walk"), limits="off")


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Where accounts and rooms have limits."""
    return _walk_in(tmp_path_factory.mktemp("limited"), limits="on")


def _walk_in(folder: Path, *, limits: str) -> Walk:
    profiler = Profiler()
    before = sys.getprofile(), threading.getprofile()
    threading.setprofile(profiler)
    try:
        with Falcon(folder, limits=limits) as started:
            anna = started.account("Anna")
            room = anna.makes_room("Tea kitchen")
            sys.setprofile(profiler)
            return started.run(_walked(started, profiler, anna, room.room_id))
    finally:
        sys.setprofile(before[0])
        threading.setprofile(before[1])


async def _walked(served: Falcon, profiler: Profiler, anna: Person, room_id: int) -> Walk:
    listening = socket.create_server(("127.0.0.1", 0))
    admission = AdmissionControl()
    admission.attach(served.edge.gateway, served.edge.partitions)
    server = create_server(served.app, ConnectionSweeper("walk"), admission=admission, lane=served.lane)
    serving = asyncio.create_task(server.serve([listening]))
    client = Client(*await asyncio.open_connection(*listening.getsockname()))
    path = f"/v1/rooms/{room_id}/messages"
    body = b'{"text":"Is there tea?"}'
    send, read = _request("POST", path, anna, body), _request("GET", path, anna)

    async def asks(request: bytes, status: int) -> None:
        answer = await client.asks(request)
        assert answer.status == status, answer.body

    for request, status in ((send, 201), (read, 200)):
        await asks(request, status)  # what is looked up once is known from here on
    sends: list[tuple[list[Call], list[Call]]] = []
    keyed: list[tuple[list[Call], list[Call]]] = []
    pages: list[list[Call]] = []
    for number in range(_TRIES):  # each page has a message that no reader has seen
        with_key = _request("POST", path, anna, body, f"Idempotency-Key: {number}\r\n")
        keyed.append(_at_the_acknowledgement(await profiler.during(partial(asks, with_key, 201))))
        sends.append(_at_the_acknowledgement(await profiler.during(partial(asks, send, 201))))
        pages.append(await profiler.during(partial(asks, read, 200)))
    client.writer.close()
    server.should_exit = True
    await serving
    return Walk(
        before=min((before for before, _ in sends), key=len),
        after=min((after for _, after in sends), key=len),
        keyed=min((before for before, _ in keyed), key=len),
        page=min(pages, key=len),
    )


def _request(method: str, path: str, sender: Person, body: bytes = b"", fields: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: falcon.test\r\nAuthorization: Bearer {sender.token}\r\n{fields}"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


# --- what the page says -----------------------------------------------------------------------------------------------


def _told() -> list[tuple[str, str]]:
    """Module and function of each step."""
    chapter = _PAGE.partition("## The life of one message\n")[2].partition("\n## ")[0]
    return re.findall(r"^\d+\. `([\w/]+\.py)` `([\w.]+)`", chapter, re.MULTILINE)


def _limit(what: str) -> int:
    found = re.search(rf"at most (\d+) {what}", " ".join(_PAGE.split()), re.IGNORECASE)
    assert found is not None, f"the page does not say how many {what}"
    return int(found[1])


def test_the_message_takes_the_ten_steps_that_the_page_tells(walk: Walk) -> None:
    told = _told()
    assert len(told) == 10
    calls: Iterator[Any] = iter((call.module, call.function) for call in walk.before + walk.page)
    for step in told:
        assert step in calls, f"{step} does not come after the step before it"


def test_the_ten_steps_go_back_twice_at_most_before_the_acknowledgement() -> None:
    *sent, (reading, _) = _told()
    folders = [_floor(module) for module, _ in sent]
    entered = [folder for before, folder in zip(["", *folders], folders, strict=False) if folder != before]
    assert len(entered) - len(set(entered)) <= 2
    assert reading.startswith("features/")


def _floor(module: str) -> str:
    """The folder, or a feature's module by its name: its rules are below ``write``, its api above."""
    folder, _, name = module.partition("/")
    return name.partition("/")[2] if folder == "features" else folder


def test_a_send_makes_as_few_calls_as_the_page_says(walk: Walk) -> None:
    """The numbers on the page may only fall."""
    assert len(walk.before) <= _limit("calls before")
    assert len(walk.keyed) <= _limit("calls with an Idempotency-Key")
    assert len(walk.after) <= _limit("calls after")
    assert len(walk.page) <= _limit("calls for a page")


def test_limits_add_as_few_calls_as_the_page_says(walk: Walk, limited: Walk) -> None:
    assert len(limited.before) - len(walk.before) <= _limit("calls to a send")
    more = [call for call in limited.keyed if call not in walk.keyed]
    assert len(limited.keyed) - len(walk.keyed) <= _limit("calls to one with a key"), more
    assert len(limited.page) - len(walk.page) <= _limit("calls to a page")


def test_a_send_crosses_from_folder_to_folder_as_seldom_as_the_page_says(walk: Walk) -> None:
    crossing = [call for call in walk.before if call.caller and call.caller != call.folder]
    assert len(crossing) <= _limit("of these calls cross")
