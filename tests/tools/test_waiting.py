"""One way to wait, and one to find free ports."""

import asyncio
import socket
from collections.abc import Iterable

import pytest

from tools.harness.ports import free_port
from tools.harness.waiting import NotInTime, eventually, eventually_within, holds_within, until
from tools.servers.daemon import ServerFault
from tools.servers.session import on_free_ports


class Listens:
    def __init__(self, port: int) -> None:
        self.port = port

    def ports(self) -> Iterable[int]:
        return (self.port,)


def test_the_first_answer_that_is_true_is_given() -> None:
    answers = iter([0, 0, 7])
    assert until(lambda: next(answers), every=0) == 7


def test_what_did_not_come_in_time_is_named() -> None:
    with pytest.raises(NotInTime, match="not within 0 s: tea is made"):
        until(lambda: False, "tea is made", seconds=0, every=0)


def test_a_question_may_be_asked_on_the_event_loop() -> None:
    answers = iter([False, True])

    async def is_so() -> bool:
        return next(answers)

    asyncio.run(eventually(is_so, every=0))
    with pytest.raises(NotInTime, match="tea is made"):
        asyncio.run(eventually(lambda: False, "tea is made", seconds=0, every=0))


def test_a_wait_that_may_end_without_success_says_whether_it_had_any() -> None:
    answers = iter([False, True] * 2)
    assert holds_within(lambda: next(answers), 60, every=0)
    assert asyncio.run(eventually_within(lambda: next(answers), 60, every=0))
    assert not holds_within(lambda: False, 0, every=0)
    assert not asyncio.run(eventually_within(lambda: False, 0, every=0))


def test_a_server_is_made_where_its_ports_are_free() -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert on_free_ports(Listens, [port, free]).port == free
        with pytest.raises(ServerFault, match="no free ports"):
            on_free_ports(Listens, [port])
