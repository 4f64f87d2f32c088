"""Asks until there is an answer: with one key, at any server, and with all positions that were given."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

import httpx

from tools.people.sessions import Account

_ANSWER_SECONDS: Final = 12.0
_PAUSE_SECONDS: Final = (0.02, 0.2)  # between two attempts
_PATIENCE_SECONDS: Final = 120.0  # after which a command must have an answer, also if several faults come in turn


@dataclass(frozen=True)
class Reply:
    """``body``: None if there is none."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Ask(Protocol):
    """One attempt at one server; None if no answer comes."""

    async def __call__(
        self, url: str, method: str, path: str, headers: Mapping[str, str], body: Any
    ) -> Reply | None: ...


@dataclass(frozen=True)
class Command:
    """``expected``: the status, and fields of the body."""

    person: Account
    method: str
    path: str
    body: Any
    key: str
    expected: tuple[int, Mapping[str, Any]]

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.body} of account {self.person.account_id}"


def over(http: Any, seconds: float = _ANSWER_SECONDS) -> Ask:
    """Ask over ``http``, an ``httpx.AsyncClient`` or what works like one. An answer has so many seconds."""

    async def ask(url: str, method: str, path: str, headers: Mapping[str, str], body: Any) -> Reply | None:
        where, _, query = path.partition("?")
        params = dict(parse_qsl(query))  # httpx would take none in their place
        try:
            async with asyncio.timeout(seconds):
                answer = await http.request(method, url + where, json=body, params=params, headers=headers)
        except (httpx.HTTPError, TimeoutError):
            return None
        return Reply(answer.status_code, answer.headers, answer.json() if answer.content else None)

    return ask


class Asking:
    """``urls``: of the servers as they are now. ``steady``: a clock that never goes back, in seconds. ``wrong``: what
    contradicts what must be true."""

    later = frozenset({503})  # statuses of answers that say that one cannot be given now

    def __init__(
        self,
        ask: Ask,
        urls: Callable[[], Sequence[str]],
        chance: random.Random,
        *,
        steady: Callable[[], float],
        name: str,
    ) -> None:
        self.wrong: list[str] = []
        self.chance = chance
        self.ending = False
        self._ask = ask
        self._urls = urls
        self._steady = steady
        self._name = name
        self._number = 0
        self._positions: dict[str, int] = {}  # by partition, of all commands

    async def _insist(self, command: Command, url: str = "") -> Reply | None:
        """Returns None once nothing counts any more."""
        headers = {"Idempotency-Key": command.key} if command.key else {}
        reply = await self._until_answered(command, headers, url)
        if reply is not None:
            self._note_position(reply)
        return reply

    async def _query(self, person: Account, path: str, headers: Mapping[str, str] = {}) -> Reply | None:
        """One that sees all that was answered."""
        asked = dict(headers)
        if self._positions:
            asked["Falcon-Position"] = ",".join(f"{partition}:{at}" for partition, at in self._positions.items())
        return await self._until_answered(Command(person, "GET", path, None, "", (200, {})), asked)

    async def _until_answered(self, command: Command, headers: Mapping[str, str], url: str = "") -> Reply | None:
        token = {"Authorization": f"Bearer {command.person.token}"} if command.person.token else {}
        until = self._steady() + _PATIENCE_SECONDS
        while not self.ending:
            where = url or self._url()
            reply = await self._ask(where, command.method, command.path, {**token, **headers}, command.body)
            if reply is not None and reply.status not in self.later:
                return reply
            if self._steady() > until:
                self._say(f"{command} was not answered within {_PATIENCE_SECONDS:g} s")
                return None
            await asyncio.sleep(self.chance.uniform(*_PAUSE_SECONDS))
        return None

    def _note_position(self, reply: Reply) -> None:
        named = next((value for name, value in reply.headers.items() if name.lower() == "falcon-position"), "")
        for place in filter(None, named.split(",")):
            partition, _, offset = place.partition(":")
            self._positions[partition] = max(self._positions.get(partition, 0), int(offset))

    def _url(self) -> str:
        return self.chance.choice(self._urls())

    def _say(self, what: str) -> None:
        self.wrong.append(f"{self._name}: {what}")
