"""Single HTTP calls to a server, for preparing and probing it; the load itself comes from wrk."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


class CallRefused(Exception):
    """A server refused a call of the benchmark."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Caller:
    """One kept connection with one token, or with none. Not for several threads."""

    def __init__(self, address: Address, token: str | None) -> None:
        self._connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
        self._authorization = {"Authorization": f"Bearer {token}"} if token is not None else {}

    def call(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Ask once. Raises OSError or http.client.HTTPException when the connection fails."""
        content = msgspec.json.encode(body) if isinstance(body, dict) else body
        sent = {**self._authorization, **(headers or {})}
        if content is not None:
            sent["Content-Type"] = content_type
        try:
            self._connection.request(method, path, content, sent)
            got = self._connection.getresponse()
            return Answer(got.status, got.headers, got.read())
        except BaseException:
            self._connection.close()
            raise

    def must(self, method: str, path: str, body: bytes | dict[str, Any] | None = None, **more: Any) -> Answer:
        """Ask once, and expect success. Raises CallRefused, and what `call` raises."""
        answer = self.call(method, path, body, **more)
        if not 200 <= answer.status < 300:
            raise CallRefused(f"{method} {path}: {answer.status} {answer.body[:500].decode(errors='replace')}")
        return answer

    def until_accepted(self, method: str, path: str, body: dict[str, Any], seconds: float = 60) -> Answer:
        """Ask with one key until it succeeds, through refused connections and 503. Raises CallRefused, TimeoutError."""
        deadline = time.monotonic() + seconds
        key = f"until-{time.monotonic_ns()}"
        last = "no answer"
        while time.monotonic() < deadline:
            try:
                answer = self.call(method, path, body, headers={"Idempotency-Key": key})
            except (OSError, http.client.HTTPException) as broken:
                last = repr(broken)
            else:
                if 200 <= answer.status < 300:
                    return answer
                last = f"{answer.status} {answer.body[:300]!r}"
                if answer.status not in (429, 503):
                    raise CallRefused(f"{method} {path}: {last}")
            time.sleep(0.002)
        raise TimeoutError(f"{method} {path} was not accepted within {seconds} s: {last}")

    def close(self) -> None:
        self._connection.close()
