"""The load on a Falcon in pods, from outside of them, and its findings."""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.client import FalconClient
from falcon.features.rooms.rules import CreateRoom
from falcon.write.gateway import partition_for
from tools.harness.waiting import eventually_within
from tools.k8s_proof.connections import Connections
from tools.k8s_proof.figures import Figures, reckon
from tools.k8s_proof.journal import Journal
from tools.k8s_proof.kubectl import until
from tools.k8s_proof.listeners import Listener
from tools.k8s_proof.sessions import Chatter, Load, Writer
from tools.people.audit import Audit, _logged
from tools.people.history import History, Operation
from tools.people.sessions import Account, known_at

CHATTERS: Final = 6
LISTENERS: Final = 6
SERVED_SECONDS: Final = 120.0
_TOLD_SECONDS: Final = 60.0
_ATTEMPT: Final = httpx.Timeout(10.0, connect=3.0, pool=None)  # as falcon.client has it


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
        self._accounts: list[Account] = []
        self._halls: list[int] = []  # by partition
        self._listeners: list[Listener] = []
        self._listening: list[asyncio.Task[None]] = []
        self._sessions: list[asyncio.Task[None]] = []
        self._load: Load | None = None

    @property
    def load(self) -> Load:
        assert self._load is not None, "it has not begun"
        return self._load

    async def begin(self) -> None:
        """When this returns, all sessions write and listen, and every room has been written."""
        await asyncio.to_thread(self._target.journal.skip)
        made = await self._make_accounts(self._target.partitions + CHATTERS + LISTENERS)
        self._accounts, listening = made[:-LISTENERS], made[-LISTENERS:]
        self._halls = await self._open_halls(made)
        self._listeners = [Listener(self._target.url, account, self._halls) for account in listening]
        self._listening = [asyncio.create_task(listener.listen()) for listener in self._listeners]
        await until(
            lambda: all(each.listening for each in self._listeners), "everybody listens", seconds=SERVED_SECONDS
        )
        self._load = Load([self._target.url], self.history, self._accounts, [])
        await self._load.http.aclose()
        self._load.http = httpx.AsyncClient(timeout=_ATTEMPT, transport=Connections())
        self._load.halls = self._halls
        self._sessions = [asyncio.create_task(each) for each in self._who_write(self._load)]
        await self.served(self.history.now())

    def _who_write(self, load: Load) -> list[Coroutine[Any, Any, None]]:
        seed = random.randrange(2**32)
        writers = [Writer(load, number, seed).write(room) for number, room in enumerate(self._halls)]
        rest = range(len(self._halls), len(self._accounts))
        return [*writers, *(Chatter(load, number, seed).chat() for number in rest)]

    async def served(self, since: float) -> float:
        """Wait until a message that began after that time was acknowledged in each room. Returns the time. Raises
        NotInTime."""

        def everywhere() -> bool:
            return {wait.room for wait in self.load.waits if wait.started >= since} >= set(self._halls)

        await until(everywhere, "every room can be written", seconds=SERVED_SECONDS)
        return self.history.now()

    async def end(self, name: str, began: float, ended: float) -> Figures:
        """Stop all writers, read everything back, and check it against the promises.

        ``name``, ``began``, ``ended``: of the disturbance meanwhile.
        """
        wrong = await self._stop()
        self.history.note(Operation(kind="fault", name=name, started=began, ended=ended))
        audit = _Audit(self._target.journal, self._target.url, self._accounts, self.history)
        try:
            await audit.run(self._target.cluster)
        except* Exception as failed:
            wrong += [f"not everything could be read back: {error!r}" for error in failed.exceptions]
        wrong += await self._judge_listeners(audit)
        self.history.close()
        figures = await asyncio.to_thread(reckon, self._path, len(self._halls))
        figures.deliveries = sum(len(told) for each in self._listeners for told in each.told.values())
        figures.reconnections = sum(each.reconnections for each in self._listeners)
        figures.violations += wrong
        return figures

    async def abandon(self) -> None:
        """End all sessions after a failure."""
        for task in (*self._sessions, *self._listening):
            task.cancel()
        await asyncio.gather(*self._sessions, *self._listening, return_exceptions=True)

    async def _stop(self) -> list[str]:
        self.load.end()
        ended = await asyncio.gather(*self._sessions, return_exceptions=True)
        await self.load.http.aclose()
        return [f"a session failed: {each!r}" for each in ended if isinstance(each, BaseException)]

    async def _judge_listeners(self, audit: "_Audit") -> list[str]:
        ends = {room: len(audit.said.get(room, {})) for room in self._halls}
        # Events that have not come by then count as missing.
        await eventually_within(lambda: all(each.has(ends) for each in self._listeners), _TOLD_SECONDS, every=0.1)
        wrong = [f"a listener failed: {task.exception()!r}" for task in self._listening if task.done()]
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        for listener in self._listeners:
            wrong += listener.judge({room: audit.said.get(room, {}) for room in self._halls})
        return wrong

    # --- before -------------------------------------------------------------------------------------------------------

    async def _make_accounts(self, count: int) -> list[Account]:
        async with FalconClient(self._target.url, self._target.admin_token) as admin:
            made = await asyncio.gather(*(admin.create_account(f"s{i}") for i in range(count)))
        accounts = [Account(each.account_id, each.token) for each in made]
        await asyncio.gather(*(known_at(self._target.url, each, SERVED_SECONDS) for each in accounts))
        return accounts

    async def _open_halls(self, accounts: Sequence[Account]) -> list[int]:
        """A room in each partition, with all accounts as members."""
        first, *others = accounts
        members = {each.account_id: "member" for each in others}
        async with FalconClient(self._target.url, first.token) as falcon:
            rooms = await asyncio.gather(
                *(
                    falcon.create_room("Hall", members=members, key=self._key(first, partition))  # type: ignore[arg-type]
                    for partition in range(self._target.partitions)
                )
            )
            await falcon.rooms()  # waits until all of it can be read
        halls = [room.room_id for room in rooms]
        assert [hall % self._target.partitions for hall in halls] == list(range(self._target.partitions)), halls
        return halls

    def _key(self, account: Account, partition: int) -> str:
        """One with which the account's new room comes to that partition."""
        command = CreateRoom(account.account_id, "Hall")
        keys = (f"hall-{i}" for i in range(1 << 20))
        partitions = self._target.partitions
        return next(key for key in keys if partition_for(command, account.account_id, key, partitions) == partition)


class _Audit(Audit):
    """``said``: the message at each seq of each room, by the log; "" if its text is gone."""

    def __init__(self, journal: Journal, url: str, accounts: Sequence[Account], history: History) -> None:
        super().__init__([url], accounts, [], history)
        self.said: dict[int, dict[int, str]] = {}
        self._journal = journal
        self._notes = history

    def _note_log(self, cluster: KafkaCluster) -> None:
        for recorded in self._journal.news():
            noted = _logged(recorded)
            self._notes.note(noted)
            if noted.name == "MessagePosted":
                self.said.setdefault(noted.room, {})[noted.seq] = noted.token.partition("/")[0]
