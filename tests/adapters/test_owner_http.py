"""Commands to owners in other processes keep the gateway's contract, and find an owner that has moved."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from falcon.adapters.owner_http import connection
from falcon.adapters.owner_http.connecting import upgraded
from falcon.adapters.owner_http.gateway import OwnerGateway
from falcon.adapters.owner_http.suspicion import name_of
from falcon.adapters.owner_http.watch import OwnerWatch
from falcon.adapters.sqlite import database
from falcon.adapters.thespian.local import Replied
from falcon.features.messages.rules import PostMessage
from falcon.features.read_marks.rules import MoveRead, ReadAnswer
from falcon.http.internal.app import InternalCommands
from falcon.http.internal.connection import SILENT_SECONDS, EdgeConnection
from falcon.http.server.connections import ConnectionSweeper
from falcon.http.server.serving import FalconServer, create_server
from falcon.journal.ports import JournalUnavailable
from falcon.run.bootstrap import embedded, start_gateway
from falcon.run.settings import Settings
from falcon.telemetry import metrics
from falcon.write import framing
from falcon.write.gateway import CommandGateway
from falcon.write.protocol import (
    Accepted,
    BatchFrame,
    CommandBatch,
    CommandEnvelope,
    Reply,
    Unavailable,
    encode_frame,
)
from falcon.write.signing import Signer
from falcon.write.transit import Arrivals, depart
from tests.contracts.command_gateway import PARTITIONS, CommandGatewayContract
from tests.support.own_time import run_in_own_time
from tools.harness.waiting import eventually

KEYS = [b"an internal key of a test"]
NETWORKS = ("127.0.0.0/8",)
CONNECT = partial(upgraded, networks=NETWORKS)


def keys() -> list[bytes]:
    return KEYS


def open_gateway(directory: "Directory", mailbox_bound: int = 100) -> OwnerGateway:
    return OwnerGateway(directory, keys, mailbox_bound, CONNECT)


class Directory:
    """The owners, as the test says."""

    def __init__(self, address: str | None = None) -> None:
        self.owner = address
        self.asked = 0

    def address(self, partition: int) -> str | None:
        self.asked += 1
        return self.owner


class Pod:
    """Stands where an owner's shards do: answers as told, when told."""

    def __init__(self, answer: Callable[[CommandEnvelope], Reply | None]) -> None:
        self._answer = answer
        self.asked: list[CommandEnvelope] = []
        self.held: list[asyncio.Future[Reply]] = []

    def deliver(self, shard: int, commands: list[CommandEnvelope], replied: Replied) -> None:
        if shard != 0:
            raise LookupError(f"there is no shard {shard}")
        for index, envelope in enumerate(commands):
            self.asked.append(envelope)
            reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            reply.add_done_callback(partial(self._reply, index, replied))
            answer = self._answer(envelope)
            if answer is None:
                self.held.append(reply)
            else:
                reply.set_result(answer)

    def _reply(self, index: int, replied: Replied, reply: "asyncio.Future[Reply]") -> None:
        replied([(index, reply.result())])


@asynccontextmanager
async def serving(shards: Any) -> AsyncIterator[str]:
    """host:port of a process that takes commands for these shards."""
    app = InternalCommands(keys)
    app.attach(shards)
    async with serving_app(app) as address:
        yield address


@asynccontextmanager
async def serving_app(app: InternalCommands, *, speaks_frames: bool = True) -> AsyncIterator[str]:
    server, listening = create_internal_server(app, speaks_frames=speaks_frames)
    task = asyncio.create_task(server.serve([listening]))
    yield f"127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await task


def create_internal_server(app: InternalCommands, *, speaks_frames: bool = True) -> tuple[FalconServer, socket.socket]:
    upgrades = {framing.PROTOCOL: app.connection} if speaks_frames else {}
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return create_server(app, ConnectionSweeper("test"), upgrades=upgrades), listening


