"""The actor classes. They are the same under every system base; what differs is who wakes a shard for the journal.

Thespian runs a handler that raises again, so nothing may escape one: a fault that is not a refusal ends the actor's
process, and whoever supervises it starts it anew, to recover from the log.
"""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol, TypeAlias

import msgspec
from thespian.actors import (
    Actor,
    ActorExitRequest,
    ChildActorExited,
    DeadEnvelope,
    ThespianWatch,
    WakeupMessage,
    WatchMessage,
)

from falcon.journal.ports import Wake
from falcon.telemetry import metrics, probes
from falcon.write.protocol import BatchReply, CommandBatch, Reply, Unavailable, decode_batch, encode_replies
from falcon.write.shard import Shard

log = logging.getLogger("falcon.actors")

TICK_SECONDS = 0.25
_RESTART_SECONDS = (0.0, 0.1, 0.5, 1.0)
_STEADY_SECONDS = 10.0

_in_mailbox = metrics.mailbox_seconds.labels("RoomShard")
_processing = metrics.actor_seconds.labels("RoomShard")

# The shards of this process, by name, for whoever looks inside.
_hosted: dict[str, Shard] = {}


def _describe_shards(arguments: Mapping[str, str]) -> list[dict[str, object]]:
    return [{"shard": name, **row} for name, shard in list(_hosted.items()) for row in shard.describe()]


probes.answer("shards", _describe_shards)

BuildShard: TypeAlias = Callable[[Wake], Shard]


class Host(Protocol):
    """Who has a shard in its own process."""

    def wake(self) -> None:
        """Have a Drain sent to the actor soon; called from any thread."""

    def replied(self, reply: BatchReply) -> None:
        """Takes replies, from the thread that the actor's messages come from."""


class StartShard(msgspec.Struct, frozen=True):
    """``build`` makes the shard, with its journal; it must pickle where an actor is a process.

    ``host``: None where it is; the actor watches a socket then, and replies by messages.
    """

    name: str
    build: BuildShard
    host: Host | None = None


class Drain(msgspec.Struct, frozen=True):
    """The journal has completed something."""


class Tick(msgspec.Struct, frozen=True):
    """Some time has passed."""


class CloseShard(msgspec.Struct, frozen=True):
    """Write what there is to write, then let go of the journal."""


class LeaveShard(msgspec.Struct, frozen=True):
    """Begin to hand over; go on until somebody has taken over."""


class WhereAreShards(msgspec.Struct, frozen=True):
    """Asks the Supervisor."""


class Shards(msgspec.Struct, frozen=True):
    """The shards' addresses, in order, and how often each has been started."""

    addresses: list[Any]
    starts: list[int]
    pids: tuple[int, int]  # of the Supervisor and of its parent, the system's admin


class StartShards(msgspec.Struct, frozen=True):
    """``begin``: what the Supervisor's process, which was forked like the others, does first."""

    shards: list[StartShard]
    begin: Callable[[], None]


