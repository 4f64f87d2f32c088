"""The gateway to the shard in this process (``simpleSystemBase``): its actor is an object, called on the event loop.

Thespian delivers each message before ``tell`` returns, so messages are handled in the order in which they are sent, and
its queue is empty whenever the loop comes to one.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeAlias

import msgspec
from thespian.actors import ActorSystem

from falcon.adapters.thespian.actors import (
    TICK_SECONDS,
    BuildShard,
    CloseShard,
    LeaveShard,
    Message,
    RoomShardActor,
    StartShard,
    Tick,
    drain,
)
from falcon.domain.ids import Partition
from falcon.journal.ports import Wake
from falcon.write.mailbox import Mailbox
from falcon.write.protocol import BatchReply, CommandBatch, CommandEnvelope, Reply
from falcon.write.replies import SendReply
from falcon.write.shard import Shard

# Gets replies to a batch, some at a time: index in the batch, reply.
Replied: TypeAlias = Callable[[list[tuple[int, Reply]]], None]


class _Delivered(msgspec.Struct):
    """A batch of another process. ``missing``: how many replies are still to come."""

    missing: int
    replied: Replied


class LocalGateway:
    """Hosts the actor of a shard, and asks it. Everything happens on the loop's thread, but for the journal's commits.
    Make one on the running loop."""

    def __init__(self, build: BuildShard, mailbox_bound: int, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._woken = False
        self._committed: tuple[Callable[[], None], ...] = ()
        self._system = ActorSystem("simpleSystemBase", logDefs=False, transientUnique=True)
        self._address = self._system.createActor(RoomShardActor)
        self._mailbox = Mailbox(name, self._tell, mailbox_bound, near=True, others=self._replied)
        self._others: dict[int, _Delivered] = {}  # by number of the batch, below 0: the mailbox's are above
        self._last_of_others = 0

        def build_and_keep(wake: Wake, reply: SendReply) -> Shard:
            self._shard = build(wake, reply)
            return self._shard

        self.ask = self._mailbox.ask
        self._tell(StartShard(name, build_and_keep, self._wake, self._mailbox.replied))
        self._tick()

    def mailbox(self, partition: Partition) -> Mailbox:
        return self._mailbox

    def deliver(self, shard: int, commands: list[CommandEnvelope], replied: Replied) -> None:
        """Have the shard carry out commands of another process. They have waited in a mailbox there, so they go at
        once, in one batch as they came. ``replied`` gets the replies. Raises LookupError for another shard than
        number 0."""
        if shard:
            raise LookupError(f"there is no shard {shard}")
        if commands:
            self._last_of_others -= 1
            self._others[self._last_of_others] = _Delivered(len(commands), replied)
            self._tell(CommandBatch(self._last_of_others, commands, time.monotonic()))

    def tell_of_commits(self, *tell: Callable[[], None]) -> None:
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
        self._closed = True
        self._system.shutdown()

    def _wake(self) -> None:
        """Once for all completions that there are by then."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._woken = False  # before completions are collected: a later one wakes again
        if not self._closed:
            drain(self._shard)
        for tell in self._committed:
            tell()

    def _replied(self, reply: BatchReply) -> None:
        """Replies to a batch of another process, or too late to one of the mailbox."""
        delivered = self._others.get(reply.number)
        if delivered is None:
            return
        delivered.missing -= len(reply.replies)
        if not delivered.missing:
            del self._others[reply.number]
        delivered.replied(reply.replies)

    def _tick(self) -> None:
        self._next_tick = self._loop.call_later(TICK_SECONDS, self._tick)
        self._tell(Tick())

    def _tell(self, message: Message) -> None:
        """Returns when the actor has handled the message. Once it is closed, messages are dropped."""
        if not self._closed:
            self._system.tell(self._address, message)
