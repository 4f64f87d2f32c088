"""Listeners who stall, go and come back, and the judgement of what they were told: the log's events, each once."""

import asyncio
import math
import random
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from falcon.features.accounts.rules import AccountCreated
from falcon.features.catalogue import Event
from falcon.features.messages.bodies import stored
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.pins.rules import PinAdded, PinRemoved
from falcon.features.read_marks.rules import ReadMoved
from falcon.features.rooms.rules import MemberChanged, MemberJoined, MemberLeft, Role, RoomChanged, RoomCreated
from falcon.features.threads.rules import ThreadChanged, ThreadFollowed, ThreadStarted, ThreadUnfollowed
from falcon.journal.envelope import Recorded, aggregate_of
from falcon.read.times import rfc3339
from tools.people.sessions import Account
from tools.people.streams import OPEN_SECONDS, Connection, Json, Refused, Sse, WebSocket

STALLED_SECONDS: Final = (0.5, 8.0)
_STAYS_SECONDS: Final = 4.0  # on the average, on one connection
_STALLS_SECONDS: Final = 20.0  # on the average, between two stalls
_AWAY_SECONDS: Final = (0.0, 0.2)
_LATE_SECONDS: Final = 60.0  # events that have not come by then count as missing

_STATES: Final = ("hello", "catch_up")
_MESSAGES: Final = (MessagePosted, MessageEdited, MessageDeleted)
_SHOWN: Final = {
    MessagePosted: "message.posted",
    MessageEdited: "message.edited",
    MessageDeleted: "message.deleted",
    MemberJoined: "member.joined",
    MemberChanged: "member.changed",
    MemberLeft: "member.left",
    RoomCreated: "room.created",
    RoomChanged: "room.changed",
    ReadMoved: "read.moved",
    PinAdded: "pin.added",
    PinRemoved: "pin.removed",
    ThreadStarted: "thread.started",
    ThreadChanged: "thread.changed",
}
_FOLLOWS: Final = (ThreadFollowed, ThreadUnfollowed)


class Got(NamedTuple):
    """An event as a listener got it. ``place``: what its id says of the log, 0 if that is not known. ``seq``: of its
    message, or 0. ``digest``: of its data. ``rooms``: with their last seqs, of a state. ``blank``: a text that is
    withheld."""

    place: int
    name: str
    room: int = 0
    seq: int = 0
    digest: int = 0
    blank: bool = False
    rooms: Mapping[int, int] = {}
    whole: bool = True  # a state of all of the account's rooms

    def __str__(self) -> str:
        return f"{self.name} {self.seq}" if self.seq else self.name


class Visible(NamedTuple):
    """``role``: that the account has in the room after the event. ``peer``: the other one of a direct room that is
    created, which bears the name of that one."""

    place: int
    event: Event
    role: Role
    peer: int = 0

    def __str__(self) -> str:
        of = self.event.message if isinstance(self.event, _MESSAGES) else self.event
        seq = f" {of.seq}" if isinstance(of, Message | PinAdded | PinRemoved | ThreadStarted | ThreadChanged) else ""
        return _SHOWN[type(self.event)] + seq


class Log:
    """All that streams show, by room with its threads, in the log's order. ``parents``: the room of each thread."""

    def __init__(self) -> None:
        self.deleted: set[tuple[int, int]] = set()
        self.parents: dict[int, int] = {}
        self._names: dict[int, str] = {}
        self._rooms: dict[int, list[tuple[int, Event]]] = defaultdict(list)
        self._seen_by: dict[int, dict[int, list[Visible]]] = {}
        self._digests: dict[tuple[int, int, str, int], int] = {}

    def take(self, recorded: Recorded) -> None:
        event = recorded.envelope.event
        if isinstance(event, RoomCreated) and event.parent is not None:
            self.parents[event.room_id] = event.parent[0]
        elif type(event) in _SHOWN or isinstance(event, _FOLLOWS):
            room = aggregate_of(event)
            self._rooms[self.parents.get(room, room)].append((recorded.offset + 1, event))
        if isinstance(event, AccountCreated):
            self._names[event.account_id] = event.name
        if isinstance(event, MessageDeleted):
            self.deleted.add((event.message.room_id, event.message.seq))

    def seen_by(self, account_id: int) -> Mapping[int, list[Visible]]:
        """The events that the account should see, by room or thread."""
        if account_id not in self._seen_by:
            seen = self._seen_by[account_id] = defaultdict(list)
            for room, events in self._rooms.items():
                for each in _follow(account_id, room, events):
                    seen[aggregate_of(each.event)].append(each)
        return self._seen_by[account_id]

    def is_same(self, got: Got, due: Visible) -> bool:
        if got.name != _SHOWN[type(due.event)]:
            return False
        key = (aggregate_of(due.event), due.place, due.role, due.peer)
        if key not in self._digests:
            self._digests[key] = digest_of(_data(due, self._names.get(due.peer, "")))
        return got.digest == self._digests[key] or (got.blank and (got.room, got.seq) in self.deleted)


