"""The actor of a shard keeps the gateway's contract."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from falcon.adapters.sqlite import database
from falcon.bootstrap import embedded, start_gateway
from falcon.settings import Settings
from falcon.write.gateway import CommandGateway
from tests.contracts.command_gateway import PARTITIONS, CommandGatewayContract


@asynccontextmanager
async def in_process(data_dir: Path) -> AsyncIterator[CommandGateway]:
    settings = Settings(data_dir=data_dir, partitions=PARTITIONS, log_level="warning")
    database.prepare(settings.database, PARTITIONS)
    gateway = start_gateway(settings, partial(embedded.build_shard, settings, 0))
    yield gateway
    gateway.close()


class TestActorsInProcess(CommandGatewayContract):
    def gateway(self, data_dir: Path) -> AbstractAsyncContextManager[CommandGateway]:
        return in_process(data_dir)
