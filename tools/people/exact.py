"""People who do one thing at a time, and so know exactly what each answer must say.

They share some rooms that no other client writes to. The model beside them has messages, mentions, pins, roles and
read marks; ``Exact`` compares each answer with it. If no answer comes, or one that says that it cannot be given now,
they ask again with the same key.
"""

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote

from tools.people.asking import Ask, Asking, Command, Reply
from tools.people.history import spoken
from tools.people.sessions import Account

_KEY_SECONDS: Final = 540.0  # less than the ten minutes in which a key must be known
_PAGE: Final = 50
_KEPT: Final = 12  # pages with their ETag, for later
_PINS_MAX: Final = 100  # of a room, as docs/building.md has it
_DONE: Final = 40  # commands that may be asked again
_IN_ROOM: Final = 0.3  # of the answers in threads, also posted in the room


@dataclass
class Message:
    """``said``: its first text; ``token`` and ``version`` make its texts (``tools.people.history``)."""

    author: int
    token: str
    said: str
    text: str
    mentions: frozenset[int]
    version: int = 0
    edited: bool = False
    deleted: bool = False


@dataclass
class Room:
    """``members``: their roles. ``marks``: read up to where, also of members who have left. ``pins``: who has pinned
    each message, the oldest pin first. ``threads``: by the number of their message."""

    members: dict[int, str]
    marks: dict[int, int]
    messages: list[Message] = field(default_factory=list)
    pins: dict[int, int] = field(default_factory=dict)
    threads: dict[int, "Thread"] = field(default_factory=dict)

    def counts(self, account_id: int) -> tuple[int, int, int]:
        """Read mark, unread, and unread mentions."""
        mark = self.marks[account_id]
        mentions = sum(account_id in each.mentions and not each.deleted for each in self.messages[mark:])
        return mark, len(self.messages) - mark, mentions

    def post(self, message: Message) -> None:
        """The author's mark moves along if all was read."""
        if self.marks[message.author] == len(self.messages):
            self.marks[message.author] += 1
        self.messages.append(message)

    def places(self, room_id: int, text: str) -> list[tuple[int, int]]:
        """The rooms and seqs at which the text stands now, here and in the threads."""
        texts = {room_id: [each.text for each in self.messages]}
        texts |= {thread.room_id: [said for _, said in thread.said] for thread in self.threads.values()}
        return [(room, seq) for room, each in texts.items() for seq, said in enumerate(each, 1) if said == text]


@dataclass
class Thread:
    """``said``: the author and the text of each message."""

    room_id: int
    said: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Done:
    """A command with its answer, of which each retry must be told. ``at``: seconds of a steady clock."""

    command: Command
    reply: Reply
    at: float


@dataclass
class Page:
    """A page that a client keeps, with the ETag that it came with."""

    person: Account
    room_id: int
    etag: str
    messages: Any


@dataclass
class Told:
    """All that the answers until now have made true."""

    rooms: dict[int, Room] = field(default_factory=dict)
    done: list[Done] = field(default_factory=list)
    opened: int = 0  # rooms of the founder

    def said(self) -> dict[tuple[int, int], str]:
        """The first text of each message, in rooms and threads."""
        texts = {room_id: [each.said for each in room.messages] for room_id, room in self.rooms.items()}
        for room in self.rooms.values():
            texts |= {thread.room_id: [text for _, text in thread.said] for thread in room.threads.values()}
        return {(room_id, seq): text for room_id, each in texts.items() for seq, text in enumerate(each, 1)}


