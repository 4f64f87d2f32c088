"""Holds a history against Falcon's promises. It knows nothing of servers: lines in, violations out."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

from tools.people.history import DELETED, Operation, Seen, is_in_both, name_of, version_of

# Past this no answer is late, it is missing: five seconds for a command, two waits of two for what it has to read.
ANSWER_SECONDS: Final = 15.0

K = TypeVar("K")
V = TypeVar("V")

Place: TypeAlias = tuple[int, int]  # room, seq
# While these last, connections wait for an edge that is away.
_EDGE_FAULTS: Final = re.compile(r"\b(api|rolling|serve|launcher)\b")
_SETTLING_SECONDS: Final = 5.0
_KEPT: Final = 20_000  # messages of a room, or of all, while others write as well


@dataclass
class Counts:
    """The outcomes of the operations. ``were_done``: unknown at first, and found done by a retry, or in the log.

    ``refused_though_done``: a 503 said that nothing was done, and the next attempt with the key found it done. An edge
    retries by itself, so a first attempt may be told of a replay too; those do not count.
    """

    operations: int = 0
    acknowledged: int = 0
    refused: int = 0
    rejected: int = 0
    unknown: int = 0
    replayed: int = 0
    reads: int = 0
    were_done: int = 0
    were_not: int = 0
    never_settled: int = 0
    refused_though_done: int = 0
    messages: int = 0
    rooms: int = 0
    longest_refusal: float = 0.0
    longest_answer: float = 0.0


@dataclass
class _Room:
    """``named``: the message at each seq, whichever session has seen it. ``posted``: acknowledged messages."""

    named: dict[int, str] = field(default_factory=dict)
    posted: dict[int, str] = field(default_factory=dict)
    logged: list[Seen] = field(default_factory=list)
    reach: int = 0
    finals: dict[int, list[Seen]] = field(default_factory=lambda: defaultdict(list))


@dataclass
class _Changes:
    """The changes of one message. Only its author changes it, one change after the other."""

    settled: int = 0
    unsettled: set[int] = field(default_factory=set)

    def allows(self, version: int) -> bool:
        return version == self.settled or (version > self.settled and version in self.unsettled)


class Checker:
    """Takes operations in the order in which they ended; ``settle`` gives the violations, ``news`` those until now.

    ``alone``: no other client writes, and the log and all of each room are read in the end. Else rooms are read from
    their first acknowledged message on, and old messages are forgotten.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.counts = Counts()
        self._alone = alone
        self._violations: list[str] = []
        self._rooms: dict[int, _Room] = defaultdict(_Room)
        self._answers: dict[str, Operation] = {}
        self._open: dict[str, Operation] = {}  # keys whose outcome is not known yet
        self._tried: set[str] = set()  # names of all messages that were ever sent
        self._places: dict[str, dict[int, int]] = {}  # of a name: the seq, by room
        self._lines: dict[str, Operation] = {}  # messages whose line in the room must follow, by partition
        self._changes: dict[Place, _Changes] = defaultdict(_Changes)
        self._last: dict[tuple[int, int], int] = {}  # session, room: the last seq that it knows of
        self._listed: dict[tuple[int, int], int] = {}  # the same, by lists of rooms and by what it wrote
        self._versions: dict[tuple[int, int, int], int] = {}  # session, room, seq: the newest version that it knows of
        self._marks: dict[tuple[int, int], int] = {}
        self._pairs: dict[tuple[int, ...], int] = {}
        self._threads: dict[str, int] = {}  # by message
        self._roles: dict[Place, set[str]] = {}  # room, guest: what the role may be
        self._members: dict[int, dict[int, str]] = defaultdict(dict)  # room: by API
        self._summaries: dict[Place, tuple[int, int, int]] = {}
        self._keys_logged: Counter[str] = Counter()
        self._logged_at: dict[str, str] = {}  # name: position
        self._unkeyed: set[str] = set()
        self._refused: set[str] = set()  # names of messages without a key that were refused
        self._refused_keys: set[str] = set()
        self._late: list[Operation] = []
        self._edge_away: list[tuple[float, float]] = []

    def check(self, operations: Iterable[Operation]) -> list[str]:
        for operation in operations:
            self.take(operation)
        return self.settle()

    def news(self) -> list[str]:
        """The violations since it was last asked."""
        found, self._violations = self._violations, []
        return found

    def acknowledged(self) -> dict[int, tuple[int, int]]:
        """The rooms with acknowledged messages: the first and the last ``seq`` of these."""
        return {room_id: (min(room.posted), max(room.posted)) for room_id, room in self._rooms.items() if room.posted}

    def reach(self, room_id: int) -> int:
        """The last ``seq`` that was acknowledged to any session."""
        return self._rooms[room_id].reach

    def take(self, op: Operation) -> None:
        match op.kind:
            case "read":
                self._count(op)
                self._take_read(op)
            case "heard":
                for seq, token in op.seen:
                    self._place(op, op.room, seq, token)
            case "listed":
                self._take_listed(op)
            case "final":
                self._rooms[op.room].finals[op.api] += op.seen
            case "logged":
                self._take_logged(op)
            case "summary":
                self._take_summary(op)
            case "wrong":
                self._violations.append(op.name)
            case "members":
                self._members[op.room][op.api] = op.answer
            case "fault":
                if _EDGE_FAULTS.search(op.name):
                    self._edge_away.append((op.started, op.ended + _SETTLING_SECONDS))
            case _:
                self._count(op)
                self._take_command(op)

    def settle(self) -> list[str]:
        """The violations, once all operations have been taken."""
        for room_id, room in self._rooms.items():
            self._settle_room(room_id, room)
        for message in self._lines.values():
            self._has_no_line(message)
        self._settle_keys()
        self._settle_members()
        self._settle_late()
        return self._violations

    # --- attempts -----------------------------------------------------------------------------------------------------

    def _count(self, op: Operation) -> None:
        counts, seconds = self.counts, op.ended - op.started
        counts.operations += 1
        counts.reads += op.kind == "read"
        counts.acknowledged += op.outcome == "acknowledged"
        counts.refused += op.outcome == "refused"
        counts.unknown += op.outcome == "unknown"
        counts.rejected += op.outcome == "rejected"
        counts.replayed += op.replayed
        if op.outcome == "refused":
            counts.longest_refusal = max(counts.longest_refusal, seconds)
        if op.status:
            counts.longest_answer = max(counts.longest_answer, seconds)
        if seconds >= ANSWER_SECONDS:
            self._late.append(op)
        if op.outcome == "rejected":
            self._wrong(op, f"was refused for good: {op.status} {op.code}")

    def _take_command(self, op: Operation) -> None:
        if op.kind == "post" and self._alone:
            self._tried.add(name_of(op.token))
        if op.key:
            self._take_keyed(op)
        elif op.outcome == "unknown":
            self._unkeyed.add(name_of(op.token))
        elif op.outcome == "refused":
            self._refused.add(name_of(op.token))
        if op.kind in ("edit", "delete"):
            self._take_change(op)
        elif op.kind == "member":
            self._take_membership(op)
        if op.outcome == "acknowledged":
            self._take_acknowledged(op)

    def _take_keyed(self, op: Operation) -> None:
        first = self._answers.get(op.key)
        if op.outcome == "unknown" and first is None:
            self._open.setdefault(op.key, op)
        if op.outcome == "refused":
            self._refused_keys.add(op.key)
        if op.outcome not in ("acknowledged", "rejected"):
            return
        if first is None:
            self._answers[op.key] = op
            if self._open.pop(op.key, None) is None:
                self.counts.refused_though_done += op.replayed and op.key in self._refused_keys
            else:
                self.counts.were_done += op.replayed
                self.counts.were_not += not op.replayed
        elif (first.status, first.answer) != (op.status, op.answer):
            self._wrong(
                op, f"had two answers: {first.status} {first.answer} {first.seq}, then {op.status} {op.answer} {op.seq}"
            )
        elif not op.replayed:
            self._wrong(op, "was done a second time, though with the same answer")

    def _take_change(self, op: Operation) -> None:
        changes, version = self._changes[op.room, op.seq], _version(op)
        if op.outcome == "acknowledged":
            changes.settled = max(changes.settled, version)
        elif version > changes.settled:
            changes.unsettled.add(version)

    def _take_membership(self, op: Operation) -> None:
        known = self._roles.setdefault((op.room, op.who), set())
        if op.outcome == "acknowledged":
            if op.key not in self._answers or self._answers[op.key] is op:  # a retry later on changes nothing
                self._roles[op.room, op.who] = {op.role}
        elif op.key not in self._answers:
            known.add(op.role)

    def _take_acknowledged(self, op: Operation) -> None:
        at = (op.session, op.room)
        match op.kind:
            case "post":
                self._take_posted(op, op.room, op.seq)
                if op.parent:
                    self._take_posted(op, op.parent, op.in_room)
                if op.position:
                    self._logged_at[name_of(op.token)] = op.position
            case "edit" | "delete":
                self._know(op.session, op.room, op.seq, _version(op))
            case "mark":
                if not op.replayed and op.at < self._marks.get(at, 0):
                    self._wrong(op, f"read mark went back from {self._marks[at]} to {op.at}")
                self._marks[at] = max(self._marks.get(at, 0), op.at)
            case "direct":
                pair = tuple(sorted((op.who, int(op.name))))
                if self._pairs.setdefault(pair, op.room) != op.room:
                    self._wrong(op, f"two direct rooms for one pair: {self._pairs[pair]} and {op.room}")
            case "thread":
                if self._threads.setdefault(op.name, op.room) != op.room:
                    self._wrong(op, f"two threads of message {op.name}: {self._threads[op.name]} and {op.room}")

    def _take_posted(self, op: Operation, room_id: int, seq: int) -> None:
        self._place(op, room_id, seq, op.token)
        room, at = self._rooms[room_id], (op.session, room_id)
        room.posted[seq], room.reach = op.token, max(room.reach, seq)
        self._last[at] = max(self._last.get(at, 0), seq)
        self._listed[at] = max(self._listed.get(at, 0), seq)
        if not self._alone:
            self._know(op.session, room_id, seq, 0)
            _forget(room.named)
            _forget(room.posted)
            _forget(self._places)
            _forget(self._changes)
            _forget(self._versions)

    def _know(self, session: int, room: int, seq: int, version: int) -> None:
        known = (session, room, seq)
        self._versions[known] = max(self._versions.get(known, 0), version)

    def _place(self, op: Operation, room: int, seq: int, token: str) -> None:
        """Each place has one message, and each message one place, for all readers and for ever. A message that stands
        in a thread and in its room has one in each."""
        if token == DELETED:
            return
        name = name_of(token)
        if self._rooms[room].named.setdefault(seq, name) != name:
            self._wrong(op, f"{name} stands at {seq}, where {self._rooms[room].named[seq]} stood before")
        places = self._places.setdefault(name, {})
        if places.setdefault(room, seq) != seq or len(places) > 1 + is_in_both(token):
            self._wrong(op, f"{name} stands at {(room, seq)}, and by room at {places}")

    # --- reads --------------------------------------------------------------------------------------------------------

    def _take_read(self, op: Operation) -> None:
        if op.outcome != "acknowledged":
            return
        seqs = [seq for seq, _ in op.seen]
        if seqs and seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            self._wrong(op, f"a page with a gap: {seqs}")
        for seq, token in op.seen:
            self._place(op, op.room, seq, token)
            self._see(op, seq, version_of(token))
        known = self._last.get((op.session, op.room), 0)
        missing = _missing(op, seqs, known)
        if missing:
            self._wrong(op, f"went backwards: knew of {known}, but {op.query} {op.at or ''} lacks {missing}")
        self._last[op.session, op.room] = max(known, *seqs, 0)

    def _see(self, op: Operation, seq: int, version: int) -> None:
        known = self._versions.get((op.session, op.room, seq), 0)
        if version < known:
            self._wrong(op, f"went backwards: message {seq} in version {version} after {known}")
        elif version > known and (self._alone or (op.session, op.room, seq) in self._versions):
            self._versions[op.session, op.room, seq] = version

    def _take_listed(self, op: Operation) -> None:
        at = (op.session, op.room)
        if op.seq < self._listed.get(at, 0):
            self._wrong(op, f"went backwards: knew of {self._listed[at]}, and the list of rooms says {op.seq}")
        self._listed[at] = max(self._listed.get(at, 0), op.seq)
        if op.unread != op.seq - op.at:
            self._wrong(op, f"{op.unread} unread, with {op.seq} messages and a mark at {op.at}")

    # --- findings -----------------------------------------------------------------------------------------------------

    def _take_logged(self, op: Operation) -> None:
        if op.key:
            self._keys_logged[op.key] += 1
        self._take_line(op)
        logged = self._rooms[op.room].logged
        if op.name == "MessagePosted":
            if op.seq != len(logged) + 1:
                self._wrong(op, f"seq {op.seq} follows {len(logged)} in the log")
            if name_of(op.token) in self._unkeyed:
                self._unkeyed.discard(name_of(op.token))
                self.counts.were_done += 1
            if name_of(op.token) in self._refused:
                self._wrong(op, f"{op.token} was refused, without a key, and is in the log")
            self._place(op, op.room, op.seq, op.token)
            acknowledged_at = self._logged_at.get(name_of(op.token), op.position)
            if not _covers(acknowledged_at, op.position):
                self._wrong(op, f"{op.token} was acknowledged at {acknowledged_at} and stands at {op.position}")
            logged.append((op.seq, op.token))
        elif op.name in ("MessageEdited", "MessageDeleted"):
            if not 1 <= op.seq <= len(logged):
                self._wrong(op, f"a change of message {op.seq}, which is not in the log")
            elif version_of(op.token) <= version_of(logged[op.seq - 1][1]):
                self._wrong(op, f"{op.token or 'a deletion'} of {op.seq} follows {logged[op.seq - 1][1]} in the log")
            else:
                logged[op.seq - 1] = (op.seq, op.token)

    def _take_line(self, op: Operation) -> None:
        """One append has a thread's message, the change of the thread, and the line in its room, in this order."""
        partition, is_posted = op.position.partition(":")[0], op.name == "MessagePosted"
        message = self._lines.pop(partition, None)
        if message is not None and op.name == "ThreadChanged":
            self._lines[partition] = message
        elif message is not None and not (is_posted and op.token == message.token and op.room != message.room):
            self._has_no_line(message)
        elif message is None and is_posted and is_in_both(op.token):
            if op.parent:
                self._lines[partition] = op
            else:
                self._wrong(op, "is a line in a room, and follows no message of a thread")

    def _has_no_line(self, message: Operation) -> None:
        self._wrong(message, "has no line in the thread's room in the same append")

    def _take_summary(self, op: Operation) -> None:
        last = max((len(final) for final in self._rooms[op.room].finals.values()), default=op.seq)
        if op.seq != last:
            self._wrong(op, f"the room list says {op.seq} messages, and there are {last}")
        if op.unread != op.seq - op.at:
            self._wrong(op, f"{op.unread} unread, with {op.seq} messages and a mark at {op.at}")
        if op.at < self._marks.get((op.session, op.room), 0):
            self._wrong(op, f"read mark at {op.at}, which was acknowledged at {self._marks[op.session, op.room]}")
        told = self._summaries.setdefault((op.session, op.room), (op.seq, op.at, op.unread))
        if told != (op.seq, op.at, op.unread):
            self._wrong(op, f"another API says {told}")

    # --- settling -----------------------------------------------------------------------------------------------------

    def _settle_room(self, room_id: int, room: _Room) -> None:
        self.counts.rooms += bool(room.finals)
        self.counts.messages += len(room.logged)
        for api, final in room.finals.items():
            where = f"room {room_id} at API {api}" if api >= 0 else f"room {room_id}"
            self._settle_final(where, room_id, room, final)
            if self._alone and final != room.logged:
                self._violations.append(f"{where} is not as the log says: {_differences(final, room.logged)}")
        if len({tuple(final) for final in room.finals.values()}) > 1:
            self._violations.append(f"room {room_id}: the APIs do not agree")
        for seq, token in room.posted.items() if self._alone else ():
            if seq > len(room.logged) or self._name_at(room, seq) != name_of(token):
                self._violations.append(f"lost: {token} was acknowledged as {seq} of room {room_id}")
        if self._alone and room.posted and not room.finals:
            self._violations.append(f"lost: room {room_id}, with {len(room.posted)} acknowledged messages")

    def _settle_final(self, where: str, room_id: int, room: _Room, final: list[Seen]) -> None:
        first = 1 if self._alone else next((seq for seq, _ in final), 1)
        if [seq for seq, _ in final] != list(range(first, first + len(final))):
            self._violations.append(f"{where}: the seqs are not {first} to {first + len(final) - 1}")
        names = Counter(name_of(token) for _, token in final if token != DELETED)
        self._violations += [f"{where}: {name} is there {n} times" for name, n in names.items() if n > 1]
        self._violations += [
            f"{where}: {name} was sent by no session" for name in names if self._alone and name not in self._tried
        ]
        shown = dict(final)
        for seq, token in room.posted.items():
            if seq not in shown:
                self._violations.append(f"{where}: lost: {token} was acknowledged as {seq}")
            elif shown[seq] != DELETED and name_of(shown[seq]) != name_of(token):
                self._violations.append(f"{where}: {shown[seq]} instead of {token} at {seq}")
        for seq, token in final:
            if not self._alone and seq not in room.posted:
                continue
            changes = self._changes.get((room_id, seq), _Changes())
            if not changes.allows(version_of(token)):
                self._violations.append(
                    f"{where}: message {seq} is {token or 'deleted'}, and version {changes.settled} was acknowledged"
                )

    def _name_at(self, room: _Room, seq: int) -> str:
        token = room.logged[seq - 1][1]
        return room.named.get(seq, "") if token == DELETED else name_of(token)

    def _settle_keys(self) -> None:
        self._violations += [f"key {key} is in the log {n} times" for key, n in self._keys_logged.items() if n > 1]
        self.counts.were_not += len(self._unkeyed)
        self.counts.never_settled = len(self._open)
        if self._keys_logged:
            self._violations += [
                f"key {key} was acknowledged and is not in the log"
                for key, op in self._answers.items()
                if op.outcome == "acknowledged" and key not in self._keys_logged
            ]
        self._violations += [
            f"key {key} ({op.kind} in room {op.room}, since {op.started:.1f}) was never answered"
            for key, op in self._open.items()
        ]

    def _settle_members(self) -> None:
        for room, told in self._members.items():
            if len(set(told.values())) > 1:
                self._violations.append(f"room {room}: the APIs do not agree who its members are: {told}")
            for answer in set(told.values()):
                roles = dict(entry.split(":") for entry in answer.split())
                for (where, guest), allowed in self._roles.items():
                    if where == room and roles.get(str(guest), "") not in allowed:
                        self._violations.append(
                            f"room {room}: guest {guest} is {roles.get(str(guest), 'away')}, not {allowed}"
                        )

    def _settle_late(self) -> None:
        for op in self._late:
            if not any(began <= op.ended and op.started <= ended for began, ended in self._edge_away):
                self._wrong(op, f"had no answer for {op.ended - op.started:.1f} s")

    def _wrong(self, op: Operation, what: str) -> None:
        who = f"session {op.session}, " if op.session >= 0 else ""
        when = f"{op.started:.2f}: " if op.started else ""
        self._violations.append(f"{when}{who}{op.kind} {op.key or op.token} in room {op.room}: {what}")


def _forget(known: dict[K, V]) -> None:
    """The oldest, so that a run may take days."""
    while len(known) > _KEPT:
        del known[next(iter(known))]


def _version(op: Operation) -> int:
    return version_of(op.token if op.kind == "edit" else DELETED)


def _covers(acknowledged_at: str, position: str) -> bool:
    """A reader who waits for one position can read what stands at the other."""
    (partition, offset), (other, there) = acknowledged_at.split(":"), position.split(":")
    return partition == other and int(offset) >= int(there)


def _missing(op: Operation, seqs: list[int], known: int) -> list[int]:
    """The messages that the session knows of and that are not on the page although they should be."""
    match op.query:
        case "latest":
            due = [known] if known and not (seqs and seqs[-1] >= known) else []
        case "before":
            due = [min(known, op.at - 1)]
        case _:
            due = [op.at + 1, min(op.at + op.limit, known)] if known > op.at else []
    return [seq for seq in due if seq >= 1 and seq not in seqs]


def _differences(one: list[Seen], other: list[Seen]) -> str:
    if len(one) != len(other):
        return f"{len(one)} messages instead of {len(other)}"
    return ", ".join(f"{a} instead of {b}" for a, b in zip(one, other, strict=True) if a != b)[:300]
