"""What every request passes: who asks, which key, how long; and what every answer carries."""

import asyncio
import contextlib
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import Request

from falcon.domain import limits
from falcon.domain.answers import Answer as CommandAnswer
from falcon.domain.commands import Command
from falcon.domain.rejections import KeyReused, NotYetReadable
from falcon.http import tokens
from falcon.http.metering import PerTurn
from falcon.http.problems import Problem, from_rejection, from_unavailable, invalid, room_not_found
from falcon.http.shapes import FieldError, Nothing
from falcon.http.wire import Headers, decode_body, read_body
from falcon.read.models import Access, AccountRow
from falcon.read.pages import Pages
from falcon.read.store import ReadStore, ReadStoreUnavailable
from falcon.streams.tail import Tail
from falcon.telemetry import metrics, tracing
from falcon.write.gateway import CommandGateway, partition_for
from falcon.write.protocol import Accepted, CommandEnvelope, Rejected

if TYPE_CHECKING:
    from falcon.http.streaming import Streams

_KEY: Final = re.compile(rb"[\x21-\x7e]{1,64}")
_POSITION: Final = re.compile(rb"([0-9]{1,5}):([0-9]{1,18})")
_POLL_SECONDS: Final = 0.005
_TOKEN_CACHE_SECONDS: Final = 1.0
_TOKEN_USABLE_SECONDS: Final = 600.0
_TOKEN_CACHE_MAX: Final = 50_000
_AUTHORIZATION_MAX: Final = 200
_POSITIONS_MAX: Final = 4_096  # as many partitions as there can be
_REPLAYED: Final = (b"idempotency-replayed", b"true")


class EdgeLimits(msgspec.Struct, frozen=True):
    """``command_seconds``: by then a command is decided or refused. Sizes in bytes."""

    command_seconds: float = 5.0
    body_max: int = 512 << 10
    import_body_max: int = 1 << 20
    wait_seconds: float = 2.0
    wait_seconds_max: float = 10.0
    answer_window_seconds: float = 600.0
    keys_remembered: int = 100_000
    text_max: int = limits.TEXT_BYTES_MAX


class Call(msgspec.Struct):
    """A request whose sender is known."""

    request: Request
    headers: Headers
    account: AccountRow
    body: bytes = b""

    @property
    def path(self) -> Mapping[str, str]:
        return self.request.path_params


class _Caller(msgspec.Struct, frozen=True, gc=False):
    """Whose token it was when it was last looked up; ``usable_until`` where it cannot be looked up again."""

    account: AccountRow
    fresh_until: float
    usable_until: float


class Told(msgspec.Struct, frozen=True):
    """A command's answer, where it stands, and the headers that say so."""

    answer: CommandAnswer
    partition: int
    offset: int
    headers: tuple[tuple[bytes, bytes], ...]


