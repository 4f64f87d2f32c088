"""The promises of every place where cuts are kept. Adapters' tests subclass this."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from falcon.journal.ports import JournalUnavailable
from falcon.streams.cuts import CutStore, Record
from tools.harness.waiting import eventually


class Follower:
    def __init__(self, store: CutStore) -> None:
        self.store = store
        self.taken: list[Record] = []
        store.follow(lambda number, data: self.taken.append((number, data)), self._lost)

    def _lost(self) -> None:
        raise AssertionError("nothing is lost here")


class CutStoreContract(ABC):
    @pytest.fixture
    @abstractmethod
    def make(self) -> Any:
        """A function that makes stores of the same cuts."""

    @pytest.fixture
    def run(self, make: Callable[[], CutStore]) -> Callable[[Any], None]:
        """Run something with two stores."""

        async def running(work: Any) -> None:
            async with AsyncExitStack() as stack:
                stores = [make(), make()]
                for store in stores:
                    stack.push_async_callback(store.close)
                async with asyncio.timeout(60):
                    await work(*stores)

        return lambda work: asyncio.run(running(work))

    def test_each_process_reads_what_any_of_them_writes_in_one_order(self, run: Any) -> None:
        async def work(one: CutStore, other: CutStore) -> None:
            first = Follower(one)
            numbers = [await one.write(b"one"), await other.write(b"two"), await one.write(b"three")]
            assert numbers == sorted(set(numbers))
            second = Follower(other)
            expected = list(zip(numbers, (b"one", b"two", b"three"), strict=True))
            await eventually(lambda: first.taken == second.taken == expected)

        run(work)

    def test_a_cut_is_found_by_its_number(self, run: Any) -> None:
        async def work(one: CutStore, other: CutStore) -> None:
            numbers = [await one.write(b"%d" % n) for n in range(5)]
            for store in (one, other):
                found = await store.read(numbers[2])
                assert found[0] == (numbers[2], b"2")
                assert found == [(number, b"%d" % n) for n, number in enumerate(numbers)][2 : 2 + len(found)]

        run(work)

    def test_a_number_that_there_is_not_finds_nothing(self, run: Any) -> None:
        async def work(one: CutStore, other: CutStore) -> None:
            assert await is_nowhere(other, 0)
            number = await one.write(b"one")
            assert await is_nowhere(other, number + 1)
            assert await other.read(2**60) == []

        run(work)


async def is_nowhere(store: CutStore, number: int) -> bool:
    """True also if another server may know more cuts."""
    try:
        return await store.read(number) == []
    except JournalUnavailable:
        return True
