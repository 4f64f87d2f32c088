"""What `falcon smoke` tries: each step builds on those before it."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import httpx
import msgspec

from falcon.cli.calling import Outside
from falcon.cli.faults import Fault
from falcon.client import Event, FalconClient, Hello, Me, Message, MessageDeleted, MessagePosted, Problem, Room
from falcon.client.addresses import Addresses

ROOM_NAME: Final = "Falcon smoke test"
_ROOM_KEY: Final = "falcon-smoke-room"
_CALL_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.25
_PAGE: Final = 200  # the most that the API gives at once
_SAID_MAX: Final = 200


@dataclass(frozen=True)
class Asked:
    """What is to be tried. ``admin_token`` and ``ops_urls`` may be empty: then they are not."""

    urls: Sequence[str]
    token: str
    admin_token: str = ""
    ops_urls: Sequence[str] = ()
    timeout: float = 60.0


@dataclass(frozen=True)
class Trial:
    """A step. ``work`` gives what it found, or raises Wrong, Problem or Unreachable."""

    name: str
    work: Callable[[], Awaitable[str]]
    expected: str
    look_at: str


class Wrong(Exception):
    """What a step found. ``expected`` and ``look_at`` where they are not the step's usual ones."""

    def __init__(self, wrong: str, expected: str = "", look_at: str = "") -> None:
        super().__init__(wrong)
        self.expected = expected
        self.look_at = look_at


@asynccontextmanager
async def visiting(asked: Asked, outside: Outside) -> AsyncIterator["Visit"]:
    """Raises Fault for an address or a token that cannot be one."""
    async with AsyncExitStack() as stack:
        try:
            http = await stack.enter_async_context(_http(asked, outside))
            falcon = await stack.enter_async_context(_client(asked, asked.token, outside))
            admin = None
            if asked.admin_token:
                admin = await stack.enter_async_context(_client(asked, asked.admin_token, outside))
        except ValueError as fault:
            raise Fault(str(fault)) from fault
        yield Visit(asked, http, falcon, admin, stack.enter_context(_what_the_client_says()))


