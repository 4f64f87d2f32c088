"""What every request passes: who asks, which key, how long; and what every answer carries."""

import asyncio
import contextlib
import hashlib
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import product
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeAlias, TypeVar, get_args

import msgspec
from starlette.requests import Request
from starlette.types import Scope

from falcon.domain import limits
from falcon.domain.answers import Answer as CommandAnswer
from falcon.domain.commands import Command
from falcon.domain.ids import AccountId, Partition, RoomId, partition_of
from falcon.domain.rejections import KeyReused, NotYetReadable
from falcon.http import bearer_tokens
from falcon.http.freshness import Freshness
from falcon.http.limits.limiter import Limiter
from falcon.http.limits.rooms import RoomCounts
from falcon.http.problems import Problem, from_rejection, from_unavailable, invalid, room_not_found
from falcon.http.requests import Headers, decode_body, read_body
from falcon.http.server import held
from falcon.http.server.request_metrics import PerTurn
from falcon.http.shapes import FieldError, Nothing
from falcon.journal.ports import ConfirmedPositions
from falcon.read.accounts.queries import AccountRow
from falcon.read.memberships.queries import Access
from falcon.read.store import ReadStore, ReadStoreUnavailable
from falcon.read.timeline.pages import Pages
from falcon.streams.tail import Tail
from falcon.telemetry import metrics, tracing
from falcon.write.answers import UsedKeys
from falcon.write.gateway import CommandGateway, partition_for
from falcon.write.protocol import Accepted, CommandEnvelope, Rejected

if TYPE_CHECKING:
    from falcon.http.stream.sessions import Streams

_KEY: Final = re.compile(rb"[\x21-\x7e]{1,64}")
_POSITION: Final = re.compile(rb"([0-9]{1,5}):([0-9]{1,18})")
_TOKEN_CACHE_SECONDS: Final = 1.0
_TOKEN_USABLE_SECONDS: Final = 600.0
_TOKEN_CACHE_MAX: Final = 50_000
_AUTHORIZATION_MAX: Final = 200
_POSITIONS_MAX: Final = 4_096  # as many partitions as there can be
_ENVELOPE_BYTES: Final = 200  # around a command, about
_REPLAYED: Final = (b"idempotency-replayed", b"true")
_UNDER_WAY: Final = "falcon.under_way"  # in a request's scope: the account for which it counts

P = ParamSpec("P")
T = TypeVar("T")
_Turn: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]


class EdgeLimits(msgspec.Struct, frozen=True):
    """``command_seconds``: by then a command is decided or refused. Sizes in bytes.

    ``wait_seconds``: how long a request waits for the read tables, unless its Falcon-Wait says otherwise.
    """

    command_seconds: float = 5.0
    body_max: int = 512 << 10
    import_body_max: int = 1 << 20
    wait_seconds: float = 2.0
    wait_seconds_max: float = 10.0
    answer_window_seconds: float = 600.0
    keys_remembered: int = 100_000
    text_max: int = limits.TEXT_BYTES_MAX


class Call(msgspec.Struct):
    """A request whose sender is known.

    ``positions``: its Falcon-Position, for as long as nobody has waited for it. ``until``: how long it may wait for the
    read tables, on CLOCK_MONOTONIC; 0 before it has had to.
    """

    request: Request
    headers: Headers
    account: AccountRow
    body: bytes = b""
    positions: tuple[tuple[Partition, int], ...] = ()
    until: float = 0.0

    @property
    def path(self) -> Mapping[str, str]:
        return self.request.path_params


class _Caller(msgspec.Struct, frozen=True, gc=False):
    """Whose token it was when it was last looked up; ``usable_until`` where it cannot be looked up again."""

    account: AccountRow
    asked_at: float
    fresh_until: float
    usable_until: float


class Told(msgspec.Struct, frozen=True):
    """A command's answer, where it stands, and the headers that say so."""

    answer: CommandAnswer
    partition: int
    offset: int
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def is_replayed(self) -> bool:
        """It had been executed before."""
        return _REPLAYED in self.headers