class RoomShardActor(Actor):  # type: ignore[misc]
    """The shell around a Shard: batches in, replies out, as messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shard: Shard | None = None
        self._host: Host | None = None
        self._closed = False
        self._watched: socket.socket | None = None
        self._senders: dict[str, Any] = {}

    def receiveMessage(self, message: Any, sender: Any) -> ThespianWatch | None:
        began = time.monotonic()
        try:
            self._handle(message, sender)
            _processing.observe(time.monotonic() - began)
        except Exception:
            metrics.actor_errors.labels("RoomShard").inc()
            # The state in memory may be wrong now; the log is right. See the module's docstring.
            log.exception("shard failed at %s; it ends, to be started again", type(message).__name__)
            os._exit(70)
        return None if self._watched is None else ThespianWatch([self._watched.fileno()])

    def _handle(self, message: Any, sender: Any) -> None:
        match message:
            case bytes():  # a batch from another process
                batch = decode_batch(message)
                _in_mailbox.observe(time.monotonic() - batch.since)
                self._execute(batch, sender)
            case CommandBatch():
                _in_mailbox.observe(time.monotonic() - message.since)
                self._execute(message, sender)
            case WatchMessage() | Drain():
                self._drain()
            case WakeupMessage():
                self._tick()
                self.wakeupAfter(timedelta(seconds=TICK_SECONDS))
            case Tick():
                self._tick()
            case StartShard():
                self._start(message)
            case LeaveShard() if self._shard is not None:
                self._shard.leave()
            case CloseShard() | ActorExitRequest():
                self._close()
        if self._shard is not None:
            self._send_replies(self._shard)

    def _start(self, message: StartShard) -> None:
        self._host = message.host
        self._shard = message.build(self._watch() if message.host is None else message.host.wake)
        _hosted[message.name] = self._shard
        metrics.actor_errors.begin(("RoomShard",))
        metrics.actor_restarts.begin(("RoomShard",))
        self._shard.start()
        if self._host is None:
            self.wakeupAfter(timedelta(seconds=TICK_SECONDS))

    def _watch(self) -> Wake:
        """A socket that Thespian waits for beside the mailbox; one byte means: look at the completions."""
        self._watched, waking = socket.socketpair()
        self._watched.setblocking(False)
        waking.setblocking(False)

        def wake() -> None:
            with contextlib.suppress(BlockingIOError):  # it is full of bytes that say the same
                waking.send(b"\0")

        return wake

    def _execute(self, batch: CommandBatch, sender: Any) -> None:
        if self._shard is None or self._closed:
            # It has overtaken the message that starts the shard, or comes behind its end: nothing was done.
            refused: list[tuple[int, Reply]] = [(i, Unavailable("unavailable")) for i in range(len(batch.commands))]
            self.send(sender, encode_replies([BatchReply(batch.number, refused)]))
            return
        name = str(sender)
        self._senders[name] = sender
        self._shard.execute(batch, name)
        self._drain()

    def _drain(self) -> None:
        """Also called with every batch, since what wakes us may come late under load."""
        if self._watched is not None:
            with contextlib.suppress(BlockingIOError):
                while self._watched.recv(4096):
                    pass
        if self._shard is not None:
            self._shard.drain()

    def _tick(self) -> None:
        if self._shard is not None and not self._closed:
            self._shard.tick()
            if self._shard.lost:
                log.error("another process has taken this shard's partitions over; it ends")
                os._exit(71)

    def _close(self) -> None:
        if self._shard is not None and not self._closed:
            self._closed = True
            self._shard.close()

    def _send_replies(self, shard: Shard) -> None:
        replied = shard.take_replies()
        if self._host is not None:
            for _, reply in replied:
                self._host.replied(reply)
            return
        by_sender: dict[str, list[BatchReply]] = {}
        for name, reply in replied:
            by_sender.setdefault(name, []).append(reply)
        for name, replies in by_sender.items():
            self.send(self._senders[name], encode_replies(replies))


class Supervisor(Actor):  # type: ignore[misc]
    """The parent of the shards: starts them, and starts again the one that dies."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ending = False
        self._starts: list[StartShard] = []
        self._addresses: list[Any] = []
        self._counts: list[int] = []
        self._failures: list[int] = []
        self._started_at: list[float] = []

    def receiveMessage(self, message: Any, sender: Any) -> None:
        match message:
            case StartShards(shards=shards, begin=begin):
                if not self._starts:
                    begin()
                    self.handleDeadLetters()
                    self._starts = shards
                    self._addresses = [self._create(start) for start in shards]
                    self._counts = [1] * len(shards)
                    self._failures = [0] * len(shards)
                    self._started_at = [time.monotonic()] * len(shards)
                self.send(sender, self._describe())
            case WhereAreShards():
                self.send(sender, self._describe())
            case ActorExitRequest():
                self._ending = True
            case DeadEnvelope():
                metrics.dead_letters.inc()
            case ChildActorExited(childAddress=address) if not self._ending:
                self._restart(address)
            case WakeupMessage(payload=index) if not self._ending:
                self._start_again(index)

    def _describe(self) -> Shards:
        return Shards(self._addresses, self._counts, (os.getpid(), os.getppid()))

    def _create(self, start: StartShard) -> Any:
        address = self.createActor(RoomShardActor)
        self.send(address, start)
        return address

    def _restart(self, address: Any) -> None:
        """One that keeps dying is started less and less often."""
        for index, known in enumerate(self._addresses):
            if known == address:
                steady = time.monotonic() - self._started_at[index] > _STEADY_SECONDS
                self._failures[index] = 0 if steady else self._failures[index] + 1
                pause = _RESTART_SECONDS[min(self._failures[index], len(_RESTART_SECONDS) - 1)]
                metrics.actor_restarts.labels("RoomShard").inc()
                log.warning("shard %s has ended; starting it again in %g s", self._starts[index].name, pause)
                self.wakeupAfter(timedelta(seconds=pause), index)

    def _start_again(self, index: int) -> None:
        self._addresses[index] = self._create(self._starts[index])
        self._started_at[index] = time.monotonic()
        self._counts[index] += 1