def _follow(account_id: int, room: int, events: Sequence[tuple[int, Event]]) -> Iterator[Visible]:
    """Give the events of one room that a member sees, from joining to leaving. It sees all of the threads that it
    follows, and only the changes of others."""
    role: Role | None = None
    peer = 0
    follows: set[int] = set()
    for place, event in events:
        match event:
            case RoomCreated(members=members):
                role = next((each.role for each in members if each.account_id == account_id), None)
                if event.kind == "direct":
                    peer = next((each.account_id for each in members if each.account_id != account_id), account_id)
            case MemberJoined() | MemberChanged() if event.account_id == account_id:
                role = event.role
            case ReadMoved() if event.account_id != account_id:
                continue
            case ThreadFollowed() | ThreadUnfollowed():
                if event.account_id == account_id:
                    (follows.add if isinstance(event, ThreadFollowed) else follows.discard)(event.room_id)
                continue
            case ThreadChanged() if event.thread_id in follows:
                continue
        if role is not None and aggregate_of(event) in (room, *follows):
            yield Visible(place, event, role, peer)
        if isinstance(event, MemberLeft) and event.account_id == account_id:
            role = None


def _data(due: Visible, peer: str) -> Json:
    """The data of the event as the account is to be told. ``peer``: the name of the other one of a direct room."""
    event: Any = due.event
    match event:
        case MessagePosted() | MessageEdited() | MessageDeleted():
            return dict(msgspec.to_builtins(stored(event.message)))
        case RoomCreated() | RoomChanged():
            last_seq = event.last_seq if isinstance(event, RoomChanged) else 0
            kind = event.kind if isinstance(event, RoomCreated) else "group"
            room: Json = {
                "room_id": event.room_id,
                "kind": kind,
                "name": peer or event.name,
                "description": event.description,
            }
            room |= {"peer_id": due.peer or None, "open": event.open, "default": event.default}
            return {**room, "role": due.role, "last_seq": last_seq, "created_at": rfc3339(event.created_at)}
        case PinAdded() | PinRemoved():
            return {"room_id": event.room_id, "seq": event.seq, "account_id": event.account_id}
        case ThreadStarted():
            return {"room_id": event.room_id, "seq": event.seq, "thread_id": event.thread_id}
        case ThreadChanged():
            newest = {"last_seq": event.last_seq, "last_at": rfc3339(event.last_at), "account_id": event.account_id}
            return {"room_id": event.room_id, "seq": event.seq, "thread_id": event.thread_id, **newest}
        case ReadMoved():
            left = {"unread": event.unread, "mentions": event.mentions}
            return {"room_id": event.room_id, "read_seq": event.read_seq, **left}
        case _:
            return {"room_id": event.room_id, "account_id": event.account_id, "role": event.role}


def digest_of(data: Json) -> int:
    return hash(msgspec.json.encode(data, order="sorted"))


@dataclass
class Heard:
    """What all listeners met. ``refused``: by status; ``byes``: by reason."""

    deliveries: int = 0
    connections: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    byes: Counter[str] = field(default_factory=Counter)