class Visit:
    """Of one Falcon. ``awaited``: what is being waited for; ``said``: what the client has said of its stream."""

    def __init__(
        self, asked: Asked, http: httpx.AsyncClient, falcon: FalconClient, admin: FalconClient | None, said: list[str]
    ) -> None:
        self.awaited = ""
        self.said = said
        self._asked = asked
        self._http = http
        self._falcon = falcon
        self._admin = admin
        self._run = secrets.token_hex(6)
        self._me: Me
        self._room: Room
        self._sent: Message

    def trials(self) -> Iterator[Trial]:
        """In order. A step may be carried out once those before it have found nothing wrong."""
        way = "the address, DNS, the ingress and the Service, and whether pods are ready (`kubectl get pods`)"
        yield Trial("reach", self._reach, "Falcon to answer at every address", way)
        if self._asked.ops_urls:
            pod = "the log of that pod, and docs/runbooks/target-down.md"
            yield Trial("ready", self._ready, "/readyz of every operations port to say ok", pod)
        token = "the token (FALCON_TOKEN, --token, --token-file): is it one of this Falcon's?"
        yield Trial("whoami", self._whoami, "the account that the token belongs to", token)
        if self._admin is not None:
            admin_token = "FALCON_ADMIN_TOKEN or --admin-token"
            yield Trial("admin", self._administer, "an admin who can list accounts", admin_token)
        owners = "docs/runbooks/partitions.md and docs/runbooks/appends.md: has every partition an owner?"
        yield Trial("room", self._find_room, f"a room called {ROOM_NAME}, found again or made", owners)
        yield Trial("send", self._send, "a message to be taken", owners)
        yield Trial("retry", self._send_again, "the same key to get the same answer, and nothing to be done", owners)
        tables = "docs/runbooks/projection-stopped.md and docs/runbooks/projection-lag.md"
        yield Trial("read", self._read, "the message at its place, once, with its text", tables)
        yield Trial("edit", self._edit, "the message to have its new text", tables)
        yield Trial("mark", self._mark, "the read mark to be at the message", tables)
        stream = "docs/runbooks/streams.md, and at proxies on the way, which may hold answers back or end long ones"
        yield Trial("stream", self._listen, "to be told of a new message, once, and then of its deletion", stream)

    # --- is it there --------------------------------------------------------------------------------------------------

    async def _reach(self) -> str:
        for url in self._asked.urls:
            await self._until(url, "/v1/me", _is_falcons)
        return ", ".join(self._asked.urls)

    async def _ready(self) -> str:
        for url in self._asked.ops_urls:
            await self._until(url, "/readyz", lambda answer: answer.is_success)
        return ", ".join(self._asked.ops_urls)

    async def _until(self, url: str, path: str, fits: Callable[[httpx.Response], bool]) -> None:
        """A server, or a proxy that is told of it, may begin only now: it is given some seconds. Raises Wrong."""
        until = time.monotonic() + min(_CALL_SECONDS, self._asked.timeout / 2)
        while True:
            try:
                answer = await self._http.get(url + path)
                if fits(answer):
                    return
                wrong = f"{url} answers {answer.status_code} to {path}: {answer.text[:_SAID_MAX].strip()!r}"
                passing = answer.status_code in (502, 503, 504)
            except httpx.TransportError as fault:
                wrong, passing = f"{url} does not answer ({str(fault) or type(fault).__name__})", True
            if not passing or time.monotonic() + _AGAIN_SECONDS > until:
                raise Wrong(wrong)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _whoami(self) -> str:
        self._me = await self._falcon.me()
        return f"account {self._me.account_id}, {self._me.name}"

    async def _administer(self) -> str:
        assert self._admin is not None
        me = await self._admin.me()
        if not me.is_admin:
            raise Wrong(f"account {me.account_id}, {me.name}, is no admin")
        if not (await self._admin.accounts(limit=1)).accounts:
            raise Wrong("the list of accounts is empty")
        return f"account {me.account_id}, {me.name}, is an admin"

    # --- write and read -----------------------------------------------------------------------------------------------

    async def _find_room(self) -> str:
        """One for an account, however often this is done."""
        found = await self._room_of_before()
        self._room = found or await self._new_room()
        return f"room {self._room.room_id}, {'found again' if found else 'made'}"

    async def _room_of_before(self) -> Room | None:
        cursor: str | None = None
        while True:
            page = await self._falcon.rooms(limit=_PAGE, cursor=cursor)
            for room in page.rooms:
                if (room.name, room.kind, room.role) == (ROOM_NAME, "group", "admin"):
                    return room
            cursor = page.next_cursor
            if cursor is None:
                return None

    async def _new_room(self) -> Room:
        """Two who try it out at the same time make one room, since their key is the same."""
        about = "Messages of falcon smoke, which tries this Falcon out."
        made = await self._falcon.create_room(ROOM_NAME, description=about, key=_ROOM_KEY)
        try:
            return await self._falcon.room(made.room_id)
        except Problem as problem:
            if problem.code != "room_not_found":
                raise
        return await self._falcon.create_room(ROOM_NAME, description=about)  # the key's has been deleted since

    async def _send(self) -> str:
        self._sent = await self._post()
        if not self._falcon.position:
            expected = "the header Falcon-Position, by which a read waits for what was written"
            raise Wrong("the answer does not say where the message stands in the log", expected, "proxies on the way")
        return f"message {self._sent.seq}"

    async def _send_again(self) -> str:
        again = await self._post()
        if again.seq != self._sent.seq:
            raise Wrong(f"the same key made message {again.seq} beside {self._sent.seq}: it is there twice")
        if again != self._sent:
            raise Wrong(f"the same key was answered otherwise: {_json(again)} after {_json(self._sent)}")
        return f"message {again.seq} again"

    async def _post(self) -> Message:
        return await self._falcon.post(self._room.room_id, self._text("sent"), key=f"smoke-{self._run}")

    async def _read(self) -> str:
        seq = self._sent.seq
        page = await self._falcon.messages(self._sent.room_id, after=seq - 1, limit=_PAGE)
        places = [message.seq for message in page.messages if message.text == self._sent.text]
        if seq not in places:
            instead = next((f"{each.text[:_SAID_MAX]!r}" for each in page.messages if each.seq == seq), "nothing")
            raise Wrong(f"message {seq} was acknowledged and is lost: {instead} is in its place")
        if len(places) > 1:
            raise Wrong(f"the message was sent once and is there twice, at {' and '.join(map(str, places))}")
        await self._expect_text(self._sent.text)
        return f"message {seq} at its place"

    async def _edit(self) -> str:
        text = self._text("edited")
        await self._falcon.edit(self._sent.room_id, self._sent.seq, text)
        await self._expect_text(text)
        return f"message {self._sent.seq} has its new text"

    async def _expect_text(self, text: str) -> None:
        read = await self._falcon.message(self._sent.room_id, self._sent.seq)
        if (read.seq, read.text) != (self._sent.seq, text):
            raise Wrong(f"message {self._sent.seq} reads {read.text[:_SAID_MAX]!r}", f"{text!r}, as was acknowledged")

    async def _mark(self) -> str:
        seq = self._sent.seq
        await self._falcon.mark_read(self._sent.room_id, seq)
        members = (await self._falcon.members(self._sent.room_id, limit=_PAGE)).members
        read = next((member.read_seq for member in members if member.account_id == self._me.account_id), None)
        if read is None:
            raise Wrong("the account is not among the members of its own room", "it to be there, as admin")
        if read < seq:
            raise Wrong(f"the mark was moved to {seq} and reads {read}")
        return f"read up to {read}"

    # --- the stream ---------------------------------------------------------------------------------------------------

    async def _listen(self) -> str:
        room_id = self._room.room_id
        async with self._falcon.stream([room_id]) as stream:
            self.awaited = "the first event of the stream"
            while not isinstance(await anext(stream), Hello):
                pass
            self.awaited = "an answer"
            posted = await self._falcon.post(room_id, self._text("streamed"))
            acknowledged = time.monotonic()
            self.awaited = f"message {posted.seq}, which was acknowledged,"
            events = _about(stream, posted)
            told: list[Event] = [await anext(events)]
            late = max(0.0, time.monotonic() - acknowledged)
            await self._falcon.delete_message(room_id, posted.seq)
            self.awaited = f"the deletion of message {posted.seq}"
            told += [event async for event in events]
        times = sum(isinstance(event, MessagePosted) for event in told)
        if times != 1:
            raise Wrong(f"message {posted.seq} was sent once and told {times} times")
        return f"message {posted.seq} told once, {late * 1000:,.0f} ms after it was acknowledged"

    def _text(self, what: str) -> str:
        return f"Smoke test {self._run}: {what}"