class Exact(Asking):
    """``people`` talk; ``founder`` opens rooms up to ``rooms_max``, if limits are on, and beyond.

    ``is_searched``: there is an index of messages, which they ask.
    """

    def __init__(
        self,
        ask: Ask,
        urls: Callable[[], Sequence[str]],
        founder: Account,
        people: Sequence[Account],
        chance: random.Random,
        *,
        steady: Callable[[], float],
        rooms_max: int | None = None,
        is_searched: bool = False,
        name: str = "exact",
    ) -> None:
        super().__init__(ask, urls, chance, steady=steady, name=name)
        self.told = Told()
        self.posted: Callable[[str], object] = lambda posted_at: None  # hears the time of each new message
        self.operations = 0
        self.is_searched = is_searched
        self._founder = founder
        self._people = people
        self._rooms_max = rooms_max
        self._pages: list[Page] = []

    # --- the world around them ----------------------------------------------------------------------------------------

    def remember(self) -> Told:
        """The model as it is now, for :meth:`go_back`. No command is under way."""
        return copy.deepcopy(self.told)

    def go_back(self, told: Told) -> None:
        """The servers have only what was true then. Clients still have their pages."""
        self.told = copy.deepcopy(told)
        self._positions = {}

    def told_threads(self) -> dict[int, int]:
        """The threads, each with its room."""
        rooms = self.told.rooms.items()
        return {thread.room_id: room_id for room_id, room in rooms for thread in room.threads.values()}

    # --- what they do -------------------------------------------------------------------------------------------------

    async def open_rooms(self, count: int) -> None:
        first, *others = self._people
        members = [{"account_id": each.account_id, "role": "member"} for each in others]
        for _ in range(count):
            body = {"name": f"Room {self._number}", "members": members}
            reply = await self._command(first, "POST", "/v1/rooms", body, 201)
            if reply is not None:
                roles = {each.account_id: "member" for each in others} | {first.account_id: "admin"}
                self.told.rooms[reply.body["room_id"]] = Room(roles, dict.fromkeys(roles, 0))

    async def open_to_the_limit(self) -> None:
        """The founder opens all rooms but one."""
        for _ in range((self._rooms_max or 1) - 1):
            await self._open_another()

    async def talk(self, pause_seconds: tuple[float, float]) -> None:
        """Until ``ending`` is set."""
        while not self.ending:
            await self.step()
            await asyncio.sleep(self.chance.uniform(*pause_seconds))

    async def step(self) -> None:
        """One thing that one of them does."""
        acts: dict[Callable[[], Awaitable[object]], int] = {
            self._post: 30,
            self._edit: 10,
            self._delete: 5,
            self._mark: 14,
            self._pin: 8,
            self._unpin: 3,
            self._answer: 12,
            self._read_thread: 5,
            self._join_or_leave: 6,
            self._change_role: 4,
            self._read_page: 10,
            self._list: 7,
            self._list_pins: 4,
            self._search: 8 if self.is_searched else 0,
            self._retry: 8,
            self._misuse_a_key: 3,
            self._open_another: 4 if self._rooms_max is not None else 0,
        }
        [act] = self.chance.choices([*acts], [*acts.values()])
        self.operations += 1
        await act()

    async def retry_all(self) -> None:
        """Ask for everything again whose key must still be known."""
        for done in self._recent():
            await self._again(done)

    async def find_all(self) -> None:
        """Search for every message. Stop at the first mistake."""
        for room_id, room in self.told.rooms.items():
            person = self._member_of(room)
            for token in _tokens(room):
                if self.wrong:
                    return
                await self._find(person, room_id, room, token)

    # --- commands -----------------------------------------------------------------------------------------------------

    async def _post(self) -> None:
        person, room_id, room = self._anybody()
        role = room.members.get(person.account_id)
        mentions = self._some(room)
        token = f"{self._name}-{self._number}"
        text = spoken(f"{token}/0")
        body = {"text": text, "mentions": mentions}
        path = f"/v1/rooms/{room_id}/messages"
        if role is None:
            await self._command(person, "POST", path, body, 404)
        elif role == "readonly":
            await self._command(person, "POST", path, body, 403)
        else:
            seq = len(room.messages) + 1
            fields = {"seq": seq, "text": text, "mentions": mentions, "author_id": person.account_id}
            reply = await self._command(person, "POST", path, body, 201, fields)
            if reply is not None:
                room.post(Message(person.account_id, token, text, text, frozenset(mentions)))
                self.posted(reply.body["posted_at"])

    async def _edit(self) -> None:
        person, room_id, room = self._member()
        if not room.messages:
            return
        seq = self.chance.randint(1, len(room.messages))
        message = room.messages[seq - 1]
        mentions = self.chance.choice([None, [], self._some(room)])
        text = spoken(f"{message.token}/{message.version + 1}")
        body = {"text": text} | ({} if mentions is None else {"mentions": mentions})
        path = f"/v1/rooms/{room_id}/messages/{seq}"
        if room.members[person.account_id] == "readonly" or message.author != person.account_id:
            await self._command(person, "PATCH", path, body, 403)
        elif message.deleted:
            await self._command(person, "PATCH", path, body, 409)
        elif await self._command(person, "PATCH", path, body, 200, {"seq": seq, "text": text}) is not None:
            message.text, message.edited = text, True
            message.version += 1
            if mentions is not None:
                message.mentions = frozenset(mentions)

    async def _delete(self) -> None:
        """Often a message that is pinned. Then another one, who has not seen that, pins it."""
        person, room_id, room = self._member()
        if not room.messages:
            return
        seq = self.chance.choice([*[*room.pins][-1:], self.chance.randint(1, len(room.messages))])
        message = room.messages[seq - 1]
        role = room.members[person.account_id]
        may = role == "admin" or (role == "member" and message.author == person.account_id)
        reply = await self._command(person, "DELETE", f"/v1/rooms/{room_id}/messages/{seq}", None, 204 if may else 403)
        if may and reply is not None:
            message.deleted, message.text, message.mentions = True, "", frozenset()
            if room.pins.pop(seq, None) is not None:
                await self._pin_one(self._member_of(room), room_id, room, seq)

    async def _pin(self) -> None:
        """Often a message that is pinned already."""
        person, room_id, room = self._member()
        if room.messages:
            seq = self.chance.choice([*[*room.pins][-1:], self.chance.randint(1, len(room.messages))])
            await self._pin_one(person, room_id, room, seq)

    async def _pin_one(self, person: Account, room_id: int, room: Room, seq: int) -> None:
        by = room.pins.get(seq, person.account_id)
        path = f"/v1/rooms/{room_id}/pins/{seq}"
        if room.members[person.account_id] == "readonly":
            await self._command(person, "PUT", path, None, 403)
        elif room.messages[seq - 1].deleted:
            await self._command(person, "PUT", path, None, 409)
        elif len(room.pins) >= _PINS_MAX and seq not in room.pins:
            await self._command(person, "PUT", path, None, 422)
        elif await self._command(person, "PUT", path, None, 200, {"seq": seq, "pinned_by": by}) is not None:
            room.pins[seq] = by

    async def _unpin(self) -> None:
        person, room_id, room = self._member()
        if not room.messages:
            return
        seq = self.chance.choice([*room.pins, self.chance.randint(1, len(room.messages))])
        may = room.members[person.account_id] != "readonly"
        reply = await self._command(person, "DELETE", f"/v1/rooms/{room_id}/pins/{seq}", None, 204 if may else 403)
        if may and reply is not None:
            room.pins.pop(seq, None)

    async def _answer(self) -> None:
        await self._answer_in(*self._anybody())

    async def _answer_in(self, person: Account, room_id: int, room: Room) -> None:
        """In the thread of a message, also of one that has none yet, and also without a right to it. Some answers come
        in the room, too, in the same moment."""
        if not room.messages:
            return
        seq = self.chance.choice([*room.threads, self.chance.randint(1, len(room.messages))])
        thread = room.threads.get(seq)
        may = {"admin": 201, "member": 201, "readonly": 403}.get(room.members.get(person.account_id, ""), 404)
        if thread is None or self.chance.random() < 0.3:
            started = 409 if room.messages[seq - 1].deleted else 201 if thread is None else 200
            known: dict[str, Any] = (
                {} if thread is None or (may, started) != (201, 200) else {"room_id": thread.room_id}
            )
            path = f"/v1/rooms/{room_id}/messages/{seq}/thread"
            reply = await self._command(person, "PUT", path, None, started if may == 201 else may, known)
            if reply is not None and reply.status == 201:
                thread = room.threads[seq] = Thread(reply.body["room_id"])
        if thread is None:
            return
        in_room = self.chance.random() < _IN_ROOM
        token = f"{self._name}-{self._number}{'+' * in_room}"
        text, mentions = spoken(f"{token}/0"), self._some(room)
        body = {"text": text, "mentions": mentions, "also_in_room": in_room}
        fields = {"seq": len(thread.said) + 1, "text": text, "in_room": len(room.messages) + 1 if in_room else None}
        path = f"/v1/rooms/{thread.room_id}/messages"
        reply = await self._command(person, "POST", path, body, may, fields if may == 201 else {})
        if reply is not None and may == 201:
            thread.said.append((person.account_id, text))
            if in_room:
                room.post(Message(person.account_id, token, text, text, frozenset(mentions)))

    async def _read_thread(self) -> None:
        """One who is no member of its room must not find it."""
        person, room_id, room = self._anybody()
        if not room.threads:
            return
        thread = self.chance.choice([*room.threads.values()])
        path = f"/v1/rooms/{thread.room_id}/messages?limit={_PAGE}"
        reply = await self._query(person, path)
        if reply is None:
            return
        wanted = thread.said[-_PAGE:] if person.account_id in room.members else 404
        found = [(m["author_id"], m["text"]) for m in reply.body["messages"]] if reply.status == 200 else reply.status
        if found != wanted:
            self._say(f"thread {thread.room_id} of room {room_id} is read as {found}, not {wanted}")

    async def _mark(self) -> None:
        """Often directly behind a message of another one, which the tables may not have yet."""
        person, room_id, room = self._member()
        if self.chance.random() < 0.5:
            await self._post()
            if person.account_id not in room.members:
                return
        seq = self.chance.randint(0, len(room.messages))
        force = self.chance.random() < 0.3
        before = room.marks[person.account_id]
        room.marks[person.account_id] = seq if force else max(seq, before)
        mark, unread, mentions = room.counts(person.account_id)
        fields = {"read_seq": mark, "unread": unread, "mentions": mentions}
        body = {"seq": seq, "force": force}
        if await self._command(person, "PUT", f"/v1/rooms/{room_id}/read", body, 200, fields) is None:
            room.marks[person.account_id] = before

    async def _join_or_leave(self) -> None:
        """After one has left, another one writes in a thread there."""
        first, *others = self._people
        person = self.chance.choice(others)
        room_id, room = self._room()
        if room.members.get(first.account_id) != "admin":
            return
        path = f"/v1/rooms/{room_id}/members/{person.account_id}"
        if person.account_id in room.members:
            if await self._command(person, "DELETE", path, None, 204) is not None:
                del room.members[person.account_id]
                await self._answer_in(self._member_of(room), room_id, room)
        elif await self._command(first, "PUT", path, {"role": "member"}, 200, {"role": "member"}) is not None:
            room.members[person.account_id] = "member"
            room.marks[person.account_id] = len(room.messages)

    async def _change_role(self) -> None:
        _, *others = self._people
        person, asking = self.chance.choice(others), self.chance.choice(self._people)
        room_id, room = self._room()
        if person.account_id not in room.members or asking.account_id not in room.members:
            return
        role = self.chance.choice(["admin", "member", "readonly"])
        may = room.members[asking.account_id] == "admin"
        path = f"/v1/rooms/{room_id}/members/{person.account_id}"
        if await self._command(asking, "PUT", path, {"role": role}, 200 if may else 403) is not None and may:
            room.members[person.account_id] = role

    async def _open_another(self) -> None:
        """Also beyond the limit, which a process may notice a moment late."""
        assert self._rooms_max is not None
        may = self.told.opened < self._rooms_max
        self._number += 1
        key = f"{self._name}-{self._number}"
        command = Command(self._founder, "POST", "/v1/rooms", {"name": f"Another {self._number}"}, key, (201, {}))
        reply = await self._insist(command)
        if reply is None:
            return
        if reply.status == 201:
            self.told.opened += 1
            self._note(command, reply)
        elif may or reply.status != 429:
            self._say(f"{command} was answered {reply.status} {reply.body}")
        if not may and (mine := [each for each in self._recent() if each.command.person == self._founder]):
            await self._again(self.chance.choice(mine))

    # --- keys ---------------------------------------------------------------------------------------------------------

    async def _retry(self) -> None:
        if recent := self._recent():
            await self._again(self.chance.choice(recent))

    async def _misuse_a_key(self) -> None:
        """Another request under a used key is refused, and the first one's retries are answered as before."""
        texts = [each for each in self._recent() if each.reply.status < 300 and "text" in (each.command.body or {})]
        if not texts:
            return
        done = self.chance.choice(texts)
        other = replace(done.command, body={**done.command.body, "text": "another"})
        reply = await self._insist(other)
        if reply is not None and (reply.status, reply.body.get("code")) != (422, "idempotency_key_reused"):
            self._say(f"another request under the key of {done.command} was answered {reply.status}")
        for url in self._urls():
            await self._again(done, url)

    def _recent(self) -> list[Done]:
        return [each for each in self.told.done if self._steady() - each.at < _KEY_SECONDS]

    async def _again(self, done: Done, url: str = "") -> None:
        reply = await self._insist(done.command, url)
        if reply is not None and (reply.status, reply.body) != (done.reply.status, done.reply.body):
            self._say(
                f"the retry of {done.command} was answered {reply.status} {reply.body}, "
                f"and at first {done.reply.status} {done.reply.body}"
            )

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _read_page(self) -> None:
        """The newest page; maybe one that the client has is confirmed."""
        person, room_id, room = self._member()
        kept = next((each for each in self._pages if each.person == person and each.room_id == room_id), None)
        headers = {} if kept is None else {"If-None-Match": kept.etag}
        path = f"/v1/rooms/{room_id}/messages?limit={_PAGE}"
        reply = await self._query(person, path, headers)
        if reply is None:
            return
        if reply.status == 304:
            assert kept is not None
            self._judge_page(f"room {room_id}, confirmed", room, kept.messages)
        elif reply.status == 200:
            self._judge_page(f"room {room_id}", room, reply.body["messages"])
            etag = next((value for name, value in reply.headers.items() if name.lower() == "etag"), "")
            self._pages = [each for each in self._pages if each is not kept][-_KEPT:]
            self._pages.append(Page(person, room_id, etag, reply.body["messages"]))
        else:
            self._say(f"GET {path} was answered {reply.status} {reply.body}")

    def _judge_page(self, where: str, room: Room, messages: Any) -> None:
        first = max(1, len(room.messages) - _PAGE + 1)
        wanted = [
            (seq, each.author, each.text, sorted(each.mentions), each.edited, each.deleted)
            for seq, each in enumerate(room.messages[first - 1 :], first)
        ]
        found = [
            (
                m["seq"],
                m["author_id"],
                m["text"],
                sorted(m["mentions"]),
                bool(m["edited_at"]) and not m["deleted"],
                m["deleted"],
            )
            for m in messages
        ]
        wanted = [(*each[:4], each[4] and not each[5], each[5]) for each in wanted]
        if found != wanted:
            differs = [(one, other) for one, other in zip(found, wanted, strict=False) if one != other][:1]
            self._say(f"{where} is shown with {len(found)} messages of {len(wanted)}, and otherwise: {differs}")

    async def _search(self) -> None:
        """For a message, by its text of now or an older one. Also by one who has left its room."""
        person, room_id, room = self._anybody()
        if room.messages:
            token, _, version = self.chance.choice([*_tokens(room)]).partition("/")
            await self._find(person, room_id, room, f"{token}/{self.chance.randint(0, int(version))}")

    async def _find(self, person: Account, room_id: int, room: Room, token: str) -> None:
        reply = await self._query(person, f"/v1/search?q={quote(token)}")
        if reply is None:
            return
        if reply.status != 200:
            self._say(f"a search was answered {reply.status} {reply.body}")
            return
        found = sorted((hit["room_id"], hit["message"]["seq"]) for hit in reply.body["hits"])
        wanted = sorted(room.places(room_id, spoken(token))) if person.account_id in room.members else []
        if found != wanted:
            self._say(f"{token} of room {room_id} is found as {found}, not {wanted}")

    async def _list(self) -> None:
        person = self.chance.choice(self._people)
        reply = await self._query(person, "/v1/rooms?limit=200")
        if reply is None:
            return
        listed = {each["room_id"]: each for each in reply.body["rooms"] if each["room_id"] in self.told.rooms}
        wanted = {room_id for room_id, room in self.told.rooms.items() if person.account_id in room.members}
        if set(listed) != wanted:
            self._say(f"account {person.account_id} is shown rooms {sorted(listed)}, not {sorted(wanted)}")
        for room_id, shown in listed.items():
            room = self.told.rooms[room_id]
            if person.account_id not in room.members:
                continue
            last = room.messages[-1].text if room.messages else None
            found = (shown["read_seq"], shown["unread"], shown["mentions"], shown["last_seq"], shown["role"])
            expected = (*room.counts(person.account_id), len(room.messages), room.members[person.account_id])
            if found != expected or (shown["last_message"] or {}).get("text") != last:
                self._say(f"room {room_id} is listed with {found}, not {expected}; last message {last!r}")

    async def _list_pins(self) -> None:
        person, room_id, room = self._member()
        path = f"/v1/rooms/{room_id}/pins"
        reply = await self._query(person, path)
        if reply is None:
            return
        if reply.status != 200:
            self._say(f"GET {path} was answered {reply.status} {reply.body}")
            return
        found = [(each["message"]["seq"], each["message"]["text"], each["pinned_by"]) for each in reply.body["pins"]]
        wanted = [(seq, room.messages[seq - 1].text, by) for seq, by in reversed(room.pins.items())]
        if found != wanted:
            self._say(f"room {room_id} lists the pins {found}, not {wanted}")

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _command(
        self, person: Account, method: str, path: str, body: Any, status: int, fields: Mapping[str, Any] | None = None
    ) -> Reply | None:
        """Retry until there is an answer, and compare it. Returns it if it is the expected one."""
        self._number += 1
        command = Command(person, method, path, body, f"{self._name}-{self._number}", (status, fields or {}))
        reply = await self._insist(command)
        if reply is None:
            return None
        said = {name: (reply.body or {}).get(name) for name in command.expected[1]}
        if (reply.status, said) != command.expected:
            self._say(f"{command} was answered {reply.status} {reply.body}, not {command.expected}")
            return None
        self._note(command, reply)
        return reply

    def _note(self, command: Command, reply: Reply) -> None:
        self.told.done = [*self.told.done[-_DONE:], Done(command, reply, self._steady())]

    # --- chances ------------------------------------------------------------------------------------------------------

    def _room(self) -> tuple[int, Room]:
        return self.chance.choice([*self.told.rooms.items()])

    def _anybody(self) -> tuple[Account, int, Room]:
        return (self.chance.choice(self._people), *self._room())

    def _member(self) -> tuple[Account, int, Room]:
        room_id, room = self._room()
        return self._member_of(room), room_id, room

    def _member_of(self, room: Room) -> Account:
        return self.chance.choice([each for each in self._people if each.account_id in room.members])

    def _some(self, room: Room) -> list[int]:
        """Members to mention."""
        return self.chance.sample(sorted(room.members), self.chance.choice([0, 0, 1, 1, min(2, len(room.members))]))


def _tokens(room: Room) -> Iterator[str]:
    """Of all messages, also of those in threads and of deleted ones."""
    yield from (f"{each.token}/{each.version}" for each in room.messages)
    yield from (text.partition(" ")[0] for thread in room.threads.values() for _, text in thread.said)
