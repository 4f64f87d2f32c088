"""Reading the answers to retries from the log."""

import logging
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from falcon.domain.events import PassedOver
from falcon.domain.ids import Partition
from falcon.domain.rejections import KeyReused
from falcon.features.catalogue import Answer
from falcon.features.messages.rules import MessageAnswer
from falcon.journal.codec import Undecodable
from falcon.journal.envelope import CommandRef, Position, Recorded, UnknownAnswer
from falcon.journal.ports import EventSource, JournalUnavailable
from falcon.write import refusals
from falcon.write.partition_aggregates import Replay
from falcon.write.protocol import Accepted, Rejected, Reply
from falcon.write.recovery import Background

log = logging.getLogger("falcon.shard")

W = TypeVar("W")
_Place: TypeAlias = tuple[Partition, Position]

_WAITING_MAX: Final = 1_000  # each costs a read of the log
_REMEMBERED_MAX: Final = 256  # answers: a client that asks twice for one gets it from memory
# Answers that stand so close to each other in the log are read at once.
_NEAR: Final = 100
_EMPTY_READS_MAX: Final = 20


class _ReadAnswer:
    """The record at the place at which a command's answer should stand."""

    def __init__(self, recorded: Recorded) -> None:
        self._command = recorded.envelope.command
        self._partition = recorded.envelope.partition
        self._reply = answer_of(recorded)

    def to(self, command: CommandRef, newest: int) -> Reply:
        """The answer to a retry, unless another log has come to this place. ``newest``: the offset of the partition's
        newest durable event. The answer stands at the first event of its command, and more may follow."""
        if self._command is None or (self._command.account_id, self._command.key) != (command.account_id, command.key):
            return refusals.answer_unreadable()
        if self._command.fingerprint != command.fingerprint:
            return Rejected(KeyReused(), self._partition, newest)
        return replace(self._reply, offset=newest) if isinstance(self._reply, Accepted | Rejected) else self._reply


class _Asked(msgspec.Struct, Generic[W], frozen=True):
    """A retry that waits. The answer is at ``place``; ``newest`` is the offset of the newest durable event."""

    waiter: W
    replay: Replay
    place: _Place
    newest: int

    def reply(self, read: Mapping[_Place, _ReadAnswer]) -> Reply:
        """The reply that the log has for the retry, or a refusal."""
        answer = read.get(self.place)
        return refusals.answer_unreadable() if answer is None else answer.to(self.replay.command, self.newest)


class Retries(Generic[W]):
    """Reads answers, one batch at a time, and each once for all that wait for it. It remembers those read last.

    ``unanswered``: how many replies ``turn`` is still to give. Only what runs in the ``background`` uses ``source``;
    the shard's thread uses all else.
    """

    def __init__(self, source: EventSource, background: Background) -> None:
        self._source = source
        self._background = background
        self._waiting: list[_Asked[W]] = []
        self._reading: list[_Asked[W]] = []
        self._places_read: frozenset[_Place] = frozenset()  # by what reads now
        self._read: deque[dict[_Place, _ReadAnswer]] = deque()
        self._remembered: dict[_Place, _ReadAnswer] = {}
        self.unanswered = 0

    def ask(self, partition: Partition, position: Position, newest: int, replay: Replay, waiter: W) -> Reply | None:
        """The reply, if it is remembered or too many wait; else None, and ``turn`` will give the reply. ``newest``: the
        offset of the partition's newest durable event."""
        asked = _Asked(waiter, replay, (partition, position), newest)
        if asked.place in self._remembered:
            return asked.reply(self._remembered)
        if self.unanswered >= _WAITING_MAX:
            return refusals.too_many_retries()
        self.unanswered += 1
        (self._reading if asked.place in self._places_read else self._waiting).append(asked)
        return None

    def turn(self) -> list[tuple[W, Reply]]:
        """Gives the replies that have come, and begins to read the next batch."""
        answered = self._collect()
        if self._waiting and not self._reading:
            self._reading, self._waiting = self._waiting, []
            self._places_read = frozenset(asked.place for asked in self._reading)
            self._background(partial(self._read_all, self._places_read))
            answered += self._collect()
        return answered

    def give_up(self) -> list[tuple[W, Reply]]:
        """Tell the ones that still wait that their answers are not known here."""
        given_up = self._reading + self._waiting
        self._reading, self._waiting, self._places_read, self.unanswered = [], [], frozenset(), 0
        return [(asked.waiter, refusals.answer_unreadable()) for asked in given_up]

    def _collect(self) -> list[tuple[W, Reply]]:
        answered: list[tuple[W, Reply]] = []
        while self._read:
            found = self._read.popleft()
            answered += [(asked.waiter, asked.reply(found)) for asked in self._reading]
            self._reading, self._places_read = [], frozenset()
            self._remember(found)
        self.unanswered -= len(answered)
        return answered

    def _remember(self, found: dict[_Place, _ReadAnswer]) -> None:
        self._remembered.update(found)
        while len(self._remembered) > _REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]

    def _read_all(self, places: Iterable[_Place]) -> None:
        wanted: dict[Partition, list[Position]] = defaultdict(list)
        for partition, position in sorted(places):
            wanted[partition].append(position)
        found: dict[_Place, _ReadAnswer] = {}
        empty = 0
        while wanted and empty < _EMPTY_READS_MAX:
            cursor = {partition: positions[0] for partition, positions in wanted.items()}
            try:
                events, _ = self._source.read(cursor, sum(map(_span, wanted.values())))
            except (JournalUnavailable, Undecodable) as error:
                log.warning("answers of retries cannot be read: %s", error)
                for partition in list(wanted) if error.partition is None else [error.partition]:
                    del wanted[partition]
                continue
            empty = 0 if events else empty + 1
            for recorded in events:
                _collect_answer(recorded, wanted, found)
        self._read.append(found)


def _collect_answer(
    recorded: Recorded, wanted: dict[Partition, list[Position]], found: dict[_Place, _ReadAnswer]
) -> None:
    partition = recorded.envelope.partition
    positions = wanted.get(partition)
    while positions and positions[0].offset <= recorded.offset:
        position = positions.pop(0)
        if position.offset == recorded.offset:
            found[partition, position] = _ReadAnswer(recorded)
    if not positions:
        wanted.pop(partition, None)


def _span(positions: list[Position]) -> int:
    """The most events that can be between the first position and the last one that is near it."""
    near = [position.offset for position in positions if position.offset - positions[0].offset < _NEAR]
    return near[-1] - near[0] + 1


def answer_of(recorded: Recorded) -> Reply:
    """The reply that the sender of the command got."""
    envelope = recorded.envelope
    answer = envelope.answer
    if isinstance(answer, UnknownAnswer) or (answer is None and isinstance(envelope.event, PassedOver)):
        return refusals.answer_unreadable()
    if answer is None:
        answer = MessageAnswer(envelope.event.message)  # type: ignore[union-attr]  # see PartitionAggregates._happen
    if isinstance(answer, Answer):
        return Accepted(answer, envelope.partition, recorded.offset, replayed=True)
    return Rejected(answer, envelope.partition, recorded.offset, replayed=True)
