"""Processes that share the partitions of one machine keep the gateway's contract, and show one another's commits."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from falcon.features.messages.rules import MessageAnswer, PostMessage
from falcon.features.rooms.rules import CreateRoom, RoomAnswer
from falcon.http.edge import Edge
from falcon.run.bootstrap import embedded, places, start_gateway
from falcon.run.bootstrap.places import PlaceGateway, SiblingProcesses
from falcon.run.settings import Settings
from falcon.write.gateway import CommandGateway
from falcon.write.protocol import Accepted, CommandEnvelope, Reply, Unavailable
from tests.contracts.command_gateway import ANN, PARTITIONS, CommandGatewayContract
from tests.support.http import all_places as all_edges
from tools.harness.waiting import eventually

SECRET = b"the server's secret of a test"
LOG = "log"
COPY = "log-copy"


def settings(data_dir: Path, processes: int = 2) -> Settings:
    """Of a data folder that has been prepared for so many processes."""
    shared = data_dir / "run"
    shared.mkdir(parents=True, exist_ok=True)
    found = Settings(data_dir=data_dir, partitions=PARTITIONS, processes=processes, run_dir=str(shared))
    embedded.prepare(found)
    return found


class Place:
    """A process at a place, without an edge. ``nudged``: how often another has nudged it."""

    def __init__(self, number: int, found: Settings, log_name: str = LOG) -> None:
        self.gateway: PlaceGateway
        self.nudged = 0
        self._number = number
        self._settings = found
        self._peers = SiblingProcesses(
            Path(found.run_dir), log_name, number, found.processes, SECRET, found.mailbox_bound
        )

    async def start(self) -> "Place":
        build = partial(embedded.build_shard, self._settings, self._number)
        self.gateway = await self._peers.start(start_gateway(self._settings, build, self._number))
        self.gateway.tell_of_commits(self._peers.nudge)
        self._peers.open(self._count)
        return self

    async def stop(self) -> None:
        await self._peers.stop()
        self.gateway.close()

    def _count(self) -> None:
        self.nudged += 1


@asynccontextmanager
async def all_places(found: Settings) -> AsyncIterator[list[Place]]:
    started = [await Place(number, found).start() for number in range(found.processes)]
    yield started
    await asyncio.gather(*(each.stop() for each in started))


@asynccontextmanager
async def gateway_among(data_dir: Path, processes: int) -> AsyncIterator[CommandGateway]:
    async with all_places(settings(data_dir, processes)) as started:
        yield started[0].gateway


class TestAmongTwoPlaces(CommandGatewayContract):
    def gateway(self, data_dir: Path) -> AbstractAsyncContextManager[CommandGateway]:
        return gateway_among(data_dir, 2)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def post(room: int, text: str, key: str | None = None, seconds: float = 60.0) -> CommandEnvelope:
    return CommandEnvelope(room % PARTITIONS, ANN, PostMessage(ANN, room, text), time.monotonic() + seconds, key, 1)


def seq_of(reply: Reply) -> int:
    assert isinstance(reply, Accepted), reply
    assert isinstance(reply.answer, MessageAnswer)
    return reply.answer.message.seq


async def room_in(partition: int, gateway: CommandGateway) -> int:
    reply = await gateway.ask(CommandEnvelope(partition, ANN, CreateRoom(ANN, "Tea kitchen"), time.monotonic() + 60))
    assert isinstance(reply, Accepted), reply
    assert isinstance(reply.answer, RoomAnswer)
    return reply.answer.room_id


def test_a_room_has_one_order_whatever_place_its_messages_come_to(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with all_places(settings(tmp_path, 3)) as started:
            gateways = [each.gateway for each in started]
            for partition in (0, 1, 2):
                room = await room_in(partition, gateways[0])
                asks = [gateway.ask(post(room, f"{n}")) for n in range(50) for gateway in gateways]
                assert sorted(map(seq_of, await asyncio.gather(*asks))) == list(range(1, 151))

    run(scenario())


def test_a_retry_at_another_place_gets_the_answer_of_the_first_try(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with all_places(settings(tmp_path)) as (ann, ben):
            room = await room_in(1, ann.gateway)
            first = await ann.gateway.ask(post(room, "hello", "k"))
            again = await ben.gateway.ask(post(room, "hello", "k"))
            assert isinstance(first, Accepted)
            assert isinstance(again, Accepted)
            assert (again.answer, again.replayed) == (first.answer, True)

    run(scenario())


def test_every_other_place_is_nudged_by_a_commit(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with all_places(settings(tmp_path, 3)) as started:
            room = await room_in(2, started[0].gateway)
            before = [each.nudged for each in started]
            assert seq_of(await started[0].gateway.ask(post(room, "hello"))) == 1
            await eventually(lambda: all(started[n].nudged > before[n] for n in (0, 1)))

    run(scenario())


def test_a_command_waits_for_a_place_that_is_being_started_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        found = settings(tmp_path)
        ann, ben = await Place(0, found).start(), await Place(1, found).start()
        room = await room_in(1, ann.gateway)
        ending = asyncio.create_task(ben.stop())
        await eventually(lambda: ben.gateway.mailbox(1) is not None and ending.done())
        sent = asyncio.create_task(ann.gateway.ask(post(room, "hello")))
        ben = await Place(1, found).start()
        assert seq_of(await sent) == 1
        await asyncio.gather(ann.stop(), ben.stop())

    run(scenario())


def test_a_command_for_a_place_that_stays_away_is_refused_and_leaves_no_doubt(tmp_path: Path) -> None:
    async def scenario() -> None:
        found = settings(tmp_path)
        ann = await Place(0, found).start()
        refused = await ann.gateway.ask(post(PARTITIONS + 1, "hello", seconds=0.5))
        assert isinstance(refused, Unavailable)
        assert refused.reason in ("unavailable", "expired")
        await ann.stop()

    run(scenario())


def test_a_place_that_stops_decides_the_commands_of_the_others_until_they_stop(tmp_path: Path) -> None:
    async def scenario() -> None:
        found = settings(tmp_path)
        ann, ben = await Place(0, found).start(), await Place(1, found).start()
        room = await room_in(1, ann.gateway)
        ending = asyncio.create_task(ben.stop())
        for number in range(1, 20):
            assert seq_of(await ann.gateway.ask(post(room, "hello"))) == number
            assert not ending.done()
        await asyncio.gather(ending, ann.stop())

    run(scenario())


@pytest.mark.parametrize(("log_name", "secret"), [(LOG, b"another secret"), (COPY, SECRET)])
def test_a_stranger_to_the_servers_secret_or_the_log_sends_no_command(
    tmp_path: Path, log_name: str, secret: bytes
) -> None:
    async def scenario() -> None:
        found = settings(tmp_path)
        ann, ben = await Place(0, found).start(), await Place(1, found).start()
        room = await room_in(1, ann.gateway)
        folder = Path(found.run_dir)
        stranger = SiblingProcesses(folder, log_name, 2, 3, secret, 100)
        if log_name != LOG:
            (folder / f"{log_name}.1.commands").symlink_to(f"{LOG}.1.commands")
        refused = await stranger._others.ask(post(room, "let me in", seconds=0.5))
        assert isinstance(refused, Unavailable)
        assert seq_of(await ann.gateway.ask(post(room, "hello"))) == 1
        await asyncio.gather(ann.stop(), ben.stop())

    run(scenario())


def test_a_copy_in_the_same_run_folder_decides_no_command_of_the_first_and_delays_no_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the same secret, as a copy has, and its log another name."""
    monkeypatch.setattr(places, "_STOP_SECONDS", math.inf)

    async def scenario() -> None:
        first = settings(tmp_path / "first")
        copy = replace(settings(tmp_path / "copy"), run_dir=first.run_dir)
        both = [
            [await Place(number, found, log_name).start() for number in (0, 1)]
            for found, log_name in ((first, LOG), (copy, COPY))
        ]
        for of_one in both:
            gateway = of_one[0].gateway
            room = await room_in(1, gateway)
            assert seq_of(await gateway.ask(post(room, "the first message of each"))) == 1
        for of_one in both:
            await asyncio.gather(*(place.stop() for place in of_one))

    run(scenario())


