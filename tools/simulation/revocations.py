"""Schedules in which a token is revoked at one pod, or its account deactivated or demoted: every other pod refuses what
it might do within two seconds, and a token at once with the position of its end, whatever the log and the tables do.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import httpx

from falcon_chat import FalconClient
from tools.harness.waiting import eventually, eventually_within
from tools.simulation.cluster import EdgeClient, SimulatedFalcon
from tools.simulation.course import Outcome, simulate

_REVOKED_SECONDS: Final = 2.0
_AFTERWARDS_SECONDS: Final = 6.0  # the token stays revoked
_START_SECONDS: Final = 30.0
_SILENCE_SECONDS: Final = 15.0
_STREAMS: Final = 8
_DEMOTED: Final = "an admin is demoted"
_DEACTIVATED: Final = "an account is deactivated"
_WITHDRAWALS: Final = ("a token is revoked", "a token is revoked", _DEACTIVATED, _DEMOTED)


def run(outcome: Outcome, folder: Path) -> None:
    """Raises what is a fault of the simulation's own."""

    async def revoke(falcon: SimulatedFalcon) -> None:
        chance = random.Random(f"revocations {outcome.seed}")
        revocation = Revocation(falcon, (await falcon.start()).admin_token, chance)
        await revocation.prepare(random.Random(f"withdrawals {outcome.seed}").choice(_WITHDRAWALS))
        trouble = chance.choice(TROUBLES)
        outcome.faults.append(f"{trouble.__name__}: {revocation.withdrawal}")
        await trouble(revocation)
        outcome.operations = revocation.asked
        outcome.violations += [f"{trouble.__name__}: {each}" for each in revocation.violations]

    simulate(outcome, folder, revoke, writers=1, projectors=1, edges=2)


class Revocation:
    """Ben, an admin, has his token revoked at one pod, is deactivated or demoted, and asks at the other one."""

    def __init__(self, falcon: SimulatedFalcon, admin_token: str, chance: random.Random) -> None:
        self.falcon = falcon
        self.chance = chance
        self.violations: list[str] = []
        self.asked = 0
        here, self.pod = chance.sample(falcon.edges, 2)
        self._admin = FalconClient([f"http://{here}:8080"], admin_token)
        self._http = EdgeClient(falcon.http)
        self._streaming = httpx.AsyncClient(timeout=_SILENCE_SECONDS, trust_env=False)
        self._streams: list[asyncio.Task[None]] = []

    async def prepare(self, withdrawal: str) -> None:
        """Until both pods follow the log, and the other one knows Ben."""
        self.withdrawal = withdrawal
        made = await self._admin.create_account("Ben", role="admin" if withdrawal == _DEMOTED else "member")
        (listed,) = await self._admin.tokens(made.account_id)
        self._account_id, self._token, self._token_id = made.account_id, made.token, listed.token_id
        edges = [self.falcon._serving[pod][0] for pod in self.falcon.edges]

        def follow() -> bool:
            now = time.monotonic()
            return all(edge.authenticator.revocations.still_valid_since(now, now) for edge in edges)

        await eventually(follow, "both pods follow the log", _START_SECONDS, every=0.05)
        if not await self._settles(lambda status: status == 200, _START_SECONDS):
            self.violations.append("Ben is not let in")

    async def is_let_in(self, seconds: float) -> None:
        until = self.falcon.simulation.now + seconds
        while self.falcon.simulation.now < until:
            if (status := await self._status()) != 200:
                self.violations.append(f"Ben's token is good, and the answer is {status}")
            await asyncio.sleep(0.1)

    async def revoke(self) -> None:
        if self.withdrawal == _DEMOTED:  # a role that falls may count for two seconds
            await self._admin.change_account(self._account_id, role="member")
            return
        if self.withdrawal == _DEACTIVATED:
            await self._admin.change_account(self._account_id, deactivated=True)
        else:
            await self._admin.revoke_token(self._account_id, self._token_id)
        if await self._status(self._admin.position) == 200:
            self.violations.append("Ben's token is good at the position of its revocation")

    async def is_refused(self) -> None:
        if not await self._settles(lambda status: status in (401, 403), _REVOKED_SECONDS):
            self.violations.append(f"Ben's token is good {_REVOKED_SECONDS:g} s after it was revoked")
        until = self.falcon.simulation.now + _AFTERWARDS_SECONDS
        while self.falcon.simulation.now < until:
            if await self._status() == 200:
                self.violations.append("Ben's token is good again")
            await asyncio.sleep(0.2)

    async def open_streams(self) -> None:
        """One after the other."""
        while len(self._streams) < _STREAMS:
            self._streams.append(asyncio.create_task(self._listen()))
            await asyncio.sleep(self.chance.uniform(0, 0.2))

    async def streams_have_ended(self) -> None:
        """Each was refused, or ended with the token. A member continues to listen."""
        lasting = [each for each in self._streams if not each.done()]
        if lasting and self.withdrawal != _DEMOTED:
            self.violations.append(f"{len(lasting)} streams of Ben's outlive his token")
        for each in self._streams:
            each.cancel()
        await self._streaming.aclose()

    async def _listen(self) -> None:
        self.asked += 1
        headers = {"Authorization": f"Bearer {self._token}"}
        with contextlib.suppress(httpx.HTTPError):
            async with self._streaming.stream("GET", f"http://{self.pod}:8080/v1/stream", headers=headers) as response:
                async for _ in response.aiter_bytes():
                    continue

    def slow_the_tables(self, seconds: float) -> None:
        self.falcon.road.delay_max = seconds

    def stop_the_tables(self) -> None:
        self.falcon.stop(self.falcon.projectors[0])

    def cut_off_the_log(self) -> None:
        brokers = self.falcon.brokers
        for node in brokers.nodes:
            brokers.loop.call_soon_threadsafe(brokers.network.cut, self.pod, node)

    async def restart(self) -> None:
        self.falcon.kill(self.pod)
        if not await self._settles(lambda status: status > 0, _START_SECONDS):
            self.violations.append("the pod does not come back")

    async def _status(self, position: str = "") -> int:
        """0 while the pod is not there."""
        self.asked += 1
        headers = {"Authorization": f"Bearer {self._token}"} | ({"Falcon-Position": position} if position else {})
        asked = "accounts?limit=1" if self.withdrawal == _DEMOTED else "me"
        try:
            answer = await self._http.request(
                "GET", f"http://{self.pod}:8080/v1/{asked}", json=None, params={}, headers=headers
            )
        except httpx.HTTPError:
            return 0
        return answer.status_code

    async def _settles(self, on: Callable[[int], bool], seconds: float) -> bool:
        """True if an answer with such a status comes in time."""

        async def is_on() -> bool:
            return on(await self._status())

        return await eventually_within(is_on, seconds, every=0.05)


