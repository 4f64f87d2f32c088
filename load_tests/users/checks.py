"""Checks what users hear against Falcon's promises: answers in, violations out. It knows nothing of servers.

A user's message begins with a name that no other message has, and a version that its edits raise, so that it can be
told from all others anywhere. Messages of others, or from before, are checked for their order only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from falcon.client import Hello, Message, Messages, RoomSummary

K = TypeVar("K")
V = TypeVar("V")

_MARK = re.compile(r"#(\w+)\.(\d+) ")
_KEPT = 20_000  # places of a room that are remembered; older ones are forgotten


class Mark(NamedTuple):
    """The beginning of a text: the message's name and version."""

    name: str
    version: int


def marked(name: str, version: int, text: str) -> str:
    return f"#{name}.{version} {text}"


def mark_of(message: Message) -> Mark | None:
    """None for a message from outside the load test, or a deleted one."""
    found = _MARK.match(message.text)
    return Mark(found[1], int(found[2])) if found else None


class _Room:
    """``names``: what stands where. ``acknowledged``: what was confirmed to whom sent it, with its newest version."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.acknowledged: dict[int, Mark] = {}
        self.confirmed_reach = 0

    def forget(self) -> None:
        _forget_oldest(self.names, _KEPT)
        _forget_oldest(self.acknowledged, _KEPT)


class Register:
    """The knowledge that all users of a process share. Every method returns the violations that it has found."""

    def __init__(self) -> None:
        self._rooms: dict[int, _Room] = {}
        self._places: dict[str, tuple[int, int]] = {}

    def acknowledged(self, message: Message, name: str, text: str, author_id: int) -> list[str]:
        """Sending was confirmed with this message."""
        where = f"room {message.room_id}, seq {message.seq}"
        wrong = self.seen([message])
        if message.text != text or message.author_id != author_id or message.deleted:
            wrong.append(f"{where}: confirmed as {message.text[:40]!r} of {message.author_id}, sent as {text[:40]!r}")
            return wrong
        room = self._room(message.room_id)
        room.acknowledged[message.seq] = Mark(name, 1)
        room.confirmed_reach = max(room.confirmed_reach, message.seq)
        return wrong

    def edited(self, message: Message, mark: Mark) -> list[str]:
        """An edit was confirmed with this message."""
        where = f"room {message.room_id}, seq {message.seq}"
        if mark_of(message) != mark:
            return [f"{where}: an edit to {mark.name}.{mark.version} was confirmed as {message.text[:40]!r}"]
        if message.edited_at is None:
            return [f"{where}: was edited and says that it was not"]
        room = self._room(message.room_id)
        room.acknowledged[message.seq] = mark
        return []

    def seen(self, messages: Iterable[Message]) -> list[str]:
        """A message was seen at a place: it must be the same for all users, and nowhere else."""
        wrong = []
        for message in messages:
            room = self._room(message.room_id)
            mark = mark_of(message)
            if mark is None:
                continue
            where = f"room {message.room_id}, seq {message.seq}"
            known = room.names.setdefault(message.seq, mark.name)
            if known != mark.name:
                wrong.append(f"{where}: was {known}, is {mark.name}")
                continue
            place = self._places.setdefault(mark.name, (message.room_id, message.seq))
            if place != (message.room_id, message.seq):
                wrong.append(f"{mark.name} is there twice: room {place[0]}, seq {place[1]}, and {where}")
            room.forget()
        _forget_oldest(self._places, 10 * _KEPT)
        return wrong

    def confirmed_reach(self, room_id: int) -> int:
        """The largest ``seq`` that was confirmed to a sender."""
        return self._room(room_id).confirmed_reach

    def to_audit(self) -> dict[int, tuple[int, int]]:
        """The rooms where something was confirmed, with the first and last ``seq`` of that."""
        return {
            room_id: (min(room.acknowledged), max(room.acknowledged))
            for room_id, room in self._rooms.items()
            if room.acknowledged
        }

    def audit(self, room_id: int, messages: Sequence[Message]) -> list[str]:
        """All that there is from the first confirmed message of the room on, read at the end."""
        wrong = self.seen(messages)
        there = {message.seq: message for message in messages}
        for seq, mark in sorted(self._room(room_id).acknowledged.items()):
            where = f"room {room_id}, seq {seq}"
            message = there.get(seq)
            found = None if message is None else mark_of(message)
            if found is None or found.name != mark.name:
                wrong.append(f"{where}: {mark.name} was confirmed and is lost")
            elif found.version < mark.version:
                wrong.append(f"{where}: the edit {mark.name}.{mark.version} was confirmed and is lost")
        return wrong

    def _room(self, room_id: int) -> _Room:
        return self._rooms.setdefault(room_id, _Room())


class Reader:
    """What answers told one user: never less than before, and all that the user wrote.

    Pages and room lists come from different tables, which on a cluster need not be equally far.
    """

    def __init__(self, register: Register) -> None:
        self._register = register
        self._paged: dict[int, int] = {}
        self._listed: dict[int, int] = {}
        self._versions: dict[tuple[int, int], Mark] = {}

    def wrote(self, message: Message, mark: Mark) -> None:
        """Its own message, or edit, was confirmed: from now on it must show."""
        for known in (self._paged, self._listed):
            known[message.room_id] = max(message.seq, known.get(message.room_id, 0))
        self._versions[message.room_id, message.seq] = mark
        _forget_oldest(self._versions, 200)

    def newest(self, room_id: int, page: Messages) -> list[str]:
        """The newest page of a room: without a gap, not behind an earlier one, with all that was written."""
        wrong = [*in_order(room_id, page), *self._register.seen(page.messages)]
        last = page.messages[-1].seq if page.messages else 0
        known = self._paged.get(room_id, 0)
        if last < known:
            wrong.append(f"room {room_id}: seq {known} is known, and the newest page ends at {last}")
        self._paged[room_id] = max(known, last)
        return wrong + [text for message in page.messages for text in self._own(message)]

    def _own(self, message: Message) -> list[str]:
        mine = self._versions.get((message.room_id, message.seq))
        if mine is None:
            return []
        found = mark_of(message)
        where = f"room {message.room_id}, seq {message.seq}"
        if found is None or found.name != mine.name:
            return [f"{where}: is {message.text[:40]!r}, and was confirmed as {mine.name}"]
        if found.version < mine.version:
            return [f"{where}: shows {found.name}.{found.version} after the edit {mine.name}.{mine.version}"]
        return []

    def summaries(self, rooms: Iterable[RoomSummary]) -> list[str]:
        wrong = []
        for room in rooms:
            known = self._listed.get(room.room_id, 0)
            if room.last_seq < known:
                wrong.append(f"room {room.room_id}: seq {known} is known, and the list of rooms says {room.last_seq}")
            self._listed[room.room_id] = max(known, room.last_seq)
            if room.unread != room.last_seq - room.read_seq:
                found = f"{room.unread} unread, last {room.last_seq}, read {room.read_seq}"
                wrong.append(f"room {room.room_id}: does not add up: {found}")
        return wrong


def in_order(room_id: int, page: Messages) -> list[str]:
    seqs = [message.seq for message in page.messages]
    if seqs and seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        return [f"room {room_id}: a page with a gap or a double: {_shortened(seqs)}"]
    if seqs and page.has_before != (seqs[0] > 1):
        return [f"room {room_id}: a page that begins at {seqs[0]} says has_before {page.has_before}"]
    strangers = [message.seq for message in page.messages if message.room_id != room_id]
    return [f"room {room_id}: a page with messages of other rooms, at {_shortened(strangers)}"] if strangers else []


class Follower:
    """What a stream told one user, over all its connections: each message once, in order."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._next: dict[int, int] = {}

    def hello(self, hello: Hello) -> None:
        for room in hello.rooms:
            self._next[room.room_id] = room.last_seq + 1

    def caught_up_to(self, room_id: int, last_seq: int) -> None:
        """It was told to read by page up to here, and did."""
        self._next[room_id] = max(last_seq + 1, self._next.get(room_id, 0))

    def posted(self, message: Message) -> list[str]:
        wrong = self._register.seen([message])
        expected = self._next.get(message.room_id, message.seq)
        if message.seq != expected:
            what = "comes twice" if message.seq < expected else f"comes without seq {expected}"
            wrong.append(f"room {message.room_id}: seq {message.seq} {what} on a stream")
        self._next[message.room_id] = max(expected, message.seq + 1)
        return wrong

    def left(self, room_id: int) -> None:
        self._next.pop(room_id, None)

    def reach(self, room_id: int) -> int:
        return self._next.get(room_id, 1) - 1


def _forget_oldest(known: dict[K, V], kept: int) -> None:
    while len(known) > kept:
        del known[next(iter(known))]


def _shortened(seqs: Sequence[int]) -> str:
    return ", ".join(map(str, seqs[:12])) + (" …" if len(seqs) > 12 else "")