class Listener:
    """A client that reconnects. ``got``: everything, over all connections. ``place``: what a token says of the log,
    where one order holds for all events; else 0."""

    def __init__(
        self,
        number: int,
        urls: Sequence[str],
        account: Account,
        heard: Heard,
        seed: int,
        place: Callable[[str], int] = lambda token: 0,
    ) -> None:
        self.got: list[Got] = []
        self.wrong: list[str] = []
        self.staying = asyncio.Event()  # set: it disconnects no more
        self.listening = False
        self._number = number
        self._urls = urls
        self._account = account
        self._heard = heard
        self._random = random.Random(f"listener {seed} {number}")
        self._place = place
        self._last: str | None = None
        self._transport: type[Sse] | type[WebSocket] = WebSocket if number % 4 == 3 else Sse

    def __str__(self) -> str:
        return f"listener {self._number} (account {self._account.account_id}, {self._transport.__name__})"

    # --- listening ----------------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    url = self._random.choice(self._urls)
                    connection = await self._transport.open(url, self._account.token, self._last)
            except Refused as refusal:
                self._heard.refused[str(refusal.status)] += 1
                if refusal.status != 503:
                    self.wrong.append(f"{self}: refused: {refusal}")
            except (OSError, EOFError, TimeoutError):
                self._heard.refused["no connection"] += 1
            else:
                await self._stay(connection)
            await asyncio.sleep(self._random.uniform(*_AWAY_SECONDS))

    async def _stay(self, connection: Connection) -> None:
        """Listen until it has enough, or is cut off."""
        until = time.monotonic() + self._random.expovariate(1 / _STAYS_SECONDS)
        stall_at = time.monotonic() + self._random.expovariate(1 / _STALLS_SECONDS)
        try:
            while self.staying.is_set() or time.monotonic() < until:
                if not self.staying.is_set() and time.monotonic() > stall_at:
                    stall_at = time.monotonic() + self._random.expovariate(1 / _STALLS_SECONDS)
                    await asyncio.sleep(self._random.uniform(*STALLED_SECONDS))
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5 if not self.staying.is_set() else 30):
                        event = await connection.next()
                    if not self.take(*event):
                        break
        except (OSError, EOFError):
            self._heard.byes["cut off"] += 1
        finally:
            await connection.close(roughly=self._random.random() < 0.5)

    def take(self, id: str, name: str, data: Json) -> bool:
        """False for a bye."""
        place = self._place(id)
        if name in (*_STATES, "caught_up"):
            self._heard.connections[name] += 1
            self.listening = True
        if name == "bye":
            self._heard.byes[data["reason"]] += 1
            if self.got and place != self.got[-1].place:
                self.wrong.append(f"{self}: bye: was sent away with {place}, having got {self.got[-1].place}")
        elif name in _STATES:
            rooms = {each["room_id"]: each["last_seq"] for each in data["rooms"]}
            self.got.append(Got(place, name, rooms=rooms, whole=not data.get("truncated")))
        elif name != "caught_up":
            blank = data.get("text") == ""
            self.got.append(Got(place, name, data["room_id"], data.get("seq", 0), digest_of(data), blank))
            self._heard.deliveries += 1
        self._last = id
        return name != "bye"

    # --- judging ------------------------------------------------------------------------------------------------------

    def has_all(self, log: Log) -> bool:
        """True if it got the last event of each room."""
        due, last = log.seen_by(self._account.account_id), {each.room: each for each in self.got if each.room}
        state = next((each for each in reversed(self.got) if each.name in _STATES), Got(0, "hello"))

        def has_last(room: int, end: Visible) -> bool:
            if room in last:
                return log.is_same(last[room], end)
            if room in log.parents:  # no state says how far it shows the threads
                return end.place <= state.place or not state.place
            return _is_covered(end, state.rooms.get(room, 0))

        return all(has_last(room, events[-1]) for room, events in due.items())

    def judge(self, log: Log) -> Iterator[str]:
        """Part by part: each begins with a state, and the events after it have to follow from there."""
        yield from self.wrong
        starts = [i for i, got in enumerate(self.got) if got.name in _STATES]
        at: dict[int, int] = {}  # how far the parts until now have come, by room
        for start, end in zip(starts, [*starts[1:], len(self.got)], strict=True):
            part = self.got[start + 1 : end]
            for wrong in self._judge_part(self.got[start], part, end == len(self.got), log, at):
                yield f"{self}: {wrong}"

    def _judge_part(self, state: Got, part: list[Got], is_last: bool, log: Log, at: dict[int, int]) -> Iterator[str]:
        places = [each.place for each in part if each.place]
        if places != sorted(set(places)):
            yield f"out of order: {places[:20]}"
        told: dict[int, list[Got]] = defaultdict(list)
        for each in part:
            told[each.room].append(each)
        due = log.seen_by(self._account.account_id)
        rooms = told.keys() | (due.keys() if is_last else ())
        for room in sorted(rooms, key=lambda each: each in log.parents):
            events = due.get(room, [])
            begins = _beginnings(state, told[room], events, at.get(room, 0), is_last=is_last)
            found = next((i for i in begins if _follows(log, told[room], events[i:])), None)
            if found is None:
                yield f"room {room}: {_difference(log, told[room], events)}"
                continue
            at[room] = found + len(told[room])
            parent = log.parents.get(room, 0)
            if parent and room not in state.rooms:
                heard = told[parent] if is_last else []
                begun = _begun(state, due.get(parent, []), state.rooms.get(parent), len(heard))
                if found and events[found - 1].place > begun:
                    yield f"thread {room}: lost: was not told of {events[found - 1]}"
                continue
            missed = [each for each in events[:found] if not _is_covered(each, state.rooms.get(room))]
            if missed and (room in state.rooms or state.whole) and not _left_before(missed, self._account.account_id):
                yield f"room {room}: lost: was not told of {missed[-1]}, having begun at {state.rooms.get(room)}"