# --- what may be in the way -------------------------------------------------------------------------------------------


async def nothing(revocation: Revocation) -> None:
    await revocation.is_let_in(revocation.chance.uniform(0, 20))
    await revocation.revoke()
    await revocation.is_refused()


async def tables_that_stand_still(revocation: Revocation) -> None:
    revocation.stop_the_tables()
    await revocation.revoke()
    await revocation.is_refused()


async def a_log_that_was_lost_before(revocation: Revocation) -> None:
    """The tables are asked about the token each second."""
    revocation.cut_off_the_log()
    await revocation.is_let_in(revocation.chance.uniform(1, 10))
    await revocation.revoke()
    await revocation.is_refused()


async def a_log_that_is_lost_in_that_moment(revocation: Revocation) -> None:
    await revocation.is_let_in(revocation.chance.uniform(0, 2))
    revocation.cut_off_the_log()
    await revocation.revoke()
    await revocation.is_refused()


async def a_start_with_tables_that_are_behind(revocation: Revocation) -> None:
    """The revocation is in the log before the pod follows it, and in no table."""
    revocation.stop_the_tables()
    await revocation.revoke()
    await revocation.restart()
    await revocation.is_refused()


async def a_start_at_the_same_time(revocation: Revocation) -> None:
    await revocation.restart()
    await revocation.is_let_in(revocation.chance.choice([0.0, revocation.chance.uniform(0, 3)]))
    await revocation.revoke()
    await revocation.is_refused()


async def streams_that_begin_meanwhile(revocation: Revocation) -> None:
    """Tables that are slow come to show the revocation between two questions of a stream."""
    revocation.slow_the_tables(revocation.chance.choice([0.1, 0.3, 0.6]))
    await revocation.restart()
    opening = asyncio.create_task(revocation.open_streams())
    await asyncio.sleep(revocation.chance.uniform(0, 1))
    await revocation.revoke()
    await opening
    revocation.slow_the_tables(0.002)
    await revocation.is_refused()
    await revocation.streams_have_ended()


TROUBLES: Final[tuple[Callable[[Revocation], Awaitable[None]], ...]] = (
    nothing,
    tables_that_stand_still,
    a_log_that_was_lost_before,
    a_log_that_is_lost_in_that_moment,
    a_start_with_tables_that_are_behind,
    a_start_at_the_same_time,
    streams_that_begin_meanwhile,
)
