"""The load on a Falcon in pods, from outside of them, and its findings."""

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from falcon.adapters.kafka.cluster import KafkaCluster
from tools.k8s_proof.figures import Figures, reckon
from tools.k8s_proof.journal import Journal
from tools.k8s_proof.sessions import SteadySession
from tools.people.audit import Audit
from tools.people.connections import Connections
from tools.people.crowd import SERVED_SECONDS, Crowd
from tools.people.history import History, Operation
from tools.people.listener import Log

CHATTERS: Final = 6
LISTENERS: Final = 6
_ATTEMPT: Final = httpx.Timeout(10.0, connect=3.0, pool=None)  # as falcon_chat has it


@dataclass(frozen=True)
class Target:
    """A running Falcon. ``journal``: its log. No other client writes to it while there is load."""

    url: str
    admin_token: str
    cluster: KafkaCluster
    journal: Journal

    @property
    def partitions(self) -> int:
        return self.cluster.partitions


class Traffic:
    """Accounts and rooms of its own; every request is tried until it is answered, with the same key."""

    def __init__(self, target: Target, history: Path) -> None:
        self.history = History(history)
        self._target = target
        self._path = history
        self._crowd = Crowd(
            [target.url],
            target.admin_token,
            self.history,
            target.partitions,
            seed=random.randrange(2**32),
            chatting=CHATTERS,
            listeners=LISTENERS,
            exact=False,
            session=SteadySession,
            http=httpx.AsyncClient(timeout=_ATTEMPT, transport=Connections()),
        )

    async def begin(self) -> None:
        """When this returns, all sessions write and listen, and every room has been written."""
        await asyncio.to_thread(self._target.journal.skip)
        await self._crowd.arrive()
        await self._crowd.begin()
        await self.served(self.history.now())

    async def served(self, since: float) -> None:
        """Wait until a message that began after that time was acknowledged in each room. Raises NotInTime."""
        await self._crowd.served(since, SERVED_SECONDS, ["send"])

    async def end(self, name: str, began: float, ended: float) -> Figures:
        """Stop all writers, read everything back, and check it against the promises.

        ``name``, ``began``, ``ended``: of the disturbance meanwhile.
        """
        crowd, log = self._crowd, Log()
        wrong = await crowd.leave()
        self.history.note(Operation(kind="fault", name=name, started=began, ended=ended))
        try:
            await Audit([self._target.url], crowd.accounts, [], self.history, log=log).run(self._target.journal.news())
        except* Exception as failed:
            wrong += [f"not everything could be read back: {error!r}" for error in failed.exceptions]
        wrong += await crowd.settle(log)
        self.history.close()
        figures = await asyncio.to_thread(reckon, self._path, self._target.partitions)
        figures.deliveries = crowd.heard.deliveries
        figures.reconnections = crowd.heard.connections["caught_up"] + crowd.heard.connections["catch_up"]
        figures.violations += wrong
        return figures

    async def abandon(self) -> None:
        """End all sessions after a failure."""
        await self._crowd.abandon()
