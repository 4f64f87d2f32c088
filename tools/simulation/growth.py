"""Days in the life of a cluster that is used a little: nothing grows but what lives.

The intervals at which processes ask and tell one another are longer here, so that a simulated day is affordable; what
they do at each is the same. At the end of each day an owner is killed, and what the takeover reads is counted, as
are the records that topics hold, the entries of every container in Falcon's living objects, and the rows of the table
that says what the others are.
"""

import asyncio
import gc
import importlib
import inspect
import itertools
import pkgutil
import sys
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

import falcon
from falcon.adapters.kafka import applied, cuts, group, owners, signal_transport, source, tail
from falcon.adapters.owner_http import connection, watch
from falcon.adapters.thespian import local
from falcon.http.internal import app as internal
from falcon.projections import shared_consumer
from falcon.read.catalogue import READ_MODELS
from falcon.run.bootstrap import cluster as roles
from falcon.streams import keepers, revocations, signals
from falcon_chat import FalconClient
from tools.people.sessions import Session
from tools.simulation.acts import ActsCourse, export, nothing_differs, rebuild
from tools.simulation.cluster import SimulatedFalcon
from tools.simulation.course import Outcome, Plan, simulate
from tools.simulation.kafka.consumer import SimulatedConsumer
from tools.simulation.threads import Process

DAYS: Final = 7
HOUR: Final = 3_600.0
_BURSTS: Final = 3  # an hour
_ACTS: Final = 10  # a burst
_TAKEOVER_HOURS: Final = 4
_CALM_SECONDS: Final = 120.0  # before anything is counted

# About forty times as long as usual.
_SLOWLY: Final[Sequence[tuple[ModuleType, str, object]]] = (
    (group, "_HEARTBEAT_MILLIS", 15_000),
    (group, "_POLL_MILLIS", 60_000),
    (watch, "_ROSTER_SECONDS", 30.0),
    (watch, "_BEAT_SECONDS", 20.0),
    (watch, "TICK_SECONDS", 5.0),
    (connection, "_TICK_SECONDS", 20.0),
    (internal, "_BEAT_SECONDS", 6.0),
    (local, "TICK_SECONDS", 5.0),
    (owners, "IDLE_SECONDS", 60.0),
    (signal_transport, "IDLE_SECONDS", 60.0),
    (tail, "_WAIT_SECONDS", 20.0),
    (source, "_CHECK_SECONDS", 60.0),  # longer than a node holds a fetch
    (roles, "_IDLE_SECONDS", 20.0),
    (shared_consumer, "_WAIT_SECONDS", 20.0),
    (signals, "_TURN_SECONDS", 5.0),
    (signals, "ALIVE_SECONDS", 60.0),
    (keepers, "FORGOTTEN_SECONDS", 200.0),
    (cuts, "IDLE_SECONDS", 4.0),  # shorter than a reader of one cut waits
    (applied, "IDLE_SECONDS", 20.0),
    (applied, "_END_SECONDS", 40.0),
    (revocations, "_PAUSE_SECONDS", 12.0),
)
_SETTINGS: Final[Mapping[str, object]] = {"session_seconds": 45.0, "stream_events": 200}
_FETCH_MILLIS: Final = 10_000

# A count may grow by half and by this many from the second day to the last.
_SLACK: Final = 24
# Containers with a bound that days of so little use do not reach.
BOUNDED: Final[Mapping[str, str]] = {
    "memory: TimelinePages._kept": "32 MiB of pages",
    "memory: SharedLogReader._order": "16 MiB of events",
    "memory: _Window._chunks": "16 MiB of events",
    "memory: UsedKeys._newer": "100,000 keys",
    "memory: UsedKeys._older": "100,000 keys",
    "memory: Retries._remembered": "256 replies",
    "memory: Revocations._revoked": "10,000 revocations",
    "memory: RecordMemory._order": "256 MiB of events",
    "memory: RecordMemory._by_key": "256 MiB of events",
    "memory: HistoryMemory._order": "32 MiB of events",
    "memory: HistoryMemory._by_identity": "32 MiB of events",
    "memory: HistoryMemory._deleted": "32 MiB of events",
    "memory: AccountNames._known": "50,000 names",
    "memory: TokenUses._noted": "50,000 tokens that were used on a day",
    "memory: Counter._aside": "512 amounts of each counter: no thread samples it here",
}
_DELETED: Final = "rooms that were deleted"
# Each deleted room leaves a small one, without which a snapshot that comes late would bring the room back.
_WITH_DELETED: Final = frozenset({"records of falcon.snapshots", "records of falcon.snapshots that a takeover reads"})