# Each is counted from the beginning: no rate shows the first of a counter that appears with it.
_COMMANDS: Final = tuple(kind.__name__ for kind in get_args(Command))


class _Figures:
    """Of a kind of command, looked up once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = metrics.command_seconds.labels(name)
        self.accepted = PerTurn(metrics.commands.labels(name, "accepted"))
        self.rejected = metrics.commands.labels(name, "rejected")


def _nothing_to_nudge() -> None:
    """Nobody waits for news here."""


class Edge:
    """What the handlers share. One an event loop."""

    def __init__(
        self,
        gateway: CommandGateway,
        store: ReadStore,
        positions: ConfirmedPositions,
        partitions: int,
        instance: str,
        secret: bytes,
        bounds: EdgeLimits,
        limiter: Limiter | None = None,
    ) -> None:
        self.gateway = gateway
        self.store = store
        self.pages = Pages(store)
        metrics.commands.begin(*product(_COMMANDS, ("accepted", "rejected", *metrics.FAILURES)))
        metrics.command_seconds.begin(("PostMessage",))
        self.freshness = Freshness(store, positions)
        self.partitions = partitions
        self.instance = instance
        self.secret = secret
        self.bounds = bounds
        self.limiter = limiter or Limiter()
        self.room_counts = RoomCounts(self.limiter.policies.account_rooms, store, self.limiter.clock)
        self.streams: Streams
        self.tail: Tail  # to read the log with, beside the streams
        self.nudge: Callable[[], None] = _nothing_to_nudge
        self._callers: dict[bytes, _Caller] = {}
        self._store_away = False
        self._looking: asyncio.Task[None] | None = None
        self._figures: dict[type, _Figures] = {}
        self._keys = UsedKeys(bounds.keys_remembered, bounds.answer_window_seconds)

    # --- who asks -----------------------------------------------------------------------------------------------------

    async def call(self, request: Request) -> Call:
        """Raises Problem 400, 401, 429, 503. A query waits here for its Falcon-Position. A command that reads the
        tables waits before that, since others do not depend on the tables (:meth:`reach_positions`).

        The request is under way for the limits of its account until :meth:`answered`.
        """
        headers: Headers = dict(request.scope["headers"])
        scope = request.scope
        name = f"{scope['method']} {scope['endpoint'].path}"
        tracing.enter(name, headers.get(b"traceparent"), headers.get(b"idempotency-key"))
        account = await self.caller(headers, scope=scope)
        held.belongs_to(scope, account.account_id)
        self.limiter.enter(account.account_id, scope["method"])
        scope[_UNDER_WAY] = account.account_id
        call = Call(request, headers, account)
        position = headers.get(b"falcon-position")
        if position is not None:
            call.positions = self._parse_positions(position)
            if request.method in ("GET", "HEAD"):
                await self.reach_positions(call)
        return call

    def answered(self, scope: Scope) -> None:
        """The request is not under way any more, if it ever was."""
        account_id = scope.pop(_UNDER_WAY, None)
        if account_id is not None:
            self.limiter.leave(account_id)

    def admit_public(self, scope: Scope) -> None:
        """For what needs no token: it counts for the account where its token is known here, and else for the address.
        Raises Problem 429."""
        if not self.limiter.limits_addresses:
            return
        known = self._callers.get(dict(scope["headers"]).get(b"authorization", b""))
        if known is not None and known.usable_until > time.monotonic():
            self.limiter.read(known.account.account_id)
        else:
            self.limiter.count_unauthenticated(scope)

    async def caller(self, headers: Headers, turn: _Turn = nullcontext, scope: Scope | None = None) -> AccountRow:
        """The account whose token it is, remembered for a second: so long a revoked token lives on in another process.

        ``turn`` is held while the tables are asked, and not while they are waited for. With a ``scope``, a request
        whose token is not good counts for its address.

        While the read tables are away, callers who are remembered from before may go on, so that sending does not
        depend on the tables; that a token was revoked meanwhile could not be read either.

        Raises Problem 401, 429, 503, ReadStoreUnavailable.
        """
        authorization = headers.get(b"authorization", b"")
        now = time.monotonic()
        known = self._callers.get(authorization)
        if known is not None and known.fresh_until > now:
            return known.account
        if known is not None and known.usable_until > now and self._store_away:
            self._look_whether_back(authorization, headers)
            return known.account
        try:
            return await self._look_up_caller(authorization, headers, turn, scope)
        except ReadStoreUnavailable:
            self._store_away = True
            known = self._callers.get(authorization)  # not one that was found revoked before the tables went away
            if known is not None and known.usable_until > now:
                return known.account
            raise

    async def _look_up_caller(
        self, authorization: bytes, headers: Headers, turn: _Turn = nullcontext, scope: Scope | None = None
    ) -> AccountRow:
        """Raises Problem 401, 429, 503, ReadStoreUnavailable."""
        asked_at = time.monotonic()
        issued: str | None = None
        limited = scope is not None and self.limiter.limits_addresses
        if scope is not None and limited:
            issued = self._issued(authorization)
            self.limiter.check_unauthenticated(scope, issued)
        account = await self._bearer(authorization, headers, turn)
        if account is None:
            if scope is not None and limited:
                self.limiter.count_unauthenticated(scope, issued)
            raise Problem(
                401,
                "unauthenticated",
                "Send Authorization: Bearer TOKEN with a token that is not revoked.",
                headers=((b"www-authenticate", b'Bearer realm="falcon"'),),
            )
        if len(self._callers) >= _TOKEN_CACHE_MAX:
            self._callers.clear()
        if len(authorization) <= _AUTHORIZATION_MAX:
            now = time.monotonic()
            fresh_until, usable_until = now + _TOKEN_CACHE_SECONDS, now + _TOKEN_USABLE_SECONDS
            self._callers[authorization] = _Caller(account, asked_at, fresh_until, usable_until)
        return account

    def asked_at(self, headers: Headers) -> float:
        """When the tables were asked last about the caller's token, and knew it."""
        known = self._callers.get(headers.get(b"authorization", b""))
        return -math.inf if known is None else known.asked_at

    async def _bearer(self, authorization: bytes, headers: Headers, turn: _Turn) -> AccountRow | None:
        """A token that the tables do not show is refused at once, unless this deployment has issued it: then it may
        be newer than the tables. So refusing a forged one costs less than accepting a good one."""
        parsed = _parse_bearer(authorization)
        if parsed is None:
            return None
        account_id, secret = parsed
        token_hash = bearer_tokens.hash_of(secret)
        async with turn():
            account = await self.store.bearer(account_id, token_hash)
        self._store_away = False
        if account is None:
            self._callers.pop(authorization, None)
            if bearer_tokens.is_issued(self.secret, secret):
                account = await self.newest_bearer(account_id, token_hash, headers)
        return account

    def _issued(self, authorization: bytes) -> str | None:
        """The hash of a secret that this deployment has issued, whether it is still good or not.

        For which account is not signed: anybody may write another account's number before a secret."""
        parsed = _parse_bearer(authorization)
        return (
            bearer_tokens.hash_of(parsed[1])
            if parsed is not None and bearer_tokens.is_issued(self.secret, parsed[1])
            else None
        )

    async def newest_bearer(self, account_id: AccountId, token_hash: str, headers: Headers) -> AccountRow | None:
        """Whose token has this hash, as of the newest that has been acknowledged. Raises Problem 422, 503."""
        seconds = self._wait_seconds(headers.get(b"falcon-wait"))
        await self.freshness.catch_up(partition_of(account_id, self.partitions), seconds)
        return await self.store.bearer(account_id, token_hash)

    def _look_whether_back(self, authorization: bytes, headers: Headers) -> None:
        """One asks for all: a table that is away takes its time to say so."""

        async def look() -> None:
            with contextlib.suppress(Problem, ReadStoreUnavailable):  # either says all that is asked here
                await self._look_up_caller(authorization, headers)

        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(look())

    def forget_callers(self) -> None:
        """A token was revoked here: look at each again."""
        self._callers.clear()

    def token_hash(self, headers: Headers) -> str:
        """Hash of the caller's token, which has been found good."""
        _, _, credentials = headers[b"authorization"].partition(b" ")
        parsed = bearer_tokens.parse(credentials.strip().decode("latin-1"))
        assert parsed is not None
        return bearer_tokens.hash_of(parsed[1])

    # --- what the tables say, where a "no" counts ---------------------------------------------------------------------

    async def access(self, call: Call, room_id: RoomId) -> Access:
        """The caller's standing in the room. Raises Problem 404 where the caller is no member, 503."""
        access = await self.store.access(room_id, call.account.account_id)
        if access is None:
            access = await self.newest(call, room_id, self.store.access, room_id, call.account.account_id)
        if access is None:
            raise room_not_found(room_id)
        return access

    async def account(self, call: Call, account_id: AccountId) -> AccountRow | None:
        """None only where there is no such account. Raises Problem 503."""
        account = await self.store.account(account_id)
        return account or await self.newest(call, account_id, self.store.account, account_id)

    async def newest(
        self, call: Call, identity: int, query: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What the tables say once they show all that has been acknowledged, up to this call, of the partition in
        which the room or account ``identity`` lives.

        A refusal must rest on this: an older answer of the tables may deny what the caller was told is done.
        Raises Problem 503 where the tables do not get there within the request's wait, or the log cannot be asked.
        """
        await self.freshness.catch_up(partition_of(identity, self.partitions), self._seconds_left(call))
        return await query(*args, **kwargs)

    # --- commands -----------------------------------------------------------------------------------------------------

    async def body(self, call: Call, decoder: "msgspec.json.Decoder[Any]") -> Any:
        """The request's body as the decoder's type; kept for the fingerprint. Raises Problem 400, 413, 415, 422."""
        call.body = await read_body(call.request, call.headers, self.bounds.body_max)
        return decode_body(call.body, call.headers, decoder)

    async def no_body(self, call: Call) -> None:
        await self.body(call, _nothing)

    def key(self, call: Call) -> str | None:
        key = call.headers.get(b"idempotency-key")
        if key is None:
            return None
        if _KEY.fullmatch(key) is None:
            raise invalid("Idempotency-Key", "must be 1 to 64 visible ASCII characters")
        return key.decode()

    def fingerprint(self, call: Call) -> int:
        """63 bits over what makes a request the same as another."""
        scope = call.request.scope
        text = b"%s %s\n%s" % (scope["method"].encode(), scope["path"].encode(), call.body)
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1

    async def tell(self, call: Call, command: Command, size: int | None = None) -> Told:
        """Have the command decided. Raises Problem for a refusal, and 503 where it cannot be decided in time.

        ``size``: the command's in bytes, where the request's body does not tell.
        """
        accepted = await self._ask(call, command, len(call.body) if size is None else size)
        partition, offset = accepted.partition, max(accepted.offset, 0)
        position = (b"falcon-position", b"%d:%d" % (partition, offset))
        headers = (position, _REPLAYED) if accepted.replayed else (position,)
        return Told(accepted.answer, partition, offset, headers)

    async def _ask(self, call: Call, command: Command, size: int) -> Accepted:
        envelope = self._envelope(call, command, size)
        figures = self._figures.get(type(command))
        if figures is None:
            figures = self._figures[type(command)] = _Figures(type(command).__name__)
        began = time.monotonic()
        reply = await self.gateway.ask(envelope)
        figures.seconds.observe(time.monotonic() - began)
        if isinstance(reply, Accepted):
            figures.accepted.inc()
            self.nudge()
            return reply
        if isinstance(reply, Rejected):
            figures.rejected.inc()
            if isinstance(reply.rejection, NotYetReadable):
                raise NotReadableYet(reply.partition, reply.offset)
            problem = from_rejection(reply.rejection)
            if reply.replayed:
                problem.headers = (_REPLAYED,)
            raise problem
        if reply.limit:
            figures.rejected.inc()
            raise self.limiter.refused_by_owner(reply.limit, reply.retry_after)
        metrics.commands.labels(figures.name, reply.reason).inc()
        raise from_unavailable(reply)

    def _envelope(self, call: Call, command: Command, size: int) -> CommandEnvelope:
        key = self.key(call)
        account_id = call.account.account_id
        fingerprint = 0
        now = time.monotonic()
        if key is not None:
            fingerprint = self.fingerprint(call)
            self._refuse_reused(account_id, key, fingerprint, now)
        return CommandEnvelope(
            partition_for(command, account_id, key, self.partitions),
            account_id,
            command,
            now + self.bounds.command_seconds,
            key,
            fingerprint,
            size + _ENVELOPE_BYTES,
            tracing.traceparent(),
        )

    def _refuse_reused(self, account_id: int, key: str, fingerprint: int, now: float) -> None:
        """The owner of a partition knows the keys that were used there. Those used elsewhere, this process knows, as
        far back as it remembers. Raises Problem 422."""
        if not self._keys.use(account_id, key, fingerprint, now):
            raise from_rejection(KeyReused())

    # --- positions ----------------------------------------------------------------------------------------------------

    async def readable(self, partition: int, offset: int, seconds: float) -> None:
        """Until reads show what stands at ``offset``. Raises Problem 503 when that takes too long."""
        await self.freshness.reach(partition, offset, seconds)

    async def reach_positions(self, call: Call) -> None:
        """Wait for the request's Falcon-Position. Raises Problem 422, 503, ReadStoreUnavailable."""
        positions, call.positions = call.positions, ()
        if len(positions) > 1:  # one look shows which of them the tables have still to reach
            applied = await self.store.applied_in([partition for partition, _ in positions])
            positions = tuple(each for each in positions if applied[each[0]] <= each[1])
        for partition, offset in positions:
            await self.freshness.reach(partition, offset, self._seconds_left(call))

    def _parse_positions(self, text: bytes) -> tuple[tuple[Partition, int], ...]:
        """Of each partition the largest offset, which has all the others below it. Raises Problem 400."""
        items = text.split(b",")
        largest: dict[Partition, int] = {}
        for item in items[:_POSITIONS_MAX]:
            match = _POSITION.fullmatch(item.strip())
            if match is None or int(match[1]) >= self.partitions:
                raise _no_position()
            partition, offset = int(match[1]), int(match[2])
            largest[partition] = max(offset, largest.get(partition, 0))
        if len(items) > _POSITIONS_MAX:
            raise _no_position()
        return tuple(largest.items())

    def _seconds_left(self, call: Call) -> float:
        """Of the request's wait, which begins with the first time that it has to."""
        now = time.monotonic()
        if not call.until:
            call.until = now + self._wait_seconds(call.headers.get(b"falcon-wait"))
        return max(0.0, call.until - now)

    def _wait_seconds(self, text: bytes | None) -> float:
        if text is None:
            return self.bounds.wait_seconds
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= self.bounds.wait_seconds_max:
            raise invalid("Falcon-Wait", f"must be 0 to {self.bounds.wait_seconds_max:g} seconds")
        return seconds


class NotReadableYet(Exception):
    """The write side knows of a change that the read side has not shown: wait for ``offset``, read, and ask again."""

    def __init__(self, partition: int, offset: int) -> None:
        super().__init__(f"{partition}:{offset}")
        self.partition = partition
        self.offset = offset


def _no_position() -> Problem:
    return Problem(
        400,
        "malformed",
        "Falcon-Position is PARTITION:OFFSET[,PARTITION:OFFSET...], as a command's answer gave it.",
        (FieldError("Falcon-Position", "must be as a command's answer gave it"),),
    )


def _parse_bearer(authorization: bytes) -> tuple[AccountId, str] | None:
    scheme, _, credentials = authorization.partition(b" ")
    return bearer_tokens.parse(credentials.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None


_nothing: Final = msgspec.json.Decoder(Nothing)
