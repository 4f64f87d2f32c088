"""When a reply may leave, and with what.

A reply leaves only when everything decided before it in its partition is durable. That holds for refusals too, since a
refusal may rest on an event that is not durable yet. What rests on no event of its own also needs proof that the
log was ours lately.
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from falcon.journal.ports import Append, Submission
from falcon.telemetry import metrics, tracing
from falcon.write import refusals
from falcon.write.owned import InFlight, Serving, Waiter
from falcon.write.partition_aggregates import PartitionAggregates, Replay
from falcon.write.protocol import Accepted, BatchReply, Rejected, Reply
from falcon.write.retries import Retries

SendReply: TypeAlias = Callable[[BatchReply], None]

_durable = metrics.message_seconds.labels("durable")

_DECIDED: Final = (Accepted, Rejected)


class Replies:
    """Replies of one shard. ``send_ready`` hands the ones that may leave to ``reply``, some of a batch at a time."""

    def __init__(
        self,
        reply: SendReply,
        retries: Retries[Waiter],
        monotonic: Callable[[], float],
        refusal_age_seconds: float | None,
    ) -> None:
        self._reply = reply
        self._retries = retries
        self._monotonic = monotonic
        self._refusal_age_seconds = refusal_age_seconds
        self._ready: dict[int, list[tuple[int, Reply]]] = {}

    def add(self, waiter: Waiter, reply: Reply) -> None:
        """The reply may leave."""
        self._ready.setdefault(waiter.batch, []).append((waiter.index, reply))

    def send_ready(self) -> None:
        if self._retries.unanswered:
            self._add_all(self._retries.turn())
        if self._ready:
            ready, self._ready = self._ready, {}
            for number, replies in ready.items():
                self._reply(BatchReply(number, replies))

    def give_up_retries(self) -> None:
        """Tell the retries that still wait for the log that their answer is not known here."""
        self._add_all(self._retries.give_up())

    def hold(self, serving: Serving, waiters: list[Waiter], submissions: list[Submission]) -> None:
        """Let the replies wait for the append after which they stand. Without one, nothing keeps them."""
        append = serving.aggregates.pop_append()
        if append is not None:
            submissions.append(append)
            serving.in_flight.append(InFlight(append, waiters, self._monotonic()))
        elif serving.in_flight:
            serving.in_flight[-1].waiters.extend(waiters)
        else:
            self.release(serving, waiters, submissions)

    def confirm(self, serving: Serving, append: Append, submissions: list[Submission]) -> None:
        """The append is durable: release what waited for it."""
        in_flight = serving.in_flight.popleft()
        assert in_flight.append is append, "the journal answered out of order"
        serving.aggregates.confirm(append)
        serving.proven_at = in_flight.since
        seconds = self._monotonic() - in_flight.since
        for _ in append.records:
            _durable.observe(seconds)
        if tracing.exporter is not None:
            tracing.done("append", (envelope.trace for envelope in append.envelopes), seconds)
        self.release(serving, in_flight.waiters, submissions)

    def release(self, serving: Serving, waiters: list[Waiter], submissions: list[Submission]) -> None:
        """The replies may leave, unless they rest on a state that another owner may have outdated since."""
        aggregates = serving.aggregates
        if serving.unproven:
            waiters, serving.unproven = serving.unproven + waiters, []
        for waiter in waiters:
            executed = waiter.executed
            if isinstance(executed, Replay):
                self._retry(waiter, executed, aggregates)
            elif waiter.recorded or self._is_proven(serving):
                if isinstance(executed, _DECIDED):
                    executed.offset = aggregates.confirmed  # readers need not wait for more than the newest position
                self._ready.setdefault(waiter.batch, []).append((waiter.index, executed))
            else:
                serving.unproven.append(waiter)
        if serving.unproven and not serving.in_flight:
            aggregates.prove()
            unproven, serving.unproven = serving.unproven, []
            self.hold(serving, unproven, submissions)

    def refuse_all(self, serving: Serving, *, fenced: bool) -> None:
        """An append has failed. The state in memory was ahead of the log, so no reply that waits may say more."""
        waiters, serving.unproven = serving.unproven, []
        while serving.in_flight:
            waiters += serving.in_flight.popleft().waiters
        for waiter in waiters:
            # A retry's first request was done or refused, whatever became of this append.
            was_decided = isinstance(waiter.executed, Replay)
            refuse = refusals.append_fenced if fenced and not was_decided else refusals.append_unknown
            self.add(waiter, refuse())

    def _is_proven(self, serving: Serving) -> bool:
        age = self._refusal_age_seconds
        return age is None or self._monotonic() - serving.proven_at <= age

    def _retry(self, waiter: Waiter, replay: Replay, aggregates: PartitionAggregates) -> None:
        """Answered as the log has it."""
        position = aggregates.answered_at(replay)
        if position is None:
            self.add(waiter, refusals.answer_forgotten())
            return
        reply = self._retries.ask(aggregates.number, position, aggregates.confirmed, replay, waiter)
        if reply is not None:
            self.add(waiter, reply)

    def _add_all(self, answered: Iterable[tuple[Waiter, Reply]]) -> None:
        for waiter, reply in answered:
            self.add(waiter, reply)
