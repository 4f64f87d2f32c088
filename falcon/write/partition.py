"""One partition of the write side: its aggregates in memory, and how they come back from the log.

It decides; it does not write. What it has decided waits in ``take()`` for the shard to append.
"""

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from falcon.domain import account as accounts
from falcon.domain import decider
from falcon.domain import room as rooms
from falcon.domain.account import Account
from falcon.domain.answers import AccountAnswer, Answer, MessageAnswer, RoomAnswer
from falcon.domain.commands import (
    Command,
    CreateAccount,
    CreateRoom,
    ImportRoom,
    IssueToken,
    OpenDirect,
    RevokeToken,
)
from falcon.domain.decider import Decided, Decision
from falcon.domain.events import (
    AccountCreated,
    CommandAnswered,
    DirectRoomOpened,
    Event,
    RoomCreated,
    TokenIssued,
    TokenRevoked,
)
from falcon.domain.ids import AccountId, Millis, RoomId, counter_of, id_of
from falcon.domain.rejections import KeyReused, NotYetReadable, Rejection
from falcon.domain.room import Room
from falcon.journal import codec
from falcon.journal.envelope import CommandRef, Envelope, Position, aggregate_of
from falcon.journal.ports import Append, Checkpoint, EventSource, SnapshotStore
from falcon.write import snapshots
from falcon.write.answers import AnswerWindow, Remembered
from falcon.write.protocol import Accepted, CommandEnvelope, Rejected, Reply
from falcon.write.snapshots import Aggregate, AnswerRow, PartitionState

_READ_EVENTS = 5_000


class Replay(msgspec.Struct, frozen=True):
    """The command has been answered before: by the event at ``offset``."""

    offset: int


class _Saving(msgspec.Struct):
    """What a checkpoint on its way to the store holds; it can't be read back from there yet."""

    aggregates: dict[int, Aggregate]
    imports: dict[str, int]


Executed: TypeAlias = Reply | Replay


