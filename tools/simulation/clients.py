"""Visitors of the simulated cluster, who look at what no load does: at once, at another edge, and from both ends.

Each knows the contract of the API and nothing else, and notes what contradicts it. They come beside the sessions of
``tools/people``, who chat.
"""

import asyncio
import contextlib
import json
import math
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import httpx

from falcon_chat import FalconClient, Message
from falcon_chat.sse import Block, Parser
from tools.people.asking import Asking, over
from tools.people.colleagues import Colleagues
from tools.people.exact import Exact
from tools.people.history import Operation, spoken, token_of
from tools.people.sessions import Account
from tools.simulation.threads import Simulation

_PATIENCE_SECONDS: Final = 12.0
_CLOCK_SECONDS: Final = 15.0  # what owners may differ from the brokers by, and what steps of clocks add
_LISTEN_SECONDS: Final = (0.3, 4.0)
_TOKENS: Final = 12
_HALLS: Final = 4
_LATE_SECONDS: Final = 12.0  # a command's deadline, and what clocks may be wrong by
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_UNKNOWN: Final = "outcome_unknown"
_WISHES: Final = 2_000
_EMOJI: Final = ("👍", "❤️", "🎉")
_BUSY: Final = frozenset({429, 503})


@dataclass(frozen=True)
class HttpReply:
    """``body``: of an answer; of a problem its members."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def done(self) -> bool:
        return self.status < 300

    @property
    def refused(self) -> bool:
        """It was said that nothing was done."""
        return self.status in _BUSY and self.body.get("code") != _UNKNOWN

    @property
    def position(self) -> str:
        return self.headers.get("falcon-position", "")


@dataclass
class Visit:
    """Shared by all visitors. ``halls``: their own rooms with ``accounts`` as members, the first as admin.

    ``begin_seconds``: a stream resumes from its token within this time.
    """

    simulation: Simulation
    urls: Sequence[str]
    admin_token: str
    accounts: Sequence[Account]
    http: Any
    begin_seconds: float = math.inf
    halls: list[int] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    asked: dict[str, float] = field(default_factory=dict)  # by token of a message: when
    acknowledged: dict[tuple[int, int], str] = field(default_factory=dict)  # text by hall and seq
    # by hall, seq, emoji and account: has it reacted? None while that is unknown
    reacted: dict[tuple[int, int, str, int], bool | None] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # by key: what was said that it was not done
    ending: bool = False

    def __post_init__(self) -> None:
        self.streaming = httpx.AsyncClient(timeout=httpx.Timeout(_PATIENCE_SECONDS, pool=None), trust_env=False)

    def wrong(self, what: str) -> None:
        if what not in self.violations:
            self.violations.append(what)


class Visitors:
    def __init__(
        self,
        simulation: Simulation,
        urls: Sequence[str],
        admin_token: str,
        accounts: Sequence[Account],
        http: Any,
        kinds: Sequence[Callable[[Visit, int], "_Visitor"]],
    ) -> None:
        self._visit = Visit(simulation, urls, admin_token, accounts, http)
        self._all = [kind(self._visit, number) for number, kind in enumerate(kinds)]

    async def open_halls(self) -> None:
        first, *others = self._visit.accounts
        async with FalconClient(self._visit.urls, first.token) as falcon:
            for _ in range(_HALLS):
                room = await falcon.create_room("Lobby", members={each.account_id: "member" for each in others})
                self._visit.halls.append(room.room_id)
            await falcon.rooms()  # waits until all of it can be read

    def coming(self, seed: int, names: Sequence[str], begin_seconds: float) -> list[Coroutine[Any, Any, None]]:
        """The named visitors, or one of them by chance. All their chances follow from the seed."""
        self._visit.begin_seconds = begin_seconds
        usual = [each for each in self._all if not each.asked_for]
        some = random.Random(f"visitors {seed}").sample(usual, min(1, len(usual)))
        for number, each in enumerate(self._all):
            each.chance.seed(f"visitor {number} {seed}")
        return [each.run() for each in self._all if (each.name in names if names else each in some)]

    async def resolve_membership(self) -> None:
        """Once all have come to their end and all is well: page the halls to their end at every edge."""
        visit = self._visit
        for url in visit.urls:
            async with FalconClient(url, visit.accounts[0].token, timeout=60.0) as falcon:
                for hall in visit.halls:
                    messages = await _all_of(falcon, hall)
                    self._judge_hall(f"hall {hall} at {url}", hall, messages)
        await visit.streaming.aclose()

    def _judge_hall(self, where: str, hall: int, messages: Sequence[Message]) -> None:
        visit = self._visit
        if [each.seq for each in messages] != list(range(1, len(messages) + 1)):
            visit.wrong(f"{where} has the seqs {[each.seq for each in messages]}")
        texts = [each.text for each in messages]
        if len(set(texts)) < len(texts):
            visit.wrong(f"{where} has a message twice: {sorted(text for text in set(texts) if texts.count(text) > 1)}")
        for (room, seq), text in visit.acknowledged.items():
            if room == hall and (seq > len(messages) or texts[seq - 1] != text):
                visit.wrong(f"{where}: {text} was acknowledged as {seq}")
        for (room, seq, emoji, account_id), is_there in visit.reacted.items():
            if room == hall and is_there not in (None, account_id in _who_reacted(messages[seq - 1], emoji)):
                visit.wrong(f"{where}: {emoji} of account {account_id} to {seq} should be there: {is_there}")
        for each in messages:
            asked = visit.asked.get(token_of(each.text))
            late = 0.0 if asked is None else each.posted_at.timestamp() - asked
            if late > _LATE_SECONDS:
                visit.wrong(f"{where}: {each.text} was said {late:.0f} s after it was asked for, and long given up")

    def end(self) -> None:
        self._visit.ending = True

    @property
    def told(self) -> Sequence[str]:
        """What they say of their visit."""
        return self._visit.told

    def wrong(self, logged: Sequence[Operation]) -> list[str]:
        """Contradictions of the contract, or of the log."""
        found = {op.key: op for op in logged if op.kind == "logged" and op.key in self._visit.refused}
        denied = [f"{self._visit.refused[key]}, and the log has it: {op.name}" for key, op in found.items()]
        return [*self._visit.violations, *denied]


async def _all_of(falcon: FalconClient, hall: int) -> list[Message]:
    messages: list[Message] = []
    while True:
        page = await falcon.messages(hall, after=len(messages), limit=200)
        messages += page.messages
        if not page.has_after or not page.messages:
            return messages


def _who_reacted(message: Message, emoji: str) -> set[int]:
    """There are fewer accounts than a message shows."""
    reactions = message.reactions if isinstance(message.reactions, tuple) else ()
    return {account_id for each in reactions if each.emoji == emoji for account_id in each.accounts}


class _Visitor:
    pause_seconds = (0.05, 0.6)
    asked_for = False  # comes only if a plan names it

    def __init__(self, visit: Visit, number: int) -> None:
        self.visit = visit
        self.chance = random.Random(number)
        self.name = type(self).__name__.removeprefix("_").lower()
        self.number = number
        self._keys = 0

    async def run(self) -> None:
        while not self.visit.ending:
            await self.act()
            await asyncio.sleep(self.chance.uniform(*self.pause_seconds))

    async def act(self) -> None:
        raise NotImplementedError

    def wrong(self, what: str) -> None:
        self.visit.wrong(f"{self.name}: {what}")

    def key(self) -> str:
        self._keys += 1
        return f"{self.name}-{self.number}-{self._keys}"

    def edge(self) -> str:
        return self.chance.choice(self.visit.urls)

    def other_than(self, edge: str) -> str:
        others = [each for each in self.visit.urls if each != edge]
        return self.chance.choice(others or [edge])

    async def ask(
        self,
        method: str,
        path: str,
        token: str,
        *,
        edge: str | None = None,
        body: Mapping[str, Any] | None = None,
        key: str = "",
        position: str = "",
        may_be: Sequence[int] = (),
    ) -> HttpReply | None:
        """One attempt; None where no answer comes. An answer is good, or says that it cannot be given now, or has a
        status that ``may_be``: all else denies what is so."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["Idempotency-Key"] = key
        if position:
            headers["Falcon-Position"] = position
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                url = (edge or self.edge()) + path
                response = await self.visit.http.request(method, url, json=body, params={}, headers=headers)
        except (httpx.HTTPError, TimeoutError):
            return None
        said = response.json() if response.content else {}
        reply = HttpReply(response.status_code, response.headers, said)
        if not (reply.done or reply.status in _BUSY or reply.status in may_be):
            self.wrong(f"{method} {path} was answered {reply.status} {said.get('code')}: {said.get('detail')}")
        return reply

    async def insist(self, method: str, path: str, token: str, **asked: Any) -> HttpReply | None:
        """Retry with one key until it is done. None if that does not happen."""
        key = self.key()
        while not self.visit.ending:
            reply = await self.ask(method, path, token, key=key, **asked)
            if reply is not None and (reply.done or reply.status not in _BUSY):
                return reply if reply.done else None
            await asyncio.sleep(self.chance.uniform(0.05, 0.3))
        return None

    def look_at_time(self, what: str, said: str) -> None:
        """The time of an event of a moment ago."""
        off = datetime.fromisoformat(said).timestamp() - self._wall()
        if abs(off) > _CLOCK_SECONDS:
            self.wrong(f"{what} bears a time that is {off:+.0f} s off")

    def _wall(self) -> float:
        return self.visit.simulation.wall()


