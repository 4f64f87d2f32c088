"""The memory of a feed for streams that begin or resume, by room and account: a stream looks at its own records only,
however many the feed remembers."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.accounts.rules import TokenIssued, TokenRevoked
from falcon.features.catalogue import Event
from falcon.features.messages.rules import MessageDeleted
from falcon.features.rooms.rules import MemberChanged, MemberJoined, MemberLeft, RoomChanged, RoomCreated, RoomDeleted
from falcon.features.threads.rules import ThreadFollowed, ThreadUnfollowed
from falcon.journal.record import Record
from falcon.streams.tail import LocatedRecord

# About what a record takes beside its data, and each room or account that has some.
_RECORD_BYTES: Final = 180
_KEY_BYTES: Final = 400
# About what an event of the history takes beside its data, and each account that it is about.
_EVENT_BYTES: Final = 1_000
_ABOUT_BYTES: Final = 500
_GAP: Final = 64

T = TypeVar("T")


class _Stretch(Generic[T]):
    """Items of a segment and their offsets, the oldest first. They come at the end and are dropped from the beginning.

    The first ``dropped`` places are empty.
    """

    __slots__ = ("dropped", "items", "key", "offsets", "segment")

    def __init__(self, segment: int, key: int, offsets: list[int], items: list[T]) -> None:
        self.segment = segment
        self.key = key
        self.offsets = offsets
        self.items: list[Any] = items
        self.dropped = 0

    def put_before(self, offsets: list[int], items: list[T]) -> None:
        self.offsets[: self.dropped] = offsets
        self.items[: self.dropped] = items
        self.dropped = 0

    def drop(self) -> bool:
        """Drop the first item. Returns True if none is left."""
        self.items[self.dropped] = None
        dropped = self.dropped = self.dropped + 1
        if dropped > _GAP and dropped * 2 > len(self.items):  # seldom, since all others have to move
            del self.items[:dropped]
            del self.offsets[:dropped]
            self.dropped = 0
            return not self.items
        return dropped == len(self.items)

    def since(self, offset: int) -> Iterator[tuple[int, T]]:
        first = bisect_left(self.offsets, offset, self.dropped)
        return zip(self.offsets[first:], self.items[first:], strict=True)

    def newest(self) -> Iterator[tuple[int, T]]:
        return ((self.offsets[place], self.items[place]) for place in range(len(self.items) - 1, self.dropped - 1, -1))


class _Memory:
    """The memory of all segments together, in ``most_bytes``."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._begins: dict[int, int] = {}
        self._bytes = 0

    def follow(self, segment: int, offset: int) -> None:
        """The feed reads this segment from here on."""
        self._begins[segment] = offset

    def clear(self) -> None:
        self._begins.clear()
        self._bytes = 0

    def begins(self, segment: int) -> int:
        """All of the segment from this offset on is remembered."""
        return self._begins[segment]


class RecordMemory(_Memory):
    """The last records, ``most`` of them."""

    def __init__(self, most: int, most_bytes: int) -> None:
        super().__init__(most_bytes)
        self._most = most
        self._order: deque[_Stretch[Record]] = deque()  # an entry for each record
        self._by_key: dict[int, _Stretch[Record]] = {}

    def clear(self) -> None:
        super().clear()
        self._order.clear()
        self._by_key.clear()

    def keep(self, raw: LocatedRecord) -> None:
        """Remember the next record of a segment, and drop the oldest ones that are too many."""
        record = raw.record
        key = record.key or _unkeyed(raw.segment)
        run = self._by_key.get(key)
        if run is None:
            run = self._by_key[key] = _Stretch(raw.segment, key, [raw.at.offset], [record])
            self._bytes += len(record.data) + _RECORD_BYTES + _KEY_BYTES
        else:
            run.offsets.append(raw.at.offset)
            run.items.append(record)
            self._bytes += len(record.data) + _RECORD_BYTES
        self._order.append(run)
        while self._bytes > self._most_bytes or len(self._order) > self._most:
            run = self._order.popleft()
            first = run.dropped
            self._begins[run.segment] = run.offsets[first] + 1
            self._bytes -= len(run.items[first].data) + _RECORD_BYTES
            if run.drop():
                del self._by_key[run.key]
                self._bytes -= _KEY_BYTES

    def room(self) -> int:
        """How many more records may be remembered, if they are as large as the others."""
        mean = self._bytes / len(self._order) if self._order else _EVENT_BYTES
        return min(self._most - len(self._order), int(self.room_bytes() / mean))

    def room_bytes(self) -> int:
        return self._most_bytes - self._bytes

    def put_before(self, segment: int, offset: int, older: Sequence[LocatedRecord]) -> bool:
        """Remember all records of a segment from ``offset`` up to where it begins. False if there is no room."""
        by_key: dict[int, tuple[list[int], list[Record]]] = {}
        for raw in older:
            offsets, records = by_key.setdefault(raw.record.key or _unkeyed(segment), ([], []))
            offsets.append(raw.at.offset)
            records.append(raw.record)
        added = sum(len(raw.record.data) + _RECORD_BYTES for raw in older)
        added += _KEY_BYTES * len(by_key.keys() - self._by_key.keys())
        if len(self._order) + len(older) > self._most or self._bytes + added > self._most_bytes:
            return False
        for key, (offsets, records) in by_key.items():
            run = self._by_key.get(key)
            if run is None:
                self._by_key[key] = _Stretch(segment, key, offsets, records)
            else:
                run.put_before(offsets, records)
        self._order.extendleft(self._by_key[raw.record.key or _unkeyed(segment)] for raw in reversed(older))
        self._bytes += added
        self._begins[segment] = offset
        return True

    def since(self, starts: Mapping[int, int]) -> list[tuple[int, Record]]:
        """The records of these rooms and accounts of a segment, each from an offset on, in the order of the log. Each
        comes with its own offset."""
        found: list[tuple[int, Record]] = []
        for key, offset in starts.items():
            run = self._by_key.get(key)
            if run is not None:
                found += run.since(offset)
        found.sort(key=itemgetter(0))
        return found

    def newest(self, key: int) -> Iterator[tuple[int, Record]]:
        """The records of a room or account, the newest first."""
        run = self._by_key.get(key)
        return iter(()) if run is None else run.newest()

    def last(self, key: int) -> int:
        """The offset of the last record of a room or account; -1 if there is none."""
        run = self._by_key.get(key)
        return -1 if run is None else run.offsets[-1]


