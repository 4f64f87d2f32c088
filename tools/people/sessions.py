"""The load: sessions that chat, note the answers, and retry with the same key until they know the outcome."""

import asyncio
import hashlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol, TypeAlias

import httpx
import msgspec

from falcon_chat.connection import Positions
from tools.harness.waiting import eventually
from tools.people.history import DELETED, History, Operation, Outcome, name_of, spoken, token_of

ATTEMPT_SECONDS: Final = 20.0
_GRACE_SECONDS: Final = 90.0  # to settle what is open when the run ends
_PROBE_SECONDS: Final = (0.1, 0.3)
_PAGE: Final = 20
_REPLAY_AGE_SECONDS: Final = 300.0  # well within the ten minutes for which an answer is kept
_UNKNOWN_CODE: Final = "outcome_unknown"
_IN_BOTH: Final = 0.3  # of the messages in threads
_MENTIONED: Final = 0.5  # of the messages in threads of rooms with guests


Act: TypeAlias = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Account:
    account_id: int
    token: str


async def known_at(url: str, account: Account, seconds: float) -> None:
    """Wait until the edge knows the account: it looks up the token before it waits for any position. Raises
    NotInTime."""
    headers = {"Authorization": f"Bearer {account.token}"}
    async with httpx.AsyncClient(trust_env=False, timeout=10, headers=headers) as http:

        async def is_known() -> bool:
            with suppress(httpx.HTTPError):
                return (await http.get(f"{url}/v1/me")).status_code == 200
            return False

        await eventually(is_known, f"account {account.account_id} can be used", seconds, every=0.1)


@dataclass(frozen=True)
class OpenRoom:
    """A room, the sessions that are in it, and a position from which on it can be read."""

    room: int
    sessions: frozenset[int]
    position: str


@dataclass
class Request:
    method: str
    path: str
    body: dict[str, Any] | None = None
    query: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Wait:
    """How long a send or read took until it was acknowledged, all attempts together."""

    kind: str
    room: int
    started: float
    ended: float


@dataclass
class _Own:
    """A message that its session may still change."""

    room: int
    seq: int
    name: str
    version: int = 0


class Answer(Protocol):
    """An answer, as httpx has it."""

    @property
    def status_code(self) -> int: ...
    @property
    def is_success(self) -> bool: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...
    def json(self) -> Any: ...


class Http(Protocol):
    """Sends requests. Raises httpx.HTTPError."""

    async def request(
        self, method: str, url: str, *, json: Any, params: Mapping[str, int], headers: Mapping[str, str]
    ) -> Answer: ...
    async def aclose(self) -> None: ...


class Load:
    """Shared by the sessions. ``halls``: rooms with all accounts as members, one in each partition at least.

    ``pace``: a factor for all pauses of the sessions.
    """

    def __init__(
        self,
        urls: Sequence[str],
        history: History,
        accounts: Sequence[Account],
        guests: Sequence[int],
        http: Http | None = None,
        pace: float = 1.0,
    ) -> None:
        self.urls = urls
        self.history = history
        self.accounts = accounts
        self.guests = guests
        self.halls: list[int] = []
        self.fresh: deque[OpenRoom] = deque(maxlen=40)
        self.parents: dict[int, int] = {}  # the rooms of threads
        self.waits: deque[Wait] = deque(maxlen=20_000)
        self.ending = False
        self.ending_since = 0.0
        self.pace = pace
        self.http: Http = http or httpx.AsyncClient(
            timeout=httpx.Timeout(ATTEMPT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=200, keepalive_expiry=2.0),
            trust_env=False,
        )

    def end(self) -> None:
        self.ending = True
        self.ending_since = time.monotonic()

    @property
    def given_up(self) -> bool:
        return self.ending and time.monotonic() - self.ending_since > _GRACE_SECONDS


