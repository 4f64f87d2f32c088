"""The mailbox in front of each shard."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from falcon.domain.ids import AccountId, Partition
from falcon.telemetry import metrics
from falcon.write.fair_queue import FairQueue
from falcon.write.protocol import BatchReply, CommandBatch, CommandEnvelope, Reply, Unavailable

_BATCH_COMMANDS_MAX = 256
_BATCH_BYTES_MAX = 512 << 10
_MAILBOX_BYTES_MAX = 64 << 20
_SWEEP_SECONDS = 0.1
_SLOW_SECONDS = 0.05
# A batch of so many gains little by becoming larger.
_LARGE_BATCH = 32
# Of a batch's replies, so many may still be missing when the next one goes. Commands that wait for most of the batch
# before them share the way there, and an append, with each other; what is missing then is a slow partition's.
_STRAGGLERS = 0.25
# With more batches away than this, only time lets the next one go: each is a request, and a partition may be slow for
# seconds.
_AWAY_MAX = 16

# A near shard's mailbox that was full is so until no more commands wait in it than this.
_NEARLY_EMPTY = 32


# With the time since which it waits.
_Pending: TypeAlias = "tuple[CommandEnvelope, asyncio.Future[Reply], float]"


class _Away(msgspec.Struct, eq=False):
    """A batch that has been sent, with those of its replies that are still to come.

    ``holds``: the next one waits for it.
    """

    waiting: dict[int, "_Pending"]
    size: int
    deadline: float
    holds: bool = True


class Mailbox:
    """The mailbox in front of one shard. Everything queued while its batches are away goes out as the next batch,
    each account's in turn.

    ``send`` hands a batch over without blocking; the replies come to :meth:`replied`. ``bound`` is the number of
    commands queued or away, past which a command is refused at once. The next batch waits for the one that is away,
    since half as many at once cost nearly as much, on the way and in the log; a large one does not, up to
    ``batches_away`` of them. For one of which most is back, or which is away for long, none waits: some partition of it
    is slow, and the others must not wait for that.

    Where there is no room, the account that has most in the queue makes some for one that has little: its newest
    command is refused in the other's place.

    ``near``: the shard decides on this loop's thread, and nothing is read or refused meanwhile. Once such a mailbox was
    full it takes no more than a batch until it is nearly empty: a burst finds all the room there is, while where more
    comes than can be carried nobody waits at the end of a long queue, which carries no more than a short one.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[CommandBatch], None],
        bound: int,
        batches_away: int = 1,
        *,
        near: bool = False,
    ) -> None:
        self._send = send
        self._bound = bound
        self._batches_away = batches_away
        self._near = near
        self._was_full = False
        self._expected = 0
        self._loop = asyncio.get_running_loop()
        self._queue: FairQueue[_Pending] = FairQueue()
        self._away: dict[int, _Away] = {}
        self._holding = 0
        self._size = 0
        self._bytes = 0
        self._number = 0
        self._flush_scheduled = False
        self._sweep_scheduled = False
        metrics.mailbox_size.labels(name).set_function(lambda: self._size)
        metrics.mailbox_bound.labels(name).set_function(self._bound_now)
        metrics.mailbox_oldest.labels(name).set_function(self._oldest)
        self._rejections = metrics.mailbox_rejections.labels(name)

    def ask(self, envelope: CommandEnvelope) -> "asyncio.Future[Reply]":
        reply: asyncio.Future[Reply] = self._loop.create_future()
        if not self._has_room(0):
            self.rejected()
            if not self._takes_a_place(envelope):
                reply.set_result(Unavailable("overloaded"))
                return reply
            self._resolve(self._queue.pop_of_crowder(), Unavailable("overloaded"))
        self._size += 1
        self._bytes += envelope.size
        self._queue.append(envelope.account_id, (envelope, reply, time.monotonic()))
        self._schedule_flush()
        if not self._sweep_scheduled:
            self._sweep_scheduled = True
            self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        return reply

    def _takes_a_place(self, envelope: CommandEnvelope) -> bool:
        """Whether one of another account's may be given up for this one, and makes room for it."""
        if not self._queue.yields_to(envelope.account_id):
            return False
        given_up, _, _ = self._queue.newest_of_crowder()
        return self._bytes - given_up.size < _MAILBOX_BYTES_MAX

    def yields_to(self, account_id: AccountId) -> bool:
        """Whether one of this account's would be taken in though there is no room."""
        return self._queue.yields_to(account_id)

    def expects(self) -> bool:
        """Whether there is room for a command that is on its way in. It is then counted on, since all that has come in
        this turn of the loop is looked at before any of it asks."""
        if not self._has_room(self._expected):
            return False
        if not self._expected:
            self._loop.call_soon(self._expect_none)
        self._expected += 1
        return True

    def rejected(self) -> None:
        """Count one that found no room."""
        self._rejections.inc()

    def _expect_none(self) -> None:
        self._expected = 0

    def _has_room(self, expected: int) -> bool:
        if self._size + expected >= self._bound or self._bytes >= _MAILBOX_BYTES_MAX:
            self._was_full = self._near
            return False
        return not self._was_full or len(self._queue) + expected < _BATCH_COMMANDS_MAX

    @property
    def busy(self) -> bool:
        """Something is queued or away."""
        return self._size > 0

    def _bound_now(self) -> float:
        """What may be queued, and what may be away."""
        return min(self._bound, 2 * _BATCH_COMMANDS_MAX) if self._was_full else self._bound

    def _oldest(self) -> float:
        """Age of the oldest command without a reply. Asked from another thread, so things may change meanwhile."""
        queued = self._queue.firsts()
        away = [pending for batch in list(self._away.values()) for pending in list(batch.waiting.values())[:1]]
        oldest = min((since for _, _, since in (*queued, *away)), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    def replied(self, batch_reply: BatchReply) -> None:
        """Some replies of a batch are there; ones for a batch that was given up come too late and are dropped."""
        away = self._away.get(batch_reply.number)
        if away is None:
            return
        for index, reply in batch_reply.replies:
            pending = away.waiting.pop(index, None)
            if pending is not None:  # else it was disowned
                self._resolve(pending, reply)
        if not away.waiting:
            self._came_back(batch_reply.number)
        elif len(away.waiting) <= away.size * _STRAGGLERS and len(self._away) <= _AWAY_MAX:
            self._pass_over(away)

    def give_up(self, number: int) -> None:
        """No reply will come any more: what became of the batch, only a retry can tell."""
        away = self._away.get(number)
        if away is not None:
            for pending in away.waiting.values():
                self._resolve(pending, Unavailable("outcome_unknown", 0.2))
            self._came_back(number)

    def disown(self, partition: Partition, since: float) -> None:
        """Another shard owns the partition, as was known at ``since``, so nobody waits for this one to answer what had
        been asked before. What is queued was not sent; what became of the rest, only a retry can tell."""
        for pending in self._queue.take_all(lambda pending: _is_for(pending, partition, since)):
            self._resolve(pending, Unavailable("not_mine"))
        for number, away in list(self._away.items()):
            for index in [i for i, pending in away.waiting.items() if _is_for(pending, partition, since)]:
                self._resolve(away.waiting.pop(index), Unavailable("outcome_unknown", 0.2))
            if not away.waiting:
                self._came_back(number)

    def _came_back(self, number: int) -> None:
        self._pass_over(self._away.pop(number))

    def _pass_over(self, away: _Away) -> None:
        """The next batch does not wait for this one any more."""
        if away.holds:
            away.holds = False
            self._holding -= 1
            self._schedule_flush()

    def _resolve(self, pending: _Pending, value: Reply) -> None:
        envelope, reply, _ = pending
        self._size -= 1
        self._bytes -= envelope.size
        if not reply.done():  # a caller that gave up waiting has cancelled it
            reply.set_result(value)

    def _schedule_flush(self) -> None:
        # Not at once: what else is ready in this turn of the loop goes with the same batch.
        if self._queue and not self._flush_scheduled and self._may_go():
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _may_go(self) -> bool:
        if not self._holding:
            return True
        return self._holding < self._batches_away and len(self._queue) >= _LARGE_BATCH

    def _flush(self) -> None:
        self._flush_scheduled = False
        if len(self._queue) <= _NEARLY_EMPTY:
            self._was_full = False
        commands: list[CommandEnvelope] = []
        waiting: dict[int, _Pending] = {}
        size = 0
        now = time.monotonic()
        while self._queue and len(commands) < _BATCH_COMMANDS_MAX and size < _BATCH_BYTES_MAX:
            pending = self._queue.popleft()
            envelope, reply, _ = pending
            if reply.cancelled() or envelope.deadline < now:
                self._resolve(pending, Unavailable("expired"))
                continue
            waiting[len(commands)] = pending
            commands.append(envelope)
            size += envelope.size
        if commands:
            self._number += 1
            since = waiting[0][2]
            deadline = max(command.deadline for command in commands)
            away = self._away[self._number] = _Away(waiting, len(commands), deadline)
            self._holding += 1
            self._loop.call_later(_SLOW_SECONDS, self._pass_over, away)
            metrics.batch_commands.observe(len(commands))
            self._send(CommandBatch(self._number, commands, since))
        self._schedule_flush()

    def _sweep(self) -> None:
        """Nobody waits past a deadline: neither in the queue nor for a shard that does not answer."""
        self._sweep_scheduled = False
        now = time.monotonic()
        for number in [number for number, away in self._away.items() if away.deadline < now]:
            self.give_up(number)
        for pending in self._queue.take_first_while(lambda pending: pending[0].deadline < now):
            self._resolve(pending, Unavailable("expired"))
        if self._size:
            self._sweep_scheduled = True
            self._loop.call_later(_SWEEP_SECONDS, self._sweep)


def _is_for(pending: _Pending, partition: Partition, until: float) -> bool:
    envelope, _, since = pending
    return envelope.partition == partition and since < until
