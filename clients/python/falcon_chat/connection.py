"""Requests: retried, spread over the server's addresses, with the position of this client's writes."""

import asyncio
import itertools
import math
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import httpx
import msgspec

from falcon_chat.addresses import Addresses
from falcon_chat.errors import FieldError, Problem, Unreachable
from falcon_chat.patience import Clock, Patience

# None: for what needs no token. A function is called before each request, and gives the token of now.
Token: TypeAlias = str | Callable[[], str] | None
Params: TypeAlias = Mapping[str, str | int]

# 408 also comes from a proxy that closes an idle connection. Retrying is safe for each: a command keeps its key.
_RETRIED_4XX = frozenset({408, 425, 429})
_CONNECT_SECONDS = 3.0


class Connection:
    """Sends requests until they are answered or ``timeout`` seconds have passed.

    Every method raises Problem and Unreachable, as :mod:`falcon_chat` says.
    """

    def __init__(
        self,
        urls: Sequence[str],
        token: Token,
        *,
        timeout: float,
        read_own_writes: bool,
        transport: httpx.AsyncBaseTransport | None,
        clock: Clock,
    ) -> None:
        self.positions = Positions()
        self._addresses = Addresses(urls)
        self._timeout = timeout
        self._read_own_writes = read_own_writes
        self._clock = clock
        self._token = token if token is None or callable(token) else _visible_ascii(token, "a token")
        attempt = timeout / 3  # a server that hangs leaves time for other attempts
        self._http = httpx.AsyncClient(
            headers={"User-Agent": "falcon-client"},
            timeout=httpx.Timeout(attempt, connect=min(attempt, _CONNECT_SECONDS)),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=1000),
            verify=self._addresses.verification(),
            trust_env=not self._addresses.only_local,  # no proxy reaches this machine itself
            transport=transport,
        )

    async def close(self) -> None:
        await self._http.aclose()

    def patience(self, key: str | None = None) -> Patience:
        return Patience(self._timeout, self._clock, key)

    def endless_patience(self) -> Patience:
        """Only the pauses, and no deadline."""
        return Patience(math.inf, self._clock)

    async def command(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        key: str | None = None,
        content_type: str = "application/json",
    ) -> httpx.Response:
        """Every attempt carries the same key, so that the command is executed once."""
        key = secrets.token_hex(16) if key is None else _visible_ascii(key, "an idempotency key")
        headers = {"Idempotency-Key": key}
        if content is not None:
            headers["Content-Type"] = content_type
        return await self._answer(method, path, headers, self.patience(key), content=content)

    async def query(self, path: str, params: Params | None = None) -> httpx.Response:
        """Returns an answer that knows, with ``read_own_writes``, at least everything that this connection has
        written."""
        return await self._answer("GET", path, self._query_headers(), self.patience(), params=params)

    @asynccontextmanager
    async def stream(
        self, path: str, params: Params, *, headers: Mapping[str, str] | None = None, silence: float | None = None
    ) -> AsyncIterator[httpx.Response]:
        """One attempt at a long answer, whose body is read in pieces as they come.

        ``silence``: after so many seconds without a byte the connection counts as lost.
        Raises Busy if the server asks to come back later, and httpx.RequestError if the connection breaks or its bytes
        are damaged.
        """
        url = self._addresses.next()
        usual = self._http.timeout
        timeout = usual if silence is None else httpx.Timeout(silence, connect=usual.connect)
        sent = {**self._authorization(), **self._query_headers(), **(headers or {})}
        try:
            async with self._http.stream("GET", url + path, params=params, headers=sent, timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                    raise _refusal(response)
                yield response
        except httpx.RequestError:
            self._addresses.shun(url)
            raise

    def _authorization(self) -> dict[str, str]:
        token = _visible_ascii(self._token(), "a token") if callable(self._token) else self._token
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def _query_headers(self) -> dict[str, str]:
        position = str(self.positions)
        return {"Falcon-Position": position} if position and self._read_own_writes else {}

    async def _answer(
        self, method: str, path: str, headers: dict[str, str], patience: Patience, **request: Any
    ) -> httpx.Response:
        for attempt in itertools.count():
            url = self._addresses.next()
            try:
                async with asyncio.timeout(patience.left):
                    sent = {**self._authorization(), **headers}
                    response = await self._http.request(method, url + path, headers=sent, **request)
            except (httpx.RequestError, TimeoutError) as fault:
                another = self._addresses.shun(url)
                if not (attempt or another) and (untrusted := _untrusted(fault)):
                    raise Unreachable(f"{url}: {untrusted}; nothing was sent", fault) from fault
                if not (another and patience.left):
                    await patience.wait(ConnectionError(f"{url}: {why(fault)}"))
                continue
            if response.is_success:
                if position := response.headers.get("Falcon-Position"):
                    self._remember(position, response)
                return response
            refusal = _refusal(response)
            if isinstance(refusal, Problem):
                raise refusal
            await patience.wait(refusal.problem, refusal.retry_after)
        raise AssertionError("unreachable")

    def _remember(self, position: str, response: httpx.Response) -> None:
        try:
            self.positions.remember(position)
        except ValueError as fault:
            detail = f"{response.url.copy_with(query=None)} answers with the Falcon-Position {position!r}"
            raise Problem(response.status_code, "not_falcon", detail) from fault


class Positions:
    """How far this client's writes reach: the largest offset of each partition."""

    def __init__(self) -> None:
        self._offsets: dict[int, int] = {}

    def remember(self, header: str) -> None:
        """``header``: ``PARTITION:OFFSET[,PARTITION:OFFSET…]``. Raises ValueError for another."""
        for entry in header.split(","):
            partition, offset = (int(number) for number in entry.split(":"))
            self._offsets[partition] = max(offset, self._offsets.get(partition, offset))

    def forget(self) -> None:
        self._offsets.clear()

    def __str__(self) -> str:
        return ",".join(f"{partition}:{offset}" for partition, offset in sorted(self._offsets.items()))


class Busy(Exception):
    """The server asks to come back, in ``retry_after`` seconds if it names a time."""

    def __init__(self, problem: Problem, retry_after: float | None) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.retry_after = retry_after


class _ProblemBody(msgspec.Struct):
    code: str = ""
    title: str = ""
    detail: str = ""
    errors: tuple[FieldError, ...] = ()


def _refusal(response: httpx.Response) -> Problem | Busy:
    """Returns the fault of an answer that is not a success, also if it does not come from Falcon (from a proxy, for
    example)."""
    status = response.status_code
    try:
        body = msgspec.json.decode(response.content, type=_ProblemBody)
    except msgspec.DecodeError:
        body = _ProblemBody()
    detail = body.detail or body.title or response.reason_phrase or "no reason given"
    problem = Problem(status, body.code or f"http_{status}", detail, body.errors)
    return Busy(problem, _retry_after(response)) if status >= 500 or status in _RETRIED_4XX else problem


def _untrusted(fault: BaseException | None) -> str:
    """Why the server's certificate is not trusted, which another attempt would not change; empty for other faults."""
    while fault is not None:
        if isinstance(fault, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({fault.verify_message}); SSL_CERT_FILE can name its authority"
        fault = fault.__cause__ or fault.__context__
    return ""


def _retry_after(response: httpx.Response) -> float | None:
    try:
        seconds = float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return seconds if math.isfinite(seconds) else None


def _visible_ascii(text: str, what: str) -> str:
    if not text or not all("!" <= character <= "~" for character in text):
        raise ValueError(f"{what} is one or more visible ASCII characters")
    return text


def why(fault: Exception) -> str:
    """Many of httpx's and asyncio's errors have no text of their own."""
    return str(fault) or type(fault).__name__
