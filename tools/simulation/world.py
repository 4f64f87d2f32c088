"""A world in one thread: clients, a network that loses and repeats, shards that die or linger, and a seed.

Everything that happens is chosen by one random generator, so a seed is a schedule. Clients keep at it until they know;
then the world is healed, and what they were told is held against the log.
"""

import random
from dataclasses import dataclass, field

import msgspec

from falcon.domain.rejections import NotYetReadable
from falcon.features.catalogue import Command
from falcon.features.messages.bodies import message_in
from falcon.features.messages.rules import (
    DeleteMessage,
    EditMessage,
    Message,
    MessageAnswer,
    MessagePosted,
    PostMessage,
)
from falcon.features.read_marks.rules import MoveRead
from falcon.features.rooms.rules import CreateRoom, RoomAnswer
from falcon.journal.envelope import Position
from falcon.projections.rebuild import Rebuild
from falcon.projections.runner import ProjectionCatchUp
from falcon.read.catalogue import READ_MODELS, projections
from falcon.write.clock import AHEAD_MILLIS_MAX
from falcon.write.limits import ShardLimits
from falcon.write.ownership import FixedOwnership
from falcon.write.protocol import Accepted, CommandBatch, CommandEnvelope, Rejected, Reply, Unavailable
from falcon.write.shard import Shard
from tools.harness.clock import FakeClock
from tools.harness.memory.journal import Fate, MemoryJournal
from tools.harness.memory.log import MemoryLog
from tools.harness.memory.tables import MemoryTables
from tools.harness.replies import Replied

PARTITIONS = 2
ROOMS = 3
ANN = 1_000
_SET_BACK_SECONDS = (0, 0, 30, -3_600, 3_600, 86_400, -86_400)


@dataclass
class Intent:
    """Something that a client wants done, once, however often it has to ask. ``told``: the answers it got."""

    key: str
    command: Command
    partition: int
    told: list[Reply] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        return any(not isinstance(reply, Unavailable) for reply in self.told)


