"""The chat in which users act, and the state that they share in one process."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass
from random import Random
from typing import Final

import msgspec

from load_tests.users.recorder import Recorder
from tools.people.checker import Checker
from tools.people.history import Operation

_SENT_KEPT: Final = 20_000


class World(msgspec.Struct, frozen=True):
    """The chat as it was made ready. Accounts are numbered, and rooms in the order of their popularity."""

    urls: list[str]
    admin_token: str
    account_ids: list[int]
    tokens: list[str]
    room_ids: list[int]
    members: list[list[int]]  # of each room, numbers of accounts
    seed: int = 1
    pace: float = 1.0  # how many times as fast as people mostly are


@dataclass(frozen=True, slots=True)
class Identity:
    """An account. ``rooms``: ids, the most popular first."""

    account_id: int
    token: str
    rooms: list[int]


class Stage:
    """Shared by the users of one process. ``worker`` of ``workers``: each takes accounts of its own in turn."""

    def __init__(self, world: World, recorder: Recorder, worker: int = 0, workers: int = 1) -> None:
        self.world = world
        self.recorder = recorder
        self.checker = Checker(alone=False)
        self.sessions = itertools.count()
        self._worker = worker
        self._workers = workers
        self._numbers = itertools.count()
        self._names = itertools.count()
        self._prefix = secrets.token_hex(3)
        self._sent: dict[str, float] = {}
        self._rooms_of: dict[int, list[int]] = {}
        self._readers: dict[int, str] = {}
        for room_id, members in zip(world.room_ids, world.members, strict=True):
            self._readers[room_id] = world.tokens[members[0]]
            for account in members:
                self._rooms_of.setdefault(account, []).append(room_id)

    def enter(self) -> tuple[Identity, Random]:
        """The identity of the next user, with a source of chance of its own.

        If there are more users than accounts, some are a second device of the same account.
        """
        number = next(self._numbers) * self._workers + self._worker
        account = number % len(self.world.tokens)
        return self.identity(account), Random(f"{self.world.seed} {number}")

    def identity(self, account: int) -> Identity:
        """By the number of the account."""
        return Identity(self.world.account_ids[account], self.world.tokens[account], self._rooms_of[account])

    def opened(self, room_id: int, token: str) -> None:
        """A room that was not there, and the token of one who may read it."""
        self._readers[room_id] = token

    def reader_of(self, room_id: int) -> str:
        """The token of an account that may read the room."""
        return self._readers[room_id]

    def note(self, operation: Operation) -> None:
        """Hold it to the promises."""
        self.checker.take(operation)
        self.recorder.violated(self.checker.news())

    def new_name(self) -> str:
        """A name for a message. No other message has it, in any process."""
        return f"{self._prefix}x{next(self._names):x}"

    def sending(self, name: str, meant: float) -> None:
        """A message is on its way; it was meant to be sent then."""
        self._sent[name] = meant
        if len(self._sent) > _SENT_KEPT:
            del self._sent[next(iter(self._sent))]

    def sent(self, name: str) -> float | None:
        """When it was meant to be; None for one of another process, or of long ago."""
        return self._sent.get(name)
