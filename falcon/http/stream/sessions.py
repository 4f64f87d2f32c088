"""The stream: Server-Sent Events, or the same over a WebSocket."""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.types import Message, Receive, Scope, Send

from falcon.domain.commands import Role
from falcon.domain.ids import AccountId, Partition, RoomId, Seq, partition_of
from falcon.http import bearer_tokens
from falcon.http.api.rooms import summary
from falcon.http.edge import Call, Edge
from falcon.http.problems import Problem, invalid, room_not_found, tables_away
from falcon.http.requests import Answer, decode_query, identity, json_value, problem_answer
from falcon.http.server import held
from falcon.http.server.fanout import DirectWriter, chunk, owner_of, text_message, under_http, under_websocket
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.read.memberships.queries import RoomSummaryRow, Standing, roles_in_parts, room_summary
from falcon.read.store import ReadStore, ReadStoreUnavailable
from falcon.shared import Shared
from falcon.streams import room_lists
from falcon.streams import tokens as resume_tokens
from falcon.streams.feed import Feed
from falcon.streams.frames import Bye, Frame, Reason, encode
from falcon.streams.opening import Beginning, NotReached
from falcon.streams.room_lists import RoomLists, RoomPage
from falcon.streams.signals import SIGNALS, Signals
from falcon.streams.subscription import Subscription
from falcon.streams.tail import WrongPlace
from falcon.telemetry import metrics

log = logging.getLogger("falcon.http")

Transport: TypeAlias = Literal["sse", "websocket"]

_ROOMS_MAX: Final = 100  # that may be named
_HELLO_ROOMS_MAX: Final = room_lists.FEW
_ROLES_PART: Final = 10_000  # rooms that are read at once
_BEAT_SECONDS: Final = 7.0  # so that no connection is silent for fifteen
_BYE_SECONDS: Final = 2.0
_KNOWN_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02
_TURNS: Final = 8  # streams that ask the tables at the same time
_TURN_SECONDS: Final = 10.0
_MEMBERS: Final = ("memberships", "accounts")  # the projections that a replay looks at
_LOST_SECONDS: Final = 0.05
_SPREAD_MILLIS: Final = 5_000  # over which those who are sent away come back
_RETRY_MILLIS: Final = 1_000
_CLOSE_CODES: Final[dict[Reason, int]] = {"draining": 1012, "slow": 4008, "unauthenticated": 4001}
_MALFORMED: Final = "The resume token is not one that this Falcon gave."


class StreamQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rooms``: ids with commas between. ``resume``: a token. ``ticket``: instead of Authorization. ``signals``: what
    one wants to be told beside the log, typing or presence, or both with a comma between."""

    rooms: str | None = None
    signals: str | None = None
    resume: str | None = None
    ticket: str | None = None


class Ticket(msgspec.Struct, frozen=True):
    """Good for a minute, and once."""

    ticket: str


async def issue_ticket(edge: Edge, call: Call) -> Answer:
    await edge.no_body(call)
    made = bearer_tokens.ticket(edge.secret, call.account.account_id, edge.token_hash(call.headers))
    return json_value(201, Ticket(made))


class Streams:
    """Of one event loop: the feed, who listens, and what goes on around it."""

    def __init__(
        self, edge: Edge, feed: Feed, signals: Signals, lookups: "StoreLookups", most: int, buffer_bytes: int
    ) -> None:
        self._edge = edge
        self._feed = feed
        self.signals = signals
        self._lookups = lookups
        self._most = most
        self._buffer_bytes = buffer_bytes
        self._draining = False
        self._beginning = 0
        self._turns = asyncio.Semaphore(_TURNS)
        self.room_lists = RoomLists(edge.store, feed)
        self._all_applied = Shared(lambda: edge.store.applied_everywhere(feed.partitions))
        self._members_applied = Shared(lambda: edge.store.applied_everywhere(feed.partitions, _MEMBERS))
        self._serving: set[Subscription] = set()
        self._open = {"sse": 0, "websocket": 0}
        self._beating: asyncio.Task[None] | None = None
        metrics.streams_max.set(most)
        metrics.streams_queued.set(0)
        metrics.streams_opened.begin(("hello",), ("replay",), ("catch_up",))
        metrics.streams_ended.begin(*((reason,) for reason in _CLOSE_CODES))
        for transport in self._open:
            metrics.streams.labels(transport).set_function(partial(self._open.__getitem__, transport))

    def start(self) -> None:
        self._feed.start()
        self.signals.start()
        self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def stop(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
        await self.signals.stop()
        await self._feed.stop()

    def drain(self) -> None:
        """Tell everybody to go on elsewhere; nobody new is taken."""
        self._draining = True
        for subscription in list(self._serving):
            subscription.end("draining")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            for subscription in list(self._serving):
                subscription.beat()
            metrics.streams_queued.set(sum(subscription.queued for subscription in self._serving))

    # --- how one begins -----------------------------------------------------------------------------------------------

    async def open(self, connection: HTTPConnection) -> "_Opening":
        """Everything that may be refused. Raises Problem, ReadStoreUnavailable."""
        query = decode_query(connection, StreamQuery, known=False)
        headers = dict(connection.scope["headers"])
        if self._draining or sum(self._open.values()) + self._beginning >= self._most:
            metrics.streams_refused.inc()
            raise Problem(503, "overloaded", "This server takes no more streams.", retry_after=1)
        only = None if query.rooms is None else _room_ids(query.rooms)
        signals = frozenset[str]() if query.signals is None else _signals(query.signals)
        token = headers.get(b"last-event-id", b"").decode("latin-1") or query.resume or None
        self._beginning += 1
        try:
            # Before the caller's token is looked up, so that the log from there on tells whether it was revoked since.
            tables = None if token is None else _Tables(await self._members_applied.get(), time.monotonic())
            caller = await self._caller(connection.scope, headers, query.ticket)
            held.belongs_to(connection.scope, caller.account_id)
            opening = await self._held(caller, only, token, tables)
        finally:
            self._beginning -= 1
        opening.signals = signals
        return opening

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """To ask the tables. Where very many streams begin at once, as after a server has gone, they ask a few at a
        time: the tables have others to serve, and refuse what is too much for them. Raises Problem 503."""
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            metrics.streams_refused.inc()
            detail = "More streams begin than this server can begin in time."
            raise Problem(503, "overloaded", detail, retry_after=1) from None
        try:
            yield
        finally:
            self._turns.release()

    async def _held(
        self, caller: "_Caller", only: frozenset[RoomId] | None, token: str | None, tables: "_Tables | None"
    ) -> "_Opening":
        hold = ExitStack()
        hold.enter_context(self._edge.limiter.stream(caller.account_id))
        hold.enter_context(self._feed.held())
        try:
            opening = await self._prepare(caller, only, token, tables)
            opening.release = hold.pop_all().close
            return opening
        except resume_tokens.WrongToken as error:
            raise Problem(400, "malformed", f"{_MALFORMED} ({error})") from error
        except WrongPlace as error:
            raise Problem(400, "malformed", _MALFORMED) from error
        except (JournalUnavailable, NotReached) as error:
            log.warning("a stream cannot begin: %s", error)
            raise Problem(503, "unavailable", "The log cannot be read now.", retry_after=1) from error
        finally:
            hold.close()

    async def _caller(self, scope: Scope, headers: dict[bytes, bytes], ticket: str | None) -> "_Caller":
        """Who asks, as far as what is remembered says: whether the token is still good is found out later. Raises
        Problem 401, 429, 503, ReadStoreUnavailable."""
        if ticket is None or b"authorization" in headers:
            account = await self._edge.caller(headers, self._turn, scope)
            self._edge.limiter.check_stream(account.account_id)
            asked_at = self._edge.asked_at(headers)
            return _Caller(account.account_id, self._edge.token_hash(headers), asked_at)
        found = bearer_tokens.read_ticket(self._edge.secret, ticket)
        if found is not None:
            self._edge.limiter.check_stream(found.account_id)  # a stream that is refused for now uses no ticket
        if found is None or not self.signals.is_first_use(found.signature):
            self._edge.limiter.count_unauthenticated(scope)
            raise _wrong_ticket()
        return _Caller(found.account_id, found.token_hash, by_ticket=True)

    async def _prepare(
        self, caller: "_Caller", only: frozenset[RoomId] | None, token: str | None, tables: "_Tables | None"
    ) -> "_Opening":
        if token is not None and tables is not None:
            offsets = resume_tokens.decode(self._feed.log_name, token)
            opening = await self._replay(caller, only, offsets, tables)
            if opening is not None:
                return opening
        return await self._state(caller, only, "hello" if token is None else "catch_up")

    async def _replay(
        self,
        caller: "_Caller",
        only: frozenset[RoomId] | None,
        offsets: Mapping[int, int],
        tables: "_Tables",
    ) -> "_Opening | None":
        """By the log, and the account's memberships; None where too much has happened since ``offsets``."""
        async with self._turn():
            known = caller.asked_at >= tables.asked_at or await self._is_known(caller)
            roles = await self._roles(caller.account_id)
        in_lanes = self._in_lanes(tables.applied, caller.account_id, only)
        # A lane that the token does not name had nothing in it for the account then.
        since = {lane: offsets.get(lane, position.offset) for lane, position in in_lanes.items()}
        beginning = Beginning(self._feed, self._lookups, since, in_lanes, roles)
        await beginning.prepare()
        if beginning.length > self._feed.remembered:
            return None
        await self._look_back(beginning, caller, only, known)
        return _Opening(self, caller, only, beginning, "replay")

    async def _roles(self, account_id: AccountId) -> dict[RoomId, Role]:
        """In all of the account's rooms. Raises ReadStoreUnavailable."""
        roles: dict[RoomId, Role] = {}
        async for part in roles_in_parts(self._edge.store, account_id, _ROLES_PART):
            roles |= part
        return roles

    async def _state(
        self, caller: "_Caller", only: frozenset[RoomId] | None, name: Literal["hello", "catch_up"]
    ) -> "_Opening":
        """As of where all the tables stand: what has happened since is told by the log, also where some of them show it
        already and others do not."""
        async with self._turn():
            applied = await self._all_applied.get()
            known = await self._is_known(caller)
            page, standings = await self._rooms(caller.account_id, only)
        tables = self._in_lanes(applied, caller.account_id, only)
        offsets = {lane: position.offset for lane, position in tables.items()}
        roles = {room_id: standing.role for room_id, standing in standings.items()}
        beginning = Beginning(self._feed, self._lookups, offsets, tables, roles)
        await beginning.prepare()
        await self._look_back(beginning, caller, only, known)
        newest = await beginning.newest_before()
        if name == "catch_up":
            seqs = {room_id: each.last_seq for room_id, each in standings.items() if room_id in beginning.rooms}
            last = [{"room_id": room_id, "last_seq": newest.get(room_id, seq)} for room_id, seq in seqs.items()]
            return _Opening(self, caller, only, beginning, "catch_up", encode({"rooms": last}))
        shown = [row for row in page.rows if row.room.room_id in beginning.rooms]
        async with self._turn():
            rooms = [
                await summary(self._edge, caller.account_id, await self._as_of(beginning, newest, caller, row))
                for row in shown
            ]
        hello = {"account_id": caller.account_id, "rooms": rooms, "truncated": page.next is not None}
        return _Opening(self, caller, only, beginning, "hello", encode(hello))

    async def _as_of(
        self, beginning: Beginning, newest: Mapping[RoomId, Seq], caller: "_Caller", row: RoomSummaryRow
    ) -> RoomSummaryRow:
        """A room's row as it was where the stream begins: its table may be ahead of that."""
        room = row.room
        seq = newest.get(room.room_id, room.last_seq)
        role = beginning.rooms[room.room_id]
        if seq >= room.last_seq:
            return msgspec.structs.replace(row, role=role)
        store, account_id, room_id = self._edge.store, caller.account_id, room.room_id
        mentions = await store.mentions(account_id, room_id, row.read_seq, seq)
        message = await store.message(room_id, seq) if seq else None
        return room_summary(room, role, row.read_seq, mentions, None if message is None else (seq, message))

    async def _is_known(self, caller: "_Caller") -> bool:
        return await self._edge.store.bearer(caller.account_id, caller.token_hash) is not None

    def _in_lanes(
        self, applied: Mapping[Partition, Position], account_id: AccountId, only: frozenset[RoomId] | None
    ) -> dict[int, Position]:
        """Of those lanes only that the stream is about."""
        feed = self._feed
        partitions = set(range(feed.partitions))
        if only is not None:
            partitions = {partition_of(each, feed.partitions) for each in (account_id, *only)}
        return {feed.lane_of(partition): applied[partition] for partition in partitions}

    async def _look_back(
        self, beginning: Beginning, caller: "_Caller", only: frozenset[RoomId] | None, known: bool
    ) -> None:
        """Raises Problem 401 for a token that has been revoked, 404 for a room that the account was not in."""
        await beginning.look_back(caller.account_id)
        if not beginning.is_good(caller.token_hash, known=known):
            raise _wrong_ticket() if caller.by_ticket else Problem(401, "unauthenticated", "The token is revoked.")
        for room_id in (only or frozenset()) - beginning.rooms.keys() - beginning.seen_since:
            raise room_not_found(room_id)

    async def _rooms(
        self, account_id: AccountId, only: frozenset[RoomId] | None
    ) -> tuple[RoomPage, dict[RoomId, Standing]]:
        """Those to be shown, and how the account stands in each of its own; as far as the tables know them."""
        if only is None:
            return await self.room_lists.first_page(account_id, _HELLO_ROOMS_MAX)
        rows = await self._edge.store.summaries_of(account_id, only)
        return RoomPage(rows, None), room_lists.standings(rows)

    # --- and goes on --------------------------------------------------------------------------------------------------

    async def serve(
        self, opening: "_Opening", transport: Transport, sink: "_Sink", gone: Coroutine[Any, Any, None]
    ) -> None:
        """Until the connection is gone, or has been ended."""
        caller = opening.caller
        subscription = Subscription(
            caller.account_id, caller.token_hash, opening.only, sink, self._buffer_bytes, opening.signals
        )
        subscription.id = opening.id
        self._open[transport] += 1
        self._serving.add(subscription)
        if self._draining:  # it was opened in time, but it began too late
            subscription.end("draining")
        metrics.streams_opened.labels(opening.start).inc()
        listening = asyncio.ensure_future(opening.begin(subscription))
        leaving = asyncio.ensure_future(gone)
        ends: set[asyncio.Future[Any]] = {leaving, sink.ended}
        try:
            await asyncio.wait({listening, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
                self.signals.came(subscription)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except (JournalUnavailable, ReadStoreUnavailable, WrongPlace) as error:
            log.warning("a stream could not begin: %s", error)
            subscription.end("draining")
        finally:
            self._open[transport] -= 1
            self._serving.discard(subscription)
            listening.cancel()
            leaving.cancel()
            self.signals.went(subscription)
            self._feed.remove(subscription)
            subscription.lose()
        if sink.ended.done():
            await sink.say_bye(*sink.ended.result())


def _nothing() -> None:
    """Nothing is held."""


class _Caller(msgspec.Struct, frozen=True):
    account_id: AccountId
    token_hash: str
    asked_at: float = -math.inf  # when the tables were asked about the token, which they knew
    by_ticket: bool = False


class _Tables(NamedTuple):
    """Where the tables of members stood, which was asked before ``asked_at``."""

    applied: Mapping[Partition, Position]
    asked_at: float


def _wrong_ticket() -> Problem:
    return Problem(
        401, "unauthenticated", "The ticket is not one that is good now: they are for a minute, and for one stream."
    )


class _Opening:
    """A stream that may begin, which must be released in the end.

    ``start``: replay, or the name of its first event with its ``data``."""

    def __init__(
        self,
        streams: Streams,
        caller: _Caller,
        only: frozenset[RoomId] | None,
        beginning: Beginning,
        start: Literal["hello", "catch_up", "replay"],
        data: bytes = b"",
    ) -> None:
        self._streams = streams
        self.caller = caller
        self.only = only
        self.start = start
        self.signals = frozenset[str]()
        self.id = beginning.id
        self.release: Callable[[], None] = _nothing
        self._beginning = beginning
        self._data = data

    async def begin(self, subscription: Subscription) -> None:
        """Show what it begins with, and what came behind that, until the feed goes on with it."""
        rooms = self._beginning.rooms
        only = self.only
        subscription.rooms = dict(rooms if only is None else {each: rooms[each] for each in only if each in rooms})
        if self.start != "replay":
            self._beginning.show_state(subscription, self.start, self._data)
        await self._beginning.run(subscription, replay=self.start == "replay")

    async def serve(self, transport: Transport, sink: "_Sink", gone: Coroutine[Any, Any, None]) -> None:
        await self._streams.serve(self, transport, sink, gone)


def _room_ids(text: str) -> frozenset[RoomId]:
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise invalid("rooms", "must be ids of rooms, with commas between")
    if len(parts) > _ROOMS_MAX:
        raise invalid("rooms", f"must be at most {_ROOMS_MAX}")
    return frozenset(identity(part.strip(), room_not_found) for part in parts)


def _signals(text: str) -> frozenset[str]:
    asked = frozenset(part.strip() for part in text.split(","))
    if not asked <= set(SIGNALS):
        raise invalid("signals", f"must be of {', '.join(SIGNALS)}, with a comma between")
    return asked


class StoreLookups:
    """From the read tables, which may be a little behind the stream, or ahead of it."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store

    async def name_of(self, account_id: AccountId) -> str:
        until = time.monotonic() + _KNOWN_SECONDS
        while (account := await self._store.account(account_id)) is None:
            if time.monotonic() > until:
                raise ReadStoreUnavailable(f"the tables do not know account {account_id} yet")
            await asyncio.sleep(_POLL_SECONDS)
        return account.name

    async def has_at_most(self, room_id: RoomId, members: int) -> bool:
        return len(await self._store.members(room_id, 0, members + 1)) <= members


# --- connections ------------------------------------------------------------------------------------------------------


class _Sink:
    """A connection that takes ASGI messages. No task is woken for one: it goes straight to the transport, and only
    where that is full somebody waits."""

    kind: Transport

    def __init__(self, send: Send, writer: DirectWriter | None) -> None:
        self._send = send
        self._writer = writer
        self.ended: asyncio.Future[tuple[Reason, str]] = asyncio.get_running_loop().create_future()
        self._waiting: asyncio.Task[None] | None = None

    def send(self, frame: Frame, sent: Callable[[], None]) -> bool:
        writer = self._writer
        if writer is not None and not writer.is_paused():
            wire = frame.wire.get(self.kind)
            if wire is None:
                wire = frame.wire[self.kind] = self.framed(frame)
            writer.write(wire)
            return True
        return self._pass_on(self.message(frame), sent)

    def framed(self, frame: Frame) -> bytes:
        """As it goes over the wire."""
        raise NotImplementedError

    def beat(self, sent: Callable[[], None]) -> bool:
        raise NotImplementedError

    def message(self, frame: Frame) -> Message:
        raise NotImplementedError

    def close(self, reason: Reason, id: str) -> None:
        if not self.ended.done():
            self.ended.set_result((reason, id))

    async def say_bye(self, reason: Reason, id: str) -> None:
        """Within a moment, or the connection is cut: who reads nothing would keep it for ever."""
        spread = random.randrange(_SPREAD_MILLIS) if reason == "draining" else 0
        retry_after = _RETRY_MILLIS + spread
        bye = self.bye(Frame(id, "bye", encode(Bye(reason, retry_after))), retry_after)
        try:
            async with asyncio.timeout(_BYE_SECONDS):
                if self._waiting is not None:
                    await self._waiting
                await self._send(bye)
                await self.finish(reason)
        except TimeoutError:
            _abort(self._send)
            await asyncio.sleep(_LOST_SECONDS)  # the server has heard of it when this is over, and does not complain

    def bye(self, frame: Frame, retry_after: int) -> Message:
        return self.message(frame)

    async def finish(self, reason: Reason) -> None:
        raise NotImplementedError

    def _pass_on(self, message: Message, sent: Callable[[], None]) -> bool:
        sending = self._send(message)
        assert isinstance(sending, Coroutine)
        try:
            awaited = sending.send(None)
        except StopIteration:
            return True
        except Exception as error:  # it is gone, and whoever serves it hears of that; nobody else may suffer from it
            log.debug("a connection is lost: %r", error)
            return False
        self._waiting = asyncio.get_running_loop().create_task(_finish(sending, awaited))
        self._waiting.add_done_callback(lambda done: self._finished(done, sent))
        return False

    def _finished(self, done: "asyncio.Task[None]", sent: Callable[[], None]) -> None:
        self._waiting = None
        if not done.cancelled() and done.exception() is None:
            sent()


async def _finish(coroutine: "Coroutine[Any, Any, None]", awaited: Any) -> None:
    """Go on with a coroutine that was begun without a task, and waits."""
    await _Begun(coroutine, awaited)


class _Begun:
    def __init__(self, coroutine: "Coroutine[Any, Any, None]", awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, None]:
        awaited = self._awaited
        while True:
            try:
                value = yield awaited
            except BaseException as error:
                try:
                    awaited = self._coroutine.throw(error)
                except StopIteration:
                    return
            else:
                try:
                    awaited = self._coroutine.send(value)
                except StopIteration:
                    return


def _abort(send: Send) -> None:
    """ASGI has no way to cut a connection whose other end reads nothing."""
    transport = getattr(owner_of(send), "transport", None)
    if transport is not None:
        transport.abort()


class _SseSink(_Sink):
    kind = "sse"

    def framed(self, frame: Frame) -> bytes:
        return chunk(frame.sse)

    def message(self, frame: Frame) -> Message:
        return {"type": "http.response.body", "body": frame.sse, "more_body": True}

    def bye(self, frame: Frame, retry_after: int) -> Message:
        """A browser comes back by itself: when, it has to be told in its own way."""
        body = b"retry: %d\n%b" % (retry_after, frame.sse)
        return {"type": "http.response.body", "body": body, "more_body": True}

    def beat(self, sent: Callable[[], None]) -> bool:
        return self._pass_on({"type": "http.response.body", "body": b":\n\n", "more_body": True}, sent)

    async def finish(self, reason: Reason) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class _WebSocketSink(_Sink):
    kind = "websocket"

    def framed(self, frame: Frame) -> bytes:
        return text_message(frame.text.encode())

    def message(self, frame: Frame) -> Message:
        return {"type": "websocket.send", "text": frame.text}

    def beat(self, sent: Callable[[], None]) -> bool:
        return True  # the server's pings are enough

    async def finish(self, reason: Reason) -> None:
        await self._send({"type": "websocket.close", "code": _CLOSE_CODES[reason], "reason": reason})


_EVENT_STREAM: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that kept it back would make it useless
]


class SseAnswer:
    """The rest of the request: it is answered for as long as the stream goes on."""

    status = 200

    def __init__(self, opening: _Opening) -> None:
        self._opening = opening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _EVENT_STREAM})
            sink = _SseSink(send, under_http(send))
            await self._opening.serve("sse", sink, _disconnected(receive, "http.disconnect"))
        finally:
            self._opening.release()


async def stream(edge: Edge, request: Request) -> SseAnswer:
    return SseAnswer(await edge.streams.open(request))


async def stream_websocket(edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
    """Refusals are HTTP answers, before the upgrade. What a client sends afterwards is not listened to, but for its
    going away."""
    try:
        opening = await edge.streams.open(HTTPConnection(scope))
    except Problem as problem:
        await _refuse(problem, scope, receive, send)
        return
    except ReadStoreUnavailable as error:
        await _refuse(tables_away(error), scope, receive, send)
        return
    try:
        await send({"type": "websocket.accept"})
        sink = _WebSocketSink(send, under_websocket(send))
        await opening.serve("websocket", sink, _disconnected(receive, "websocket.disconnect"))
    finally:
        opening.release()


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem_answer(problem)

    async def sent(message: Message) -> None:
        await send({**message, "type": message["type"].replace("http.", "websocket.http.", 1)})

    await answer(scope, receive, sent)


async def _disconnected(receive: Receive, kind: str) -> None:
    while (await receive())["type"] != kind:
        continue