class Session:
    """Acts one after the other, like a person at a keyboard. The two APIs take turns."""

    think_seconds: ClassVar[tuple[float, float]] = (0.05, 0.5)

    def __init__(self, load: Load, number: int, seed: int) -> None:
        self._load = load
        self._number = number
        self._account = load.accounts[number]
        self._random = random.Random(f"{seed}/{number}")
        self._turn = number
        self._spoken = 0
        self._keys = 0
        self._positions = Positions()
        self._own: deque[_Own] = deque(maxlen=30)
        self._recent: deque[tuple[float, Operation, Request]] = deque(maxlen=30)
        self._direct: deque[int] = deque(maxlen=5)
        self._administered: deque[OpenRoom] = deque(maxlen=5)
        self._guests: dict[int, set[int]] = {}  # in these rooms
        self._last: dict[int, int] = {}

    async def run(self) -> None:
        """Act until the load ends."""
        acts = self.acts()
        while not self._load.ending:
            [act] = self._random.choices(list(acts), list(acts.values()))
            await act()
            await self.pause(self.think_seconds)

    def acts(self) -> Mapping[Act, int]:
        """What it does, and how often."""
        return {
            self.post: 42,
            self.post_without_key: 5,
            self.edit: 9,
            self.delete: 3,
            self.mark: 7,
            self.read: 22,
            self.open_room: 2,
            self.open_direct: 2,
            self.start_thread: 3,
            self.change_member: 3,
            self.ask_again: 7,
        }

    async def probe(self, room: int) -> None:
        """Send to one room and read it, over and over: tells how long each had to wait."""
        while not self._load.ending:
            started = self._load.history.now()
            if await self._post(room) is not None:
                self._waited("send", room, started)
            started = self._load.history.now()
            operation, request = self._page(room, "latest", 0)
            if await self._until_answered(operation, request) is not None:
                self._waited("read", room, started)
            await self.pause(_PROBE_SECONDS)

    def reseed(self, seed: int) -> None:
        """Everything it does from now on follows from this seed."""
        self._random.seed(f"{seed}/{self._number}")

    async def pause(self, seconds: tuple[float, float]) -> None:
        await asyncio.sleep(self._random.uniform(*seconds) * self._load.pace)

    def _waited(self, kind: str, room: int, started: float) -> None:
        self._load.waits.append(Wait(kind, room, started, self._load.history.now()))

    # --- acts of sessions ---------------------------------------------------------------------------------------------

    async def post(self) -> None:
        await self._post(self._some_room())

    async def post_without_key(self) -> None:
        """Post once. If there is no answer, only the log can tell the outcome."""
        operation, request = self._message(self._some_room())
        await self._attempt(operation, request)

    async def edit(self) -> None:
        if self._own:
            own = self._random.choice(self._own)
            own.version += 1
            token = f"{own.name}/{own.version}"
            request = Request("PATCH", f"/v1/rooms/{own.room}/messages/{own.seq}", {"text": spoken(token)})
            await self._command(Operation(kind="edit", room=own.room, seq=own.seq, token=token), request)

    async def delete(self) -> None:
        if self._own:
            own = self._random.choice(self._own)
            self._own.remove(own)
            request = Request("DELETE", f"/v1/rooms/{own.room}/messages/{own.seq}")
            await self._command(Operation(kind="delete", room=own.room, seq=own.seq), request)

    async def mark(self) -> None:
        known = [room for room, last in self._last.items() if last]
        if known:
            room = self._random.choice(known)
            seq = self._random.randint(1, self._last[room])
            await self._command(
                Operation(kind="mark", room=room), Request("PUT", f"/v1/rooms/{room}/read", {"seq": seq})
            )

    async def read(self) -> None:
        room = self._some_room()
        last = max(self._last.get(room, 0), 1)
        query, at = self._random.choice(
            [("latest", 0), ("before", self._random.randint(2, last + 1)), ("after", self._random.randint(0, last))]
        )
        await self._attempt(*self._page(room, query, at))

    async def open_room(self) -> None:
        guests = self._random.sample(range(len(self._load.accounts)), min(4, len(self._load.accounts)))
        others = [number for number in guests if number != self._number]
        members = [{"account_id": self._load.accounts[number].account_id, "role": "member"} for number in others]
        request = Request("POST", "/v1/rooms", {"name": f"{self._number}'s", "members": members})
        done = await self._command(Operation(kind="open"), request)
        if done is not None:
            opened = OpenRoom(done.room, frozenset((*others, self._number)), done.position)
            self._administered.append(opened)
            self._guests[done.room] = set()
            self._load.fresh.append(opened)

    async def open_direct(self) -> None:
        other = self._random.choice([each for each in self._load.accounts if each is not self._account])
        operation = Operation(kind="direct", who=self._account.account_id, name=str(other.account_id))
        done = await self._command(operation, Request("PUT", f"/v1/direct/{other.account_id}"))
        if done is not None and done.room not in self._direct:
            self._direct.append(done.room)

    async def start_thread(self) -> None:
        """Of an own message in a hall, or in an own room. Its sessions write there as in any room."""
        everybody = frozenset(range(len(self._load.accounts)))
        sessions = dict.fromkeys(self._load.halls, everybody)
        sessions |= {each.room: each.sessions for each in self._administered}
        if mine := [each for each in self._own if each.room in sessions]:
            own = self._random.choice(mine)
            request = Request("PUT", f"/v1/rooms/{own.room}/messages/{own.seq}/thread")
            done = await self._command(Operation(kind="thread", name=f"{own.room}/{own.seq}"), request)
            if done is not None:
                self._load.parents[done.room] = own.room
                self._load.fresh.append(OpenRoom(done.room, sessions[own.room], done.position))

    async def rename(self) -> None:
        if self._administered:
            room = self._random.choice(self._administered).room
            self._spoken += 1
            request = Request("PATCH", f"/v1/rooms/{room}", {"name": f"{self._number}'s {self._spoken}"})
            await self._command(Operation(kind="rename", room=room), request)

    async def change_member(self) -> None:
        """Change the membership of a guest. Guests never speak, and only the room's admin changes them, and mentions
        them in threads, which they follow from then on. Of what comes in these after a removal they hear nothing."""
        if not self._administered:
            return
        room, guest = self._random.choice(self._administered).room, self._random.choice(self._load.guests)
        role = self._random.choice(["member", "readonly", "admin"])
        path = f"/v1/rooms/{room}/members/{guest}"
        operation = Operation(kind="member", room=room, who=guest, role=role)
        if not await self._command(operation, Request("PUT", path, {"role": role})):
            return
        self._guests[room].add(guest)
        if self._random.random() < 0.4:
            self._guests[room].discard(guest)
            await self._command(Operation(kind="member", room=room, who=guest), Request("DELETE", path))
            if threads := [thread for thread, parent in self._load.parents.items() if parent == room]:
                await self._post(self._random.choice(threads))

    async def ask_again(self) -> None:
        """Repeat a key that has had its answer: the answer must be the same, whatever has happened since."""
        recent = [each for each in self._recent if time.monotonic() - each[0] < _REPLAY_AGE_SECONDS]
        if recent:
            _, operation, request = self._random.choice(recent)
            await self._until_answered(operation, request)

    def _some_room(self) -> int:
        mine = [each for each in self._load.fresh if self._number in each.sessions]
        chance = self._random.random()
        if chance < 0.25 and mine:
            chosen = self._random.choice(mine)
            self._positions.remember(chosen.position)
            return chosen.room
        if chance < 0.35 and self._direct:
            return self._random.choice(self._direct)
        return self._random.choice(self._load.halls)

    # --- requests -----------------------------------------------------------------------------------------------------

    def _message(self, room: int) -> tuple[Operation, Request]:
        """One in a thread may be posted in its room, too, and mention a guest."""
        self._spoken += 1
        parent = self._load.parents.get(room, 0)
        in_both = bool(parent) and self._random.random() < _IN_BOTH
        token = f"{self._number}.{self._spoken}{'+' * in_both}/0"
        body: dict[str, Any] = {"text": spoken(token)} | ({"also_in_room": True} if in_both else {})
        if (guests := self._guests.get(parent)) and self._random.random() < _MENTIONED:
            body["mentions"] = [self._random.choice(sorted(guests))]
        operation = Operation(kind="post", room=room, token=token, parent=parent if in_both else 0)
        return operation, Request("POST", f"/v1/rooms/{room}/messages", body)

    async def _post(self, room: int) -> Operation | None:
        operation, request = self._message(room)
        done = await self._command(operation, request)
        if done is not None:
            name = name_of(operation.token)
            self._own.append(_Own(room, done.seq, name))
            if done.parent:
                self._own.append(_Own(done.parent, done.in_room, name))
        return done

    def _page(self, room: int, query: str, at: int) -> tuple[Operation, Request]:
        cursor = {} if query == "latest" else {query: at}
        request = Request("GET", f"/v1/rooms/{room}/messages", query={"limit": _PAGE, **cursor})
        return Operation(kind="read", room=room, query=query, at=at, limit=_PAGE), request

    async def _command(self, operation: Operation, request: Request) -> Operation | None:
        """Send with a new key until it is acknowledged. None if it never was."""
        self._keys += 1
        keyed = msgspec.structs.replace(operation, key=f"{self._number}-{self._keys}")
        done = await self._until_answered(keyed, request)
        if done is not None:
            self._recent.append((time.monotonic(), keyed, request))
        return done

    async def _until_answered(self, operation: Operation, request: Request) -> Operation | None:
        while not self._load.given_up:
            tried = await self._attempt(operation, request)
            if tried.outcome in ("acknowledged", "rejected"):
                return tried if tried.outcome == "acknowledged" else None
            await asyncio.sleep(self._random.uniform(0.05, 0.2))
        return None

    async def _attempt(self, operation: Operation, request: Request) -> Operation:
        self._turn += 1
        api = self._turn % len(self._load.urls)
        tried = msgspec.structs.replace(
            operation, session=self._number, api=api, started=self._load.history.now(), seen=[]
        )
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                response = await self._load.http.request(
                    request.method,
                    self._load.urls[api] + request.path,
                    json=request.body,
                    params=dict(request.query),
                    headers=self._headers(operation),
                )
        except (httpx.HTTPError, TimeoutError) as error:
            tried.outcome, tried.code = "unknown", type(error).__name__
        else:
            self._understand(tried, response)
        tried.ended = self._load.history.now()
        self._load.history.note(tried)
        return tried

    def _headers(self, operation: Operation) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self._account.token}"}
        if operation.key:
            headers["Idempotency-Key"] = operation.key
        if operation.kind == "read" and (position := str(self._positions)):
            headers["Falcon-Position"] = position
        return headers

    def _understand(self, tried: Operation, response: Answer) -> None:
        tried.status = response.status_code
        if not response.is_success:
            tried.code = _code(response)
            tried.outcome = _outcome(tried)
            return
        tried.outcome = "acknowledged"
        if position := response.headers.get("falcon-position"):
            tried.position = position
            self._positions.remember(position)
        tried.replayed = response.headers.get("idempotency-replayed") == "true"
        if tried.kind == "read":
            tried.seen = [seen(message) for message in response.json()["messages"]]
        else:
            tried.answer = hashlib.blake2b(response.content, digest_size=6).hexdigest()
            self._take_body(tried, response)
        self._learn(tried)

    def _take_body(self, tried: Operation, response: Answer) -> None:
        body = response.json() if response.content else {}
        match tried.kind:
            case "post":
                tried.seq, tried.in_room = body["seq"], body.get("in_room", 0)
                if token_of(body["text"]) != tried.token:
                    tried.token = f"answered: {body['text'][:80]}"
            case "mark":
                tried.at = body["read_seq"]
            case "open" | "direct" | "thread":
                tried.room = body["room_id"]

    def _learn(self, tried: Operation) -> None:
        last = max(tried.seq if tried.kind == "post" else 0, *(seq for seq, _ in tried.seen), 0)
        self._last[tried.room] = max(self._last.get(tried.room, 0), last)
        if tried.parent:
            self._last[tried.parent] = max(self._last.get(tried.parent, 0), tried.in_room)
        if len(self._last) > 200:
            del self._last[next(iter(self._last))]


def seen(message: Mapping[str, Any]) -> tuple[int, str]:
    """The note about a message on a page."""
    return message["seq"], DELETED if message["deleted"] else token_of(message["text"])


def _code(response: Answer) -> str:
    try:
        return str(response.json().get("code", ""))
    except ValueError:
        return ""


def _outcome(tried: Operation) -> Outcome:
    if tried.status in (429, 503):
        return "unknown" if tried.code == _UNKNOWN_CODE else "refused"
    return "rejected"
