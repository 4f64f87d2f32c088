"""Runs the steps in order, up to the first that fails."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx
import msgspec

from falcon.cli.calling import Outside
from falcon.cli.faults import Fault
from falcon.cli.smoke.check import Check, CheckFailed
from falcon.cli.smoke.messaging import Messaging
from falcon.cli.smoke.reachability import Reachability
from falcon.cli.smoke.streaming import Streaming, client_log_lines
from falcon_chat import FalconClient, Problem, Unreachable
from falcon_chat.addresses import Addresses

_STEP_SECONDS: Final = 20.0
_CALL_SECONDS: Final = 10.0
_CLEANING_SECONDS: Final = 5.0
_ERROR_LINES: Final = "the log of what answered (docs/runbooks/error-lines.md)"
_NOT_FALCON: Final = "what it is that answers at that address"


class Step(msgspec.Struct, frozen=True):
    """``found``: what the step saw; if it failed, what was wrong."""

    step: str
    ok: bool
    seconds: float
    found: str


class Failure(msgspec.Struct, frozen=True):
    """``left``: the room that could not be deleted, if there is one."""

    step: str
    wrong: str
    expected: str
    look_at: str
    left: int | None = None

    def __str__(self) -> str:
        left = "" if self.left is None else f"; room {self.left} could not be deleted"
        return f"{self.step}: {self.wrong}; expected {self.expected}; look at {self.look_at}{left}"


class SmokeOutcome(msgspec.Struct, frozen=True):
    """The results of the steps, up to the first that failed."""

    ok: bool
    seconds: float
    steps: tuple[Step, ...]
    failure: Failure | None = None


async def run_checks(
    urls: Sequence[str], token: str, timeout: float, outside: Outside, on_step: Callable[[Step], None]
) -> SmokeOutcome:
    """``on_step`` is called as each step ends. Raises Fault for an address or a token that cannot be one."""
    began = time.monotonic()
    done: list[Step] = []
    failure: Failure | None = None
    async with _clients(urls, token, timeout, outside) as (falcon, http):
        with client_log_lines() as said:
            run = secrets.token_hex(6)
            reachability = Reachability(urls, http, falcon, min(_CALL_SECONDS, timeout / 2))
            messaging = Messaging(falcon, run)
            try:
                for check in _checks(reachability, messaging, Streaming(falcon, run, said)):
                    step_began = time.monotonic()
                    found, failure = await _carry_out(check, timeout - (step_began - began))
                    done.append(Step(check.name, failure is None, time.monotonic() - step_began, found))
                    on_step(done[-1])
                    if failure is not None:
                        break
            finally:
                left = await _clean_up(falcon, messaging.room_id)
    if failure is not None and left is not None:
        failure = msgspec.structs.replace(failure, left=left)
    return SmokeOutcome(failure is None, time.monotonic() - began, tuple(done), failure)


@asynccontextmanager
async def _clients(
    urls: Sequence[str], token: str, timeout: float, outside: Outside
) -> AsyncIterator[tuple[FalconClient, httpx.AsyncClient]]:
    """Falcon's client, and an HTTP client for requests without a token. Raises Fault."""
    seconds = min(_CALL_SECONDS, timeout)
    try:
        addresses = Addresses(urls)
        falcon = FalconClient(urls, token, timeout=seconds, transport=outside.transport, clock=outside.clock)
    except ValueError as fault:
        raise Fault(str(fault)) from fault
    http = httpx.AsyncClient(
        timeout=seconds / 3,
        verify=addresses.verification(),
        trust_env=not addresses.only_local,
        transport=outside.transport,
    )
    async with falcon, http:
        yield falcon, http


def _checks(reachability: Reachability, messaging: Messaging, streaming: Streaming) -> Iterator[Check]:
    """In order. A step runs only if those before it have passed."""
    yield from reachability.checks()
    yield from messaging.checks()
    assert messaging.room_id is not None
    streaming.room_id = messaging.room_id
    yield from streaming.checks()
    yield from messaging.last_checks()


async def _carry_out(check: Check, left: float) -> tuple[str, Failure | None]:
    """What a step found, and what is wrong with it."""
    seconds = max(0.0, min(left, _STEP_SECONDS))
    expected, look_at = check.expected, check.look_at
    try:
        async with asyncio.timeout(seconds):
            return await check.work(), None
    except CheckFailed as fault:
        wrong, expected, look_at = str(fault), fault.expected or expected, fault.look_at or look_at
    except Problem as problem:
        wrong = str(problem)
        if problem.code == "not_falcon":
            look_at = _NOT_FALCON
    except Unreachable as fault:
        wrong = str(fault)
        if isinstance(fault.last, Problem) and fault.last.status == 500:
            look_at = _ERROR_LINES
    except TimeoutError:
        why = ", which is what --timeout has left of it" if left < _STEP_SECONDS else ""
        wrong = f"{check.awaits()} did not come within {seconds:.1f} s{why}"
    return wrong, Failure(check.name, wrong, expected, look_at)


async def _clean_up(falcon: FalconClient, room_id: int | None) -> int | None:
    """The room if it could not be deleted. An earlier failure matters more."""
    if room_id is None:
        return None
    try:
        async with asyncio.timeout(_CLEANING_SECONDS):
            await falcon.delete_room(room_id)
    except (Problem, Unreachable, TimeoutError):
        return room_id
    return None