class _Figures:
    """Of a kind of command, looked up once. Failures are there from the beginning: no rate shows the first of a
    counter that appears with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = metrics.command_seconds.labels(name)
        self.accepted = PerTurn(metrics.commands.labels(name, "accepted"))
        self.rejected = metrics.commands.labels(name, "rejected")
        metrics.commands.begin(*((name, reason) for reason in metrics.FAILURES))


def _nothing_to_nudge() -> None:
    """Nobody waits for news here."""


class Edge:
    """What the handlers share. One an event loop."""

    def __init__(
        self,
        gateway: CommandGateway,
        store: ReadStore,
        partitions: int,
        instance: str,
        secret: bytes,
        bounds: EdgeLimits,
    ) -> None:
        self.gateway = gateway
        self.store = store
        self.pages = Pages(store)
        self.partitions = partitions
        self.instance = instance
        self.secret = secret
        self.bounds = bounds
        self.streams: Streams
        self.tail: Tail  # to read the log with, beside the streams
        self.nudge: Callable[[], None] = _nothing_to_nudge
        self._callers: dict[bytes, _Caller] = {}
        self._store_away = False
        self._looking: asyncio.Task[None] | None = None
        self._figures: dict[type, _Figures] = {}
        self._keys: OrderedDict[tuple[int, str], tuple[int, float]] = OrderedDict()

    # --- who asks -----------------------------------------------------------------------------------------------------

    async def call(self, request: Request) -> Call:
        """Raises Problem 401, 503; and waits for the position that the request asks for."""
        headers: Headers = dict(request.scope["headers"])
        scope = request.scope
        name = f"{scope['method']} {scope['endpoint'].path}"
        tracing.enter(name, headers.get(b"traceparent"), headers.get(b"idempotency-key"))
        account = await self._caller(headers.get(b"authorization", b""))
        call = Call(request, headers, account)
        position = headers.get(b"falcon-position")
        if position is not None and request.method in ("GET", "HEAD"):
            await self._wait_for(position, headers)
        return call

    async def _caller(self, authorization: bytes) -> AccountRow:
        """Remembered for a second, which bounds how long a revoked token lives on in another process.

        While the read tables are away who is remembered from before may go on, so that sending does not depend on them;
        that somebody's token was revoked meanwhile could not be read either.
        """
        now = time.monotonic()
        known = self._callers.get(authorization)
        if known is not None and known.fresh_until > now:
            return known.account
        if known is not None and known.usable_until > now and self._store_away:
            self._look_whether_back(authorization)
            return known.account
        try:
            return await self._look_up_caller(authorization)
        except ReadStoreUnavailable:
            self._store_away = True
            if known is not None and known.usable_until > now:
                return known.account
            raise

    async def _look_up_caller(self, authorization: bytes) -> AccountRow:
        """Raises Problem 401, ReadStoreUnavailable."""
        scheme, _, credentials = authorization.partition(b" ")
        parsed = tokens.parse(credentials.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None
        account = await self.store.bearer(parsed[0], tokens.hash_of(parsed[1])) if parsed is not None else None
        self._store_away = False
        if account is None:
            self._callers.pop(authorization, None)
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
            self._callers[authorization] = _Caller(account, now + _TOKEN_CACHE_SECONDS, now + _TOKEN_USABLE_SECONDS)
        return account

    def _look_whether_back(self, authorization: bytes) -> None:
        """One asks for all: a table that is away takes its time to say so."""

        async def look() -> None:
            with contextlib.suppress(Problem, ReadStoreUnavailable):  # either says all that is asked here
                await self._look_up_caller(authorization)

        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(look())

    def forget_callers(self) -> None:
        """A token was revoked here: look at each again."""
        self._callers.clear()

    async def caller(self, headers: Headers) -> AccountRow:
        """Whose token it is. Raises Problem 401, ReadStoreUnavailable."""
        return await self._caller(headers.get(b"authorization", b""))

    def token_hash(self, headers: Headers) -> str:
        """Of the token that the caller, who is known, has shown."""
        _, _, credentials = headers[b"authorization"].partition(b" ")
        parsed = tokens.parse(credentials.strip().decode("latin-1"))
        assert parsed is not None
        return tokens.hash_of(parsed[1])

    async def access(self, room_id: int, account_id: int) -> Access:
        """Raises Problem 404 for who is no member."""
        access = await self.store.access(room_id, account_id)
        if access is None:
            raise room_not_found(room_id)
        return access

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

    async def tell(self, call: Call, command: Command) -> Told:
        """Have the command decided. Raises Problem for a refusal, and 503 where it cannot be decided in time."""
        accepted = await self._ask(call, command)
        partition, offset = accepted.partition, max(accepted.offset, 0)
        position = (b"falcon-position", b"%d:%d" % (partition, offset))
        headers = (position, _REPLAYED) if accepted.replayed else (position,)
        return Told(accepted.answer, partition, offset, headers)

    async def _ask(self, call: Call, command: Command) -> Accepted:
        envelope = self._envelope(call, command)
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
        metrics.commands.labels(figures.name, reply.reason).inc()
        raise from_unavailable(reply)

    def _envelope(self, call: Call, command: Command) -> CommandEnvelope:
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
            len(call.body) + 200,
            tracing.traceparent(),
        )

    def _refuse_reused(self, account_id: int, key: str, fingerprint: int, now: float) -> None:
        """The owner of a partition knows the keys that were used there. Those used elsewhere, this process knows, as
        far back as it remembers. Raises Problem 422."""
        known, since = self._keys.setdefault((account_id, key), (fingerprint, now))
        if now - since >= self.bounds.answer_window_seconds:
            self._keys[account_id, key] = (fingerprint, now)
        elif known != fingerprint:
            raise from_rejection(KeyReused())
        if len(self._keys) > self.bounds.keys_remembered:
            self._keys.popitem(last=False)

    # --- positions ----------------------------------------------------------------------------------------------------

    async def readable(self, partition: int, offset: int, seconds: float) -> None:
        """Until reads show what stands at ``offset``. Raises Problem 503 when that takes too long."""
        until = time.monotonic() + seconds
        while await self.store.applied(partition) <= offset:
            if time.monotonic() >= until:
                raise Problem(
                    503,
                    "unavailable",
                    f"Position {partition}:{offset} could not be read within {seconds:g} s.",
                    retry_after=1,
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _wait_for(self, text: bytes, headers: Headers) -> None:
        seconds = self._wait_seconds(headers.get(b"falcon-wait"))
        until = time.monotonic() + seconds
        items = text.split(b",")
        for item in items:
            match = _POSITION.fullmatch(item.strip())
            if match is None or int(match[1]) >= self.partitions or len(items) > _POSITIONS_MAX:
                raise Problem(
                    400,
                    "malformed",
                    "Falcon-Position is PARTITION:OFFSET[,PARTITION:OFFSET...], as a command's answer gave it.",
                    (FieldError("Falcon-Position", "must be as a command's answer gave it"),),
                )
            await self.readable(int(match[1]), int(match[2]), max(0.0, until - time.monotonic()))

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


_nothing: Final = msgspec.json.Decoder(Nothing)
