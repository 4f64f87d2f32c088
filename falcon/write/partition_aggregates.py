"""The aggregates of one partition in memory, and how they come back from the log.

They decide; they do not write. What they have decided waits in ``take()`` for the shard to append.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from falcon.domain.aggregates import is_counted
from falcon.domain.answers import PositionAnswer
from falcon.domain.commands import ReadPosition
from falcon.domain.decision import Decided, Decision
from falcon.domain.events import CommandAnswered, PassedOver
from falcon.domain.ids import NOBODY, AccountId, Millis, RoomId, counter_of, id_of
from falcon.domain.limits import MEMBERS_MAX
from falcon.domain.rejections import AccountNotFound, KeyReused, Rejection, RestsOnView
from falcon.features.accounts.rules import (
    Account,
    AccountAnswer,
    ChangeAccount,
    CreateAccount,
    create_account,
)
from falcon.features.bookmarks.rules import SetBookmark
from falcon.features.catalogue import AGGREGATES, Answer, Event, OtherCommand, RoomCommand
from falcon.features.decider import EVOLVES, IDENTITY, decide, decide_in_thread, decide_room
from falcon.features.messages.rules import EditMessage, MessageAnswer, PostMessage
from falcon.features.rooms.rules import (
    ChangeRoom,
    CreateRoom,
    ImportRoom,
    JoinDefault,
    OpenDirect,
    PutMember,
    Room,
    RoomAnswer,
    create_room,
    import_room,
    members_after,
    open_direct,
)
from falcon.features.threads.rules import ImportThread, StartThread, import_thread, imported_answer, start_thread
from falcon.journal import codec
from falcon.journal.envelope import CommandRef, Envelope, Position, Recorded, aggregate_of
from falcon.journal.ports import Append, Checkpoint, SnapshotStore
from falcon.journal.record import Record
from falcon.telemetry import metrics
from falcon.write import refusals, snapshots
from falcon.write.answers import AnswerWindow, KeyCounts, Remembered, WindowTime
from falcon.write.clock import AHEAD_MILLIS_MAX
from falcon.write.limits import ShardLimits
from falcon.write.protocol import Accepted, CommandEnvelope, NotKnown, Rejected, Reply, Unavailable
from falcon.write.rates import Rates
from falcon.write.snapshots import Aggregate, AnswerRow, PartitionState
from falcon.write.stored_aggregates import StoredAggregates


class Replay(msgspec.Struct, frozen=True):
    """The command has been answered before. The answer is in the log, or on its way there."""

    command: CommandRef


class _Captured(msgspec.Struct, frozen=True):
    """The state after some of the decisions. It becomes a checkpoint once these are durable."""

    state: PartitionState
    aggregates: dict[int, Aggregate]
    imports: dict[str, int]


_NOTHING = _Captured(PartitionState(), {}, {})

# Tuples, since each message looks at them: `A | B` would be made again each time.
_FIRST: Final = tuple(kind.first for kind, _, _ in AGGREGATES if kind.first is not None)
_TEXTS: Final = (PostMessage, EditMessage)

Executed: TypeAlias = Reply | Replay


class PartitionAggregates:
    """Restore it, replay the log's tail, begin; then commands in order. Not for two threads.

    An aggregate that has not been used since the last but one :meth:`passivate` is dropped and comes back from its
    snapshot, so memory follows the rooms in use. ``hot``: those used since the last call of that.
    """

    def __init__(
        self,
        number: int,
        partitions: int,
        store: SnapshotStore,
        limits: ShardLimits,
        monotonic: Callable[[], float] = time.monotonic,
        rates: Rates | None = None,
    ) -> None:
        """``rates``: the ones that the partitions of a shard share; None if there are no limits."""
        self.number = number
        self._partitions = partitions
        self._store = store
        self._stored = StoredAggregates(store, number)
        self._limits = limits
        self._monotonic = monotonic
        self._rates = rates
        self._reset()

    def _reset(self) -> None:
        self.epoch = self.n = self._confirmed_n = 0
        self.confirmed = -1  # offset of the last event known to be durable
        self._changed = -1  # offset of the last of these that changes anything: readers need not wait for later ones
        self.at: Millis = 0
        self.uncheckpointed = 0
        self._counter = 0
        self.hot: dict[int, Aggregate] = {}
        self._idle: dict[int, Aggregate] = {}
        self._dirty: set[int] = set()
        self._imports: dict[str, int] = {}
        self._ahead: dict[int, int] = {}
        self._unknown: set[str] = set()  # kinds of events that were passed over
        self._reads_all = False  # of the log, and uses nothing stored until all of it has been read
        self._saving = _NOTHING
        self._answers = AnswerWindow(self._limits.answer_window_ms)
        self._keys: KeyCounts | None = None
        self._window_time = WindowTime(self._monotonic)
        self._answers_in_flight: dict[tuple[AccountId, str], int] = {}
        self._new_answers: deque[AnswerRow] = deque()
        self._envelopes: list[Envelope] = []
        self._records: list[Record] = []
        self.untaken_bytes = 0  # of these records

    # --- recovery -----------------------------------------------------------------------------------------------------

    def restore(self) -> Position:
        """Take the state of the newest checkpoint. Gives its position, from which on the log is to be replayed.

        Raises PartMissing, JournalUnavailable.
        """
        checkpoint = self._store.checkpoint(self.number, snapshots.VERSION)
        if checkpoint is None:
            return self.restore_nothing()
        self._reset()
        state = snapshots.decode_state(checkpoint.state)
        snapshots.check_known(state.unknown)
        self._unknown = set(state.unknown)
        self._counter, self.at = state.counter, state.at
        self.confirmed = self._changed = checkpoint.position.offset - 1
        window_at = state.window_at
        self._window_time.resume(window_at)
        for data in self._store.answers(self.number, snapshots.VERSION, window_at - self._limits.answer_window_ms):
            for account_id, key, _, *fields in snapshots.decode_answers(data):
                offset, epoch, n, at = fields
                self._answers.add(account_id, key, Remembered(offset, epoch, n, min(at, window_at)))
        return checkpoint.position

    def restore_nothing(self) -> Position:
        """Use no stored state: all of the log is to be replayed, from the position that this gives."""
        self._reset()
        self._reads_all = True
        return Position()

    def replay(self, recorded: Recorded) -> None:
        """Take in an event of the log. Raises PartMissing, JournalUnavailable."""
        event = recorded.envelope.event
        if isinstance(event, _FIRST):
            self._count(event)
        elif isinstance(event, PassedOver):
            self._unknown.add(f"{event.name}.v{event.version}")
        if not self._holds(event, recorded.offset):
            self._apply(event, aggregate_of(event))
        self.at = recorded.envelope.at
        self._remember(recorded.offset, recorded.envelope, self._window_time.read(self.at, recorded.envelope.epoch))
        self.confirmed = recorded.offset
        if not isinstance(event, CommandAnswered):
            self._changed = recorded.offset
        self.uncheckpointed += 1

    def begin(self, end: Position, now: Millis) -> None:
        """All of the log has been replayed: continue in the epoch that the takeover opened."""
        self.confirmed = max(self.confirmed, end.offset - 1)
        self._ahead.clear()
        self.epoch = end.epoch
        self.n = self._confirmed_n = end.n
        self._window_time.start(now)

    # --- commands -----------------------------------------------------------------------------------------------------

    def execute(self, envelope: CommandEnvelope, now: Millis) -> Executed:
        """Decide a command and change the state in memory; the reply holds once what ``take`` gives is durable.

        Raises PartMissing, JournalUnavailable. If ``untaken_bytes`` has grown then, nothing is right that was not taken
        before; else nothing was decided.
        """
        # Time goes back only if the last events lie further ahead than clocks differ.
        at = self.at = now if self.at - now > AHEAD_MILLIS_MAX else max(self.at, now)
        reference = None
        if envelope.key is not None:
            reference = CommandRef(envelope.account_id, envelope.key, envelope.fingerprint)
            fingerprint = self._answers_in_flight.get((envelope.account_id, envelope.key))
            if fingerprint is not None and fingerprint != envelope.fingerprint:
                return Rejected(KeyReused(), self.number, self.confirmed)
            if fingerprint is not None or self._answered(envelope.account_id, envelope.key) is not None:
                return Replay(reference)
        if envelope.replay_only:
            return NotKnown()
        if reference is not None and self._keys is not None and not self._keys.has_room_for(envelope.account_id):
            return self._beyond_keys(self._keys, envelope.account_id)
        command = envelope.command
        decision = self._decide_in_room(command, at) if isinstance(command, RoomCommand) else self._decide(command, at)
        if isinstance(decision, Decided):
            self._happen(decision.events, at, envelope.account_id, reference, decision.answer, envelope.trace)
            return Accepted(decision.answer, self.number, self.confirmed)
        if isinstance(decision, Unavailable):
            return decision
        if not isinstance(decision, RestsOnView):
            self._happen((), at, envelope.account_id, reference, decision, envelope.trace)
        return Rejected(decision, self.number, self.confirmed)

    def answered_at(self, replay: Replay) -> Position | None:
        """The place at which the log has the answer to a retry; None if it was forgotten meanwhile.

        Everything decided before it must be durable.
        """
        answered = self._answered(replay.command.account_id, replay.command.key)
        return None if answered is None else answered.position

    def _beyond_keys(self, keys: KeyCounts, account_id: AccountId) -> Unavailable:
        """Refuse a key that could not be remembered: a retry would find nothing."""
        refuse = refusals.too_many_keys_of_account if keys.is_full_for(account_id) else refusals.keys_full
        return refuse(self._answers.seconds_to_forget(self._window_time.now()))

    def count_keys_in(self, keys: KeyCounts) -> None:
        """The keys remembered here count among ``keys``, which bound them, until :meth:`count_keys_out`."""
        self._keys = keys
        self._answers.count_in(keys)

    def count_keys_out(self) -> None:
        self._keys = None
        self._answers.count_out()

    def forget_keys(self, most: int) -> int:
        """Forget keys whose window is over. Returns how many. Each command does it too: call it if none come."""
        return self._answers.forget(self._window_time.now(), most)

    def knows(self, account_id: AccountId, key: str) -> bool:
        """True if a command with this key was decided here within the window."""
        return (account_id, key) in self._answers_in_flight or self._answered(account_id, key) is not None

    def _answered(self, account_id: AccountId, key: str) -> Remembered | None:
        return self._answers.find(account_id, key, self._window_time.now())

    def prove(self) -> None:
        """Have a record written that changes nothing: it shows that this owner still is the owner."""
        self._happen((CommandAnswered(),), self.at, NOBODY)

    def pop_append(self) -> Append | None:
        """The append of all that was decided since the last call; None if that is nothing."""
        if not self._envelopes:
            return None
        append = Append(self.number, self.epoch, self._envelopes, self._records)
        self._envelopes, self._records, self.untaken_bytes = [], [], 0
        return append

    def confirm(self, append: Append) -> None:
        """The append that ``take`` gave is durable."""
        window_at = self._window_time.now() if self._answers_in_flight else 0
        for offset, envelope in enumerate(append.envelopes, append.first):
            if envelope.command is not None:
                self._remember(offset, envelope, window_at)
                del self._answers_in_flight[envelope.command.account_id, envelope.command.key]
            if not isinstance(envelope.event, CommandAnswered):
                self._changed = offset
            self.confirmed = offset
        self._confirmed_n += len(append.envelopes)

    def _decide(self, command: OtherCommand, at: Millis) -> Decision | Unavailable:
        match command:
            case CreateRoom():
                return self._within_members(None, create_room(command, self._next_id(), at))
            case OpenDirect(by=by, peer=peer):
                account = self._account(min(by, peer))
                room_id = account.directs.get(max(by, peer)) if account else None
                room = None if room_id is None else self._room(room_id)
                return open_direct(account, room, command, self._next_id(), at)
            case StartThread():
                return start_thread(self._room(command.room_id), self._room, command, self._next_id(), at)
            case ImportThread():
                existing = self._imported(command.imported_as)
                if existing is not None:
                    return Decided((), imported_answer(existing, command))
                return import_thread(self._room(command.room_id), command, self._next_id(), at)
            case CreateAccount(imported_as=reference):
                if reference is not None and (existing := self._imported(reference)) is not None:
                    return Decided((), AccountAnswer(existing, command.name))
                return AccountNotFound(NOBODY) if command.existing else create_account(command, self._next_id(), at)
            case ImportRoom():
                return self._decide_import(command, at)
            case SetBookmark(account_id=by, note=text) | ChangeAccount(account_id=by, about=text):
                return self._within_day(decide(self._get(by), command, at), by, text)
            case ReadPosition():
                # The record proves that this is still the owner. It changes nothing, so no reader waits for it.
                return Decided((CommandAnswered(),), PositionAnswer(self._changed))
            case _:
                return decide(self._get(IDENTITY[type(command)](command)), command, at)

    def _decide_in_room(self, command: RoomCommand, at: Millis) -> Decision | Unavailable:
        """Decide by the rules of the room, and then by the shard's limits. No key remembers a refusal by
        a limit."""
        hot = self.hot.get(command.room_id)
        room = hot if isinstance(hot, Room) else self._room(command.room_id)
        if room is not None and room.thread is not None:
            counted_in = room.thread.parent
            decision = decide_in_thread(room, self._room(counted_in), command, at)
        else:
            counted_in = command.room_id
            decision = decide_room(room, command, at)
        if not isinstance(decision, Decided):
            return decision
        if isinstance(command, _TEXTS):
            return decision if self._rates is None else self._rates.refusal(command, counted_in) or decision
        if isinstance(command, PutMember | JoinDefault):
            return self._within_members(room, decision)
        if isinstance(command, ChangeRoom):
            return self._within_day(decision, command.by, command.description)
        return decision

    def _within_day(self, decision: Decision, by: AccountId, text: str | None) -> Decision | Unavailable:
        """Texts that are no messages count as those do: a description may be written again twenty times a second."""
        if self._rates is None or not text or not isinstance(decision, Decided) or not decision.events:
            return decision
        return self._rates.refusal_of_text(by, text) or decision

    def _within_members(self, room: Room | None, decision: Decision) -> Decision | Unavailable:
        most = self._limits.room_members if self._limits.switch.on else MEMBERS_MAX
        if isinstance(decision, Decided) and members_after(room, decision.events) > most:
            return refusals.room_members()
        return decision

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
        return import_room(command, account, self._next_id(), at)

    def _happen(
        self,
        events: tuple[Event, ...],
        at: Millis,
        by: AccountId,
        reference: CommandRef | None = None,
        answer: Answer | Rejection | None = None,
        trace: str | None = None,
    ) -> None:
        """Put the events after the others, and change the state.

        A keyed command leaves a record even when nothing changes, so that the log answers its retry. The answer is in
        the record of the first event, unless it is the message that the event carries.
        """
        if reference is None or isinstance(answer, MessageAnswer):
            answer = None
        if reference is not None:
            events = events or (CommandAnswered(),)
            self._answers_in_flight[reference.account_id, reference.key] = reference.fingerprint
        for event in events:
            envelope = Envelope(self.number, self.epoch, self.n, at, event, reference, answer, trace, by)
            record = codec.encode(envelope)
            self._records.append(record)
            self.untaken_bytes += len(record.data)
            self._envelopes.append(envelope)
            if isinstance(event, _FIRST):
                self._count(event)
            self._apply(event, record.key)
            reference = answer = None
            self.n += 1
        self.uncheckpointed += len(events)

    def _remember(self, offset: int, envelope: Envelope, at: Millis) -> None:
        command = envelope.command
        if command is not None:
            place = (offset, envelope.epoch, envelope.n, at)
            self._answers.add(command.account_id, command.key, Remembered(*place))
            self._new_answers.append((command.account_id, command.key, command.fingerprint, *place))
            # A log that is read from its start has more keys than fit in memory.
            while self._new_answers[0][-1] < at - self._limits.answer_window_ms:
                self._new_answers.popleft()

    def _next_id(self) -> int:
        return id_of(self._counter + 1, self.number, self._partitions)

    def end(self, *, void: bool) -> None:
        """The epoch is over: it decides nothing any more, and only knows its keys.

        ``void``: what is not known to be durable never will be.
        """
        self.hot, self._idle, self._imports, self._saving = {}, {}, {}, _NOTHING
        self._envelopes, self._records, self.untaken_bytes = [], [], 0
        if void:
            self._answers_in_flight = {}

    # --- aggregates ---------------------------------------------------------------------------------------------------

    @property
    def in_memory(self) -> int:
        """The number of aggregates in memory."""
        return len(self.hot) + len(self._idle)

    def _count(self, event: Any) -> None:
        identity = aggregate_of(event)
        self._counter = max(self._counter, counter_of(identity, self._partitions))
        if event.imported_as is not None:
            self._imports[event.imported_as] = identity

    def _apply(self, event: Event, identity: int) -> None:
        """``identity``: of the aggregate that the event belongs to. The caller has brought it into memory, unless the
        event creates it."""
        evolve = EVOLVES.get(type(event))
        if evolve is None:
            return
        self.hot[identity] = evolve(self.hot.get(identity), event)
        self._dirty.add(identity)

    def _room(self, room_id: RoomId) -> Room | None:
        found = self.hot.get(room_id) or self._get(room_id)
        return found if isinstance(found, Room) else None

    def _account(self, account_id: AccountId) -> Account | None:
        found = self._get(account_id)
        return found if isinstance(found, Account) else None

    def _get(self, identity: int) -> Aggregate | None:
        found = self.hot.get(identity)
        if found is not None:
            return found
        found = self._idle.pop(identity, None) or self._saving.aggregates.get(identity) or self._load(identity)
        if found is not None:
            self.hot[identity] = found
        return found

    def _load(self, identity: int) -> Aggregate | None:
        if is_counted(identity) and counter_of(identity, self._partitions) > self._counter:
            return None
        began = time.perf_counter()
        aggregate = self._read(identity)
        metrics.aggregate_loads.observe(time.perf_counter() - began)
        return aggregate

    def _read(self, identity: int) -> Aggregate | None:
        if self.epoch == 0 and self._reads_all:
            return None  # some of what is stored may have been deleted
        stored = self._stored.load(identity)
        if stored is None:
            return None
        if self.epoch == 0:
            self._ahead[identity] = stored.offset
        return stored.aggregate

    def _holds(self, event: Event, offset: int) -> bool:
        """Bring the event's aggregate into memory. Returns True if it holds the event already: its snapshot may be
        newer than the checkpoint."""
        if isinstance(event, CommandAnswered | PassedOver):
            return False
        identity = aggregate_of(event)
        self._get(identity)
        return offset < self._ahead.get(identity, 0)

    def _imported(self, reference: str) -> int | None:
        for known in (self._imports, self._saving.imports):
            if reference in known:
                return known[reference]
        snapshot = self._store.load(self.number, f"import:{reference}", snapshots.VERSION)
        return None if snapshot is None else snapshots.decode_identity(snapshot.data)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def capture(self) -> bool:
        """Keep the state as it is, for a checkpoint. False while the last one is under way, or if nothing changed.

        Everything decided so far must have been taken.
        """
        if self._saving is not _NOTHING or not self.uncheckpointed:
            return False
        assert not self._envelopes, "append what was decided before it is captured"
        aggregates = {i: self.hot.get(i) or self._idle[i] for i in self._dirty}
        state = PartitionState(self._counter, self.at, self._window_time.now(), tuple(sorted(self._unknown)))
        self._saving = _Captured(state, aggregates, self._imports)
        self._dirty, self._imports = set(), {}
        self.uncheckpointed = 0
        return True

    def checkpoint(self) -> Checkpoint:
        """The checkpoint of the captured state. Exactly what was decided before the capture must be durable. Raises
        PartMissing, JournalUnavailable."""
        captured = self._saving
        expired = captured.state.window_at - self._limits.answer_window_ms
        answers = [answer for answer in self._new_answers if answer[-1] >= expired]
        self._new_answers = deque()
        changes = self._stored.changes(captured.aggregates.items(), self.epoch, captured.state.unknown)
        imports = [(f"import:{reference}", str(i).encode()) for reference, i in captured.imports.items()]
        return Checkpoint(
            partition=self.number,
            epoch=self.epoch,
            position=Position(self.confirmed + 1, self.epoch, self._confirmed_n),
            version=snapshots.VERSION,
            state=snapshots.encode_state(captured.state),
            snapshots=changes.rows + imports,
            obsolete=changes.obsolete,
            answers=snapshots.encode_answers(answers) if answers else b"",
            answers_at=max((answer[-1] for answer in answers[-1:]), default=captured.state.window_at),
            answers_expired=expired,
        )

    def checkpointed(self) -> None:
        """The last checkpoint has been stored."""
        self._saving = _NOTHING

    def passivate(self) -> int:
        """Drop the aggregates that were not used since the last call, unless no checkpoint has them yet.

        Gives how many were dropped.
        """
        kept = {i: state for i, state in self._idle.items() if i in self._dirty}
        dropped = len(self._idle) - len(kept)
        self._idle = self.hot
        self.hot = kept
        return dropped