class _Newcomer(_Visitor):
    """Uses what has just been made at once, at another edge, with its position and without."""

    async def act(self) -> None:
        visit, edge = self.visit, self.edge()
        made = await self.insist("POST", "/v1/accounts", visit.admin_token, edge=edge, body={"name": "New"})
        if made is None:
            return
        account_id, token = made.body["account_id"], made.body["token"]
        other = self.other_than(edge)
        position = made.position if self.chance.random() < 0.5 else ""
        invited = [{"account_id": account_id, "role": "member"}]
        owner = visit.accounts[0]
        uses: list[Callable[[], Coroutine[Any, Any, HttpReply | None]]] = [
            lambda: self.ask("GET", "/v1/me", token, edge=other, position=position),
            lambda: self.insist("POST", "/v1/rooms", token, edge=other, body={"name": "Mine"}),
            lambda: self._open(owner, invited, token, other),
            lambda: self.insist("PUT", f"/v1/direct/{account_id}", owner.token, edge=other),
            lambda: self._invite(owner, account_id, token, other, position),
            lambda: self._another_token(account_id, token, other),
        ]
        await self.chance.choice(uses)()

    async def _invite(self, owner: Account, account_id: int, token: str, edge: str, position: str) -> HttpReply | None:
        """Invite the visitor to a hall, read it there, and speak."""
        hall = self.chance.choice(self.visit.halls)
        path = f"/v1/rooms/{hall}/members/{account_id}"
        joined = await self.insist("PUT", path, owner.token, edge=edge, body={"role": "member"}, position=position)
        if joined is None:
            return None
        other = self.other_than(edge)
        await self.ask(
            "POST", f"/v1/rooms/{hall}/messages", token, edge=other, body={"text": spoken(f"{self.key()}/0")}
        )
        await self.ask("GET", f"/v1/rooms/{hall}/messages?limit=2", token, edge=other)
        await self.ask("GET", f"/v1/rooms/{hall}", token, edge=other)
        return await self.ask("GET", f"/v1/rooms/{hall}/members", token, edge=other)

    async def _open(self, owner: Account, invited: list[dict[str, Any]], token: str, edge: str) -> HttpReply | None:
        body = {"name": "Ours", "members": invited}
        made = await self.insist("POST", "/v1/rooms", owner.token, edge=edge, body=body)
        if made is not None:
            for _ in range(3):
                await self.ask("GET", "/v1/rooms", token)
            await self.ask("GET", f"/v1/rooms/{made.body['room_id']}", token, edge=self.other_than(edge))
        return made

    async def _another_token(self, account_id: int, token: str, edge: str) -> HttpReply | None:
        issued = await self.insist("POST", f"/v1/accounts/{account_id}/tokens", token, edge=edge, body={})
        if issued is None:
            return None
        return await self.ask("GET", "/v1/me", issued.body["token"], edge=self.other_than(edge))