class Partition:
    """Give it the log's end at takeover, then commands in order. Not for two threads.

    An aggregate that has not been used since the last but one :meth:`passivate` is dropped and comes back from its
    snapshot, so memory follows the rooms in use.
    """

    def __init__(
        self, number: int, source: EventSource, store: SnapshotStore, *, answer_window: Millis, hot_aggregates: int
    ) -> None:
        self.number = number
        self._source = source
        self._store = store
        self._answer_window = answer_window
        self._hot_max = hot_aggregates
        self._reset()

    def _reset(self) -> None:
        self.epoch = self.offset = self.n = 0
        self.at: Millis = 0
        self.uncheckpointed = 0
        self._counter = 0
        self._hot: dict[int, Aggregate] = {}
        self._idle: dict[int, Aggregate] = {}
        self._dirty: set[int] = set()
        self._imports: dict[str, int] = {}
        self._saving = _Saving({}, {})
        self._answers = AnswerWindow(self._answer_window)
        self._new_answers: list[AnswerRow] = []
        self._envelopes: list[Envelope] = []
        self._data: list[bytes] = []

    # --- recovery -----------------------------------------------------------------------------------------------------

    def recover(self, end: Position) -> int:
        """Stand where the log ends at takeover: snapshots, then the tail. Returns the number of events read.

        Raises JournalUnavailable or Undecodable, and is then as unusable as before.
        """
        self._reset()
        checkpoint = self._store.checkpoint(self.number, snapshots.VERSION)
        position = Position()
        if checkpoint is not None:
            position = checkpoint.position
            state = snapshots.decode_state(checkpoint.state)
            self._counter, self.at = state.counter, state.at
            self._recall_answers()
        self.offset = position.offset
        tail = 0
        for envelope in self._tail(position, end.offset):
            self._apply(envelope.event)
            self._remember(envelope)
            self.at = envelope.at
            self.offset = envelope.offset + 1
            tail += 1
        self.offset, self.epoch, self.n = end
        self.uncheckpointed = tail
        return tail

    def _recall_answers(self) -> None:
        for data in self._store.answers(self.number, snapshots.VERSION, self.at - self._answer_window):
            for account_id, key, fingerprint, offset, at in snapshots.decode_answers(data):
                self._answers.add(account_id, key, Remembered(fingerprint, offset, at))

    def _tail(self, position: Position, end: int) -> Iterator[Envelope]:
        while position.offset < end:
            events = self._source.read(self.number, position, min(_READ_EVENTS, end - position.offset))
            assert events, f"partition {self.number}: the log ends at {position.offset}, before offset {end}"
            yield from events
            position = events[-1].after

    # --- commands -----------------------------------------------------------------------------------------------------

    def execute(self, envelope: CommandEnvelope, now: Millis) -> Executed:
        """Decide a command and change the state in memory; the reply holds once what ``take`` gives is durable."""
        at = self.at = max(self.at, now)
        reference = None
        if envelope.key is not None:
            answered = self._answers.find(envelope.account_id, envelope.key, at)
            if answered is not None:
                if answered.fingerprint != envelope.fingerprint:
                    return Rejected(KeyReused(), self.number, self.offset - 1)
                return Replay(answered.offset)
            reference = CommandRef(envelope.account_id, envelope.key, envelope.fingerprint)
        decision = self._decide(envelope.command, at)
        if isinstance(decision, Decided):
            self._happen(decision.events, at, reference, decision.answer)
            return Accepted(decision.answer, self.number, self.offset - 1)
        if not isinstance(decision, NotYetReadable):
            self._happen((), at, reference, decision)
        return Rejected(decision, self.number, self.offset - 1)

    def replayed(self, envelope: Envelope) -> Reply:
        """The answer that the event at a Replay's offset carries."""
        answer = envelope.answer
        if answer is None:
            answer = MessageAnswer(envelope.event.message)  # type: ignore[union-attr]  # see _happen
        if isinstance(answer, Answer):
            return Accepted(answer, self.number, envelope.offset, replayed=True)
        return Rejected(answer, self.number, envelope.offset, replayed=True)

    def take(self) -> Append | None:
        """What was decided since the last call."""
        if not self._envelopes:
            return None
        append = Append(self.number, self.epoch, self._envelopes, self._data)
        self._envelopes, self._data = [], []
        return append

    def _decide(self, command: Command, at: Millis) -> Decision:
        match command:
            case CreateRoom():
                return decider.create_room(command, self._next_id(), at)
            case OpenDirect(by=by, peer=peer):
                account = self._account(min(by, peer))
                room_id = account.directs.get(max(by, peer)) if account else None
                room = None if room_id is None else self._room(room_id)
                return decider.open_direct(account, room, command, self._next_id(), at)
            case CreateAccount(imported_as=reference):
                if reference is not None and (existing := self._imported(reference)) is not None:
                    return Decided((), AccountAnswer(existing, command.name))
                return decider.create_account(command, self._next_id(), at)
            case ImportRoom():
                return self._decide_import(command, at)
            case IssueToken() | RevokeToken():
                return decider.decide_account(self._account(command.account_id), command, at)
            case _:
                return decider.decide_room(self._room(command.room_id), command, at)

    def _decide_import(self, command: ImportRoom, at: Millis) -> Decision:
        existing = self._imported(command.imported_as)
        if existing is not None:
            answer = RoomAnswer(
                existing, command.kind, command.name, command.description, "admin", 0, command.created_at
            )
            return Decided((), answer)
        account = None
        if command.kind == "direct" and command.members:
            account = self._account(min(invitation.account_id for invitation in command.members))
        return decider.import_room(command, account, self._next_id(), at)

    def _happen(
        self, events: tuple[Event, ...], at: Millis, reference: CommandRef | None, answer: Answer | Rejection
    ) -> None:
        """Put the events behind the others, and change the state.

        A keyed command always leaves a record, also when nothing changes, so that a retry is answered by the log. The
        answer is in the record unless it is the message that its event carries.
        """
        if reference is not None and not events:
            events = (CommandAnswered(),)
        stored = None if reference is None or (type(answer) is MessageAnswer) else answer
        for event in events:
            envelope = Envelope(self.number, self.offset, self.epoch, self.n, at, event, reference, stored)
            self._data.append(codec.encode(envelope))
            self._envelopes.append(envelope)
            self._apply(event)
            if reference is not None:
                self._remember(envelope)
                reference = stored = None
            self.offset += 1
            self.n += 1
        self.uncheckpointed += len(events)

    def _remember(self, envelope: Envelope) -> None:
        command = envelope.command
        if command is None:
            return
        remembered = Remembered(command.fingerprint, envelope.offset, envelope.at)
        self._answers.add(command.account_id, command.key, remembered)
        self._new_answers.append((command.account_id, command.key, command.fingerprint, envelope.offset, envelope.at))

    def _next_id(self) -> int:
        return id_of(self._counter + 1, self.number, self._source.partitions)

    # --- aggregates ---------------------------------------------------------------------------------------------------

    @property
    def aggregates_in_memory(self) -> int:
        return len(self._hot) + len(self._idle)

    @property
    def answers_in_memory(self) -> int:
        return len(self._answers)

    def _apply(self, event: Event) -> None:
        if isinstance(event, CommandAnswered):
            return
        identity = aggregate_of(event)
        if isinstance(event, RoomCreated | AccountCreated):
            self._counter = max(self._counter, counter_of(identity, self._source.partitions))
            if event.imported_as is not None:
                self._imports[event.imported_as] = identity
        if isinstance(event, AccountCreated | TokenIssued | TokenRevoked | DirectRoomOpened):
            self._hot[identity] = accounts.evolve(self._account(identity), event)
        else:
            self._hot[identity] = rooms.evolve(self._room(identity), event)
        self._dirty.add(identity)

    def _room(self, room_id: RoomId) -> Room | None:
        found = self._get(room_id)
        return found if isinstance(found, Room) else None

    def _account(self, account_id: AccountId) -> Account | None:
        found = self._get(account_id)
        return found if isinstance(found, Account) else None

    def _get(self, identity: int) -> Aggregate | None:
        found = self._hot.get(identity)
        if found is not None:
            return found
        found = self._idle.pop(identity, None) or self._saving.aggregates.get(identity) or self._load(identity)
        if found is not None:
            self._hot[identity] = found
        return found

    def _load(self, identity: int) -> Aggregate | None:
        if counter_of(identity, self._source.partitions) > self._counter:
            return None
        data = self._store.load(self.number, f"aggregate:{identity}", snapshots.VERSION)
        return None if data is None else snapshots.decode_aggregate(data)

    def _imported(self, reference: str) -> int | None:
        for known in (self._imports, self._saving.imports):
            if reference in known:
                return known[reference]
        data = self._store.load(self.number, f"import:{reference}", snapshots.VERSION)
        return None if data is None else int(data)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint | None:
        """The states as they stand, for the store; None while the last one is under way or where nothing is new.

        Everything decided so far must have been taken and submitted before it.
        """
        if self._saving.aggregates or not self.uncheckpointed:
            return None
        assert not self._envelopes, "append what was decided before it is checkpointed"
        aggregates = {i: self._hot.get(i) or self._idle[i] for i in self._dirty}
        self._saving = _Saving(aggregates, self._imports)
        saved = [(f"aggregate:{i}", snapshots.encode_aggregate(state)) for i, state in aggregates.items()]
        saved += [(f"import:{reference}", str(i).encode()) for reference, i in self._imports.items()]
        checkpoint = Checkpoint(
            partition=self.number,
            epoch=self.epoch,
            position=Position(self.offset, self.epoch, self.n),
            version=snapshots.VERSION,
            state=snapshots.encode_state(PartitionState(self._counter, self.at)),
            snapshots=saved,
            answers=snapshots.encode_answers(self._new_answers) if self._new_answers else b"",
            answers_at=self.at,
            answers_expired=self.at - self._answer_window,
        )
        self._dirty, self._imports, self._new_answers = set(), {}, []
        self.uncheckpointed = 0
        return checkpoint

    def checkpointed(self) -> None:
        """The last checkpoint is in the store."""
        self._saving = _Saving({}, {})

    @property
    def crowded(self) -> bool:
        return len(self._hot) > self._hot_max

    def passivate(self) -> int:
        """Drop the aggregates that were not used since the last call, except those that no checkpoint has yet.

        Returns how many were dropped.
        """
        kept = {i: state for i, state in self._idle.items() if i in self._dirty}
        dropped = len(self._idle) - len(kept)
        self._idle = self._hot
        self._hot = kept
        return dropped