def _unkeyed(segment: int) -> int:
    """Stands for the key of records that are about no room or account."""
    return -1 - segment


class _Kept(NamedTuple):
    segment: int
    offset: int
    event: Event
    about: Sequence[AccountId | RoomId]
    bytes: int


class HistoryMemory(_Memory):
    """The last events about members, open rooms, deletions and tokens."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes)
        self._order: deque[_Kept] = deque()
        self._by_identity: dict[tuple[int, int], _Stretch[Event]] = {}  # by segment, and account or room
        self._deleted: dict[RoomId, dict[Seq, int]] = {}  # the offset of each deletion

    def clear(self) -> None:
        super().clear()
        self._order.clear()
        self._by_identity.clear()
        self._deleted.clear()

    def keep(self, raw: LocatedRecord, event: Event) -> None:
        """Remember the next event of a segment, and drop the oldest ones that are too many."""
        kept = _kept(raw, event)
        self._order.append(kept)
        for identity in kept.about:
            run = self._by_identity.get((kept.segment, identity))
            if run is None:
                self._by_identity[kept.segment, identity] = _Stretch(kept.segment, identity, [kept.offset], [event])
            else:
                run.offsets.append(kept.offset)
                run.items.append(event)
        self._note_deletion(kept)
        self._bytes += kept.bytes
        while self._bytes > self._most_bytes:
            self._drop()

    def _note_deletion(self, kept: _Kept) -> None:
        if isinstance(kept.event, MessageDeleted):
            message = kept.event.message
            of_room = self._deleted.setdefault(message.room_id, {})
            of_room[message.seq] = max(kept.offset, of_room.get(message.seq, 0))

    def _drop(self) -> None:
        kept = self._order.popleft()
        self._begins[kept.segment] = kept.offset + 1
        self._bytes -= kept.bytes
        for identity in kept.about:
            if self._by_identity[kept.segment, identity].drop():
                del self._by_identity[kept.segment, identity]
        if isinstance(kept.event, MessageDeleted):
            message = kept.event.message
            of_room = self._deleted[message.room_id]
            if of_room.get(message.seq) == kept.offset:
                del of_room[message.seq]
            if not of_room:
                del self._deleted[message.room_id]

    def put_before(self, segment: int, offset: int, events: Iterable[tuple[LocatedRecord, Event]]) -> None:
        """Remember the events of a segment from ``offset`` up to where it begins, if there is room for them."""
        older = [_kept(raw, event) for raw, event in events if raw.at.offset < self._begins[segment]]
        size = sum(kept.bytes for kept in older)
        if self._bytes + size > self._most_bytes:
            return
        self._order.extendleft(reversed(older))
        by_identity: dict[int, tuple[list[int], list[Event]]] = {}
        for kept in older:
            self._note_deletion(kept)
            for identity in kept.about:
                offsets, of_identity = by_identity.setdefault(identity, ([], []))
                offsets.append(kept.offset)
                of_identity.append(kept.event)
        for identity, (offsets, of_identity) in by_identity.items():
            run = self._by_identity.get((segment, identity))
            if run is None:
                self._by_identity[segment, identity] = _Stretch(segment, identity, offsets, of_identity)
            else:
                run.put_before(offsets, of_identity)
        self._bytes += size
        self._begins[segment] = min(offset, self._begins[segment])

    def about(self, segment: int, identity: AccountId | RoomId, offset: int) -> Iterator[tuple[int, Event]]:
        """The events of the history, as :meth:`Feed.history_about` gives them."""
        run = self._by_identity.get((segment, identity))
        return iter(()) if run is None else run.since(offset)

    def is_deleted(self, room_id: RoomId, seq: Seq) -> bool:
        return seq in self._deleted.get(room_id, ())


def _kept(raw: LocatedRecord, event: Event) -> _Kept:
    about = _about(event)
    size = len(raw.record.data) + _EVENT_BYTES + _ABOUT_BYTES * len(about)
    return _Kept(raw.segment, raw.at.offset, event, about, size)


def _about(event: Event) -> Sequence[AccountId | RoomId]:
    """The accounts whose memberships or tokens the event changes, and the room that it may open or close. No account
    has the id of a room."""
    match event:
        case RoomCreated(members=members) | RoomDeleted(members=members):
            return [event.room_id, *dict.fromkeys(member.account_id for member in members)]
        case RoomChanged(room_id=room_id):
            return (room_id,)
        case MemberJoined() | MemberChanged() | MemberLeft() | ThreadFollowed() | ThreadUnfollowed():
            return (event.account_id,)
        case TokenIssued() | TokenRevoked():
            return (event.account_id,)
    return ()