class _Doubter(_Visitor):
    """Asks once, with a key, and takes a refusal at its word."""

    pause_seconds = (0.0, 0.1)

    async def act(self) -> None:
        me, other = self.chance.sample(self.visit.accounts, 2)
        key, hall = self.key(), self.chance.choice(self.visit.halls)
        asked: tuple[str, str, dict[str, Any] | None]
        if self.chance.random() < 0.5:
            asked = "PUT", f"/v1/direct/{other.account_id}", None
        else:
            asked = "POST", f"/v1/rooms/{hall}/messages", {"text": spoken(f"{key}/0")}
        method, path, body = asked
        reply = await self.ask(method, path, me.token, body=body, key=key)
        if reply is not None and reply.refused:
            self.visit.refused[key] = f"doubter: {method} {path} was refused, {reply.body.get('detail')}"


class _Hasty(_Visitor):
    """Speaks once, without a key, and does not wait for long."""

    pause_seconds = (0.0, 0.2)

    async def act(self) -> None:
        me, hall = self.chance.choice(self.visit.accounts), self.chance.choice(self.visit.halls)
        token = f"{self.key()}/0"
        self.visit.asked[token] = self._wall()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.chance.uniform(0.1, 6.0)):
                await self.ask("POST", f"/v1/rooms/{hall}/messages", me.token, body={"text": spoken(token)})


