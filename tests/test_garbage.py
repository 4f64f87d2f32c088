"""No look of the garbage collector takes long, and garbage is found all the same."""

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator

import pytest

from falcon.run import garbage
from tests.support.own_time import run_in_own_time

_NEW, _OLD = 0, 2


class Connection:
    """One that refers to itself, as a parser and its protocol do."""

    def __init__(self) -> None:
        self.protocol = self


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def is_among(generation: int, connection: Connection) -> bool:
    return any(each is connection for each in gc.get_objects(generation))


def test_connections_that_come_as_others_go_do_not_stay_new() -> None:
    """Python by itself counts that none are left, and so does not look."""

    async def chat() -> None:
        garbage.look_often(work=0)
        first = Connection()
        assert is_among(_NEW, first)
        await asyncio.sleep(0.06)
        assert is_among(_OLD, first)

    run_in_own_time(chat())


def test_what_refers_to_itself_is_freed_soon_after_its_end() -> None:
    async def chat() -> None:
        garbage.look_often(work=0)
        ended = weakref.ref(Connection())
        assert ended() is not None
        await asyncio.sleep(0.06)
        assert ended() is None

    run_in_own_time(chat())


def test_while_the_process_only_waits_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look would cost the next message its caches."""
    worked = 1.0
    monkeypatch.setattr(time, "process_time", lambda: worked)

    async def chat() -> None:
        nonlocal worked
        garbage.look_often(work=0.02)
        connection = Connection()
        await asyncio.sleep(10)
        assert is_among(_NEW, connection)
        worked += 0.03
        await asyncio.sleep(0.06)
        assert is_among(_OLD, connection)

    run_in_own_time(chat())


@pytest.mark.parametrize("at_once", [10, 20_000])
def test_old_objects_are_looked_at_once_many_new_ones_stay(at_once: int) -> None:
    """``at_once``: so many that Python looks by itself meanwhile, too."""

    async def chat() -> None:
        connection = Connection()
        ended = weakref.ref(connection)
        gc.collect()
        assert is_among(_OLD, connection)
        garbage.look_often(seconds=0, all_after=100_000, work=0)
        await asyncio.sleep(0)
        del connection
        stay: list[list[int]] = []
        while ended() is not None:
            assert len(stay) <= 200_000, "it never looks"
            stay += [[] for _ in range(at_once)]
            await asyncio.sleep(0)
        assert len(stay) > 20_000, "it looks without need"

    asyncio.run(chat())
