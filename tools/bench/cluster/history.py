"""Fills a log through a shard of this process: imported rooms and their messages, as fast as they can be decided.

``python -m tools.bench.cluster.history --file FILE --rooms 4000 --first 1 --last 100 --author ID``: messages 1 to 100
of each room, with Falcon's settings in the environment, and no ``falcon write`` running on that log. The rooms that are
made are noted in FILE, and found there by the next one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from falcon.adapters.kafka import topics
from falcon.features.catalogue import Answer, Command
from falcon.features.messages.rules import ImportMessages, Message
from falcon.features.rooms.rules import ImportRoom, Invitation, RoomAnswer
from falcon.run.bootstrap.cluster import build_shard
from falcon.run.bootstrap.servers import kafka_cluster
from falcon.run.settings import Settings
from falcon.write.gateway import partition_for
from falcon.write.protocol import Accepted, BatchReply, CommandBatch, CommandEnvelope
from tools.bench.wrk import TEXT_BYTES

_AWAY: Final = 4  # batches
_BATCH_EVENTS: Final = 2_000
_CHUNK: Final = 25  # messages of one room before the next has its turn
_TICK_SECONDS: Final = 0.25
_BEGIN: Final = 1_767_225_600_000  # the first of January 2026


class NotAccepted(Exception):
    """A command was not accepted."""


class Host:
    """A shard that owns every partition, on this thread."""

    def __init__(self, settings: Settings) -> None:
        self._partitions = settings.partitions
        self._woken = threading.Event()
        self._shard = build_shard(settings, self._woken.set, self._take)
        self._shard.start()
        self._missing: dict[int, int] = {}
        self._answers: dict[tuple[int, int], Answer] = {}
        self._number = 0
        self._tick_at = 0.0
        while not self._shard.serving or self._shard.owns_nothing:
            self._pump()

    def submit(self, commands: list[Command]) -> None:
        """Waits while too many are on their way. Raises NotAccepted."""
        while len(self._missing) >= _AWAY:
            self._pump()
        deadline = time.monotonic() + 60
        envelopes = [
            CommandEnvelope(partition_for(each, 0, None, self._partitions), 0, each, deadline) for each in commands
        ]
        self._number += 1
        self._missing[self._number] = len(commands)
        self._shard.execute(CommandBatch(self._number, envelopes))

    def answers(self) -> list[Answer]:
        """The answers to all that was submitted since the last call, in its order."""
        while self._missing:
            self._pump()
        answers = [self._answers[place] for place in sorted(self._answers)]
        self._answers.clear()
        return answers

    def close(self) -> None:
        self._shard.close()

    def _pump(self) -> None:
        self._woken.wait(_TICK_SECONDS)
        self._woken.clear()
        self._shard.drain()
        if time.monotonic() >= self._tick_at:
            self._tick_at = time.monotonic() + _TICK_SECONDS
            self._shard.tick()

    def _take(self, reply: BatchReply) -> None:
        for index, answer in reply.replies:
            if not isinstance(answer, Accepted):
                raise NotAccepted(f"{answer}")
            self._answers[reply.number, index] = answer.answer
        self._missing[reply.number] -= len(reply.replies)
        if not self._missing[reply.number]:
            del self._missing[reply.number]


def make_rooms(host: Host, count: int, authors: tuple[int, int]) -> list[int]:
    members = (Invitation(authors[0], "admin"), Invitation(authors[1], "member"))
    commands = (ImportRoom(f"benchmark/room-{n}", "group", f"room {n}", "", _BEGIN, members) for n in range(count))
    for batch in _batches(commands, 500):
        host.submit(list(batch))
    return [answer.room_id for answer in host.answers() if isinstance(answer, RoomAnswer)]


def post(host: Host, rooms: list[int], first: int, last: int, authors: tuple[int, int]) -> None:
    """Messages ``first`` to ``last`` of each room: some of one room, then of the next."""
    commands = (
        ImportMessages(room, tuple(_message(room, seq, authors) for seq in range(start, min(start + _CHUNK, last + 1))))
        for start in range(first, last + 1, _CHUNK)
        for room in rooms
    )
    for batch in _batches(commands, max(1, _BATCH_EVENTS // _CHUNK)):
        host.submit(list(batch))
    host.answers()


def _message(room: int, seq: int, authors: tuple[int, int]) -> Message:
    return Message(room, seq, authors[seq % 2], f"{seq:08d} " + "x" * (TEXT_BYTES - 9), _BEGIN + seq)


def _batches(commands: Iterable[Command], size: int) -> Iterator[list[Command]]:
    batch: list[Command] = []
    for command in commands:
        batch.append(command)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class FilledLog(msgspec.Struct, frozen=True):
    events: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--rooms", type=int, required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--last", type=int, required=True)
    parser.add_argument("--author", type=int, required=True)
    given = parser.parse_args()
    settings = replace(Settings.from_env(), data_dir=given.file.parent / "shard")
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    asyncio.run(topics.prepare(kafka_cluster(settings), settings.kafka_replicas))
    host = Host(settings)
    authors = (given.author, given.author + settings.partitions)
    begun = time.perf_counter()
    events = 0
    if not given.file.exists():
        rooms = make_rooms(host, given.rooms, authors)
        given.file.write_bytes(msgspec.json.encode(rooms))
        events += len(rooms)
    rooms = msgspec.json.decode(given.file.read_bytes(), type=list[int])
    post(host, rooms, given.first, given.last, authors)
    events += len(rooms) * (given.last - given.first + 1)
    filled = FilledLog(events, time.perf_counter() - begun)
    host.close()
    print(msgspec.json.encode(filled).decode(), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