@asynccontextmanager
async def through_a_pod(data_dir: Path) -> AsyncIterator[CommandGateway]:
    settings = Settings(data_dir=data_dir, partitions=PARTITIONS, log_level="warning")
    database.prepare(settings.database, PARTITIONS)
    shards = start_gateway(settings, partial(embedded.build_shard, settings, 0))
    async with serving(shards) as address:
        gateway = open_gateway(Directory(f"{address}/0"), settings.mailbox_bound)
        yield gateway
        await gateway.close()
    shards.close()


class TestThroughAPod(CommandGatewayContract):
    def gateway(self, data_dir: Path) -> AbstractAsyncContextManager[CommandGateway]:
        return through_a_pod(data_dir)


DONE = Accepted(ReadAnswer(64, 1, 0, 0), 0, 7)
ALIVE = "/internal/alive"


async def signed(
    session: aiohttp.ClientSession, method: str, address: str, path: str, key: bytes = KEYS[0]
) -> aiohttp.ClientResponse:
    """The answer to a request that is signed for the process that is there."""
    signer = Signer(lambda: [key])
    while True:
        headers = signer.headers(method, path)
        response = await session.request(method, f"http://{address}{path}", headers=headers)
        if not signer.learns_from(response.status, response.headers):
            return response
        response.release()


class Recorder:
    """Stands in the network between an edge and an owner, and keeps what the edge sends. ``change``: what becomes of
    it on the way. ``is_silent``: it passes nothing on, and tells neither end."""

    def __init__(self, change: Callable[[bytes], bytes] = bytes) -> None:
        self.sent = b""
        self.connections = 0
        self.is_silent = False
        self._change = change

    @asynccontextmanager
    async def between(self, owner: str) -> AsyncIterator[str]:
        self._owner = owner.split(":")
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        answers, requests = await asyncio.open_connection(*self._owner)

        async def back() -> None:
            while data := await answers.read(65_536):
                if not self.is_silent:
                    writer.write(data)

        backwards = asyncio.create_task(back())
        while data := await reader.read(65_536):
            self.sent += data
            if not self.is_silent:
                requests.write(self._change(data))
        requests.close()
        await backwards
        writer.close()


