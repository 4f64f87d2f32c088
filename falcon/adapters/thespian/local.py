"""The gateway to the shard in this process (``simpleSystemBase``): its actor is an object, called on the event loop.

Here Thespian delivers each message before ``tell`` returns, so its queue is empty whenever the loop comes to a batch. A
batch goes to the actor directly: it is decided by the same actor in the same order, without the cost of the queue.
"""

import asyncio
from collections.abc import Callable

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
    """Hosts the actor of a shard, and asks it. Everything happens on the loop's thread, but for the journal's commits.
    Make one on the running loop."""

    def __init__(self, build: BuildShard, mailbox_bound: int, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._woken = False
        self._committed: Callable[[], None] = _nothing
        self._system = ActorSystem("simpleSystemBase", logDefs=False, transientUnique=True)
        self._address = self._system.createActor(RoomShardActor)
        self._mailbox = Mailbox(name, self._deliver, mailbox_bound, near=True)

        def build_and_keep(wake: Wake, reply: SendReply) -> Shard:
            self._shard = build(wake, reply)
            return self._shard

        self._tell(StartShard(name, build_and_keep, self))
        self._tick()

    async def ask(self, envelope: CommandEnvelope) -> Reply:
        return await self._mailbox.ask(envelope)

    def mailbox(self, partition: Partition) -> Mailbox:
        return self._mailbox

    def submit(self, shard: int, envelope: CommandEnvelope) -> "asyncio.Future[Reply]":
        """Pass the command to the shard without waiting. Raises LookupError for another shard than number 0."""
        if shard:
            raise LookupError(f"there is no shard {shard}")
        return self._mailbox.ask(envelope)

    def tell_of_commits(self, tell: Callable[[], None]) -> None:
        self._committed = tell

    def leave(self) -> None:
        """Begin to hand over what is owned. It is served until another shard has taken it."""
        self._tell(LeaveShard())

    def ready(self) -> bool:
        """Every partition has an owner that serves."""
        return self._shard.serving

    def close(self) -> None:
        self._next_tick.cancel()
        self._tell(CloseShard())
        self._closed = True  # completions that are still on their way are dropped
        self._system.shutdown()

    # --- the actor's host ---------------------------------------------------------------------------------------------

    def started(self, actor: RoomShardActor) -> None:
        self._actor = actor

    def wake(self) -> None:
        """Once for all completions that there are by then."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._drain)

    def reply(self, sender: object, reply: BatchReply) -> None:
        self._mailbox.replied(reply)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _tell(self, message: Tick | LeaveShard | CloseShard | StartShard) -> None:
        """Returns when the actor has handled the message."""
        if not self._closed:
            self._system.tell(self._address, message)

    def _tick(self) -> None:
        self._next_tick = self._loop.call_later(TICK_SECONDS, self._tick)
        self._tell(Tick())

    def _deliver(self, batch: CommandBatch) -> None:
        if not self._closed:
            carry_out(self._actor.execute, batch)

    def _drain(self) -> None:
        """Not by a message: the loop's thread is the actor's, and no other message is under way there."""
        self._woken = False  # before completions are collected: a later one wakes again
        if not self._closed:
            carry_out(self._shard.drain)
        self._committed()


def _nothing() -> None:
    """Does nothing: no caller asked to be told of commits."""
