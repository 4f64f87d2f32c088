"""The others: accounts that chat as people do, and how long each of their requests takes."""

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import httpx

_PAUSE_SECONDS: Final = 0.25  # between two requests of a person, about
_TIMEOUT_SECONDS: Final = 30.0
_PEOPLE: Final = 8
_FRESH: Final = 10  # each so many requests a person comes on another connection


class Asked(NamedTuple):
    """``outcome``: the status, or the name of the error."""

    at: float
    seconds: float
    outcome: str

    @property
    def is_refused(self) -> bool:
        return not self.outcome.startswith("2")


class Others:
    """``asked``: every request, in the order of their ends. ``streamed``: messages that came by their streams;
    ``streams_ended``: streams that the server ended."""

    def __init__(self, url: str, admin_token: str) -> None:
        self._url = url
        self._admin_token = admin_token
        self._tokens: list[str] = []
        self._room = 0
        self.asked: list[Asked] = []
        self.streamed = 0
        self.streams_ended = 0

    def asked_between(self, began: float, ended: float) -> list[Asked]:
        return [each for each in self.asked if began <= each.at < ended]

    async def arrive(self) -> None:
        async with self._client(self._admin_token) as admin:
            made = [(await _made(admin, "/v1/accounts", {"name": f"Person {n}"})) for n in range(_PEOPLE)]
        self._tokens = [each["token"] for each in made]
        members = [{"account_id": each["account_id"]} for each in made[1:]]
        async with self._client(self._tokens[0]) as first:
            self._room = (await _made(first, "/v1/rooms", {"name": "Tea", "members": members}))["room_id"]
            await _made(first, f"/v1/rooms/{self._room}/messages", {"text": "Tea?"})

    @asynccontextmanager
    async def chatting(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._chat(token)) for token in self._tokens]
        tasks += [asyncio.create_task(self._listen(token)) for token in self._tokens[:2]]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if not isinstance(outcome, asyncio.CancelledError):
                raise outcome if isinstance(outcome, BaseException) else AssertionError("a person has gone")

    async def _chat(self, token: str) -> None:
        for visit in itertools.count():
            async with self._client(token) as client:
                for _ in range(_FRESH):
                    await self._ask(client, visit)
                    await asyncio.sleep(random.uniform(0.5, 1.5) * _PAUSE_SECONDS)

    async def _ask(self, client: httpx.AsyncClient, visit: int) -> None:
        path = f"/v1/rooms/{self._room}"
        method, path, body = random.choice(
            (
                ("POST", f"{path}/messages", {"text": f"visit {visit}"}),
                ("GET", f"{path}/messages", None),
                ("GET", "/v1/rooms", None),
                ("GET", "/v1/me", None),
                ("PUT", f"{path}/read", {"seq": 1}),
            )
        )
        headers = {"Idempotency-Key": secrets.token_hex(16)} if body else {}
        began = time.monotonic()
        try:
            outcome = str((await client.request(method, path, json=body, headers=headers)).status_code)
        except httpx.TransportError as error:
            outcome = type(error).__name__
        self.asked.append(Asked(time.monotonic(), time.monotonic() - began, outcome))

    async def _listen(self, token: str) -> None:
        while True:
            try:
                async with self._client(token) as client, client.stream("GET", "/v1/stream", timeout=None) as events:
                    async for line in events.aiter_lines():
                        self.streamed += line == "event: message.posted"
            except httpx.TransportError:
                pass
            self.streams_ended += 1
            await asyncio.sleep(1)

    def _client(self, token: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"}
        # A client that reads certificates makes the others wait for 20 ms, which would count as the server's.
        return httpx.AsyncClient(base_url=self._url, headers=headers, timeout=_TIMEOUT_SECONDS, verify=False)


async def _made(client: httpx.AsyncClient, path: str, body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    answer.raise_for_status()
    made: dict[str, Any] = answer.json()
    return made