async def send(address: str, request: bytes) -> int:
    """The status of the answer to these bytes."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(request)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


def command(key: str | None = None, seconds: float = 5.0) -> CommandEnvelope:
    return CommandEnvelope(0, 65, MoveRead(65, 64, 1), time.monotonic() + seconds, key)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_in_own_time(scenario())


def test_a_command_whose_partition_has_moved_is_taken_to_the_new_owner() -> None:
    async def scenario() -> None:
        old, new = Pod(lambda envelope: Unavailable("not_mine", 0.1)), Pod(lambda envelope: DONE)
        async with serving(old) as here, serving(new) as there:
            directory = Directory(f"{here}/0")
            gateway = open_gateway(directory)
            asking = asyncio.create_task(gateway.ask(command()))
            while not old.asked:
                await asyncio.sleep(0.001)
            directory.owner = f"{there}/0"
            assert await asking == DONE
            await gateway.close()

    run(scenario)


def test_a_command_waits_for_an_owner_until_its_deadline_and_no_longer() -> None:
    async def scenario() -> None:
        gateway = open_gateway(Directory(None))
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
            gateway = open_gateway(Directory(f"{address}/0"))
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
            gateway = open_gateway(directory)
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
            gateway = open_gateway(Directory(f"127.0.0.1:{unused.getsockname()[1]}/0"))
            assert await gateway.ask(command(seconds=0.3)) == Unavailable("unavailable", 0.2)
            await gateway.close()

    run(scenario)


def test_a_slow_partition_does_not_keep_the_replies_of_the_others() -> None:
    async def scenario() -> None:
        pod = Pod(lambda envelope: None if envelope.key == "slow" else DONE)
        async with serving(pod) as address:
            gateway = open_gateway(Directory(f"{address}/0"), 1_000)
            slow = [asyncio.create_task(gateway.ask(command(key="slow"))) for _ in range(10)]
            for _ in range(20):
                replies = await asyncio.gather(*(gateway.ask(command()) for _ in range(20)))
                assert replies == [DONE] * 20
            for held in pod.held:
                held.set_result(DONE)
            assert await asyncio.gather(*slow) == [DONE] * 10
            await gateway.close()

    run(scenario)


def test_a_command_does_not_wait_for_an_owner_that_fell_silent_once_another_has_the_partition() -> None:
    async def scenario() -> None:
        silent, new = Pod(lambda envelope: None), Pod(lambda envelope: DONE)
        async with serving(silent) as here, serving(new) as there:
            directory = Directory(f"{here}/0")
            gateway = open_gateway(directory)
            keyed, unkeyed = (asyncio.create_task(gateway.ask(command(key))) for key in ("k", None))
            while len(silent.asked) < 2:
                await asyncio.sleep(0.001)
            began = time.monotonic()
            directory.owner = f"{there}/0"
            gateway.moved(0, f"{here}/0")
            assert await keyed == DONE
            assert await unkeyed == Unavailable("outcome_unknown", 0.2)
            assert time.monotonic() - began < 1
            assert [envelope.key for envelope in new.asked] == ["k"]
            await gateway.close()
            for held in silent.held:
                held.set_result(DONE)

    run(scenario)


def test_a_command_that_waits_for_an_owner_goes_to_it_as_soon_as_it_is_known() -> None:
    async def scenario() -> None:
        async with serving(Pod(lambda envelope: DONE)) as there:
            directory = Directory(None)
            gateway = open_gateway(directory)
            asking = [asyncio.create_task(gateway.ask(command())) for _ in range(20)]
            await eventually(lambda: directory.asked >= 5 * 20)  # by now they try again five times a second
            directory.owner = f"{there}/0"
            began = time.monotonic()
            gateway.moved(0, None)
            assert await asyncio.gather(*asking) == [DONE] * 20
            assert time.monotonic() - began < 0.1
            await gateway.close()

    run(scenario)


# --- owners watch one another -----------------------------------------------------------------------------------------


class Group:
    """A roster, as the test says: process → member id."""

    def __init__(self) -> None:
        self.members_by_process: dict[str, str] = {}
        self.removed: list[str] = []
        self.reachable = True
        self.asked = self.failed = 0

    async def members(self) -> dict[str, str]:
        self._check()
        self.asked += 1
        return {name_of(f"{process}/0", "1"): member for process, member in self.members_by_process.items()}

    async def remove(self, member: str) -> None:
        self._check()
        self.removed.append(member)
        self.members_by_process = {p: m for p, m in self.members_by_process.items() if m != member}

    async def close(self) -> None: ...

    def _check(self) -> None:
        if not self.reachable:
            self.failed += 1
            raise JournalUnavailable("a test")


@asynccontextmanager
async def watching(group: Group) -> AsyncIterator[None]:
    group.members_by_process["127.0.0.1:1"] = "the watcher"
    watch = OwnerWatch("127.0.0.1:1", keys, group, session_seconds=6.0, networks=NETWORKS)
    watch.start()
    yield
    await watch.stop()


class Beating:
    """A process that beats, until it closes its connections or falls silent."""

    def __init__(self) -> None:
        self._writers: list[asyncio.StreamWriter] = []
        self.silent = False
        self.beats = 0

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"GET /internal/alive ")
        assert b"falcon-signature: " in head
        if not self.silent:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            if not self.silent:
                writer.write(b"1\r\n.\r\n")
                self.beats += 1
            await asyncio.sleep(0.05)

    async def beaten(self) -> None:
        while self.beats < 3:
            await asyncio.sleep(0.01)

    def break_connections(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    def end(self) -> None:
        """Like kill -9."""
        self._server.close()
        self.break_connections()


@asynccontextmanager
async def a_watched_owner() -> AsyncIterator[tuple[Group, Beating]]:
    """An owner that has beaten, in a group that is watched."""
    group, owner = Group(), Beating()
    group.members_by_process[await owner.start()] = "the owner"
    async with watching(group):
        await owner.beaten()
        yield group, owner


def test_an_owner_that_was_killed_is_removed_from_the_group_at_once() -> None:
    async def scenario() -> None:
        async with a_watched_owner() as (group, owner):
            owner.end()
            assert await eventually(lambda: bool(group.removed)) < 1.0
            asked = group.asked
            await eventually(lambda: group.asked > asked + 1)
        assert group.removed == ["the owner"]

    run(scenario)


def test_an_owner_that_is_frozen_is_removed_from_the_group() -> None:
    async def scenario() -> None:
        async with a_watched_owner() as (group, owner):
            await eventually(lambda: metrics.owners_heard.value == 1)
            owner.silent = True
            assert 1.0 < await eventually(lambda: bool(group.removed)) < 2.5
            await eventually(lambda: metrics.owners_heard.value == 0)
        assert group.removed == ["the owner"]
        owner.end()

    run(scenario)


def test_an_owner_whose_connections_break_again_and_again_is_not_removed() -> None:
    async def scenario() -> None:
        async with a_watched_owner() as (group, owner):
            asked = group.asked
            while group.asked < asked + 3:
                owner.break_connections()
                await asyncio.sleep(0.1)
        assert group.removed == []
        owner.end()

    run(scenario)


def test_nobody_is_removed_by_a_watcher_that_cannot_reach_the_brokers_nor_when_it_comes_back() -> None:
    async def scenario() -> None:
        async with a_watched_owner() as (group, owner):
            group.reachable = False
            owner.silent = True  # to this watcher: its network is down
            failed = group.failed
            await eventually(lambda: group.failed >= failed + 3)
            group.reachable = True
            asked = group.asked
            await eventually(lambda: group.asked > asked)  # the way to the brokers is there first
            owner.silent = False
            await eventually(lambda: group.asked > asked + 2)
        assert group.removed == []
        owner.end()

    run(scenario)


def test_an_owner_that_ended_while_the_brokers_were_away_is_removed_once_they_are_back() -> None:
    async def scenario() -> None:
        async with a_watched_owner() as (group, owner):
            group.reachable = False
            await eventually(lambda: group.failed >= 1)
            owner.end()
            await eventually(lambda: group.failed >= 3)
            group.reachable = True
            await eventually(lambda: bool(group.removed))
        assert group.removed == ["the owner"]

    run(scenario)


def test_a_process_beats_until_it_ends_in_order() -> None:
    async def scenario() -> None:
        app = InternalCommands(keys)
        app.attach(Pod(lambda envelope: DONE))
        async with (
            serving_app(app) as address,
            aiohttp.ClientSession() as session,
            await signed(session, "GET", address, ALIVE) as response,
        ):
            assert response.status == 200
            assert await response.content.readexactly(3) == b"..."
            app.end_beats()
            assert await response.content.read() in (b"", b".")

    run(scenario)


# --- the internal port ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", ALIVE, b"another internal key", 401),
        ("POST", ALIVE, KEYS[0], 404),
        ("POST", "/internal/commands/0", KEYS[0], 404),
        ("GET", "/v1/rooms", KEYS[0], 404),
    ],
)
def test_strangers_and_nonsense_are_refused(method: str, path: str, key: bytes, status: int) -> None:
    async def scenario() -> None:
        async with (
            serving(Pod(lambda envelope: DONE)) as address,
            aiohttp.ClientSession() as session,
            await signed(session, method, address, path, key) as response,
        ):
            assert response.status == status

    run(scenario)


@pytest.mark.parametrize("signature", [None, "", "nonsense", ".".join(["0" * 16, "1" * 13, "2" * 64, "3" * 64])])
def test_who_does_not_sign_is_refused_and_not_told_for_whom_to_sign(signature: str | None) -> None:
    async def scenario() -> None:
        headers = {} if signature is None else {"falcon-signature": signature}
        async with (
            serving(Pod(lambda envelope: DONE)) as address,
            aiohttp.ClientSession() as session,
            session.get(f"http://{address}{ALIVE}", headers=headers) as response,
        ):
            assert response.status == 401
            assert "falcon-process" not in response.headers

    run(scenario)


def test_a_recorded_connection_posts_nothing_a_second_time() -> None:
    """Neither at the same owner, nor at another one or the same after a restart."""

    async def scenario() -> None:
        pod, other, recorded = Pod(lambda envelope: DONE), Pod(lambda envelope: DONE), Recorder()
        async with serving(pod) as address, serving(other) as elsewhere, recorded.between(address) as between:
            gateway = open_gateway(Directory(f"{between}/0"))
            assert await gateway.ask(command()) == DONE
            await gateway.close()
            assert KEYS[0] not in recorded.sent
            for owner in (address, elsewhere):
                reader, writer = await asyncio.open_connection(*owner.split(":"))
                upgrade, end, rest = recorded.sent.partition(b"\r\n\r\n")
                writer.write(upgrade + end)
                await reader.readuntil(b"\r\n\r\n")
                writer.write(rest)
                assert len(await reader.read()) == framing.CHALLENGE_BYTES  # and then it is closed
                writer.close()
        assert len(pod.asked) == 1
        assert other.asked == []

    run(scenario)


@pytest.mark.parametrize("key", KEYS)
def test_a_recorded_request_is_refused_a_second_time(key: bytes) -> None:
    async def scenario() -> None:
        pod, other, recorded = Pod(lambda envelope: DONE), Pod(lambda envelope: DONE), Recorder()
        async with serving(pod) as address, serving(other) as elsewhere, recorded.between(address) as between:
            async with aiohttp.ClientSession() as session:
                response = await signed(session, "GET", between, ALIVE, key)
                assert response.status == 200
                response.close()
            accepted = recorded.sent[recorded.sent.rindex(b"GET /") :]
            assert await send(address, accepted) == 401
            assert await send(elsewhere, accepted) == 401

    run(scenario)


def test_a_batch_that_is_changed_on_the_way_is_not_carried_out() -> None:
    async def scenario() -> None:
        pod = Pod(lambda envelope: DONE)
        changing = Recorder(lambda data: data[:-1] + bytes([data[-1] ^ 1]) if b"MoveRead" in data else data)
        async with serving(pod) as address, changing.between(address) as between:
            gateway = open_gateway(Directory(f"{between}/0"))
            assert await gateway.ask(command()) == Unavailable("outcome_unknown", 0.2)
            await gateway.close()
        assert b"MoveRead" in changing.sent
        assert pod.asked == []

    run(scenario)


def test_a_batch_that_is_repeated_on_the_way_is_carried_out_once() -> None:
    async def scenario() -> None:
        pod = Pod(lambda envelope: None)
        repeating = Recorder(lambda data: 2 * data if b"MoveRead" in data else data)
        async with serving(pod) as address, repeating.between(address) as between:
            gateway = open_gateway(Directory(f"{between}/0"))
            assert await gateway.ask(command()) == Unavailable("outcome_unknown", 0.2)
            await gateway.close()
        assert len(pod.asked) == 1

    run(scenario)


def test_all_batches_to_a_process_share_a_connection() -> None:
    async def scenario() -> None:
        recorded = Recorder()
        async with serving(Pod(lambda envelope: DONE)) as address, recorded.between(address) as between:
            gateway = open_gateway(Directory(f"{between}/0"), 1_000)
            for _ in range(20):
                assert await asyncio.gather(*(gateway.ask(command()) for _ in range(40))) == [DONE] * 40
            await gateway.close()
        assert recorded.connections == 1

    run(scenario)


def test_a_command_that_fits_in_no_frame_is_not_sent_and_the_others_are() -> None:
    async def scenario() -> None:
        pod, recorded = Pod(lambda envelope: DONE), Recorder()
        async with serving(pod) as address, recorded.between(address) as between:
            gateway = open_gateway(Directory(f"{between}/0"))
            assert await gateway.ask(command()) == DONE
            huge = PostMessage(65, 64, "x" * framing.FRAME_BYTES_MAX)
            envelope = CommandEnvelope(0, 65, huge, time.monotonic() + 0.5)
            refused = await gateway.ask(envelope)
            assert isinstance(refused, Unavailable)
            assert refused.reason in ("unavailable", "expired")  # and not of unknown outcome
            assert await gateway.ask(command()) == DONE
            await gateway.close()
        assert recorded.connections == 1
        assert len(pod.asked) == 2

    run(scenario)


def test_an_api_that_meets_an_older_write_says_which_to_replace_first() -> None:
    async def scenario() -> None:
        async with serving_app(InternalCommands(keys), speaks_frames=False) as address:
            with pytest.raises(ConnectionError, match=r"\(HTTP/1.1 404 .*\): an older falcon write is to be replaced"):
                await CONNECT(address, asyncio.Protocol())

    run(scenario)


@pytest.mark.parametrize(
    "address", ["", "/0", "127.0.0.1/0", "127.0.0.1:99999/0", "127.0.0.1:0/0", "ä..b:1/0", "\0:1/0"]
)
def test_what_is_no_address_is_an_owner_that_is_not_reached(address: str) -> None:
    async def scenario() -> None:
        gateway = open_gateway(Directory(address))
        assert await gateway.ask(command(seconds=0.3)) == Unavailable("unavailable", 0.2)
        await gateway.close()

    run(scenario)


@pytest.mark.parametrize("shard", ["7", "1234567890", "-1", "", "0/0", "x"])
def test_commands_for_a_shard_that_is_not_there_are_not_carried_out_and_leave_no_doubt(shard: str) -> None:
    async def scenario() -> None:
        pod = Pod(lambda envelope: DONE)
        async with serving(pod) as address:
            gateway = open_gateway(Directory(f"{address}/{shard}"))
            assert await gateway.ask(command(seconds=0.3)) == Unavailable("unavailable", 0.2)
            await gateway.close()
        assert pod.asked == []

    run(scenario)


def test_an_owner_that_ends_answers_what_it_has_taken_and_takes_nothing_more() -> None:
    async def scenario() -> None:
        pod, other = Pod(lambda envelope: None), Pod(lambda envelope: DONE)
        app = InternalCommands(keys)
        app.attach(pod)
        server, listening = create_internal_server(app)
        serving_here = asyncio.create_task(server.serve([listening]))
        async with serving(other) as there:
            directory = Directory(f"127.0.0.1:{listening.getsockname()[1]}/0")
            gateway = open_gateway(directory)
            taken = asyncio.create_task(gateway.ask(command()))
            await eventually(lambda: len(pod.asked) == 1)
            server.should_exit = True
            await eventually(lambda: listening.fileno() == -1)  # it is closed, and edges have been told
            later = asyncio.create_task(gateway.ask(command()))
            directory.owner = f"{there}/0"
            assert await later == DONE
            pod.held[0].set_result(DONE)
            assert await taken == DONE
            await serving_here
            await gateway.close()
        assert len(pod.asked) == 1

    run(scenario)


def test_a_connection_that_the_network_has_lost_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_TICK_SECONDS", 0.05)

    async def scenario() -> None:
        pod, recorded = Pod(lambda envelope: DONE), Recorder()
        async with serving(pod) as address, recorded.between(address) as between:
            gateway = open_gateway(Directory(f"{between}/0"))
            assert await gateway.ask(command()) == DONE
            cut = metrics.owner_connections_cut.labels("silent")
            before = cut.value
            recorded.is_silent = True
            assert await gateway.ask(command()) == Unavailable("outcome_unknown", 0.2)
            assert cut.value == before + 1
            recorded.is_silent = False
            assert await gateway.ask(command()) == DONE
            await gateway.close()
        assert len(pod.asked) == 2

    run(scenario)


def test_a_connection_on_which_no_commands_go_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_TICK_SECONDS", 0.02)

    async def scenario() -> None:
        recorded = Recorder()
        async with serving(Pod(lambda envelope: DONE)) as address, recorded.between(address) as between:
            gateway = open_gateway(Directory(f"{between}/0"))
            assert await gateway.ask(command()) == DONE
            sent = len(recorded.sent)
            await eventually(lambda: len(recorded.sent) > sent + 200)  # ten questions for a sign of life
            assert await gateway.ask(command()) == DONE
            await gateway.close()
        assert recorded.connections == 1

    run(scenario)


class Wire(asyncio.Transport):
    """A transport without a network. ``written``: by this end."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_cut = False
        self.reads = True

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_cut

    def abort(self) -> None:
        self.is_cut = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


