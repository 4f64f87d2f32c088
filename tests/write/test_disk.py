"""A disk that is nearly full takes nothing new; what is there can be read, deleted and marked as read."""

import logging
import os
from pathlib import Path

import pytest

from falcon.domain.commands import ReadPosition
from falcon.features.accounts.rules import CreateAccount
from falcon.features.catalogue import Command
from falcon.features.messages.rules import DeleteMessage, EditMessage, MessageAnswer, PostMessage
from falcon.features.reactions.rules import AddReaction
from falcon.features.read_marks.rules import MoveRead
from falcon.features.rooms.rules import (
    ChangeRoom,
    CreateRoom,
    DeleteRoom,
    OpenDirect,
    PutMember,
    RemoveMember,
    RoomAnswer,
)
from falcon.telemetry import metrics
from falcon.write.disk import Disk
from falcon.write.limits import ShardLimits
from falcon.write.ownership import FixedOwnership
from falcon.write.protocol import Accepted, CommandBatch, CommandEnvelope, Reply, Unavailable
from falcon.write.shard import Shard
from tools.harness.clock import FakeClock
from tools.harness.memory.journal import MemoryJournal
from tools.harness.memory.log import MemoryLog
from tools.harness.replies import Replied

ANN, BOB = 1_000, 1_001
GIB = 1 << 30


class Statvfs:
    """Of a disk of 10 GiB, unless it is another size."""

    def __init__(self, free: float, size: int = 10 * GIB) -> None:
        self.free = free
        self.size = size

    def __call__(self, folder: Path) -> os.statvfs_result:
        blocks, left = self.size // 4096, int(self.free) // 4096
        return os.statvfs_result((4096, 4096, blocks, left + 100, left, 0, 0, 0, 0, 255))


class Host:
    """A shard whose log is on a disk."""

    def __init__(self, log: MemoryLog, statvfs: Statvfs, *, unavailable: bool = False) -> None:
        self.statvfs = statvfs
        self.clock = FakeClock()
        self.replied = Replied()
        journal = MemoryJournal(log, lambda: None)
        journal.unavailable = unavailable
        self.shard = Shard(
            FixedOwnership([0]),
            journal,
            log,
            log,
            self.clock,
            ShardLimits(),
            "a test",
            reply=self.replied,
            disk=Disk(Path("data"), statvfs),
        )
        self.shard.start()
        self.shard.tick()

    def has_free(self, free: float) -> None:
        self.statvfs.free = free
        self.shard.tick()

    def ask(self, command: Command, key: str | None = None) -> Reply:
        envelope = CommandEnvelope(0, ANN, command, self.clock.monotonic() + 5, key, 1)
        self.shard.execute(CommandBatch(1, [envelope]))
        self.shard.drain()
        (reply,) = self.replied.take_replies()
        return reply


@pytest.fixture
def host() -> Host:
    return Host(MemoryLog(1), Statvfs(5 * GIB))


@pytest.fixture
def room(host: Host) -> int:
    reply = host.ask(CreateRoom(ANN, "Tea kitchen"))
    assert isinstance(reply, Accepted) and isinstance(reply.answer, RoomAnswer)
    for command in (PutMember(ANN, reply.answer.room_id, BOB, "member"), PostMessage(ANN, reply.answer.room_id, "hi")):
        assert isinstance(host.ask(command), Accepted)
    return reply.answer.room_id


def test_nothing_new_is_taken_below_the_reserve(host: Host, room: int) -> None:
    host.has_free(0.49 * GIB)
    for command in (
        PostMessage(ANN, room, "no room for this"),
        EditMessage(ANN, room, 1, "nor for this"),
        AddReaction(ANN, room, 1, "👍"),
        ChangeRoom(ANN, room, "nor a name"),
        PutMember(ANN, room, BOB, "admin"),
        CreateRoom(ANN, "Coffee kitchen"),
        OpenDirect(ANN, BOB),
        CreateAccount("Carl"),
    ):
        refused = host.ask(command)
        assert isinstance(refused, Unavailable), command
        assert (refused.reason, refused.full) == ("unavailable", "disk")


def test_what_takes_away_is_taken_to_the_last_byte(host: Host, room: int) -> None:
    host.has_free(0)
    for command in (
        MoveRead(ANN, room, 1),
        ReadPosition(0),
        DeleteMessage(ANN, room, 1),
        RemoveMember(ANN, room, BOB),
        DeleteRoom(ANN, room),
    ):
        assert not isinstance(host.ask(command), Unavailable), command
    assert isinstance(host.ask(PostMessage(ANN, room, "hi")), Unavailable)


def test_the_retry_of_a_message_that_was_sent_before_finds_it(host: Host, room: int) -> None:
    sent = host.ask(PostMessage(ANN, room, "hello"), key="one")
    host.has_free(0)
    again = host.ask(PostMessage(ANN, room, "hello"), key="one")
    assert isinstance(sent, Accepted) and isinstance(again, Accepted)
    assert isinstance(again.answer, MessageAnswer)
    assert again.replayed and again.answer == sent.answer


def test_all_is_taken_again_when_clearly_more_than_the_reserve_is_free(
    host: Host, room: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "falcon.disk"):
        host.has_free(0.49 * GIB)
        host.has_free(0.51 * GIB)
        assert isinstance(host.ask(PostMessage(ANN, room, "still not")), Unavailable)
        host.has_free(0.7 * GIB)
    assert isinstance(host.ask(PostMessage(ANN, room, "again")), Accepted)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "has 502 MiB left: nothing new is taken until 640 MiB are free" in caplog.text


@pytest.mark.parametrize(
    ("size", "free", "is_nearly_full"),
    [
        (40 << 20, 2.1 * 2**20, False),  # 5 % are 2 MiB
        (40 << 20, 1.9 * 2**20, True),
        (4096 * GIB, 1.1 * GIB, False),  # 1 GiB, where 5 % would be 200
        (4096 * GIB, 0.9 * GIB, True),
        (0, 0, False),  # a file system that does not tell
    ],
)
def test_the_reserve_is_the_smaller_of_a_twentieth_and_a_gibibyte(size: int, free: float, is_nearly_full: bool) -> None:
    disk = Disk(Path("data"), Statvfs(free, size))
    disk.look()
    assert disk.is_nearly_full is is_nearly_full


def test_the_room_that_is_left_is_measured(host: Host) -> None:
    host.has_free(3 * GIB)
    assert metrics.disk_free.labels().value == 3 * GIB
    assert metrics.disk_reserve.labels().value == GIB // 2


def test_a_disk_that_cannot_be_asked_is_as_it_was() -> None:
    disk = Disk(Path("/nowhere/at/all"))
    disk.look()
    assert not disk.is_nearly_full


def test_a_partition_that_cannot_be_taken_over_names_the_disk() -> None:
    host = Host(MemoryLog(1), Statvfs(0), unavailable=True)
    for command in (PostMessage(ANN, 1, "hi"), MoveRead(ANN, 1, 1)):
        refused = host.ask(command)
        assert isinstance(refused, Unavailable)
        assert refused.full == "disk"
