"""The mailbox in front of each shard: commands wait in it for their way to the shard, and for their replies."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from falcon.domain.ids import AccountId, Partition
from falcon.telemetry import metrics
from falcon.write import refusals
from falcon.write.batching import BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, SLOW_SECONDS, Away, Batching, Pending
from falcon.write.capacity import BYTES_MAX, Capacity
from falcon.write.fair_queue import FairQueue
from falcon.write.protocol import BatchReply, CommandBatch, CommandEnvelope, Reply, Unavailable

_SWEEP_SECONDS: Final = SLOW_SECONDS / 2


class Mailbox:
    """Everything queued while its batches are away goes out as the next batch, each account's in turn (``Batching``).

    ``send`` hands a batch over without blocking; the replies come to :meth:`replied`. With ``bound`` commands queued or
    away, a further command is refused at once (``Capacity``, which also says what ``near`` means). But the account that
    has most in the queue makes room for one that has little: its newest command is refused in place of the other's.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[CommandBatch], None],
        bound: int,
        batches_away: int = 1,
        *,
        near: bool = False,
        others: Callable[[BatchReply], None] = lambda reply: None,
    ) -> None:
        """``others`` gets replies to batches that are not away: not this mailbox's, or given up."""
        self._send = send
        self._others = others
        self._loop = asyncio.get_running_loop()
        self._queue: FairQueue[Pending] = FairQueue()
        self.capacity = Capacity(bound, self._queue, is_near=near)
        self.expects = self.capacity.expects
        self._batching = Batching(batches_away)
        self._flush_scheduled = False
        self._sweep_scheduled = False
        metrics.mailbox_size.labels(name).set_function(lambda: self.capacity.commands)
        metrics.mailbox_bound.labels(name).set_function(lambda: self.capacity.bound)
        metrics.mailbox_oldest.labels(name).set_function(self._oldest)
        self._rejections = metrics.mailbox_rejections.labels(name)

    # --- commands come in ---------------------------------------------------------------------------------------------

    def ask(self, envelope: CommandEnvelope) -> "asyncio.Future[Reply]":
        """The reply, by the envelope's deadline at the latest."""
        reply: asyncio.Future[Reply] = self._loop.create_future()
        capacity = self.capacity
        has_plenty = capacity.commands < capacity.plenty and capacity.bytes < BYTES_MAX and not capacity.was_full
        if not has_plenty and not capacity.has_room() and not self._make_room(envelope):
            reply.set_result(self.refuse())
            return reply
        capacity.commands += 1
        capacity.bytes += envelope.size
        self._queue.append(envelope.account_id, (envelope, reply, time.monotonic()))
        if not self._flush_scheduled and self._batching.may_go(self._queue.size):
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)
        if not self._sweep_scheduled:
            self._sweep_scheduled = True
            self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        return reply

    def yields_to(self, account_id: AccountId) -> bool:
        """True if a command of this account would be taken in though there is no room."""
        return self._queue.yields_to(account_id)

    def refuse(self) -> Unavailable:
        """A command found no room."""
        self._rejections.inc()
        return refusals.mailbox_full()

    def _make_room(self, envelope: CommandEnvelope) -> bool:
        """Refuse a command of an account that has far more in the queue, if that makes room for this one."""
        if not self._queue.yields_to(envelope.account_id):
            return False
        given_up, _, _ = self._queue.newest_of_crowder()
        if self.capacity.bytes - given_up.size >= BYTES_MAX:
            return False
        self._rejections.inc()
        self._resolve(self._queue.pop_of_crowder(), refusals.mailbox_place_given_up())
        return True

    # --- replies come back --------------------------------------------------------------------------------------------

    def replied(self, batch_reply: BatchReply) -> None:
        """Take some replies of a batch."""
        number = batch_reply.number
        away = self._batching.away.get(number)
        if away is None:
            self._others(batch_reply)
            return
        for index, reply in batch_reply.replies:
            pending = away.waiting.pop(index, None)
            if pending is None:  # it was disowned
                continue
            envelope, asked, _ = pending
            self.capacity.commands -= 1
            self.capacity.bytes -= envelope.size
            if not asked.done():  # a caller that gave up waiting has cancelled it
                asked.set_result(reply)
        if not away.waiting:
            self._batching.came_back(number)
        elif self._batching.is_nearly_back(away):
            self._batching.pass_over(number)
        if self._queue.size:
            self._schedule_flush()

    def give_up(self, number: int) -> None:
        """No reply of the batch will come any more. What became of its commands, only retries can tell."""
        away = self._batching.away.get(number)
        if away is not None:
            self._resolve_all(away.waiting.values(), refusals.no_reply)
            self._came_back(number)

    def disown(self, partition: Partition, since: float) -> None:
        """Another shard owned the partition at ``since`` (CLOCK_MONOTONIC): do not wait for this one to answer what was
        asked before. What is queued was not sent. What became of the rest, only retries can tell."""

        def is_for(pending: Pending) -> bool:
            envelope, _, asked_at = pending
            return envelope.partition == partition and asked_at < since

        self._resolve_all(self._queue.take_all(is_for), refusals.moved_while_queued)
        for number, away in list(self._batching.away.items()):
            moved = [index for index, pending in away.waiting.items() if is_for(pending)]
            self._resolve_all(map(away.waiting.pop, moved), refusals.moved_while_away)
            if not away.waiting:
                self._came_back(number)

    @property
    def busy(self) -> bool:
        """Something is queued or away."""
        return self.capacity.commands > 0

    def _oldest(self) -> float:
        """Age of the oldest command without a reply. Another thread asks, so things may change meanwhile."""
        batches = list(self._batching.away.values())
        waiting = [pending for away in batches for pending in list(away.waiting.values())[:1]]
        oldest = min((since for _, _, since in (*self._queue.firsts(), *waiting)), default=None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    def _resolve_all(self, given_up: Iterable[Pending], cause: refusals.Cause) -> None:
        for pending in given_up:
            self._resolve(pending, cause())

    def _resolve(self, pending: Pending, value: Reply) -> None:
        envelope, reply, _ = pending
        self.capacity.commands -= 1
        self.capacity.bytes -= envelope.size
        if not reply.done():  # a caller that gave up waiting has cancelled it
            reply.set_result(value)

    def _came_back(self, number: int) -> None:
        self._batching.came_back(number)
        self._schedule_flush()

    # --- batches go out -----------------------------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        # Not at once: what else is ready in this turn of the loop goes with the same batch.
        if self._queue.size and not self._flush_scheduled and self._batching.may_go(self._queue.size):
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self.capacity.was_full:
            self.capacity.relax()
        commands: list[CommandEnvelope] = []
        waiting: dict[int, Pending] = {}
        size = 0
        now = deadline = time.monotonic()
        while self._queue.size and len(commands) < BATCH_COMMANDS_MAX and size < BATCH_BYTES_MAX:
            pending = self._queue.popleft()
            envelope, reply, _ = pending
            if reply.cancelled():
                self._resolve(pending, refusals.expired_in_mailbox.answer)  # its caller has gone
                continue
            if envelope.deadline < now:
                self._resolve(pending, refusals.expired_in_mailbox())
                continue
            waiting[len(commands)] = pending
            commands.append(envelope)
            size += envelope.size
            deadline = max(deadline, envelope.deadline)
        if commands:
            since = waiting[0][2]
            number = self._batching.sent(Away(waiting, len(commands), deadline, now))
            metrics.batch_commands.observe(len(commands))
            self._send(CommandBatch(number, commands, since))
        if self._queue.size:
            self._schedule_flush()

    def _sweep(self) -> None:
        """No command waits past its deadline, neither in the queue nor for a shard that does not answer. The queue does
        not wait for a slow batch."""
        self._sweep_scheduled = False
        now = time.monotonic()
        for number in [number for number, away in self._batching.away.items() if away.deadline < now]:
            self.give_up(number)
        overdue = self._queue.take_first_while(lambda pending: pending[0].deadline < now)
        self._resolve_all(overdue, refusals.expired_in_mailbox)
        self._batching.pass_over_slow(now)
        self._schedule_flush()
        if self.busy:
            self._sweep_scheduled = True
            self._loop.call_later(_SWEEP_SECONDS, self._sweep)