def accepted(pod: Pod) -> tuple[EdgeConnection, Wire]:
    wire = Wire()
    owners_end = EdgeConnection(keys, pod.deliver, Arrivals())
    owners_end.connection_made(wire)
    return owners_end, wire


def greeted(pod: Pod, key: bytes = KEYS[0]) -> tuple[EdgeConnection, Wire, framing.Channel]:
    owners_end, wire = accepted(pod)
    channel, hello = framing.answer(wire.written, key)
    owners_end.data_received(hello)
    return owners_end, wire, channel


def test_a_stranger_is_cut_before_it_can_send_a_frame() -> None:
    async def scenario() -> None:
        pod = Pod(lambda envelope: DONE)
        for hello in (b"\0" * framing.HELLO_BYTES, b"\0" * (framing.HELLO_BYTES + 1), b"\xff" * framing.HELLO_BYTES):
            owners_end, wire = accepted(pod)
            owners_end.data_received(hello)
            assert wire.is_cut
            assert len(wire.written) == framing.CHALLENGE_BYTES
        _, wire, _ = greeted(pod, b"another internal key")
        assert wire.is_cut

    run(scenario)


def test_who_says_nothing_is_cut_in_time() -> None:
    async def scenario() -> None:
        now = asyncio.get_running_loop().time()
        silent, wire = accepted(Pod(lambda envelope: DONE))
        silent.check_time(now + 5)
        assert not wire.is_cut
        silent.check_time(now + 11)
        assert wire.is_cut
        owners_end, wire, _ = greeted(Pod(lambda envelope: DONE))
        owners_end.check_time(now + SILENT_SECONDS - 1)
        assert not wire.is_cut
        owners_end.check_time(now + SILENT_SECONDS + 1)
        assert wire.is_cut

    run(scenario)


