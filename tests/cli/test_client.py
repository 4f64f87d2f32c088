import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from falcon_chat import ExportFailed, ExportHeader, FalconClient, Names, Problem, Unreachable
from tests.cli.fake import FakeClock, FakeFalcon, Script, busy, message, room, unanswered

T = TypeVar("T")

POSTED = httpx.Response(201, json=message(64, 1, "Hi"), headers={"Falcon-Position": "3:17"})
PAGE = httpx.Response(200, json={"messages": [], "has_before": False, "has_after": False})
ONE = "http://one.test"
TWO = "http://two.test"


def talk(
    server: Script | FakeFalcon,
    work: Callable[[FalconClient], Awaitable[T]],
    urls: str | list[str] = ONE,
    clock: FakeClock | None = None,
    **options: Any,
) -> T:
    async def session() -> T:
        passing = (clock or FakeClock()).clock()
        async with FalconClient(urls, "t0ken", transport=server.transport(), clock=passing, **options) as falcon:
            return await work(falcon)

    return asyncio.run(session())


async def export_of(falcon: FalconClient, header: ExportHeader | None = None, resume: str | None = None) -> bytes:
    async with aclosing(falcon.export(header, resume)) as blocks:
        return b"".join([block async for block in blocks])


def test_a_pause_past_the_deadline_is_not_begun() -> None:
    clock = FakeClock()
    with pytest.raises(Unreachable) as caught:
        talk(Script(busy(429, after="60")), lambda falcon: falcon.rooms(), clock=clock, timeout=5.0)
    assert clock.slept == []
    assert isinstance(caught.value.last, Problem) and caught.value.last.status == 429


def test_a_refusal_that_is_not_falcons_is_a_problem_too() -> None:
    with pytest.raises(Problem, match="404 http_404: Not Found"):
        talk(Script(httpx.Response(404, text="<h1>nothing here</h1>")), lambda falcon: falcon.me())


def test_reading_what_one_wrote_can_be_opted_out_of() -> None:
    server = Script(POSTED, PAGE)

    async def write_and_read(falcon: FalconClient) -> None:
        await falcon.post(64, "Hi")
        await falcon.messages(64)

    talk(server, write_and_read, read_own_writes=False)
    assert server.header("Falcon-Position") == [None, None]


def test_names_are_asked_for_once_also_of_those_who_left() -> None:
    ben = httpx.Response(200, json={"authors": [{"account_id": 131, "name": "Ben"}]})
    server = Script(ben, httpx.Response(200, json={"authors": []}))

    async def named(falcon: FalconClient) -> list[str]:
        names = Names(falcon)
        return [await names.of(64, account_id) for account_id in (131, 131, 132)]

    assert talk(server, named) == ["Ben", "Ben", "account 132"]
    assert [str(request.url.query, "ascii") for request in server.requests] == ["ids=131", "ids=132"]


def test_many_authors_are_asked_for_in_several_requests() -> None:
    server = Script(httpx.Response(200, json={"authors": []}))
    talk(server, lambda falcon: falcon.authors(64, [*range(1, 121), 1]))
    assert [len(request.url.params["ids"].split(",")) for request in server.requests] == [50, 50, 20]


def test_fields_that_are_not_given_are_not_sent() -> None:
    server = Script(httpx.Response(200, json=room(64, "Tea")))
    talk(server, lambda falcon: falcon.change_room(64, description=""))
    assert server.requests[0].content == b'{"description":""}'


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://falcon.test", "http://", ""])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        FalconClient(url, "t0ken")


def test_what_is_no_token_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        FalconClient(ONE, "two words")


ROWS = [
    b'{"type":"falcon-export","version":2,"source":"here","accounts":1,"rooms":1,"messages":3,"position":"0:9"}\n',
    b'{"type":"account","ref":"130","name":"Alice"}\n',
    b'{"type":"room","ref":"64","kind":"group","name":"Tea"}\n',
    *(b'{"type":"message","room":"64","seq":%d,"author":"130","text":"Hi"}\n' % seq for seq in (1, 2, 3)),
]
CHANGES = [
    b'{"type":"changes","position":"0:9","through":"0:11"}\n',
    b'{"type":"message","room":"64","seq":2,"author":"130","text":"Ho","at":"0:9"}\n',
    b'{"type":"member-left","room":"64","account":"130","at":"0:10"}\n',
    b'{"type":"end","position":"0:11"}\n',
]
EXPORT = [*ROWS, *CHANGES]
HEADER = msgspec.json.decode(ROWS[0], type=ExportHeader)


@pytest.mark.parametrize("pieces_of", [1, 50, 1000])
def test_an_export_that_breaks_anywhere_goes_on_where_it_broke(pieces_of: int) -> None:
    """Rows come once. Changes start again, because repeating a part of them does no harm."""
    for broken_after in range(len(b"".join(EXPORT))):
        server = FakeFalcon(export=EXPORT, breaks_after=[broken_after, 60, 95], pieces_of=pieces_of)
        lines = talk(server, export_of).splitlines(keepends=True)
        assert lines[: len(ROWS)] == ROWS
        assert lines[-len(CHANGES) :] == CHANGES
        assert set(lines[len(ROWS) : -len(CHANGES)]) <= set(CHANGES[:-1])


@pytest.mark.parametrize(("resume", "rest"), [("message:64:1", EXPORT[4:]), ("changes", CHANGES)])
def test_an_export_that_was_begun_earlier_goes_on_after_its_last_line(resume: str, rest: list[bytes]) -> None:
    server = FakeFalcon(export=EXPORT)
    assert talk(server, lambda falcon: export_of(falcon, HEADER, resume)) == b"".join(rest)


def test_an_export_without_its_last_line_is_not_taken_for_whole() -> None:
    server = Script(httpx.Response(200, content=b"".join(ROWS)), httpx.Response(200, content=b"".join(CHANGES)))
    assert talk(server, export_of) == b"".join(EXPORT)
    assert server.requests[1].url.params["resume"] == "message:64:3"


@pytest.mark.parametrize("rows", [ROWS, []])
def test_an_export_that_the_server_cannot_make_whole_fails_with_the_servers_words(rows: list[bytes]) -> None:
    failed = b'{"type":"failed","detail":"room 64 has 3 messages, but the timeline ends at 2"}\n'
    with pytest.raises(ExportFailed, match="the timeline ends at 2"):
        talk(Script(httpx.Response(200, content=b"".join(rows) + failed)), export_of)


def test_an_export_that_ends_within_a_line_is_taken_up_again() -> None:
    whole, torn = b"".join(EXPORT[:4]), EXPORT[4][:20]
    server = Script(httpx.Response(200, content=whole + torn), httpx.Response(200, content=b"".join(EXPORT[4:])))
    assert talk(server, export_of) == b"".join(EXPORT)
    assert server.requests[1].url.params["resume"] == "message:64:1"


def test_an_export_without_progress_ends_at_the_deadline() -> None:
    with pytest.raises(Unreachable):
        talk(Script(unanswered), export_of, timeout=5.0)
