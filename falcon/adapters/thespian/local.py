"""The gateway to shards in this process (``simpleSystemBase``): an actor is an object, called on the event loop."""

import asyncio
from collections.abc import Callable, Sequence

from thespian.actors import ActorSystem

from falcon.adapters.thespian.actors import (
    TICK_SECONDS,
    BuildShard,
    CloseShard,
    Drain,
    LeaveShard,
    RoomShardActor,
    StartShard,
    Tick,
)
from falcon.domain.ids import Partition
from falcon.journal.ports import Wake
from falcon.write.gateway import Lane
from falcon.write.protocol import CommandBatch, CommandEnvelope, Reply
from falcon.write.shard import Shard


class LocalGateway:
    """Hosts the shards and asks them. Everything happens on the loop's thread, but for the journal's commits."""

    def __init__(self, shards: "list[_HostedShard]", close: Callable[[], None]) -> None:
        self._shards = shards
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
                shard.ask(Tick())

        def close() -> None:
            ticks.pop().cancel()
            for shard in hosted:
                shard.close()
            system.shutdown()

        tick()
        return cls(hosted, close)

    async def ask(self, envelope: CommandEnvelope) -> Reply:
        return await self.lane(envelope.partition).ask(envelope)

    def lane(self, partition: Partition) -> Lane:
        return self._shards[partition % len(self._shards)].lane

    def submit(self, shard: int, envelope: CommandEnvelope) -> "asyncio.Future[Reply]":
        """To the shard that is known to own the partition. Raises IndexError."""
        return self._shards[shard].lane.ask(envelope)

    def leave(self) -> None:
        """Begin to hand over what is owned; it is served until somebody has taken it."""
        for shard in self._shards:
            shard.ask(LeaveShard())

    def ready(self) -> bool:
        """Every partition has an owner that serves."""
        return all(shard.serving() for shard in self._shards)


class _HostedShard:
    """One actor of the in-process system. Each message to it is answered with the replies that are ready."""

    def __init__(
        self, system: ActorSystem, loop: asyncio.AbstractEventLoop, name: str, build: BuildShard, mailbox_bound: int
    ) -> None:
        self._system = system
        self._closed = False
        self._woken = False
        self._address = system.createActor(RoomShardActor)
        # Deciding shares the thread with all that makes the next batch, so that a second one away would gain nothing.
        self.lane = Lane(name, self._send, mailbox_bound, batches_away=1, near=True)

        def wake() -> None:
            """Once for all that is to be collected: a message to an actor costs as much as several decisions."""
            if not self._woken:
                self._woken = True
                loop.call_soon_threadsafe(self._drain)

        def build_and_keep(wake: Wake) -> Shard:
            self._shard = build(wake)
            return self._shard

        self.ask(StartShard(name, build_and_keep, wake))

    def serving(self) -> bool:
        return self._shard.serving

    def close(self) -> None:
        self.ask(CloseShard())
        self._closed = True  # completions that are still on their way find nobody

    def ask(self, message: Drain | Tick | LeaveShard | CloseShard | StartShard | CommandBatch) -> None:
        if not self._closed:
            for reply in self._system.ask(self._address, message) or ():
                self.lane.replied(reply)

    def _drain(self) -> None:
        self._woken = False  # before what is collected is taken: what comes behind it wakes again
        self.ask(Drain())

    def _send(self, batch: CommandBatch) -> None:
        self.ask(batch)