@pytest.mark.parametrize(
    "content", [b"nonsense", msgspec.msgpack.encode([2, 0, []]), msgspec.msgpack.encode([0, 0, []])]
)
def test_a_frame_without_sense_ends_its_connection(content: bytes) -> None:
    async def scenario() -> None:
        pod = Pod(lambda envelope: DONE)
        owners_end, wire, channel = greeted(pod)
        owners_end.data_received(channel.writer.frame(content))
        assert wire.is_cut
        assert pod.asked == []

    run(scenario)


def test_an_owner_reads_no_commands_of_an_edge_that_reads_no_replies() -> None:
    async def scenario() -> None:
        owners_end, wire, _ = greeted(Pod(lambda envelope: DONE))
        owners_end.pause_writing()
        assert not wire.reads
        owners_end.resume_writing()
        assert wire.reads

    run(scenario)


def test_keys_are_changed_while_commands_are_sent() -> None:
    """One more key is accepted first, then signs, and then the old one is gone: on either side at another time."""

    async def scenario() -> None:
        old, new = b"the old internal key", b"the new internal key"
        edge, owner = [old], [old]
        app = InternalCommands(lambda: list(owner))
        app.attach(Pod(lambda envelope: DONE))
        async with serving_app(app) as address:
            gateway = OwnerGateway(Directory(f"{address}/0"), lambda: list(edge), 100, CONNECT)
            for edge[:], owner[:] in (
                ([old], [old]),
                ([old], [old, new]),
                ([old, new], [old, new]),
                ([new, old], [old, new]),
                ([new, old], [new, old]),
                ([new], [new, old]),
                ([new], [new]),
            ):
                assert await gateway.ask(command()) == DONE
            edge[:] = [old]
            assert await gateway.ask(command(seconds=0.3)) == Unavailable("unavailable", 0.2)
            await gateway.close()

    run(scenario)