def run(outcome: Outcome, folder: Path, days: int = DAYS, hour: float = HOUR) -> list[Counter[str]]:
    """The counts of each day. ``hour``: its length, in seconds. Raises faults of the simulation itself."""
    census, counted = Census(), list[Counter[str]]()

    async def live(simulated: SimulatedFalcon) -> None:
        simulated.changed = dict(_SETTINGS)
        census.current = lambda: simulated.simulation.current.process
        with census.taken():  # once the clocks are simulated, which are defaults of what is patched here
            counted.extend(await Growth(simulated, folder, outcome, census, hour).run(days))

    with slowly():
        simulate(outcome, folder, live, writers=2, projectors=2, edges=2)
    outcome.violations += grown(counted)
    return counted


@contextmanager
def slowly() -> Iterator[None]:
    with ExitStack() as stack:
        for module, name, value in _SLOWLY:
            stack.enter_context(patch.object(module, name, value))
        waits = {**(SimulatedConsumer.__init__.__kwdefaults__ or {}), "fetch_max_wait_ms": _FETCH_MILLIS}
        stack.enter_context(patch.object(SimulatedConsumer.__init__, "__kwdefaults__", waits))
        yield


def grown(counted: Sequence[Mapping[str, int]]) -> list[str]:
    """Counts that are larger than on the second day, or on the first if there are only two."""
    if len(counted) < 2:
        return []
    early = counted[: 2 if len(counted) > 2 else 1]
    found: list[str] = []
    for kind in sorted(counted[-1].keys() - {_DELETED}):
        days = [each.get(kind, 0) for each in counted]
        most = max(each.get(kind, 0) for each in early)
        left = counted[-1].get(_DELETED, 0) - counted[0].get(_DELETED, 0) if kind in _WITH_DELETED else 0
        if kind not in BOUNDED and days[-1] > 1.5 * most + _SLACK + left:
            found.append(f"{kind} grows: {days}, a day each")
    return found


class Census:
    """The living objects of Falcon's classes, by the process in which they were made."""

    def __init__(self) -> None:
        self.current: Callable[[], Process] = lambda: Process("none")
        self._numbers = itertools.count()
        self._made: dict[Process, weakref.WeakValueDictionary[int, Any]] = {}

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Counts objects that are made within the block."""
        with ExitStack() as stack:
            for each in classes():
                stack.enter_context(patch.object(each, "__init__", self._noting(vars(each)["__init__"])))
            yield

    def _noting(self, init: Callable[..., None]) -> Callable[..., None]:
        def noted(made: Any, *arguments: Any, **named: Any) -> None:
            init(made, *arguments, **named)
            process = self.current()
            self._made.setdefault(process, weakref.WeakValueDictionary())[next(self._numbers)] = made

        return noted

    def count(self) -> Counter[str]:
        """Instances, and entries of their containers; of processes that live."""
        counted: Counter[str] = Counter()
        for process in [process for process in self._made if process.dead]:
            del self._made[process]
        for process, made in self._made.items():
            if process.name != "main" and not process.name.startswith("operator"):
                for each in list(made.values()):
                    counted[type(each).__name__] += 1
                    for name, value in vars(each).items():
                        if getattr(value, "maxlen", None) is None and isinstance(value, (dict, list, set, deque)):
                            counted[f"{type(each).__name__}.{name}"] += _entries(value)
        return counted


def _entries(value: Any) -> int:
    """The number of entries, with those of containers in it."""
    inner = list(value.values()) if isinstance(value, dict) else list(value)
    return len(value) + sum(len(each) for each in inner if isinstance(each, (dict, list, set, deque)))


def classes() -> list[type]:
    """The classes of Falcon's server side whose objects can be found again."""
    for found in pkgutil.walk_packages(falcon.__path__, "falcon."):
        if found.name.split(".")[1] in ("write", "read", "streams", "http", "projections", "adapters"):
            importlib.import_module(found.name)
    return [
        each
        for name, module in sorted(sys.modules.items())
        if name.startswith("falcon.") and not name.startswith(("falcon.cli", "falcon.domain"))
        for each in vars(module).values()
        if inspect.isclass(each)
        and each.__module__ == name
        and inspect.isfunction(vars(each).get("__init__"))
        and each.__weakrefoffset__
        and each.__dictoffset__
        and not issubclass(each, BaseException)
    ]


