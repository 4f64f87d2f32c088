"""The promises of the gateway to the write side, for every actor system. Adapters' tests subclass this."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

import pytest

from falcon.domain.answers import PositionAnswer
from falcon.domain.commands import ReadPosition
from falcon.domain.rejections import KeyReused, NotAMember
from falcon.features.catalogue import Command
from falcon.features.messages.rules import MessageAnswer, PostMessage
from falcon.features.rooms.rules import CreateRoom, RoomAnswer
from falcon.write.gateway import CommandGateway, partition_for
from falcon.write.protocol import Accepted, CommandEnvelope, Rejected, Reply, Unavailable

T = TypeVar("T")
ANN, BOB = 1_000, 1_001  # the write side takes the sender's word for who they are
PARTITIONS = 64


class Asking:
    """A gateway with the manners of the edge."""

    def __init__(self, gateway: CommandGateway) -> None:
        self.gateway = gateway

    async def ask(
        self, command: Command, *, by: int = ANN, key: str | None = None, same: int = 1, seconds: float = 60
    ) -> Reply:
        partition = partition_for(command, by, key, PARTITIONS)
        size = len(getattr(command, "text", "")) + 200
        deadline = time.monotonic() + seconds
        return await self.gateway.ask(CommandEnvelope(partition, by, command, deadline, key, same, size))

    async def ask_again(self, command: Command, *, key: str | None = None) -> Reply:
        """Tries again, as clients must, until the shard has taken its partitions over."""
        async with asyncio.timeout(60):
            while isinstance(reply := await self.ask(command, key=key), Unavailable):
                await asyncio.sleep(0.1)
        return reply

    async def room(self) -> int:
        reply = await self.ask_again(CreateRoom(ANN, "Tea kitchen"))
        assert isinstance(reply, Accepted), reply
        assert isinstance(reply.answer, RoomAnswer)
        return reply.answer.room_id


def seq_of(reply: Reply) -> int:
    assert isinstance(reply, Accepted), reply
    assert isinstance(reply.answer, MessageAnswer)
    return reply.answer.message.seq


class CommandGatewayContract(ABC):
    @abstractmethod
    def gateway(self, data_dir: Path) -> AbstractAsyncContextManager[CommandGateway]:
        """A gateway to shards that live as long as the context, on the data in this folder."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Callable[[Callable[[Asking], Awaitable[T]]], T]:
        """Run a scenario against a gateway; several in one test find each other's data."""

        async def running(scenario: Callable[[Asking], Awaitable[T]]) -> T:
            async with self.gateway(tmp_path) as gateway:
                return await scenario(Asking(gateway))

        return lambda scenario: asyncio.run(running(scenario))

    def test_a_room_is_made_and_a_message_is_sent(self, run: Callable[..., object]) -> None:
        async def scenario(falcon: Asking) -> None:
            room = await falcon.room()
            assert [seq_of(await falcon.ask(PostMessage(ANN, room, "hello"))) for _ in range(3)] == [1, 2, 3]

        run(scenario)

    def test_messages_sent_at_once_are_numbered_without_a_gap(self, run: Callable[..., object]) -> None:
        async def scenario(falcon: Asking) -> None:
            rooms = [await falcon.room() for _ in range(4)]
            for room in rooms:
                asks = [falcon.ask(PostMessage(ANN, room, f"{i}"), key=f"{room}-{i}") for i in range(150)]
                replies = await asyncio.gather(*asks)
                assert sorted(map(seq_of, replies)) == list(range(1, 151))

        run(scenario)

    def test_refusals_are_values(self, run: Callable[..., object]) -> None:
        async def scenario(falcon: Asking) -> None:
            room = await falcon.room()
            reply = await falcon.ask(PostMessage(BOB, room, "let me in"), by=BOB)
            assert isinstance(reply, Rejected)
            assert reply.rejection == NotAMember(room, BOB)

        run(scenario)

    def test_a_retry_is_told_what_the_first_try_was_told(self, run: Callable[..., object]) -> None:
        async def scenario(falcon: Asking) -> None:
            room = await falcon.room()
            first, again = [await falcon.ask(PostMessage(ANN, room, "hello"), key="k") for _ in range(2)]
            assert isinstance(first, Accepted)
            assert isinstance(again, Accepted)
            assert (again.answer, again.replayed) == (first.answer, True)
            reused = await falcon.ask(PostMessage(ANN, room, "other"), key="k", same=2)
            assert isinstance(reused, Rejected)
            assert reused.rejection == KeyReused()

        run(scenario)

    def test_a_partition_says_how_far_its_log_goes(self, run: Callable[..., object]) -> None:
        async def scenario(falcon: Asking) -> None:
            room = await falcon.room()
            posted = await falcon.ask(PostMessage(ANN, room, "hello"))
            assert isinstance(posted, Accepted)
            said = await falcon.ask(ReadPosition(posted.partition))
            assert isinstance(said, Accepted)
            assert isinstance(said.answer, PositionAnswer)
            assert said.answer.offset >= posted.offset

        run(scenario)

    def test_what_comes_too_late_is_not_done(self, run: Callable[..., object]) -> None:
        async def scenario(falcon: Asking) -> None:
            room = await falcon.room()
            late = await falcon.ask(PostMessage(ANN, room, "late"), seconds=-1)
            assert isinstance(late, Unavailable)
            assert seq_of(await falcon.ask(PostMessage(ANN, room, "hello"))) == 1

        run(scenario)

    def test_the_longest_messages_get_through_together(self, run: Callable[..., object]) -> None:
        async def scenario(falcon: Asking) -> None:
            room = await falcon.room()
            asks = [falcon.ask(PostMessage(ANN, room, "\0é" * 21_845)) for _ in range(40)]
            assert sorted(map(seq_of, await asyncio.gather(*asks))) == list(range(1, 41))

        run(scenario)

    def test_the_next_one_on_the_same_data_goes_on(self, run: Callable[..., int]) -> None:
        async def first(falcon: Asking) -> int:
            room = await falcon.room()
            await falcon.ask(PostMessage(ANN, room, "hello"), key="k")
            return room

        room = run(first)

        async def second(falcon: Asking) -> int:
            again = await falcon.ask_again(PostMessage(ANN, room, "hello"), key="k")
            assert isinstance(again, Accepted)
            assert again.replayed
            return seq_of(await falcon.ask(PostMessage(ANN, room, "how are you?")))

        assert run(second) == 2