class _Reactor(_Visitor):
    """Reacts and takes it back, and looks for it at once at another edge. No other visitor reacts."""

    pause_seconds = (0.0, 0.3)

    async def act(self) -> None:
        me, hall = self.chance.choice(self.visit.accounts), self.chance.choice(self.visit.halls)
        page = await self.ask("GET", f"/v1/rooms/{hall}/messages?limit=3", me.token)
        if page is None or not page.done:
            return
        if not page.body["messages"]:
            await self.insist("POST", f"/v1/rooms/{hall}/messages", me.token, body={"text": spoken(f"{self.key()}/0")})
            return
        seq = self.chance.choice(page.body["messages"])["seq"]
        emoji = self.chance.choice(_EMOJI)
        place = (hall, seq, emoji, me.account_id)
        reactions = f"/v1/rooms/{hall}/messages/{seq}/reactions"
        done, adds = None, False
        for _ in range(self.chance.randint(1, 4)):  # the tables need not show one before the next
            adds = self.chance.random() < 0.6
            self.visit.reacted[place] = None
            done = await self.insist("PUT" if adds else "DELETE", f"{reactions}/{quote(emoji)}", me.token)
            if done is None:
                return
            self.visit.reacted[place] = adds
        assert done is not None
        listed = await self.ask("GET", f"{reactions}?emoji={quote(emoji)}", me.token, position=done.position)
        if listed is None or not listed.done:
            return
        found = [each["account_id"] for each in listed.body["reactions"]].count(me.account_id)
        if found != adds:
            self.wrong(f"{emoji} of account {me.account_id} to {seq} of {hall} is there {found} times, not {int(adds)}")


class _Pedant(_Visitor):
    """Asks for what the contract refuses."""

    pause_seconds = (1.0, 3.0)

    async def act(self) -> None:
        me, hall = self.chance.choice(self.visit.accounts), self.chance.choice(self.visit.halls)
        query = self.chance.choice(["limit=1e2", "before=null", "limit=%201", "after=-1"])
        await self._refused(422, "GET", f"/v1/rooms/{hall}/messages?{query}", me.token)
        given = await self.ask("POST", "/v1/stream/tickets", me.token)
        if given is not None and given.done:
            ticket = given.body["ticket"]
            other = _ALPHABET[_ALPHABET.index(ticket[-1]) ^ 1]  # it belongs to the signature
            await self._no_stream(ticket[:-1] + other)

    async def _no_stream(self, ticket: str) -> None:
        url = f"{self.edge()}/v1/stream"
        with contextlib.suppress(httpx.HTTPError, TimeoutError):
            async with self.visit.streaming.stream("GET", url, params={"ticket": ticket}) as response:
                if response.status_code == 200:
                    self.wrong("a stream was opened with a ticket whose signature was changed")

    async def _refused(self, status: int, method: str, path: str, token: str) -> None:
        reply = await self.ask(method, path, token, may_be=(status,))
        if reply is not None and reply.done:
            self.wrong(f"{method} {path} was answered {reply.status}, and must be refused")


