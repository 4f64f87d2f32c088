"""The gateway to shards in processes of their own: a batch crosses as one blob of bytes.

An endpoint of the actor system belongs to one thread for its life, and has one batch away at a time. Several batches in
flight on one endpoint delay each other, and the endpoint would take a late reply for another batch's.
"""

import asyncio
import logging
import queue
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from thespian.actors import ActorSystem

from falcon.adapters.thespian import transport
from falcon.adapters.thespian.actors import Shards, Supervisor, WhereAreShards
from falcon.adapters.thespian.system import BASE, SUPERVISOR
from falcon.domain.ids import Partition
from falcon.telemetry.dispatchers import start_thread
from falcon.write.mailbox import Mailbox
from falcon.write.protocol import CommandBatch, CommandEnvelope, Reply, decode_replies, encode_batch

log = logging.getLogger("falcon.gateway")

# How often a mailbox that waits asks if its shard is still the one to which it sent.
_LISTEN_SECONDS: Final = 0.1
_ATTACH_SECONDS: Final = 10


class RemoteGateway:
    """One mailbox a shard, and one endpoint (a thread) a mailbox."""

    def __init__(self, mailboxes: list[Mailbox], endpoints: list["_Endpoint"]) -> None:
        self._mailboxes = mailboxes
        self._endpoints = endpoints

    @classmethod
    async def attach(cls, port: int, shards: int, mailbox_bound: int) -> "RemoteGateway":
        """Attach to a system that runs: without one Thespian would start one here. Raises OSError, NoKey."""
        transport.secure()
        with socket.create_connection(("127.0.0.1", port), _ATTACH_SECONDS):
            pass  # a process listens
        loop = asyncio.get_running_loop()
        system = ActorSystem(BASE, {"Admin Port": port}, transientUnique=True)
        mailboxes: list[Mailbox] = []
        endpoints: list[_Endpoint] = []
        for index in range(shards):
            batches: queue.SimpleQueue[CommandBatch | None] = queue.SimpleQueue()
            mailboxes.append(Mailbox(str(index), batches.put, mailbox_bound))
            endpoints.append(_Endpoint(system, loop, mailboxes[index], index, batches))
        return cls(mailboxes, endpoints)

    async def ask(self, envelope: CommandEnvelope) -> Reply:
        return await self.mailbox(envelope.partition).ask(envelope)

    def mailbox(self, partition: Partition) -> Mailbox:
        return self._mailboxes[partition % len(self._mailboxes)]

    def submit(self, shard: int, envelope: CommandEnvelope) -> "asyncio.Future[Reply]":
        """Pass the command to the shard that is known to own the partition. Raises IndexError."""
        return self._mailboxes[shard].ask(envelope)

    def ready(self) -> bool:
        """Every mailbox has found its shard."""
        return all(endpoint.located for endpoint in self._endpoints)

    def tell_of_commits(self, tell: Callable[[], None]) -> bool:
        """Other processes commit."""
        return False

    def leave(self) -> None:
        """The shards do, each when its process is told to end."""

    def close(self) -> None:
        for endpoint in self._endpoints:
            endpoint.close()


class _Endpoint:
    """A thread that takes a mailbox's batches, one at a time, to the shard and the replies back."""

    def __init__(
        self,
        system: ActorSystem,
        loop: asyncio.AbstractEventLoop,
        mailbox: Mailbox,
        shard: int,
        batches: "queue.SimpleQueue[CommandBatch | None]",
    ) -> None:
        self._system = system
        self._loop = loop
        self._mailbox = mailbox
        self._shard = shard
        self._batches = batches
        self._supervisor: Any = None
        self._address: Any = None
        self._starts = 0
        self._thread = start_thread(f"mailbox-{shard}", self._run)

    def close(self) -> None:
        self._batches.put(None)
        self._thread.join(2)

    @property
    def located(self) -> bool:
        return self._address is not None

    def _run(self) -> None:
        with self._system.private() as endpoint:
            try:
                self._find(endpoint)
            except Exception:
                log.exception("shard %d was not found; the first batch looks for it again", self._shard)
            while (batch := self._batches.get()) is not None:
                try:
                    if self._address is None:
                        self._find(endpoint)
                    self._carry(endpoint, batch)
                except Exception:
                    # Whatever Thespian met: the batch's outcome is unknown, and the next one looks for the shard again.
                    log.exception("a batch to shard %d failed", self._shard)
                    self._address = None
                    self._give_up(batch)

    def _carry(self, endpoint: ActorSystem, batch: CommandBatch) -> None:
        starts = self._starts
        endpoint.tell(self._address, encode_batch(batch))
        missing = len(batch.commands)
        until = max(command.deadline for command in batch.commands)
        while missing and time.monotonic() < until:
            message = endpoint.listen(_LISTEN_SECONDS)
            if isinstance(message, bytes):
                replies = decode_replies(message)
                missing -= sum(len(reply.replies) for reply in replies if reply.number == batch.number)
                for reply in replies:
                    self._loop.call_soon_threadsafe(self._mailbox.replied, reply)
            elif isinstance(message, Shards):
                self._locate(message)
                if self._starts != starts:
                    break  # the shard that had the batch is gone
            elif message is None:
                endpoint.tell(self._supervisor, WhereAreShards())
        if missing:
            self._give_up(batch)

    def _find(self, endpoint: ActorSystem) -> None:
        self._supervisor = endpoint.createActor(Supervisor, globalName=SUPERVISOR)  # there is one: this finds it
        self._locate(endpoint.ask(self._supervisor, WhereAreShards(), _ATTACH_SECONDS))

    def _give_up(self, batch: CommandBatch) -> None:
        self._loop.call_soon_threadsafe(self._mailbox.give_up, batch.number)

    def _locate(self, shards: Shards | None) -> None:
        if isinstance(shards, Shards) and shards.addresses:
            self._address = shards.addresses[self._shard]
            self._starts = shards.starts[self._shard]
