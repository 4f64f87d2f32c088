"""The actor around a shard.

Thespian runs a handler again that has raised, so nothing may escape one. A fault that is not a refusal ends the
process. The launcher starts it again, and the shard recovers from the log.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Never, TypeAlias

import msgspec
from thespian.actors import Actor

from falcon.journal.ports import JournalUnavailable, Wake
from falcon.telemetry import instruments, metrics, probes
from falcon.write.protocol import CommandBatch
from falcon.write.replies import SendReply
from falcon.write.shard import Shard

log = logging.getLogger("falcon.actors")

TICK_SECONDS = 0.25  # deadlines and checkpoints are looked at this often; a tick of an idle shard costs microseconds

_in_mailbox = metrics.mailbox_seconds.labels("RoomShard")
_processing = metrics.actor_seconds.labels("RoomShard")

# The shards of this process, by name, for the operators' pages.
_hosted: dict[str, Shard] = {}


def _describe_shards(arguments: Mapping[str, str]) -> list[dict[str, object]]:
    return [{"shard": name, **row} for name, shard in list(_hosted.items()) for row in shard.describe()]


probes.answer("shards", _describe_shards)

BuildShard: TypeAlias = Callable[[Wake, SendReply], Shard]


class StartShard(msgspec.Struct, frozen=True):
    """``build`` makes the shard, with its journal. ``wake`` is called from any thread when there are completions, and
    ``reply`` on the thread that sends the actor its messages."""

    name: str
    build: BuildShard
    wake: Wake
    reply: SendReply


class Tick(msgspec.Struct, frozen=True):
    """Some time has passed."""


class CloseShard(msgspec.Struct, frozen=True):
    """Write what there is to write, then let go of the journal."""


class LeaveShard(msgspec.Struct, frozen=True):
    """Begin to hand over. Go on until another shard has taken over."""


def drain(shard: Shard) -> None:
    """The journal of a running actor's shard has completions. It calls here, on the thread that sends the actor its
    messages and between two of them: a message for each commit would cost a lone message 10 µs."""
    began = time.monotonic()
    try:
        shard.drain()
    except Exception as error:
        _end("drain", error)
    _processing.observe(time.monotonic() - began)


def _end(at: str, error: Exception) -> Never:
    """The state in memory may be wrong now, while the log is right."""
    metrics.actor_errors.labels("RoomShard").inc()
    is_known = isinstance(error, JournalUnavailable)
    log.error("shard failed at %s; it ends, to be started again: %s", at, error, exc_info=not is_known)
    instruments.end_process(70)


Message: TypeAlias = CommandBatch | Tick | LeaveShard | CloseShard | StartShard


class RoomShardActor(Actor):  # type: ignore[misc]
    """The shell around a Shard: all that the shard is asked to do comes as a message, and is measured here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shard: Shard  # from its first message on

    def receiveMessage(self, message: Message, sender: object) -> None:
        began = time.monotonic()
        try:
            match message:
                case CommandBatch():
                    _in_mailbox.observe(began - message.since)
                    self._shard.execute(message)
                case Tick():
                    self._tick()
                case LeaveShard():
                    self._shard.leave()
                case CloseShard():
                    self._shard.close()
                case StartShard():
                    self._start(message)
        except Exception as error:
            _end(type(message).__name__, error)
        _processing.observe(time.monotonic() - began)

    def _start(self, message: StartShard) -> None:
        self._shard = message.build(message.wake, message.reply)
        _hosted[message.name] = self._shard
        metrics.actor_errors.begin(("RoomShard",))
        self._shard.start()

    def _tick(self) -> None:
        self._shard.tick()
        if self._shard.lost:
            log.error("another process has taken this shard's partitions over; it ends")
            instruments.end_process(71)
