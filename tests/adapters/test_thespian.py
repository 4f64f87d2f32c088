"""The actor systems keep the gateway's contract: shards in this process, and shards that are processes."""

import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from falcon.adapters.sqlite import database
from falcon.adapters.thespian import KEY_BYTES, KEY_VARIABLE
from falcon.adapters.thespian.actors import RoomShardActor
from falcon.adapters.thespian.remote import RemoteGateway
from falcon.bootstrap import embedded, start_gateway
from falcon.domain.commands import PostMessage
from falcon.settings import Settings
from falcon.write.gateway import CommandGateway
from falcon.write.protocol import (
    BatchReply,
    CommandBatch,
    CommandEnvelope,
    Unavailable,
    decode_replies,
    encode_batch,
)
from tests.contracts.command_gateway import PARTITIONS, CommandGatewayContract
from tools.harness.ports import free_port


def settings(data_dir: Path) -> Settings:
    made = Settings(data_dir=data_dir, partitions=PARTITIONS, shards=2, log_level="warning")
    database.prepare(made.database, PARTITIONS)
    return made


@asynccontextmanager
async def in_process(data_dir: Path) -> AsyncIterator[CommandGateway]:
    gateway = await start_gateway(settings(data_dir), embedded.shard_builds(settings(data_dir)), None)
    yield gateway
    gateway.close()


@asynccontextmanager
async def over_tcp(data_dir: Path) -> AsyncIterator[CommandGateway]:
    made = replace(settings(data_dir), actors="processes")
    port = free_port()
    os.environ[KEY_VARIABLE] = secrets.token_hex(KEY_BYTES)
    process = _start_actors(made, port)
    gateway = await RemoteGateway.attach(port, made.shards, made.mailbox_bound)
    yield gateway
    gateway.close()
    process.terminate()
    assert process.wait(20) == 0


def _start_actors(made: Settings, port: int) -> "subprocess.Popen[bytes]":
    reading, writing = os.pipe()
    environment = {
        **os.environ,
        "FALCON_DATA_DIR": str(made.data_dir),
        "FALCON_ACTORS": made.actors,
        "FALCON_SHARDS": str(made.shards),
        "FALCON_LOG_LEVEL": made.log_level,
        "THESPLOG_FILE": str(made.data_dir / "actors.log"),
    }
    command = [sys.executable, "-m", "falcon.roles", "actors", "--actors-port", str(port), "--ready", str(writing)]
    process = subprocess.Popen(
        [*command, "--parent", str(os.getpid())], env=environment, pass_fds=[writing], stdin=subprocess.DEVNULL
    )
    os.close(writing)
    assert os.read(reading, 100) == b"{}\n"
    os.close(reading)
    return process


class TestActorsInProcess(CommandGatewayContract):
    def gateway(self, data_dir: Path) -> AbstractAsyncContextManager[CommandGateway]:
        return in_process(data_dir)


@pytest.mark.processes
class TestActorsOverTcp(CommandGatewayContract):
    def gateway(self, data_dir: Path) -> AbstractAsyncContextManager[CommandGateway]:
        return over_tcp(data_dir)


def test_a_batch_that_overtakes_the_start_of_its_shard_is_refused_at_once() -> None:
    actor = RoomShardActor()
    sent: list[bytes] = []
    actor.send = lambda to, message: sent.append(message)
    commands = [CommandEnvelope(0, 1, PostMessage(1, 64, text), 5.0) for text in ("Hi", "Ho")]
    actor.receiveMessage(encode_batch(CommandBatch(7, commands)), "a mailbox")
    (reply,) = decode_replies(sent[0])
    assert reply == BatchReply(7, [(0, Unavailable("unavailable")), (1, Unavailable("unavailable"))])
