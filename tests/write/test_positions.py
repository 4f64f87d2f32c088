"""Asking owners where their logs stand: for all who want to know, and never too early."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from falcon.domain.answers import PositionAnswer
from falcon.domain.commands import ReadPosition
from falcon.journal.ports import JournalUnavailable
from falcon.write import positions
from falcon.write.mailbox import Mailbox
from falcon.write.positions import OwnersPositions
from falcon.write.protocol import Accepted, CommandEnvelope, Reply, Unavailable


class Owners:
    """Say how far the log is when a test lets them. ``asked``: the partitions, in order."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._replies: list[asyncio.Future[Reply]] = []

    async def ask(self, envelope: CommandEnvelope) -> Reply:
        assert envelope.command == ReadPosition(envelope.partition)
        assert envelope.key is None
        self.asked.append(envelope.partition)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies.append(reply)
        return await reply

    def mailbox(self, partition: int) -> Mailbox | None:
        return None

    def say(self, offset: int) -> None:
        """Answer the oldest question."""
        self._replies.pop(0).set_result(Accepted(PositionAnswer(offset), 3, offset + 1))

    def refuse(self) -> None:
        self._replies.pop(0).set_result(Unavailable("unavailable"))

    async def hear(self, count: int) -> None:
        """Until so many have been asked in all."""
        while len(self.asked) < count:
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "_APART_SECONDS", 0.0)


def run(scenario: Callable[[Owners, OwnersPositions], Awaitable[None]]) -> None:
    async def running() -> None:
        owners = Owners()
        await asyncio.wait_for(scenario(owners, OwnersPositions(owners)), 60)

    asyncio.run(running())


def wondering(asking: OwnersPositions, count: int, partition: int = 3) -> "list[asyncio.Task[int]]":
    return [asyncio.create_task(asking.confirmed(partition)) for _ in range(count)]


def test_all_who_want_to_know_at_once_share_one_ask() -> None:
    async def scenario(owners: Owners, asking: OwnersPositions) -> None:
        tasks = wondering(asking, 100)
        await owners.hear(1)
        owners.say(7)
        assert await asyncio.gather(*tasks) == [7] * 100
        assert owners.asked == [3]

    run(scenario)


def test_one_who_comes_while_an_ask_is_away_waits_for_the_next_one() -> None:
    async def scenario(owners: Owners, asking: OwnersPositions) -> None:
        first = wondering(asking, 1)
        await owners.hear(1)
        later = wondering(asking, 50)
        for _ in range(5):
            await asyncio.sleep(0)
        assert owners.asked == [3], "one is away at a time"
        owners.say(7)
        assert await asyncio.gather(*first) == [7]
        await owners.hear(2)
        owners.say(9)
        assert await asyncio.gather(*later) == [9] * 50
        assert owners.asked == [3, 3]

    run(scenario)


def test_partitions_do_not_wait_for_one_another() -> None:
    async def scenario(owners: Owners, asking: OwnersPositions) -> None:
        slow, quick = wondering(asking, 1, 3) + wondering(asking, 1, 4)
        await owners.hear(2)
        assert sorted(owners.asked) == [3, 4]
        owners.say(7)
        owners.say(8)
        assert {await slow, await quick} == {7, 8}

    run(scenario)


def test_one_who_gives_up_takes_nobody_along() -> None:
    async def scenario(owners: Owners, asking: OwnersPositions) -> None:
        impatient, patient = wondering(asking, 2)
        await owners.hear(1)
        impatient.cancel()
        owners.say(7)
        assert await patient == 7

    run(scenario)


def test_an_owner_that_cannot_say_is_said_to_all_and_asked_again_by_the_next() -> None:
    async def scenario(owners: Owners, asking: OwnersPositions) -> None:
        tasks = wondering(asking, 3)
        await owners.hear(1)
        owners.refuse()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in told] == [JournalUnavailable] * 3
        (again,) = wondering(asking, 1)
        await owners.hear(2)
        owners.say(7)
        assert await again == 7

    run(scenario)


def test_an_owner_is_asked_some_times_a_second_however_many_want_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "_APART_SECONDS", 60.0)

    async def scenario(owners: Owners, asking: OwnersPositions) -> None:
        (first,) = wondering(asking, 1)
        await owners.hear(1)
        owners.say(7)
        await first
        wondering(asking, 10)
        for _ in range(10):
            await asyncio.sleep(0)
        assert owners.asked == [3]

    run(scenario)
