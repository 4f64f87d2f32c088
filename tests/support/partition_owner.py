"""An owner of partition 0 of a log in memory, for tests of its snapshots."""

from collections.abc import Iterable

from falcon.features.catalogue import Command
from falcon.features.messages.rules import MessageAnswer, PostMessage
from falcon.features.rooms.rules import CreateRoom, Invitation, Room, RoomAnswer
from falcon.journal.envelope import Position
from falcon.journal.ports import Checkpoint, SnapshotStore
from falcon.write.limits import ShardLimits
from falcon.write.partition_aggregates import PartitionAggregates
from falcon.write.protocol import Accepted, CommandEnvelope
from tools.harness.memory.log import MemoryLog

ANN = 1_000


class PartitionOwner:
    """Decides one command after another, each durable at once."""

    def __init__(self, log: MemoryLog, store: SnapshotStore | None = None) -> None:
        self.log = log
        self._store = log if store is None else store
        self.partition: PartitionAggregates

    def recover(self, end: Position) -> None:
        """Begin the epoch that was opened at the end of the log."""
        self.partition = PartitionAggregates(0, 1, self._store, ShardLimits(hot_aggregates=1_000))
        start = self.partition.restore()
        for recorded in self.log.read({0: start}, 1_000_000)[0]:
            if recorded.offset < end.offset:
                self.partition.replay(recorded)
        self.partition.begin(end, 1_000)

    def ask(self, command: Command, by: int = ANN) -> Accepted:
        reply = self.partition.execute(CommandEnvelope(0, by, command, 1e18), 1_000)
        append = self.partition.pop_append()
        if append is not None:
            assert self.log.write(append)
            self.partition.confirm(append)
        assert isinstance(reply, Accepted), reply
        return reply

    def room(self, members: Iterable[int] = ()) -> int:
        invited = tuple(Invitation(account_id, "member") for account_id in members)
        answer = self.ask(CreateRoom(ANN, "Tea kitchen", members=invited)).answer
        assert isinstance(answer, RoomAnswer)
        return answer.room_id

    def post(self, room: int, text: str) -> int:
        answer = self.ask(PostMessage(ANN, room, text)).answer
        assert isinstance(answer, MessageAnswer)
        return answer.message.seq

    def captured(self) -> Checkpoint:
        assert self.partition.capture()
        return self.partition.checkpoint()

    def state_of(self, room_id: int) -> Room:
        room = self.partition._room(room_id)
        assert room is not None
        return room
