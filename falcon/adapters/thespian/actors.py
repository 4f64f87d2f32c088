"""The actor classes. They are the same under every system base; what differs is who wakes a shard for the journal.

Thespian runs a handler again that has raised, so nothing may escape one. A fault that is not a refusal ends the actor's
process. Its supervisor starts it again, and it recovers from the log.
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

from falcon.journal.ports import JournalUnavailable, Wake
from falcon.telemetry import metrics, probes
from falcon.write import refusals
from falcon.write.protocol import BatchReply, CommandBatch, Reply, decode_batch, encode_replies
from falcon.write.replies import SendReply
from falcon.write.shard import Shard

log = logging.getLogger("falcon.actors")

TICK_SECONDS = 0.25
_RESTART_SECONDS = (0.0, 0.1, 0.5, 1.0)
_STEADY_SECONDS = 10.0

_in_mailbox = metrics.mailbox_seconds.labels("RoomShard")
_processing = metrics.actor_seconds.labels("RoomShard")

# The shards of this process, by name, for the operators' pages.
_hosted: dict[str, Shard] = {}


def _describe_shards(arguments: Mapping[str, str]) -> list[dict[str, object]]:
    return [{"shard": name, **row} for name, shard in list(_hosted.items()) for row in shard.describe()]


probes.answer("shards", _describe_shards)

BuildShard: TypeAlias = Callable[[Wake, SendReply], Shard]


class Host(Protocol):
    """Hosts an actor in its own process."""

    def started(self, actor: "RoomShardActor") -> None:
        """The actor has started. On its thread the host may have it :meth:`~RoomShardActor.execute` batches."""

    def wake(self) -> None:
        """Have the shard drained soon (:func:`carry_out`). Called from any thread."""

    def reply(self, sender: Any, reply: BatchReply) -> None:
        """Take replies, on the thread that sends the actor its messages."""


class StartShard(msgspec.Struct, frozen=True):
    """``build`` makes the shard, with its journal. It must pickle if an actor is a process.

    ``host``: None there; the actor then watches a socket and replies by messages.
    """

    name: str
    build: BuildShard
    host: Host | None = None


class Tick(msgspec.Struct, frozen=True):
    """Some time has passed."""


class CloseShard(msgspec.Struct, frozen=True):
    """Write what there is to write, then let go of the journal."""


class LeaveShard(msgspec.Struct, frozen=True):
    """Begin to hand over. Go on until another shard has taken over."""


class WhereAreShards(msgspec.Struct, frozen=True):
    """Asks the Supervisor."""


class Shards(msgspec.Struct, frozen=True):
    """The shards' addresses, in order, and how often each has been started."""

    addresses: list[Any]
    starts: list[int]
    pids: tuple[int, int]  # of the Supervisor and of its parent, the system's admin


class StartShards(msgspec.Struct, frozen=True):
    """``begin``: what the Supervisor's process does first. It is forked, as the shards' are."""

    shards: list[StartShard]
    begin: Callable[[], None]


def carry_out(work: Callable[..., None], *arguments: object) -> None:
    """Have the shard work, and measure it. If the work fails, the process ends: the state in memory may be wrong then,
    while the log is right."""
    began = time.monotonic()
    try:
        work(*arguments)
        _processing.observe(time.monotonic() - began)
    except Exception as error:
        metrics.actor_errors.labels("RoomShard").inc()
        at = type(arguments[0]).__name__ if arguments else work.__name__
        is_known = isinstance(error, JournalUnavailable)
        log.error("shard failed at %s; it ends, to be started again: %s", at, error, exc_info=not is_known)
        os._exit(70)


class RoomShardActor(Actor):  # type: ignore[misc]
    """The shell around a Shard: batches in, replies out, as messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shard: Shard | None = None
        self._host: Host | None = None
        self._closed = False
        self._watched: socket.socket | None = None
        self._senders: dict[str, Any] = {}
        self._replies: dict[str, list[BatchReply]] = {}

    def receiveMessage(self, message: Any, sender: Any) -> ThespianWatch | None:
        carry_out(self._handle, message, sender)
        return None if self._watched is None else ThespianWatch([self._watched.fileno()])

    def _handle(self, message: Any, sender: Any) -> None:
        match message:
            case bytes():  # a batch from another process
                self.execute(decode_batch(message), sender)
            case WatchMessage():
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
        if self._replies:
            self._send_replies()

    def _start(self, message: StartShard) -> None:
        self._host = message.host
        if message.host is None:
            self._shard = message.build(self._watch(), self._keep_reply)
        else:
            self._shard = message.build(message.host.wake, message.host.reply)
            message.host.started(self)
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

    def execute(self, batch: CommandBatch, sender: Any) -> None:
        """Have the shard decide the commands. ``sender``: the mailbox's address; None for that of the actor's host."""
        _in_mailbox.observe(time.monotonic() - batch.since)
        if self._shard is None or self._closed:
            # It has overtaken the message that starts the shard, or comes behind its end: nothing was done.
            refused: list[tuple[int, Reply]] = [(i, refusals.shard_not_running()) for i in range(len(batch.commands))]
            self.send(sender, encode_replies([BatchReply(batch.number, refused)]))
            return
        if self._host is not None:
            self._shard.execute(batch, None)
            return
        name = str(sender)
        self._senders[name] = sender
        self._shard.execute(batch, name)
        self._drain()  # what wakes the shard may come late under load

    def _drain(self) -> None:
        if self._watched is not None:
            with contextlib.suppress(BlockingIOError):
                while self._watched.recv(4096):
                    pass
        if self._shard is not None and not self._closed:
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

    def _keep_reply(self, sender: str, reply: BatchReply) -> None:
        """All replies to one sender go in one message."""
        self._replies.setdefault(sender, []).append(reply)

    def _send_replies(self) -> None:
        replies, self._replies = self._replies, {}
        for name, of_sender in replies.items():
            self.send(self._senders[name], encode_replies(of_sender))


class Supervisor(Actor):  # type: ignore[misc]
    """The parent of the shards: it starts them, and starts each again that dies."""

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
        """Start a shard again, after longer pauses the more often it dies."""
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