def test_an_open_connection_takes_no_commands_once_its_key_is_gone() -> None:
    async def scenario() -> None:
        pod, accepted_keys = Pod(lambda envelope: DONE), list(KEYS)
        app = InternalCommands(lambda: accepted_keys)
        app.attach(pod)
        async with serving_app(app) as address:
            gateway = open_gateway(Directory(f"{address}/0"))
            assert await gateway.ask(command()) == DONE
            accepted_keys[:] = [b"the new internal key"]
            assert await gateway.ask(command(seconds=0.3)) == Unavailable("unavailable", 0.2)
            await gateway.close()
        assert len(pod.asked) == 1

    run(scenario)


def test_a_private_message_goes_to_no_address_outside_the_networks_of_owners() -> None:
    async def scenario() -> None:
        pod, recorded = Pod(lambda envelope: DONE), Recorder()
        async with serving(pod) as address, recorded.between(address) as between:
            for host in ("127.0.0.1", "localhost"):
                port = between.rpartition(":")[2]
                connect = partial(upgraded, networks=("10.0.0.0/8", "fc00::/7"))
                gateway = OwnerGateway(Directory(f"{host}:{port}/0"), keys, 100, connect)
                assert await gateway.ask(command(seconds=0.3)) == Unavailable("unavailable", 0.2)
                await gateway.close()
        assert recorded.connections == 0
        assert pod.asked == []

    run(scenario)