def _beginnings(state: Got, told: Sequence[Got], due: Sequence[Visible], at: int, *, is_last: bool) -> Sequence[int]:
    """Where in the room's due events the told ones may begin."""
    if state.place:
        begin = bisect_right([each.place for each in due], state.place)
        return [begin] if not is_last or begin + len(told) == len(due) else []
    return [len(due) - len(told)] if is_last else range(at, len(due) - len(told) + 1)


def _begun(state: Got, due: Sequence[Visible], last_seq: int | None, heard: int) -> float:
    """A place in the log after the state, which a token need not tell. A state lists no threads, but what comes after
    an event of the thread's room that it lacks comes after it. ``due``: of that room. ``heard``: how many of these were
    told in the last part."""
    lacks = [] if last_seq is None else [each for each in due if not _is_covered(each, last_seq)]
    places = [state.place, *(each.place for each in (*lacks[:1], *due[len(due) - heard :][:1]))]
    return min((place for place in places if place), default=math.inf)


def _follows(log: Log, told: Sequence[Got], due: Sequence[Visible]) -> bool:
    return len(told) <= len(due) and all(map(log.is_same, told, due))


def _is_covered(due: Visible, last_seq: int | None) -> bool:
    """A state with that ``last_seq`` tells of it, or may do so."""
    if last_seq is None:
        return False
    return not isinstance(due.event, MessagePosted) or due.event.message.seq <= last_seq


def _left_before(events: Sequence[Visible], account_id: int) -> bool:
    """The account had left when the state was made: it is over with these events."""
    last = events[-1].event
    return isinstance(last, MemberLeft) and last.account_id == account_id


def _difference(log: Log, told: Sequence[Got], due: Sequence[Visible]) -> str:
    """What is wrong, as near as it can be said."""
    seqs = [each.seq for each in told if each.name == "message.posted"]
    wanted = [each.event.message.seq for each in due if isinstance(each.event, MessagePosted)]
    if twice := [seq for seq, times in Counter(seqs).items() if times > 1]:
        return f"was told of messages {twice[:10]} 2 times or more"
    if seqs != sorted(seqs):
        return f"was told out of order: {seqs[:20]}"
    if seqs and (lost := sorted({seq for seq in wanted if seq >= seqs[0]} - set(seqs))):
        return f"lost: was not told of messages {lost[:10]}"
    pairs = zip(reversed(told), reversed(due), strict=False)
    one, other = next(((a, b) for a, b in pairs if not log.is_same(a, b)), (None, None))
    return f"was told {one}, and due was {other}; {len(told)} events of {len(due)}"


async def settle(listeners: Sequence[Listener], log: Log) -> list[str]:
    """Wait until they have got all; then the violations."""
    for each in listeners:
        each.staying.set()
    with suppress(TimeoutError):
        async with asyncio.timeout(_LATE_SECONDS):
            while not all(each.has_all(log) for each in listeners):
                await asyncio.sleep(0.2)
    await asyncio.sleep(0.5)  # what comes twice comes after the first
    return [wrong for each in listeners for wrong in each.judge(log)]
