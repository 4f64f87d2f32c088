"""The people of a stage: accounts that chat, keep the books, or listen, in rooms of all partitions."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from falcon.features.rooms.rules import CreateRoom
from falcon.write.gateway import partition_for
from falcon_chat import FalconClient
from tools.harness.waiting import eventually
from tools.people.asking import over
from tools.people.colleagues import Colleagues
from tools.people.exact import Exact
from tools.people.history import History
from tools.people.listener import Heard, Listener, Log, settle
from tools.people.sessions import Account, Http, Load, Session, known_at
from tools.people.streams import Refused, Sse

SERVED_SECONDS: Final = 120.0
_KNOWN_SECONDS: Final = 30.0
_EXACT: Final = 3  # of the sessions' accounts, who also keep the books of rooms of their own
_EXACT_ROOMS: Final = 3
_EXACT_PAUSE_SECONDS: Final = (0.0, 0.2)
_COLLEAGUES: Final = 4  # who change their names, race for handles, go and come back
_COLLEAGUES_PAUSE_SECONDS: Final = (0.2, 1.5)
_GRACE_SECONDS: Final = 30.0  # a fault may freeze a server for so long


class Crowd:
    """``halls``: one in each of so many partitions. In each one session probes, so that a room that is not served
    shows; ``chatting`` more do all kinds of things. ``guests`` come and go, and say nothing. ``listeners`` have the
    accounts of guests and of sessions. ``place``: what a token says of the log, where it says one place. ``exact``:
    some keep the books, colleagues come, change and go. ``steady``: listeners stay as long as the server lets them.
    ``is_searched``: who keeps the books searches, too."""

    def __init__(
        self,
        urls: Sequence[str],
        admin_token: str,
        history: History,
        halls: int,
        *,
        seed: int,
        chatting: int,
        guests: int = 0,
        listeners: int = 0,
        exact: bool = True,
        session: type[Session] = Session,
        http: Http | None = None,
        place: Callable[[str], int] = lambda token: 0,
        steady: bool = False,
        is_searched: bool = False,
    ) -> None:
        self.heard = Heard()
        self.history = history
        self.accounts: list[Account] = []
        self.guests: list[int] = []
        self._urls = urls
        self._admin_token = admin_token
        self._counts = (halls, chatting, guests, listeners)
        self._seed = seed
        self._is_exact = exact
        self._session = session
        self._http = http
        self._place = place
        self._is_steady = steady
        self._is_searched = is_searched
        self._exact: Exact | None = None
        self._colleagues: Colleagues | None = None
        self._listeners: list[Listener] = []
        self._listening: list[asyncio.Task[None]] = []
        self._talking: list[asyncio.Task[None]] = []

    # --- before -------------------------------------------------------------------------------------------------------

    async def arrive(self) -> None:
        """Make the accounts, and a hall in each partition with all of them as members but the guests."""
        halls, chatting, guests, listeners = self._counts
        async with FalconClient(self._urls, self._admin_token) as admin:
            made = [await admin.create_account(f"s{i}") for i in range(halls + chatting + guests)]
        everybody = [Account(each.account_id, each.token) for each in made]
        await asyncio.gather(*(known_at(url, each, _KNOWN_SECONDS) for url in self._urls for each in everybody))
        self.accounts, coming = everybody[: halls + chatting], everybody[halls + chatting :]
        self.guests = [each.account_id for each in coming]
        self.load = Load(self._urls, self.history, self.accounts, self.guests, self._http)
        self.load.halls = await self._open_halls(halls)
        if self._is_exact:
            people = self.accounts[:_EXACT]
            chance = random.Random(self._seed)
            self._exact = Exact(
                over(self.load.http),
                lambda: self._urls,
                people[0],
                people,
                chance,
                steady=time.monotonic,
                is_searched=self._is_searched,
            )
            await self._exact.open_rooms(_EXACT_ROOMS)
            self._colleagues = Colleagues(
                over(self.load.http),
                lambda: self._urls,
                Account(int(self._admin_token.split("_")[1]), self._admin_token),
                random.Random(f"colleagues {self._seed}"),
                steady=time.monotonic,
                follow=_follow,
                grace_seconds=_GRACE_SECONDS,
            )
            await self._colleagues.arrive(_COLLEAGUES)
        ears = [*coming, *self.accounts]
        self._listeners = [
            Listener(number, self._urls, ears[number % len(ears)], self.heard, self._seed, self._place)
            for number in range(listeners)
        ]
        if self._is_steady:
            for each in self._listeners:
                each.staying.set()

    async def _open_halls(self, count: int) -> list[int]:
        first, *others = self.accounts
        members = {each.account_id: "member" for each in others}
        async with FalconClient(self._urls, first.token) as falcon:
            keys = (_key(first, partition, count) for partition in range(count))
            rooms = [await falcon.create_room("Hall", members=members, key=key) for key in keys]  # type: ignore[arg-type]
            await falcon.rooms()  # waits until all of it can be read
        return [room.room_id for room in rooms]

    # --- during -------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """From here on sessions chat, and listeners listen."""
        self._listening = [asyncio.create_task(each.listen()) for each in self._listeners]
        await eventually(lambda: all(each.listening for each in self._listeners), "all listen", SERVED_SECONDS)
        sessions = [self._session(self.load, number, self._seed) for number in range(len(self.accounts))]
        probing = [session.probe(room) for session, room in zip(sessions, self.load.halls, strict=False)]
        talking = [*probing, *(session.run() for session in sessions[len(probing) :])]
        if self._exact is not None:
            talking.append(self._exact.talk(_EXACT_PAUSE_SECONDS))
        if self._colleagues is not None:
            talking.append(self._colleagues.work(_COLLEAGUES_PAUSE_SECONDS))
        self._talking = [asyncio.create_task(each) for each in talking]

    async def served(self, since: float, seconds: float, kinds: Sequence[str] = ("send", "read")) -> None:
        """Wait until a request of each kind that began after that time was acknowledged in each hall. Raises
        NotInTime."""
        wanted = {(kind, room) for room in self.load.halls for kind in kinds}

        def served() -> bool:
            return wanted <= {(wait.kind, wait.room) for wait in self.load.waits if wait.started >= since}

        await eventually(served, f"{' and '.join(kinds)} goes through in each partition", seconds, every=0.05)

    async def leave(self) -> list[str]:
        """All who chat come to the end of what they do. Returns what went wrong."""
        self.load.end()
        asking = [each for each in (self._exact, self._colleagues) if each is not None]
        for each in asking:
            each.ending = True
        ended = await asyncio.gather(*self._talking, return_exceptions=True)
        await self.load.http.aclose()
        wrong = [f"a session failed: {error!r}" for error in ended if isinstance(error, BaseException)]
        return wrong + [found for each in asking for found in each.wrong]

    async def settle(self, log: Log) -> list[str]:
        """Listeners get what the log holds, in time; then they leave, too. Returns what went wrong."""
        wrong = [f"a listener failed: {each.exception()!r}" for each in self._listening if each.done()]
        wrong += await settle(self._listeners, log)
        await self.abandon()
        return wrong

    async def abandon(self) -> None:
        """End everything at once."""
        for task in (*self._talking, *self._listening):
            task.cancel()
        await asyncio.gather(*self._talking, *self._listening, return_exceptions=True)


async def _follow(url: str, token: str, begun: Callable[[], None]) -> None:
    with suppress(OSError, EOFError, Refused):
        stream = await Sse.open(url, token, None)
        try:
            while True:
                await stream.next()
                begun()
        finally:
            await stream.close(roughly=True)


def _key(account: Account, partition: int, partitions: int) -> str:
    """One with which the account's new room comes to that partition."""
    command = CreateRoom(account.account_id, "Hall")
    keys = (f"hall-{i}" for i in range(1 << 20))
    return next(key for key in keys if partition_for(command, account.account_id, key, partitions) == partition)