@dataclass
class ShardProcess:
    """A shard in a process of its own: it may be alive, and not the owner any more."""

    shard: Shard
    journal: MemoryJournal
    replied: Replied
    commands: list[CommandBatch] = field(default_factory=list)  # on their way to it


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._clocks = random.Random(f"clocks {seed}")  # its own, so that schedules stay as they are
        self.clock = FakeClock()
        self.log = MemoryLog(PARTITIONS)
        self.tables = MemoryTables(PARTITIONS, list(READ_MODELS))
        self.runner = ProjectionCatchUp(projections(), self.log, self.tables)
        self.processes: list[ShardProcess] = []
        self.intents: list[Intent] = []
        self.rooms: list[int] = []
        self._batches: dict[int, list[Intent]] = {}
        self._replies: list[tuple[Intent, Reply]] = []  # on their way back
        self._number = 0
        self.start_process()
        self._make_rooms()

    def _make_rooms(self) -> None:
        for i in range(ROOMS):
            intent = Intent(f"room {i}", CreateRoom(ANN, f"Room {i}"), i % PARTITIONS)
            self.intents.append(intent)
            self.settle(intent)
            reply = intent.told[-1]
            assert isinstance(reply, Accepted)
            assert isinstance(reply.answer, RoomAnswer)
            self.rooms.append(reply.answer.room_id)

    # --- what can happen ----------------------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        happenings = [
            (self.want, 8),
            (self.retry, 6),
            (self.deliver, 14),
            (self.write, 14),
            (self.answer, 14),
            (self.lose_commands, 1),
            (self.repeat_commands, 2),
            (self.lose_answer, 2),
            (self.repeat_answer, 1),
            (self.fail_write, 1),
            (self.project, 5),
            (self.crash, 0.5),
            (self.depose, 0.5),
            (self.pause, 3),
            (self.rebuild, 0.3),
        ]
        choices, weights = zip(*happenings, strict=True)
        for happening in self.random.choices(choices, weights, k=steps):
            happening()

    def want(self) -> None:
        """A client begins something new: mostly a message, with words that no other one uses."""
        room = self.random.choice(self.rooms)
        number = len(self.intents)
        command: Command
        kind = self.random.random()
        if kind < 0.7:
            command = PostMessage(ANN, room, f"message {number}")
        elif kind < 0.8:
            command = MoveRead(ANN, room, self.random.randint(0, 5), self.random.random() < 0.5)
        elif kind < 0.9:
            command = EditMessage(ANN, room, self.random.randint(1, 8), f"message {number}")
        else:
            command = DeleteMessage(ANN, room, self.random.randint(1, 8))
        self.intents.append(Intent(f"key {number}", command, room % PARTITIONS))
        self.send([self.intents[-1]])

    def retry(self) -> None:
        """A client that knows nothing for certain asks again; sometimes one that does, too."""
        waiting = [i for i in self.intents if not i.settled] or self.intents
        self.send(self.random.sample(waiting, min(len(waiting), self.random.randint(1, 4))))

    def send(self, intents: list[Intent]) -> None:
        self._number += 1
        self._batches[self._number] = intents
        deadline = self.clock.monotonic() + self.random.choice([0.5, 5.0])
        batch = CommandBatch(
            self._number,
            [CommandEnvelope(i.partition, ANN, self.viewed(i.command), deadline, i.key, 1) for i in intents],
        )
        self.random.choice(self.processes[-2:]).commands.append(batch)

    def viewed(self, command: Command) -> Command:
        """Like the edge: with the message as the read side shows it."""
        if not isinstance(command, EditMessage | DeleteMessage):
            return command
        message = self.tables.messages(command.room_id).get(command.seq)
        revision = self.tables.revision(command.room_id)
        known = None if message is None else message_in(message)
        return msgspec.structs.replace(command, known=known, known_revision=revision)

    def deliver(self) -> None:
        process = self.random.choice(self.processes)
        if process.commands:
            batch = process.commands.pop(self.random.randrange(len(process.commands)))
            process.shard.execute(batch)
            self.collect(process)

    def write(self) -> None:
        process = self.random.choice(self.processes)
        if process.journal.waiting:
            process.journal.settle(Fate.WRITTEN)
            if self.random.random() < 0.8:
                self.collect(process)

    def fail_write(self) -> None:
        process = self.random.choice(self.processes)
        if process.journal.waiting:
            process.journal.settle(self.random.choice([Fate.LOST, Fate.UNANSWERED]))
            self.collect(process)

    def collect(self, process: ShardProcess) -> None:
        process.shard.drain()
        for batch in process.replied.take():
            intents = self._batches[batch.number]
            self._replies += [(intents[index], reply) for index, reply in batch.replies]

    def answer(self) -> None:
        if self._replies:
            intent, reply = self._replies.pop(self.random.randrange(len(self._replies)))
            if not (isinstance(reply, Rejected) and isinstance(reply.rejection, NotYetReadable)):
                intent.told.append(reply)

    def lose_commands(self) -> None:
        process = self.random.choice(self.processes)
        if process.commands:
            process.commands.pop()

    def repeat_commands(self) -> None:
        process = self.random.choice(self.processes)
        if process.commands:
            self.random.choice(self.processes).commands.append(self.random.choice(process.commands))

    def lose_answer(self) -> None:
        if self._replies:
            self._replies.pop(self.random.randrange(len(self._replies)))

    def repeat_answer(self) -> None:
        if self._replies:
            self._replies.append(self.random.choice(self._replies))

    def project(self) -> None:
        self.runner.step()

    def rebuild(self) -> None:
        name = self.random.choice(list(READ_MODELS))
        Rebuild(name, READ_MODELS[name].project, self.log, self.tables).run()

    def pause(self) -> None:
        self.clock.advance(self.random.choice([0.01, 0.2, 1.0, 20.0]))
        for process in self.processes:
            process.shard.tick()
            self.collect(process)
        self.replace_lost()

    def replace_lost(self) -> None:
        """One that finds that it was deposed ends; if it was the newest, it is started again."""
        newest = self.processes[-1]
        self.processes = [process for process in self.processes if not process.shard.lost]
        if newest not in self.processes:
            self.start_process()

    def crash(self) -> None:
        """The newest process dies, with what it had in hand; some of it may just have been written. The next one may
        find the time of day set, forward or back."""
        process = self.processes.pop()
        while process.journal.waiting and self.random.random() < 0.5:
            process.journal.settle(Fate.UNANSWERED)
        self.clock.set_back(self._clocks.choice(_SET_BACK_SECONDS))
        self.start_process()

    def depose(self) -> None:
        """A new process takes over while the old one lives on, and believes."""
        self.start_process()
        self.processes = self.processes[-3:]

    def start_process(self) -> None:
        journal = MemoryJournal(self.log, lambda: None, held=True)
        limits = ShardLimits(checkpoint_events=self.random.choice([1, 5, 50]), hot_aggregates=2)
        ownership = FixedOwnership(range(PARTITIONS))
        replied, owner = Replied(), f"process {self._number}"
        shard = Shard(ownership, journal, self.log, self.log, self.clock, limits, owner, reply=replied)
        shard.start()
        self.processes.append(ShardProcess(shard, journal, replied))

    # --- the end ------------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Nothing fails any more; every client asks until it knows, and the read side catches up."""
        del self.processes[:-1]
        for intent in self.intents:
            self.settle(intent)
        for room in self.rooms:
            self._say_the_time(room)
        while self.runner.step():
            pass

    def _say_the_time(self, room: int) -> None:
        intent = Intent(f"time {room}", PostMessage(ANN, room, f"what is the time in {room}?"), room % PARTITIONS)
        self.intents.append(intent)
        before = self.clock.now()
        self.settle(intent)
        reply = intent.told[-1]
        assert isinstance(reply, Accepted)
        assert isinstance(reply.answer, MessageAnswer)
        late = reply.answer.message.posted_at - self.clock.now()
        assert before - self.clock.now() <= late <= AHEAD_MILLIS_MAX, f"a message is stamped {late} ms from now"

    def settle(self, intent: Intent) -> None:
        for _ in range(100):
            if intent.settled:
                return
            while self.runner.step():
                pass
            self.replace_lost()
            process = self.processes[-1]
            process.commands.clear()
            self.send([intent])
            process.shard.execute(self.processes[-1].commands.pop())
            while process.journal.waiting:
                process.journal.settle(Fate.WRITTEN)
            self.collect(process)
            while self._replies:
                self.answer()
            self.clock.advance(0.3)
            process.shard.tick()
        raise AssertionError(f"{intent} was never settled")

    def check(self) -> None:
        posted = [
            recorded.envelope.event.message
            for partition in range(PARTITIONS)
            for recorded in self.log.read({partition: Position()}, 1_000_000)[0]
            if isinstance(recorded.envelope.event, MessagePosted)
        ]
        for room in self.rooms:
            assert [m.seq for m in posted if m.room_id == room] == list(
                range(1, sum(m.room_id == room for m in posted) + 1)
            ), "the seqs of a room have a gap or an order of their own"
        texts = [message.text for message in posted]
        assert len(texts) == len(set(texts)), "a message was posted twice"
        by_text = {message.text: message for message in posted}
        for intent in self.intents:
            self._check_told(intent, by_text)
        self._check_read_side(posted)

    def _check_told(self, intent: Intent, by_text: dict[str, Message]) -> None:
        definite = [reply for reply in intent.told if isinstance(reply, Accepted | Rejected)]
        answers = {msgspec.json.encode(r.answer if isinstance(r, Accepted) else r.rejection) for r in definite}
        assert len(answers) == 1, f"{intent.key} was told {answers}"
        if isinstance(intent.command, PostMessage):
            (reply, *_) = definite
            assert isinstance(reply, Accepted), reply
            assert isinstance(reply.answer, MessageAnswer)
            assert by_text[intent.command.text] == reply.answer.message, "acknowledged, and not what the log has"

    def _check_read_side(self, posted: list[Message]) -> None:
        rebuilt = MemoryTables(PARTITIONS, list(READ_MODELS))
        fresh = ProjectionCatchUp(projections(), self.log, rebuilt)
        while fresh.step():
            pass
        for name in READ_MODELS:
            assert rebuilt._projections[name] == self.tables._projections[name], f"{name} is not what a rebuild makes"
        for room in self.rooms:
            seqs = [message.seq for message in posted if message.room_id == room]
            assert sorted(self.tables.messages(room)) == seqs