class _Reader(_Visitor):
    """Speaks in a hall and reads it from where he likes: a page has as many messages as there are."""

    async def act(self) -> None:
        me, hall = self.chance.choice(self.visit.accounts), self.chance.choice(self.visit.halls)
        key, edge = self.key(), self.edge()
        said, known, position = None, 0, ""
        if self.chance.random() < 0.5:
            body = {"text": spoken(f"{key}/0")}
            said = await self.ask("POST", f"/v1/rooms/{hall}/messages", me.token, edge=edge, key=key, body=body)
        if said is not None and said.done:
            known, position = said.body["seq"], said.position
            self.visit.acknowledged[hall, known] = said.body["text"]
            self.look_at_time(f"message {known} of room {hall}", said.body["posted_at"])
            await self._read(me, hall, self.other_than(edge), known, position)
        for _ in range(self.chance.randint(1, 4)):
            await self._read(me, hall, self.edge(), known, "")

    async def _read(self, me: Account, hall: int, edge: str, known: int, position: str) -> None:
        limit = self.chance.choice([1, 2, 5])
        near = self.chance.randint(max(1, known - 2), known + 2) if known else self.chance.randint(1, 5)
        queries = [("", 0), ("before", near), ("after", max(0, near - limit)), ("around", near), ("around", 1)]
        name, at = self.chance.choice(queries)
        query = f"limit={limit}" + (f"&{name}={at}" if name else "")
        path = f"/v1/rooms/{hall}/messages?{query}"
        page = await self.ask("GET", path, me.token, edge=edge, position=position)
        if page is not None and page.done:
            self._judge(f"room {hall}, {query}", name, limit, known if position else 0, page.body)

    def _judge(self, where: str, name: str, limit: int, known: int, page: Mapping[str, Any]) -> None:
        seqs = [each["seq"] for each in page["messages"]]
        before, after = page["has_before"], page["has_after"]
        said = f"{where}: {seqs}, before {before}, after {after}"
        if seqs and seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            self.wrong(f"a page with a gap: {said}")
        more = {"": before, "before": before, "after": after, "around": before or after}[name]
        if len(seqs) < limit and more:
            self.wrong(f"a page is short though there is more: {said}")
        if name == "" and known and (not seqs or seqs[-1] < known):
            self.wrong(f"a page lacks message {known}, whose position it was asked with: {said}")


class _Lister(_Visitor):
    """Marks rooms as read and lists them: the numbers of one answer belong together."""

    async def act(self) -> None:
        me, hall = self.chance.choice(self.visit.accounts), self.chance.choice(self.visit.halls)
        page = await self.ask("GET", f"/v1/rooms/{hall}/messages?limit=1", me.token)
        if page is not None and page.done and page.body["messages"]:
            seq = page.body["messages"][-1]["seq"]
            await self.ask("PUT", f"/v1/rooms/{hall}/read", me.token, key=self.key(), body={"seq": seq})
        for _ in range(self.chance.randint(1, 3)):
            rooms = await self.ask("GET", "/v1/rooms?limit=50", me.token)
            for room in rooms.body["rooms"] if rooms is not None and rooms.done else ():
                judge_summary(self, room)


def judge_summary(visitor: _Visitor, room: Mapping[str, Any]) -> None:
    last, read, unread = room["last_seq"], room["read_seq"], room["unread"]
    message = room["last_message"]
    if unread != last - read or read > last or room["mentions"] > unread:
        visitor.wrong(f"room {room['room_id']} is listed with {last} messages, {read} read and {unread} unread")
    if (message["seq"] if message else 0) != last:
        visitor.wrong(f"room {room['room_id']} is listed with {last} messages, and the last one is {message}")


class _Traveller(_Visitor):
    """Is brought into a room that is renamed, speaks, and is put out again; a follower listens in his name."""

    def __init__(self, visit: Visit, number: int) -> None:
        super().__init__(visit, number)
        self.room = 0

    async def act(self) -> None:
        owner, guest = self.visit.accounts[0], self.visit.accounts[1]
        if not self.room:
            made = await self.insist("POST", "/v1/rooms", owner.token, body={"name": "Lounge"})
            if made is not None:
                self.room = made.body["room_id"]
            return
        path = f"/v1/rooms/{self.room}"
        member = f"{path}/members/{guest.account_id}"
        self._keys += 1
        name = {"name": f"Lounge {self._keys}"}
        await self.insist("PUT", member, owner.token, body={"role": "member"})
        await self.insist("PATCH", path, owner.token, body=name)
        key = self.key()
        await self.ask("POST", f"{path}/messages", owner.token, key=key, body={"text": spoken(f"{key}/0")})
        await self.insist("PATCH", path, owner.token, body={"description": f"of {self._keys}"})
        if self.chance.random() < 0.7:
            await self.insist("DELETE", member, owner.token)
            await self.insist("PATCH", path, owner.token, body={"name": f"Closed {self._keys}"})