class Growth(ActsCourse):
    def __init__(self, simulated: SimulatedFalcon, folder: Path, outcome: Outcome, census: Census, hour: float) -> None:
        super().__init__(simulated, folder, outcome)
        self._hour = hour
        self._census = census
        self._rooms: deque[int] = deque()  # that live for a few hours
        self._deleted = 0
        self._plan = Plan()

    def _talk(self, numbers: Any) -> None:
        """Now and then, when it is their time."""
        self._sessions = [Session(self._load, number, self._number) for number in numbers]

    async def run(self, days: int) -> list[Counter[str]]:  # type: ignore[override]
        await self._begin()
        for session in self._sessions[:4]:
            await session.open_room()
        counted = [await self._day(day) for day in range(days)]
        self._load.end()
        self._outcome.violations += await nothing_differs(self._operator, list(READ_MODELS))
        await self._reckon()
        await self._settle_listeners()
        return counted

    async def _day(self, day: int) -> Counter[str]:
        simulated, began = self._falcon, self._falcon.simulation.now
        for hour in range(24):
            if hour % _TAKEOVER_HOURS == 1:
                chosen = self._random.choice([simulated.kill, simulated.terminate])
                chosen(simulated.writers[0])
            await self._rare_things(hour)
            for _ in range(_BURSTS):
                await self._burst()
                await asyncio.sleep(self._random.uniform(0.5, 1.5) * self._hour / _BURSTS / 2)
            await asyncio.sleep(max(0.0, began + (hour + 1) * self._hour - simulated.simulation.now))
        self._outcome.faults.append(f"day {day + 1} is over")
        return await self._count()

    async def _rare_things(self, hour: int) -> None:
        """Each once a day."""
        simulated = self._falcon
        if hour == 3:
            await self._act(rebuild)
        elif hour == 6:
            simulated.terminate(simulated.edges[1])
        elif hour == 9:
            simulated.kill(simulated.projectors[1])
        elif hour == 12:
            await self._listen_anew()
        elif hour == 15:
            await self._act(export)
        elif hour == 18:
            await self._change_tokens()
        elif hour == 21:
            node = self._random.choice(simulated.brokers.nodes)
            simulated.brokers.loop.call_soon_threadsafe(simulated.brokers.kill, node)
            await asyncio.sleep(60)
            simulated.heal()

    async def _burst(self) -> None:
        acts = {"post": 42, "post_without_key": 5, "edit": 9, "delete": 3, "mark": 7, "read": 22}
        acts |= {"open_direct": 2, "change_member": 3, "ask_again": 7}
        for _ in range(_ACTS):
            [act] = self._random.choices(list(acts), list(acts.values()))
            await getattr(self._random.choice(self._sessions), act)()
            await asyncio.sleep(self._random.uniform(0, 3))
        await self._make_and_delete_a_room()

    async def _make_and_delete_a_room(self) -> None:
        operator = self._operator
        made = await operator.patiently(partial(operator.client.create_room, "For a day"))
        self._rooms.append(made.room_id)
        await operator.patiently(partial(operator.client.post, made.room_id, operator.next_text()))
        if len(self._rooms) > 12:
            await operator.patiently(partial(operator.client.delete_room, self._rooms.popleft()))
            self._deleted += 1

    async def _change_tokens(self) -> None:
        account = self._accounts[0]
        async with FalconClient(self._falcon.urls, account.token) as client:
            made = await client.create_token(account.account_id)
            await client.revoke_token(account.account_id, made.token_id)

    async def _listen_anew(self) -> None:
        """The listeners reconnect, and start from the beginning."""
        listeners = list(self._listeners.values())
        for task in self._listeners:
            task.cancel()
        await asyncio.wait(self._listeners)
        self._listeners = {asyncio.create_task(each.run()): each for each in listeners}

    async def _count(self) -> Counter[str]:
        await asyncio.sleep(_CALM_SECONDS)
        gc.collect()
        counted = Counter({f"memory: {kind}": number for kind, number in self._census.count().items()})
        counted[_DELETED] = self._deleted
        counted["rows of falcon_meta"] = len(self._falcon.hbase.tables["falcon_meta"].rows)
        cluster = self._falcon.journal()
        for topic in (cluster.snapshots, cluster.owners, cluster.signals, cluster.inboxes, cluster.applied):
            records = [record for each in await self._falcon.brokers.topic(topic) or () for record in each.log.records]
            counted[f"records of {topic}"] = len(records)
            counted[f"kilobytes of {topic}"] = (
                sum(len(each.key or b"") + len(each.value or b"") for each in records) >> 10
            )
        return counted + await self._taken_over()

    async def _taken_over(self) -> Counter[str]:
        """Kill an owner. Returns what the others read until all partitions are served again."""
        simulated = self._falcon
        before = simulated.brokers.given.copy()
        simulated.kill(simulated.writers[0])
        for session, hall in zip(self._sessions, self._halls.values(), strict=False):
            await session._post(hall)
        await asyncio.sleep(_CALM_SECONDS)
        taken = simulated.brokers.given - before
        read: Counter[str] = Counter()
        for (client, topic), number in taken.items():
            if client in simulated.writers:
                read[f"records of {topic} that a takeover reads"] += number
        return read
