"""Mistakes of owners, and of the way to them."""

import math
import time
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from falcon.adapters.owner_http import gateway
from falcon.adapters.owner_http.suspicion import Suspicion
from falcon.domain.decision import Decision
from falcon.domain.ids import Millis
from falcon.features import decider
from falcon.features.accounts.rules import Account, ChangeAccount, change_account
from falcon.write import execution, partition_aggregates, refusals
from falcon.write.answers import AnswerWindow, WindowTime
from falcon.write.partition_aggregates import PartitionAggregates, Replay
from falcon.write.protocol import CommandEnvelope, Reason, Reply, Unavailable
from falcon.write.refusals import Cause
from falcon.write.replies import Replies
from falcon.write.transit import Arrivals
from tools.simulation.mutants.mutant import Mutant, Replaced, mutant
from tools.simulation.schedules import BROKEN, LIVES, LOSS, MOVES, NO_OWNERS, OWNERS, PERSONNEL, SILENCE


def _forgetful(self: AnswerWindow, account_id: int, key: str, remembered: Any) -> None:
    """No answer is remembered: a retry is done again."""


_hold = Replies.hold


def _hasty(self: Replies, serving: Any, waiters: list[Any], submissions: list[Any]) -> None:
    """Replies leave before what they say is durable, but for the ones that have to look an answer up."""
    for waiter in waiters:
        if not isinstance(waiter.executed, Replay):
            self.add(waiter, waiter.executed)
    _hold(self, serving, [waiter for waiter in waiters if isinstance(waiter.executed, Replay)], submissions)


def _again_without_a_key(reply: Unavailable, envelope: CommandEnvelope) -> bool:
    again: tuple[Reason, ...] = ("outcome_unknown", *gateway._TRY_AGAIN)
    return reply.reason in again


_on_the_way = Arrivals._seconds_on_the_way


def _as_if_just_sent(self: Arrivals, *sent: Any) -> float:
    _on_the_way(self, *sent)
    return 0.0


async def _forgets_its_doubt(self: gateway.OwnerGateway, envelope: CommandEnvelope) -> Reply:
    """OwnerGateway.ask, but only the last refusal counts, whatever an earlier attempt has come to."""
    tries = 0
    while True:
        address = self._directory.address(envelope.partition)
        reply: Reply = refusals.no_owner_known()
        if address is not None:
            reply = await self._owner(address).mailbox.ask(envelope)
        if not isinstance(reply, Unavailable) or not gateway._may_try_again(reply, envelope):
            return reply
        pause = gateway._PAUSES_SECONDS[min(tries, len(gateway._PAUSES_SECONDS) - 1)]
        if time.monotonic() + pause >= envelope.deadline:
            return reply
        await self._until_moved(envelope.partition, pause)
        tries += 1


_capture = PartitionAggregates.capture


def _forgets_what_changed(self: PartitionAggregates) -> bool:
    """A checkpoint has only half of what has changed since the last one."""
    captured = _capture(self)
    if captured:
        saving = self._saving
        kept = dict(list(saving.aggregates.items())[::2])
        self._saving = msgspec.structs.replace(saving, aggregates=kept)
    return captured


def _plain(owned: Any, envelope: CommandEnvelope, cause: Cause) -> Unavailable:
    """An owner says that nothing was done, though it knows the key."""
    return cause()


def _by_the_time_of_day(self: WindowTime, at: Millis, epoch: int) -> Millis:
    """Keys age by the events' time, also from one start to the next."""
    self._reached = max(self._reached, at)
    return self._reached


def _shown_by_any_wish(account: Account, command: ChangeAccount, at: Millis) -> Decision:
    return change_account(account, replace(command, wish=account.wishes), at)


MUTANTS: Final = (
    Mutant(
        "a handle is shown without its wish's number",
        (Replaced(decider, "_RULES", {**decider._RULES, ChangeAccount: _shown_by_any_wish}),),
        PERSONNEL,
    ),
    mutant("keys age by the time of day", WindowTime, "read", _by_the_time_of_day, LIVES),
    Mutant("time never goes back", (Replaced(partition_aggregates, "AHEAD_MILLIS_MAX", math.inf),), LIVES),
    mutant("an owner that knows a key says that nothing was done", execution, "_refusal", _plain, OWNERS),
    mutant("answers are not remembered", AnswerWindow, "add", _forgetful),
    mutant("replies do not wait for the log", Replies, "hold", _hasty, MOVES),
    mutant("what may be done is tried again without a key", gateway, "_may_try_again", _again_without_a_key, BROKEN),
    mutant(
        "a refusal makes an edge forget that an attempt before it may be done",
        gateway.OwnerGateway,
        "ask",
        _forgets_its_doubt,
        NO_OWNERS,
    ),
    mutant(
        "the time on the way to an owner does not count", Arrivals, "_seconds_on_the_way", _as_if_just_sent, SILENCE
    ),
    mutant("nobody has an owner removed that has gone", Suspicion, "is_dead", lambda self, patience: False, LOSS),
    mutant(
        "a checkpoint lacks some of what has changed", PartitionAggregates, "capture", _forgets_what_changed, OWNERS
    ),
    mutant("a partition's own epoch is proof enough for a refusal", Replies, "_is_proven", lambda *_: True, OWNERS),
)
