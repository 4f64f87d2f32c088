"""Mistakes of owners, and of the way to them."""

import time
from typing import Any, Final

import msgspec

from falcon.adapters.pods import gateway, watch
from falcon.domain.decider import Decided
from falcon.domain.ids import Millis
from falcon.journal.envelope import CommandRef
from falcon.write import shard
from falcon.write.answers import AnswerWindow
from falcon.write.partition import Partition, Replay
from falcon.write.protocol import Accepted, CommandEnvelope, Reason, Rejected, Reply, Unavailable
from falcon.write.shard import Shard
from falcon.write.transit import Arrivals
from tests.simulation.mutants.mutant import mutant
from tests.simulation.schedules import BROKEN, LOSS, MOVES, NO_OWNERS, ONE_SHARD, OWNERS, SILENCE


def _forgetful(self: AnswerWindow, account_id: int, key: str, remembered: Any) -> None:
    """No answer is remembered: a retry is done again."""


_hold = Shard._hold


def _hasty(self: Shard, owned: Any, waiters: list[Any], submissions: list[Any]) -> None:
    """Replies leave before what they say is durable, but for those that have to look an answer up."""
    for waiter in waiters:
        if not isinstance(waiter.executed, Replay):
            self._reply(waiter.sender, waiter.batch, waiter.index, waiter.executed)
    _hold(self, owned, [waiter for waiter in waiters if isinstance(waiter.executed, Replay)], submissions)


def _again_without_a_key(reply: Unavailable, envelope: CommandEnvelope) -> bool:
    again: tuple[Reason, ...] = ("outcome_unknown", *gateway._TRY_AGAIN)
    return reply.reason in again


def _execute(self: Partition, envelope: CommandEnvelope, now: Millis) -> Any:
    """Partition.execute with another last refusal."""
    at = self.at = max(self.at, now)
    reference = None
    if envelope.key is not None:
        reference = CommandRef(envelope.account_id, envelope.key, envelope.fingerprint)
        if self._answered(envelope.account_id, envelope.key) is not None:
            return Replay(reference)
    decision = self._decide(envelope.command, at)
    if isinstance(decision, Decided):
        self._happen(envelope, decision.events, at, reference, decision.answer)
        return Accepted(decision.answer, self.number, self.confirmed)
    self._happen(envelope, (), at, reference, decision)
    return Rejected(decision, self.number, self.confirmed)


_on_the_way = Arrivals._seconds_on_the_way


def _as_if_just_sent(self: Arrivals, *sent: Any) -> float:
    _on_the_way(self, *sent)
    return 0.0


async def _forgets_its_doubt(self: gateway.PodGateway, envelope: CommandEnvelope) -> Reply:
    """PodGateway.ask, but only the last refusal counts, whatever an earlier attempt has come to."""
    tries = 0
    while True:
        address = self._directory.address(envelope.partition)
        reply: Reply = Unavailable("unavailable")
        if address is not None:
            reply = await self._owner(address).lane.ask(envelope)
        if not isinstance(reply, Unavailable) or not gateway._may_try_again(reply, envelope):
            return reply
        pause = gateway._PAUSES_SECONDS[min(tries, len(gateway._PAUSES_SECONDS) - 1)]
        if time.monotonic() + pause >= envelope.deadline:
            return reply
        await self._until_moved(envelope.partition, pause)
        tries += 1


_capture = Partition.capture


def _forgets_what_changed(self: Partition) -> bool:
    """A checkpoint has only half of what has changed since the last one."""
    captured = _capture(self)
    if captured:
        saving = self._saving
        kept = dict(list(saving.aggregates.items())[::2])
        self._saving = msgspec.structs.replace(saving, aggregates=kept)
    return captured


def _plain(owned: Any, envelope: CommandEnvelope, reason: Reason) -> Unavailable:
    """An owner says that nothing was done, though it knows the key."""
    return Unavailable(reason, 0.1) if reason == "not_mine" else Unavailable(reason)


MUTANTS: Final = (
    mutant("an owner that knows a key says that nothing was done", shard, "_refusal", _plain, OWNERS),
    mutant("answers are not remembered", AnswerWindow, "add", _forgetful),
    mutant("replies do not wait for the log", Shard, "_hold", _hasty, MOVES),
    mutant("what may be done is tried again without a key", gateway, "_may_try_again", _again_without_a_key, BROKEN),
    mutant(
        "a refusal makes an edge forget that an attempt before it may be done",
        gateway.PodGateway,
        "ask",
        _forgets_its_doubt,
        NO_OWNERS,
    ),
    mutant("a key remembers a refusal that rests on what was read", Partition, "execute", _execute, ONE_SHARD),
    mutant(
        "the time on the way to an owner does not count", Arrivals, "_seconds_on_the_way", _as_if_just_sent, SILENCE
    ),
    mutant("nobody has an owner removed that has gone", watch.Watch, "_is_dead", lambda self, peer: False, LOSS),
    mutant("a checkpoint lacks some of what has changed", Partition, "capture", _forgets_what_changed, ONE_SHARD),
    mutant("a partition's own epoch is proof enough for a refusal", Shard, "_proven", lambda *_: True, OWNERS),
)