@dataclass
class _Known:
    """What must follow a token, by room. ``last``: the newest message at the token, by hall."""

    last: dict[int, int]
    events: dict[int, list[tuple[str, Any]]] = field(default_factory=dict)


class _Follower(_Visitor):
    """Listens for a moment, and continues from any token that he was given, at any edge: the same story each time.

    Where he begins with the state of then, pages show all that the state names.
    """

    def __init__(self, visit: Visit, number: int) -> None:
        super().__init__(visit, number)
        self._known: dict[str, _Known] = {}

    async def act(self) -> None:
        me = self.visit.accounts[1]
        token = self.chance.choice([*self._known]) if self._known and self.chance.random() < 0.7 else ""
        headers = {"Authorization": f"Bearer {me.token}", "Accept": "text/event-stream"}
        edge, began = self.edge(), self.visit.simulation.now
        listening = _Listening(self, edge, me.token, token, self._known.get(token))
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS + self.chance.uniform(*_LISTEN_SECONDS)):
                params = {"resume": token} if token else {}
                async with self.visit.streaming.stream(
                    "GET", f"{edge}/v1/stream", params=params, headers=headers
                ) as response:
                    took = self.visit.simulation.now - began
                    if token and (took > self.visit.begin_seconds or response.status_code != 200):
                        self._waited(response.status_code, took)
                    if response.status_code == 200:
                        await self._listen(response, listening)
                    elif response.status_code not in _BUSY:
                        self.wrong(f"a stream from {token or 'now'} was refused: {response.status_code}")
        except (httpx.HTTPError, TimeoutError):
            pass
        self._remember(listening)

    def _waited(self, status: int, seconds: float) -> None:
        if self.visit.begin_seconds < math.inf:
            self.wrong(f"a stream that goes on was answered {status} after {seconds:.1f} s")

    async def _listen(self, response: httpx.Response, listening: "_Listening") -> None:
        parser = Parser()
        until = self.visit.simulation.now + self.chance.uniform(*_LISTEN_SECONDS)
        async with asyncio.timeout(until - self.visit.simulation.now):
            async for piece in response.aiter_bytes():
                for block in parser.feed(piece):
                    await listening.take(block)

    def _remember(self, listening: "_Listening") -> None:
        for token, known in listening.from_tokens.items():
            before = self._known.pop(token, None)
            if before is not None:
                self._compare(token, before, known)
                longer = {
                    room: max(before.events.get(room, []), known.events.get(room, []), key=len)
                    for room in (*before.events, *known.events)
                }
                known = _Known(known.last, longer)
            self._known[token] = known
        while len(self._known) > _TOKENS:
            del self._known[self.chance.choice([*self._known])]

    def _compare(self, token: str, before: _Known, now: _Known) -> None:
        for room in before.events.keys() & now.events.keys():
            for one, other in zip(before.events[room], now.events[room], strict=False):
                if not _same(one, other):
                    self.wrong(f"room {room} from one token on: {one}, and another time {other} ({token[:60]})")
                    return


