"""Passwords: which are taken, and their hashes by argon2id, which are made and checked off the event loop."""

import os
import threading
import time
import unicodedata
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Final, ParamSpec, TypeAlias, TypeVar

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from falcon.http.problems import Problem, invalid
from falcon.telemetry.dispatchers import Dispatcher, Saturated

P = ParamSpec("P")
T = TypeVar("T")

# NIST SP 800-63B asks for 8 and 64 at least.
CHARS_MIN: Final = 10
CHARS_MAX: Final = 256
# OWASP's second choice: 19 MiB, 2 passes and one lane take some 0.03 s. The 64 MiB of RFC 9106's second choice empty
# the caches of others more often.
_hasher: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# A login that has no password costs what a wrong password costs. The hash is of a password that was thrown away.
_NO_ONES: Final = "$argon2id$v=19$m=19456,t=2,p=1$wDuTI1s9Z1ZVoE57wJzFYQ$BgdlkGtGqLXXdiE8YX9D3ipoEmcJORe/bOuyypTDUmM"
# The thread rests so many times as long as a hash took before it makes the next one: while it works, sends on two cores
# take an eighth longer, since it also takes the memory's bandwidth, which no priority shares.
_RESTS: Final = 3
_REST_SECONDS_MAX: Final = 0.5  # a hash takes so long only if the machine lets it wait, and then it disturbs none
_THREADS: Final = 1  # for each process
_QUEUE: Final = 32  # some 4 s of work and rest: a client waits no longer
_NICENESS: Final = 19  # the least share of a core while others want it: sends come first
_COMMON: Final = Path(__file__).with_name("common_passwords.txt")

NewPassword: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        min_length=CHARS_MIN,
        max_length=CHARS_MAX,
        description=f"{CHARS_MIN} to {CHARS_MAX} characters, and none of the 10,000 commonest passwords",
    ),
]


def check_new(password: str) -> None:
    """Raises Problem 422 for one that attackers try first."""
    if password.casefold() in _common():
        raise invalid("password", "must not be one of the 10,000 commonest passwords")


class Passwords:
    """One for each process. Sign-ins wait for one another rather than for memory, and no send waits for one."""

    def __init__(self) -> None:
        self._pool = Dispatcher("passwords", threads=_THREADS, queue=_QUEUE)
        self._rests_until = 0.0

    async def hash(self, password: str) -> str:
        """Raises Problem 503."""
        return await self._run(_hash, _bytes(password))

    async def matches(self, stored: str | None, password: str) -> bool:
        """``stored``: None if there is no password to compare with, which takes as long. Raises Problem 503."""
        fits = len(password) <= CHARS_MAX
        right = await self._run(_matches, stored or _NO_ONES, _bytes(password[:CHARS_MAX]))
        return right and fits and stored is not None

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._pool.run(self._rested, partial(work, *args, **kwargs))
        except Saturated:
            raise Problem(503, "overloaded", "Too many people sign in at the time.", retry_after=2) from None

    def _rested(self, work: Callable[[], T]) -> T:
        """A hash after a rest. The first one waits for nothing."""
        began = time.monotonic()
        if began < self._rests_until:
            time.sleep(self._rests_until - began)
            began = time.monotonic()
        _yield_to_others()
        try:
            return work()
        finally:
            ended = time.monotonic()
            self._rests_until = ended + min(_RESTS * (ended - began), _REST_SECONDS_MAX)

    def close(self) -> None:
        self._pool.close()


def _hash(password: bytes) -> str:
    return _hasher.hash(password)


def _matches(stored: str, password: bytes) -> bool:
    try:
        return _hasher.verify(stored, password)
    except VerifyMismatchError:
        return False


def _yield_to_others() -> None:
    """Niceness is, on Linux, a thread's own."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _bytes(password: str) -> bytes:
    """The same bytes from every keyboard: NFKC, as NIST SP 800-63B asks."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


@cache
def _common() -> frozenset[str]:
    """Small letters; without the ones that are too short to be a password."""
    lines = _COMMON.read_text("utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("# ") and line != "#")
