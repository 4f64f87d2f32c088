"""Commands to owners in other processes keep the gateway's contract, and find an owner that has moved."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import uvicorn

from falcon.adapters.pods.gateway import PodGateway
from falcon.adapters.sqlite import database
from falcon.bootstrap import embedded, start_gateway
from falcon.domain.answers import ReadAnswer
from falcon.domain.commands import MoveRead, PostMessage
from falcon.http.internal import InternalCommands
from falcon.settings import Settings
from falcon.write.gateway import CommandGateway
from falcon.write.protocol import (
    Accepted,
    CommandBatch,
    CommandEnvelope,
    Reply,
    Unavailable,
    decode_reply_frames,
    encode_reply_frame,
)
from falcon.write.transit import Arrivals, depart
from tests.contracts.command_gateway import PARTITIONS, CommandGatewayContract

TOKEN = "an internal token of a test"


class Directory:
    """Who owns what, as the test says."""

    def __init__(self, address: str | None = None) -> None:
        self.owner = address

    def address(self, partition: int) -> str | None:
        return self.owner


class Pod:
    """Stands where an owner's shards do: answers as told, when told."""

    def __init__(self, answer: Callable[[CommandEnvelope], Reply | None]) -> None:
        self._answer = answer
        self.asked: list[CommandEnvelope] = []
        self.held: list[asyncio.Future[Reply]] = []

    def submit(self, shard: int, envelope: CommandEnvelope) -> "asyncio.Future[Reply]":
        if shard != 0:
            raise IndexError(f"there is no shard {shard}")
        self.asked.append(envelope)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        answer = self._answer(envelope)
        if answer is None:
            self.held.append(reply)
        else:
            reply.set_result(answer)
        return reply


@asynccontextmanager
async def serving(shards: Any) -> AsyncIterator[str]:
    """host:port of a process that takes commands for these shards."""
    app = InternalCommands(TOKEN)
    app.shards = shards
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    server.capture_signals = _uncaught  # type: ignore[method-assign]
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    task = asyncio.create_task(server.serve([listening]))
    yield f"127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await task


class _Uncaught:
    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


def _uncaught() -> Any:
    return _Uncaught()


@asynccontextmanager
async def through_a_pod(data_dir: Path) -> AsyncIterator[CommandGateway]:
    settings = Settings(data_dir=data_dir, partitions=PARTITIONS, log_level="warning")
    database.prepare(settings.database, PARTITIONS)
    shards = await start_gateway(settings, embedded.shard_builds(settings), None)
    async with serving(shards) as address:
        gateway = PodGateway(Directory(f"{address}/0"), TOKEN, settings.mailbox_bound)
        yield gateway
        await gateway.close()
    shards.close()


class TestThroughAPod(CommandGatewayContract):
    def gateway(self, data_dir: Path) -> AbstractAsyncContextManager[CommandGateway]:
        return through_a_pod(data_dir)


DONE = Accepted(ReadAnswer(64, 1, 0, 0), 0, 7)


def command(key: str | None = None, seconds: float = 5.0) -> CommandEnvelope:
    return CommandEnvelope(0, 65, MoveRead(65, 64, 1), time.monotonic() + seconds, key)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_a_command_whose_partition_has_moved_is_taken_to_the_new_owner() -> None:
    async def scenario() -> None:
        old, new = Pod(lambda envelope: Unavailable("not_mine", 0.1)), Pod(lambda envelope: DONE)
        async with serving(old) as here, serving(new) as there:
            directory = Directory(f"{here}/0")
            gateway = PodGateway(directory, TOKEN, 100)
            asking = asyncio.create_task(gateway.ask(command()))
            while not old.asked:
                await asyncio.sleep(0.001)
            directory.owner = f"{there}/0"
            assert await asking == DONE
            await gateway.close()

    run(scenario)


def test_a_command_waits_for_an_owner_until_its_deadline_and_no_longer() -> None:
    async def scenario() -> None:
        gateway = PodGateway(Directory(None), TOKEN, 100)
        began = time.monotonic()
        assert await gateway.ask(command(seconds=0.3)) == Unavailable("unavailable")
        assert time.monotonic() - began < 0.4
        await gateway.close()

    run(scenario)


def test_what_may_have_been_done_is_asked_again_with_its_key_only() -> None:
    async def scenario() -> None:
        tries: list[str | None] = []

        def answer(envelope: CommandEnvelope) -> Reply:
            tries.append(envelope.key)
            return DONE if tries.count(envelope.key) > 1 else Unavailable("outcome_unknown")

        async with serving(Pod(answer)) as address:
            gateway = PodGateway(Directory(f"{address}/0"), TOKEN, 100)
            assert await gateway.ask(command(key="k")) == DONE
            assert await gateway.ask(command()) == Unavailable("outcome_unknown")
            await gateway.close()
        assert tries == ["k", "k", None]

    run(scenario)