class _Listening:
    """One connection. ``from_tokens``: what came behind some of the tokens that it showed, and behind its own."""

    def __init__(self, follower: _Follower, edge: str, bearer: str, token: str, known: _Known | None) -> None:
        self._follower = follower
        self._edge = edge
        self._bearer = bearer
        self._last: dict[int, int] = dict(known.last) if known is not None else {}
        self._id = token  # of the last event
        self.from_tokens: dict[str, _Known] = {token: _Known(dict(self._last))} if token else {}

    async def take(self, block: Block) -> None:
        data = json.loads(block.data)
        match block.name:
            case "hello":
                await self._take_state(data)
            case "catch_up":
                self.from_tokens.clear()
                self._last = {room["room_id"]: room["last_seq"] for room in data["rooms"]}
            case "bye":
                if block.id != self._id:
                    self._follower.wrong(f"a bye says to go on from {block.id!r}, and the last event had {self._id!r}")
                return
            case "caught_up" | "typing" | "presence":
                self._id = block.id
                return
            case _:
                self._take_event(block.name, data)
        self._id = block.id
        if len(self.from_tokens) < 4 and self._follower.chance.random() < 0.3 and block.id:
            self.from_tokens.setdefault(block.id, _Known(dict(self._last)))

    def _take_event(self, name: str, data: Any) -> None:
        room = data["room_id"]
        for known in self.from_tokens.values():
            known.events.setdefault(room, []).append((name, data))
        if name != "message.posted" or room not in self._follower.visit.halls:
            return
        last = self._last.get(room)
        if last is not None and data["seq"] != last + 1:
            self._follower.wrong(f"room {room}: message {data['seq']} follows {last} in a stream")
        self._last[room] = data["seq"]

    async def _take_state(self, data: Any) -> None:
        """At once, while the tables are as they were."""
        rooms = {room["room_id"]: room for room in data["rooms"]}
        self._last = {room_id: room["last_seq"] for room_id, room in rooms.items()}
        for room in rooms.values():
            judge_summary(self._follower, room)
        hall = self._follower.chance.choice([*self._follower.visit.halls])
        if hall not in rooms:
            self._follower.wrong(f"hello does not name room {hall}")
            return
        last = rooms[hall]["last_seq"]
        page = await self._follower.ask("GET", f"/v1/rooms/{hall}/messages?limit=1", self._bearer, edge=self._edge)
        seen = 0 if page is None or not page.done else max((each["seq"] for each in page.body["messages"]), default=0)
        if page is not None and page.done and seen < last:
            self._follower.wrong(f"hello names message {last} of room {hall}, and its newest page ends at {seen}")


def _same(one: tuple[str, Any], other: tuple[str, Any]) -> bool:
    """But for texts that were deleted meanwhile."""
    if one[0] == other[0] and (one[1].get("deleted") or other[1].get("deleted")):
        return bool(one[1]["seq"] == other[1]["seq"])
    return one == other


class _Modelled(_Visitor):
    """Knows exactly what answers must say."""

    asking: Asking

    def common(self) -> dict[str, Any]:
        return {"steady": lambda: self.visit.simulation.now, "name": f"{self.name}-{self.number}"}

    async def run(self) -> None:
        ending = asyncio.create_task(self._end())
        await self.model()
        await ending
        for each in self.asking.wrong:
            self.visit.wrong(each)

    async def model(self) -> None:
        raise NotImplementedError

    async def _end(self) -> None:
        while not self.visit.ending:
            await asyncio.sleep(0.1)
        self.asking.ending = True


class _Bookkeeper(_Modelled):
    """Keeps the books of rooms to which no other visitor writes: each answer must say exactly what they say."""

    async def model(self) -> None:
        people = self.visit.accounts[:3]
        ask = over(self.visit.http)
        exact = self.asking = Exact(ask, lambda: self.visit.urls, people[0], people, self.chance, **self.common())
        await exact.open_rooms(2)
        if exact.told.rooms:
            await exact.talk(self.pause_seconds)


class _Personnel(_Modelled):
    """Colleagues who change their names and handles, sign in, rise and fall, go and come back."""

    count = 3
    handles = 4

    async def model(self) -> None:
        token = self.visit.admin_token
        self.asking = self.colleagues = Colleagues(
            over(self.visit.http),
            lambda: self.visit.urls,
            Account(int(token.split("_")[1]), token),
            self.chance,
            follow=self._follow,
            handles=self.handles,
            **self.common(),
        )
        await self.colleagues.arrive(self.count)
        await self.work()

    async def work(self) -> None:
        await self.colleagues.work(self.pause_seconds)

    async def _follow(self, url: str, token: str, begun: Callable[[], None]) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        with contextlib.suppress(httpx.HTTPError):
            async with self.visit.streaming.stream("GET", f"{url}/v1/stream", headers=headers) as response:
                async for _ in response.aiter_bytes():
                    begun()


class _Racer(_Personnel):
    """Thirty people, who wish 2,000 times for 50 handles."""

    asked_for = True
    count = 30
    handles = 50

    async def work(self) -> None:
        await self.colleagues.race((0.0, 0.5), _WISHES)
        self.visit.told.append(f"{self.colleagues.wishes:,} wishes for {self.handles} handles")


VISITORS: Final = (
    _Newcomer,
    *(_Doubter,) * 3,
    *(_Hasty,) * 2,
    _Reader,
    _Lister,
    _Traveller,
    _Follower,
    _Pedant,
    _Reactor,
    _Bookkeeper,
    _Personnel,
    _Racer,
)