def test_deadlines_are_moved_to_the_receivers_clock() -> None:
    sent = CommandBatch(1, [CommandEnvelope(0, 65, PostMessage(65, 64, "hello", None, ()), 105.0)])
    (received,) = Arrivals(lambda: 7_000.0).received(depart(sent, 100.0))
    assert received.deadline == 7_005.0
    assert received.command == sent.commands[0].command


def test_what_lay_in_the_socket_of_an_owner_is_refused_once_its_caller_has_given_up() -> None:
    async def scenario() -> None:
        pod = Pod(lambda envelope: DONE)
        owners_end, _, channel = greeted(pod)
        for number, late in enumerate((0, 60), 1):
            now = time.monotonic() - late
            sent = depart(CommandBatch(1, [msgspec.structs.replace(command(), deadline=now + 5)]), now)
            frame = BatchFrame(number, 0, msgspec.Raw(sent))
            owners_end.data_received(channel.writer.frame(encode_frame(frame)))
        in_time, late_one = pod.asked
        assert in_time.deadline > time.monotonic()
        assert late_one.deadline < time.monotonic() - 50

    run(scenario)


def test_owners_that_are_asked_in_turn_keep_their_connections() -> None:
    async def scenario() -> None:
        one, other = Recorder(), Recorder()
        async with (
            serving(Pod(lambda envelope: DONE)) as address,
            one.between(address) as first,
            other.between(address) as second,
        ):
            directory = Directory()
            gateway = open_gateway(directory)
            for directory.owner in (f"{first}/0", f"{second}/0", f"{first}/0", f"{second}/0"):
                assert await gateway.ask(command()) == DONE
            await gateway.close()
        assert (one.connections, other.connections) == (1, 1)

    run(scenario)
