"""The gateway to shards in this process (``simpleSystemBase``): an actor is an object, called on the event loop.

Here Thespian delivers each message before ``tell`` returns, so its queue is empty whenever the loop comes to a batch. A
batch goes to the actor directly: it is decided by the same actor in the same order, without the cost of the queue.
"""

import asyncio
from collections.abc import Callable, Sequence

from thespian.actors import ActorSystem

from falcon.adapters.thespian.actors import (
    TICK_SECONDS,
    BuildShard,
    CloseShard,
    LeaveShard,
    RoomShardActor,
    StartShard,
    Tick,
    carry_out,
)
from falcon.domain.ids import Partition
from falcon.journal.ports import Wake
from falcon.write.mailbox import Mailbox
from falcon.write.protocol import BatchReply, CommandBatch, CommandEnvelope, Reply
from falcon.write.replies import SendReply
from falcon.write.shard import Shard


class LocalGateway:
    """Hosts the shards and asks them. Everything happens on the loop's thread, but for the journal's commits."""

    def __init__(self, shards: "list[_HostedShard]", close: Callable[[], None]) -> None:
        self._shards = shards
        self._mailboxes = [shard.mailbox for shard in shards]
        self.close = close

    @classmethod
    async def start(cls, builds: Sequence[BuildShard], mailbox_bound: int) -> "LocalGateway":
        loop = asyncio.get_running_loop()
        system = ActorSystem("simpleSystemBase", logDefs=False, transientUnique=True)
        ticks: list[asyncio.TimerHandle] = []
        hosted = [_HostedShard(system, loop, str(i), build, mailbox_bound) for i, build in enumerate(builds)]

        def tick() -> None:
            ticks[:] = [loop.call_later(TICK_SECONDS, tick)]
            for shard in hosted:
                shard.tell(Tick())

        def close() -> None:
            ticks.pop().cancel()
            for shard in hosted:
                shard.close()
            system.shutdown()

        tick()
        return cls(hosted, close)

    async def ask(self, envelope: CommandEnvelope) -> Reply:
        return await self._mailboxes[envelope.partition % len(self._mailboxes)].ask(envelope)

    def mailbox(self, partition: Partition) -> Mailbox:
        return self._mailboxes[partition % len(self._mailboxes)]

    def submit(self, shard: int, envelope: CommandEnvelope) -> "asyncio.Future[Reply]":
        """Pass the command to the shard that is known to own the partition. Raises IndexError."""
        return self._mailboxes[shard].ask(envelope)

    def tell_of_commits(self, tell: Callable[[], None]) -> bool:
        for shard in self._shards:
            shard.committed = tell
        return True

    def leave(self) -> None:
        """Begin to hand over what is owned. It is served until another shard has taken it."""
        for shard in self._shards:
            shard.tell(LeaveShard())

    def ready(self) -> bool:
        """Every partition has an owner that serves."""
        return all(shard.serving() for shard in self._shards)


class _HostedShard:
    """One actor of the in-process system, and its mailbox. ``tell`` returns when the actor has handled the message."""

    def __init__(
        self, system: ActorSystem, loop: asyncio.AbstractEventLoop, name: str, build: BuildShard, mailbox_bound: int
    ) -> None:
        self._system = system
        self._loop = loop
        self._closed = False
        self._woken = False
        self.committed: Callable[[], None] = _nothing
        self._address = system.createActor(RoomShardActor)
        self.mailbox = Mailbox(name, self._deliver, mailbox_bound, near=True)

        def build_and_keep(wake: Wake, reply: SendReply) -> Shard:
            self._shard = build(wake, reply)
            return self._shard

        self.tell(StartShard(name, build_and_keep, self))

    def started(self, actor: RoomShardActor) -> None:
        self._actor = actor

    def wake(self) -> None:
        """Once for all completions that there are by then."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._drain)

    def reply(self, sender: object, reply: BatchReply) -> None:
        self.mailbox.replied(reply)

    def serving(self) -> bool:
        return self._shard.serving

    def close(self) -> None:
        self.tell(CloseShard())
        self._closed = True  # completions that are still on their way are dropped

    def tell(self, message: Tick | LeaveShard | CloseShard | StartShard) -> None:
        if not self._closed:
            self._system.tell(self._address, message)

    def _deliver(self, batch: CommandBatch) -> None:
        if not self._closed:
            carry_out(self._actor.execute, batch, None)

    def _drain(self) -> None:
        """Not by a message: the loop's thread is the actor's, and no other message is under way there."""
        self._woken = False  # before completions are collected: a later one wakes again
        if not self._closed:
            carry_out(self._shard.drain)
        self.committed()


def _nothing() -> None:
    """Does nothing: no caller asked to be told of commits."""
