"""The actor of a shard keeps the gateway's contract."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from falcon.adapters.sqlite import database
from falcon.features.messages.rules import PostMessage
from falcon.features.rooms.rules import CreateRoom
from falcon.run.bootstrap import HostedGateway, embedded, start_gateway
from falcon.run.settings import Settings
from falcon.write.gateway import CommandGateway
from falcon.write.protocol import Accepted, CommandEnvelope, Rejected, Reply
from tests.contracts.command_gateway import ANN, PARTITIONS, CommandGatewayContract
from tools.harness.waiting import eventually


@asynccontextmanager
async def in_process(data_dir: Path) -> AsyncIterator[HostedGateway]:
    settings = Settings(data_dir=data_dir, partitions=PARTITIONS, log_level="warning")
    database.prepare(settings.database, PARTITIONS)
    gateway = start_gateway(settings, partial(embedded.build_shard, settings, 0))
    yield gateway
    gateway.close()


class TestActorsInProcess(CommandGatewayContract):
    def gateway(self, data_dir: Path) -> AbstractAsyncContextManager[CommandGateway]:
        return in_process(data_dir)


def test_commands_of_another_process_are_carried_out_as_one_batch(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with in_process(tmp_path) as gateway:
            await eventually(gateway.ready)
            replies: dict[int, Reply] = {}
            deadline = time.monotonic() + 60
            commands = [
                CommandEnvelope(1, ANN, CreateRoom(ANN, "Tea kitchen"), deadline),
                CommandEnvelope(1, ANN, PostMessage(ANN, 1, "in no room"), deadline),
            ]
            gateway.deliver(0, commands, lambda some: replies.update(some))
            gateway.deliver(0, [], lambda some: replies.update(some))
            await eventually(lambda: len(replies) == len(commands))
            assert isinstance(replies[0], Accepted) and isinstance(replies[1], Rejected)
            with pytest.raises(LookupError, match="there is no shard 1"):
                gateway.deliver(1, commands, lambda some: None)

    asyncio.run(scenario())
