"""Mistakes that Falcon does not make, each as a replaced function: the schedules must find what comes of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

from falcon.adapters.hbase import calls
from falcon.adapters.kafka import fence, journal
from falcon.adapters.kafka.tail import KafkaTail
from falcon.adapters.pods import gateway
from falcon.http.edge import Edge
from falcon.journal.envelope import Position
from falcon.journal.ports import Outcome
from falcon.write.answers import AnswerWindow
from falcon.write.partition import Replay
from falcon.write.protocol import CommandEnvelope, Reason, Unavailable
from falcon.write.shard import Shard


@dataclass(frozen=True)
class Mutant:
    """``name`` says the mistake. ``where`` is the owner of the function ``what``, which ``instead`` replaces."""

    name: str
    where: Any
    what: str
    instead: Callable[..., Any]

    @contextmanager
    def made(self) -> Iterator[None]:
        with patch.object(self.where, self.what, self.instead):
            yield


def _every_epoch_counts(at: Position, value: bytes) -> tuple[Position, bytes | None]:
    """What a deposed owner still writes is taken for valid."""
    head = fence._HEAD
    if len(value) >= head.size:
        epoch, n = head.unpack_from(value)
        if epoch == 0:
            return fence.opened_by(at.offset), None
        return Position(at.offset + 1, at.epoch, n + 1), value[head.size :]
    return Position(at.offset + 1, at.epoch, at.n), None


async def _whatever_came_between(
    self: journal.KafkaJournal, writing: journal._Writing, base: int, group: list[Any], count: int
) -> int:
    """An append is durable where the broker says that it stands."""
    return base


def _unknown_is_taken_for_done(
    self: journal.KafkaJournal, writing: journal._Writing, group: list[Any], error: Exception
) -> None:
    first = writing.position.offset
    for append in (*group, *writing.waiting):
        append.first, append.outcome = first, Outcome.DURABLE
        first += len(append.records)
        self._collected.append(append)
    writing.waiting.clear()
    writing.away = False
    self._wake()


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


async def _impatient(self: Edge, *_: Any) -> None:
    """Who has been told of a message is shown tables that may lack it."""


def _all_alike(table: str, mutations: list[Any], stamp: int) -> Callable[..., None]:
    """Every cell gets the same timestamp, so that a late batch undoes a later one."""
    return calls._probing(table, lambda line: line.client.mutateRowsTs(table, mutations, 1, {}))


_read = KafkaTail.read


async def _leaves_out(self: KafkaTail, cursor: Any, limit: int) -> Any:
    """Of several events that come together streams are not told of the last."""
    raws, after = await _read(self, cursor, limit)
    return raws[:-1] if len(raws) > 1 else raws, after


MUTANTS: Final = (
    Mutant("what a deposed owner writes counts", fence, "judge", _every_epoch_counts),
    Mutant("an owner does not look what came between", journal.KafkaJournal, "_judge", _whatever_came_between),
    Mutant("an unknown append is taken for done", journal.KafkaJournal, "_end_epoch", _unknown_is_taken_for_done),
    Mutant("answers are not remembered", AnswerWindow, "add", _forgetful),
    Mutant("replies do not wait for the log", Shard, "_hold", _hasty),
    Mutant("what may be done is tried again without a key", gateway, "_may_try_again", _again_without_a_key),
    Mutant("a position is not waited for", Edge, "reach_positions", _impatient),
    Mutant("a stream leaves an event out", KafkaTail, "read", _leaves_out),
    Mutant("the last call to the tables wins", calls, "_put", _all_alike),
)