# --- with an edge -----------------------------------------------------------------------------------------------------


def test_what_one_place_acknowledged_another_shows_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with all_edges(settings(tmp_path)) as (ann, ben):
            for partition in (0, 1):
                room = await room_in(partition, ann.gateway)
                for number in range(1, 20):
                    posted = await ann.gateway.ask(post(room, f"{number}"))
                    assert isinstance(posted, Accepted)
                    await ben.reads.freshness.reach(posted.partition, posted.offset, 0)
                    page = await ben.store.page(room, 1, 100)
                    assert len(page.messages) == number

    run(scenario())


def test_no_place_denies_what_another_has_acknowledged(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with all_edges(settings(tmp_path)) as (ann, ben):
            for partition in (0, 1):
                room = await room_in(partition, ann.gateway)
                await ben.reads.catch_up(room, 0)
                assert await ben.store.room(room) is not None

    run(scenario())


def test_the_log_is_read_at_every_place_as_soon_as_one_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_POLL_SECONDS", 3_600.0)

    async def scenario() -> None:
        async with all_edges(settings(tmp_path)) as served:
            room = await room_in(1, served[0].gateway)
            for edge in served:
                segments = {edge.tail.segment(partition): None for partition in range(PARTITIONS)}
                ends = await edge.tail.ends(segments)
                cursor = {segment: await edge.tail.position(segment, end) for segment, end in ends.items()}
                reading = asyncio.create_task(_next(edge, cursor))
                assert seq_of(await served[0].gateway.ask(post(room, "hello")))
                assert await asyncio.wait_for(reading, 60) == room

    run(scenario())


async def _next(edge: Edge, cursor: Any) -> int:
    """The room of the next record."""
    while True:
        raws, cursor = await edge.tail.read(cursor, 10)
        if raws:
            return raws[0].record.key


def test_several_processes_take_no_more_memory_than_one(tmp_path: Path) -> None:
    found = settings(tmp_path, 3)
    shared = embedded._share(found)
    assert 3 * shared.stream_events <= found.stream_events
    assert 3 * shared.answers_bytes <= found.answers_bytes


def test_all_places_that_start_at_once_have_the_same_secret(tmp_path: Path) -> None:
    found = Settings(data_dir=tmp_path)

    async def scenario() -> None:
        made = await asyncio.gather(*(asyncio.to_thread(embedded.server_secret, found) for _ in range(20)))
        assert len(set(made)) == 1

    run(scenario())
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