def test_what_may_have_been_done_stays_so_though_nobody_answers_any_more() -> None:
    async def scenario() -> None:
        pod, directory = Pod(lambda envelope: Unavailable("outcome_unknown")), Directory()
        async with serving(pod) as address:
            directory.owner = f"{address}/0"
            gateway = PodGateway(directory, TOKEN, 100)
            asking = asyncio.ensure_future(gateway.ask(command(seconds=0.5, key="k")))
            while not pod.asked:
                await asyncio.sleep(0.001)
            directory.owner = None
            assert await asking == Unavailable("outcome_unknown")
            await gateway.close()

    run(scenario)


def test_nobody_there_is_not_an_unknown_outcome() -> None:
    async def scenario() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            gateway = PodGateway(Directory(f"127.0.0.1:{unused.getsockname()[1]}/0"), TOKEN, 100)
            assert await gateway.ask(command(seconds=0.3)) == Unavailable("unavailable", 0.2)
            await gateway.close()

    run(scenario)


def test_a_slow_partition_does_not_keep_the_replies_of_the_others() -> None:
    async def scenario() -> None:
        pod = Pod(lambda envelope: None if envelope.key == "slow" else DONE)
        async with serving(pod) as address:
            gateway = PodGateway(Directory(f"{address}/0"), TOKEN, 1_000)
            slow = [asyncio.create_task(gateway.ask(command(key="slow"))) for _ in range(10)]
            for _ in range(20):
                replies = await asyncio.gather(*(gateway.ask(command()) for _ in range(20)))
                assert replies == [DONE] * 20
            for held in pod.held:
                held.set_result(DONE)
            assert await asyncio.gather(*slow) == [DONE] * 10
            await gateway.close()

    run(scenario)


@pytest.mark.parametrize(
    ("path", "token", "body", "status"),
    [
        ("/internal/commands/0", "another", b"", 401),
        ("/internal/commands/0", TOKEN, b"nonsense", 400),
        ("/internal/commands/7", TOKEN, None, 400),
        ("/internal/commands/", TOKEN, b"", 404),
        ("/internal/commands/²", TOKEN, b"", 404),
        ("/internal/commands/" + "9" * 5_000, TOKEN, b"", 404),
        ("/v1/rooms", TOKEN, b"", 404),
    ],
)
def test_strangers_and_nonsense_are_refused(path: str, token: str, body: bytes | None, status: int) -> None:
    async def scenario() -> None:
        data = depart(CommandBatch(1, [command()]), time.monotonic()) if body is None else body
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            serving(Pod(lambda envelope: DONE)) as address,
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"http://{address}{path}", data=data) as response,
        ):
            assert response.status == status

    run(scenario)


def test_deadlines_are_moved_to_the_receivers_clock() -> None:
    sent = CommandBatch(1, [CommandEnvelope(0, 65, PostMessage(65, 64, "hello", None, ()), 105.0)])
    (received,) = Arrivals(lambda: 7_000.0).received(depart(sent, 100.0))
    assert received.deadline == 7_005.0
    assert received.command == sent.commands[0].command


def test_what_lay_in_the_socket_of_an_owner_is_refused_once_its_caller_has_given_up() -> None:
    async def scenario() -> None:
        pod = Pod(lambda envelope: DONE)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with serving(pod) as address, aiohttp.ClientSession(headers=headers) as session:
            for late in (0, 60):
                now = time.monotonic() - late
                data = depart(CommandBatch(1, [msgspec.structs.replace(command(), deadline=now + 5)]), now)
                async with session.post(f"http://{address}/internal/commands/0", data=data) as response:
                    assert response.status == 200
        in_time, late_one = pod.asked
        assert in_time.deadline > time.monotonic()
        assert late_one.deadline < time.monotonic() - 50

    run(scenario)


def test_frames_are_put_together_from_whatever_pieces_come() -> None:
    frames: list[list[tuple[int, Reply]]] = [[(0, DONE)], [(1, Unavailable("expired")), (2, DONE)]]
    data = b"".join(encode_reply_frame(frame) for frame in frames)
    for cut in range(len(data) + 1):
        first, rest = decode_reply_frames(data[:cut])
        second, rest = decode_reply_frames(rest + data[cut:])
        assert first + second == frames
        assert rest == b""
