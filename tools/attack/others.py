"""The others: accounts that chat as people do while a Falcon is attacked, and how long each of their requests takes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from falcon.journal.envelope import aggregate_of
from tools.faults.chaos import log_in
from tools.harness.falcon import Falcon
from tools.people.audit import Audit
from tools.people.checker import Checker
from tools.people.connections import Connections
from tools.people.crowd import Crowd
from tools.people.history import History, Operation
from tools.people.listener import Log
from tools.people.sessions import Act, Request, Session

_TIMEOUT_SECONDS = 30.0
_PEOPLE = 7  # beside one who sends and reads all the time
_LISTENERS = 2


class Visitor(Session):
    """Writes, reads, and looks around: nothing that a limit would refuse."""

    think_seconds = (0.125, 0.375)

    def acts(self) -> Mapping[Act, int]:
        return {self.post: 1, self.read: 1, self.mark: 1, self.look_at_rooms: 1, self.look_at_me: 1}

    async def look_at_rooms(self) -> None:
        await self._attempt(Operation(kind="look"), Request("GET", "/v1/rooms"))

    async def look_at_me(self) -> None:
        await self._attempt(Operation(kind="look"), Request("GET", "/v1/me"))


class Others:
    """``wrong``: promises that were broken, once they have gone."""

    def __init__(self, falcon: Falcon, folder: Path) -> None:
        self.wrong: list[str] = []
        self.history = History(folder / "history.jsonl")
        self._falcon = falcon
        http = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, transport=Connections())
        self.crowd = Crowd(
            [falcon.info["url"]],
            falcon.info["admin_token"],
            self.history,
            1,
            seed=1,
            chatting=_PEOPLE,
            listeners=_LISTENERS,
            exact=False,
            session=Visitor,
            http=http,
            steady=True,
        )

    def asked_between(self, began: float, ended: float) -> list[Operation]:
        """All that was asked and has ended then, by the history's clock."""
        return [each for each in self.history.operations() if each.outcome and began <= each.ended < ended]

    @asynccontextmanager
    async def chatting(self) -> AsyncIterator[None]:
        await self.crowd.arrive()
        await self.crowd.begin()
        try:
            yield
            await self._go()
        finally:
            await self.crowd.abandon()
            self.history.close()

    async def _go(self) -> None:
        self.wrong = await self.crowd.leave()
        log = Log()
        audit = Audit([self._falcon.info["url"]], self.crowd.accounts, [], self.history, log=log)
        theirs = {0, *self.crowd.load.halls}  # 0: answers without an event; other rooms are the attackers'
        await audit.run(each for each in log_in(self._falcon.data_dir) if aggregate_of(each.envelope.event) in theirs)
        self.wrong += [*await self.crowd.settle(log), *Checker().check(self.history.operations())]
