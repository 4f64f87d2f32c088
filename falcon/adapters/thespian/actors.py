"""The actor around a shard.

Thespian runs a handler again that has raised, so nothing may escape one. A fault that is not a refusal ends the
process. The launcher starts it again, and the shard recovers from the log.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import msgspec
from thespian.actors import Actor

from falcon.journal.ports import JournalUnavailable, Wake
from falcon.telemetry import metrics, probes
from falcon.write.protocol import BatchReply, CommandBatch
from falcon.write.replies import SendReply
from falcon.write.shard import Shard

log = logging.getLogger("falcon.actors")

TICK_SECONDS = 0.25

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
    """``build`` makes the shard, with its journal."""

    name: str
    build: BuildShard
    host: Host


class Tick(msgspec.Struct, frozen=True):
    """Some time has passed."""


class CloseShard(msgspec.Struct, frozen=True):
    """Write what there is to write, then let go of the journal."""


class LeaveShard(msgspec.Struct, frozen=True):
    """Begin to hand over. Go on until another shard has taken over."""


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
    """The shell around a Shard."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shard: Shard | None = None
        self._closed = False

    def receiveMessage(self, message: Any, sender: Any) -> None:
        carry_out(self._handle, message)

    def _handle(self, message: Any) -> None:
        match message:
            case Tick():
                self._tick()
            case StartShard():
                self._start(message)
            case LeaveShard() if self._shard is not None:
                self._shard.leave()
            case CloseShard():
                self._close()

    def _start(self, message: StartShard) -> None:
        self._shard = message.build(message.host.wake, message.host.reply)
        message.host.started(self)
        _hosted[message.name] = self._shard
        metrics.actor_errors.begin(("RoomShard",))
        self._shard.start()

    def execute(self, batch: CommandBatch) -> None:
        """Have the shard decide the commands."""
        _in_mailbox.observe(time.monotonic() - batch.since)
        assert self._shard is not None, "it has started before its host passes a batch on"
        self._shard.execute(batch, None)

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