async def _about(stream: AsyncIterator[Event], posted: Message) -> AsyncGenerator[Event, None]:
    """What is told of one message, up to its deletion."""
    async for event in stream:
        if isinstance(event, MessagePosted | MessageDeleted) and event.message.seq == posted.seq:
            yield event
            if isinstance(event, MessageDeleted):
                return


def _is_falcons(answer: httpx.Response) -> bool:
    """What Falcon says to somebody without a token."""
    try:
        return msgspec.json.decode(answer.content, type=_Refusal).code == "unauthenticated"
    except msgspec.DecodeError:
        return False


class _Refusal(msgspec.Struct):
    code: str


def _json(message: Message) -> str:
    return msgspec.json.encode(message).decode()


def _client(asked: Asked, token: str, outside: Outside) -> FalconClient:
    timeout = min(_CALL_SECONDS, asked.timeout)
    return FalconClient(asked.urls, token, timeout=timeout, transport=outside.transport, clock=outside.clock)


def _http(asked: Asked, outside: Outside) -> httpx.AsyncClient:
    """For what needs no token."""
    addresses = Addresses([*asked.urls, *asked.ops_urls])
    return httpx.AsyncClient(
        timeout=min(_CALL_SECONDS, asked.timeout) / 3,
        verify=any(url.startswith("https:") for url in addresses.urls),  # reading the certificate store takes a while
        trust_env=not addresses.only_local,
        transport=outside.transport,
    )


@contextmanager
def _what_the_client_says() -> Iterator[list[str]]:
    """Of connections that it loses; in the log it would stand between the steps."""
    said = _Keeping(logging.WARNING)
    log = logging.getLogger("falcon.client")
    propagated, log.propagate = log.propagate, False
    log.addHandler(said)
    try:
        yield said.lines
    finally:
        log.removeHandler(said)
        log.propagate = propagated


class _Keeping(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
