"""An operator of the simulated Falcon: runs its commands, each in a process of its own, and again where they fail."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from falcon.journal.envelope import Recorded
from falcon.journal.ports import LogWentBack
from falcon.read.store import StaleProjector
from falcon.run.bootstrap import cluster as roles
from falcon.run.settings import Settings
from falcon_chat import FalconClient, Unreachable
from tools.people.audit import events_of
from tools.people.history import spoken
from tools.simulation.cluster import SimulatedFalcon
from tools.simulation.threads import Killed, Process

T = TypeVar("T")

_AGAIN_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 120.0
# After these the same command is run again later.
_FOR_NOW: Final = (*roles.AWAY, roles.StillRunning, StaleProjector, Unreachable)


class Operator:
    """Chats in rooms of its own, beside all others; ``posted``: the texts there, by room. ``skipped``: what may be
    missing by its doing."""

    def __init__(self, falcon: SimulatedFalcon, admin_token: str, folder: Path, chance: random.Random) -> None:
        self.falcon = falcon
        self.random = chance
        self.token = admin_token
        self.client = FalconClient(falcon.urls, admin_token, timeout=_PATIENCE_SECONDS)
        self.posted: dict[int, list[str]] = {}
        self.skipped: set[tuple[int, int]] = set()
        self.alone = asyncio.Lock()  # for what must not meet other work on the tables
        self.troubled = False  # something fails now
        self._folder = folder
        self._numbers = 0

    # --- commands -----------------------------------------------------------------------------------------------------

    async def command(self, work: Callable[[Settings], T]) -> T:
        """Repeat the command until it is done, however often a server is away. Raises errors that time does not
        repair."""
        while True:
            try:
                return await self.once(work)
            except LogWentBack:
                raise
            except _FOR_NOW:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def once(self, work: Callable[[Settings], T]) -> T:
        """In a process of its own. Raises what ``work`` raises."""
        process, ended = self._start(work)
        try:
            return await ended
        finally:
            self._end(process)

    async def killed(self, work: Callable[[Settings], object], seconds: float) -> None:
        """Killed after so many seconds, unless it has ended by then."""
        process, ended = self._start(work)
        await asyncio.wait([ended], timeout=seconds)
        self._end(process)
        if ended.done():
            ended.exception()

    def file(self, name: str) -> Path:
        """One that is not there yet."""
        self._numbers += 1
        return self._folder / f"{name}-{self._numbers:06}.jsonl"

    def _start(self, work: Callable[[Settings], T]) -> "tuple[Process, asyncio.Future[T]]":
        self._numbers += 1
        process = Process(f"operator-{self._numbers}")
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[T] = loop.create_future()

        def settle(how: Callable[[Any], None], what: object) -> None:
            loop.call_soon_threadsafe(lambda: None if ended.done() else how(what))

        def run() -> None:
            try:
                done = work(self.falcon.settings(process.name))
            except Killed:
                raise
            except Exception as error:
                settle(ended.set_exception, error)
            else:
                settle(ended.set_result, done)

        self.falcon.simulation.spawn(run, process.name, process)
        return process, ended

    def _end(self, process: Process) -> None:
        self.falcon.http.forget(process)
        self.falcon.simulation.kill(process)

    # --- as one of the people -----------------------------------------------------------------------------------------

    async def patiently(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Retry until there is an answer."""
        while True:
            try:
                return await ask()
            except Unreachable:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def room(self) -> int:
        """One of the operator's rooms, which may be new."""
        if not self.posted or self.random.random() < 0.3:
            made = await self.patiently(lambda: self.client.create_room("Operators", key=self._key()))
            self.posted.setdefault(made.room_id, [])
        return self.random.choice(list(self.posted))

    def next_text(self) -> str:
        """A text of its own."""
        self._numbers += 1
        return spoken(f"operator.{self._numbers}/0")

    async def post(self, room: int, text: str = "") -> None:
        text, key = text or self.next_text(), self._key()
        await self.patiently(lambda: self.client.post(room, text, key=key))
        self.posted[room].append(text)

    async def texts(self, room: int) -> list[str]:
        """All of them; of a message that is missing nothing."""
        found: list[str] = []
        while True:
            page = await self.patiently(partial(self.client.messages, room, after=len(found), limit=200))
            found += ["" if message.missing else message.text for message in page.messages]
            if not page.has_after:
                return found

    def shown(self, room: int) -> list[str]:
        """The result that ``texts`` should have."""
        skipped = {seq for at, seq in self.skipped if at == room}
        return ["" if seq in skipped else text for seq, text in enumerate(self.posted[room], 1)]

    def begin_again(self) -> None:
        """Start again without any knowledge from before."""
        self.client = FalconClient(self.falcon.urls, self.token, timeout=_PATIENCE_SECONDS)
        self.posted.clear()

    def _key(self) -> str:
        self._numbers += 1
        return f"operator-{self._numbers}"

    # --- what only a simulation can see -------------------------------------------------------------------------------

    async def log(self) -> list[Recorded]:
        """All events."""
        return await self.command(_read_log)

    def meta(self, key: bytes) -> bytes | None:
        """A value of the table that says what the others are."""
        cell = self.falcon.hbase.tables["falcon_meta"].rows.get(key, {}).get(b"d:v")
        return None if cell is None else cell.value


def _read_log(settings: Settings) -> list[Recorded]:
    with roles._looking_after(settings, whole=False) as (source, _, _):
        return list(events_of(source))
