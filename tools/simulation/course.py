"""A schedule from beginning to end: people chat, things fail, all heals, and what they were told is judged.

The people, their history and its checker are those of ``tools/people``.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from falcon_chat import CatchUp, FalconClient, Hello, Message, MessagePosted
from tools.harness.waiting import eventually_within
from tools.people.audit import Audit, log_of, patient
from tools.people.checker import Checker, Counts
from tools.people.history import History, Operation, token_of
from tools.people.sessions import Account, Load, Session
from tools.simulation.clients import VISITORS, Visitors
from tools.simulation.cluster import PARTITIONS, EdgeClient, SimulatedFalcon
from tools.simulation.threads import Simulation

_SESSIONS: Final = 3  # beside one for each partition, which only sends and reads there
_GUESTS: Final = 2
_TOLD_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = (0.02, 0.2)
_TIRED: Final = 4.0  # times as slow as at first
_RACE_SECONDS: Final = 120.0  # in which 2,000 wishes have their end
_CALM_SECONDS: Final = 0.5  # in which people chat before anything fails


class Chance(random.Random):
    """``longest``: seconds, of anything that lasts."""

    longest: float = float("inf")

    def seconds(self, low: float, high: float) -> float:
        return self.uniform(min(low, self.longest), min(high, self.longest))


Fault = Callable[[SimulatedFalcon, Chance], Awaitable[None]]


@dataclass(frozen=True)
class Plan:
    """``seconds``: in which faults begin; ``times``: how often at most. ``together``: how likely it is that one more
    comes with one. ``longest``: seconds that each lasts. ``quiet``: seconds after it. ``pace``: of the people's pauses,
    which grow by ``tiring`` of it for each second that they wait to be served again. ``faults``: the ones that may
    happen, all of FAULTS where none are named. ``served_seconds``: after which all must be served again.
    ``begin_seconds``: within which a stream continues from its token. ``visitors``: who comes beside the people who
    chat; one if none is named."""

    seconds: float = 40.0
    times: int = 1_000
    together: float = 0.4
    longest: float = float("inf")
    quiet: tuple[float, float] = (0.5, 4.0)
    pace: float = 1.0
    tiring: float = 0.0
    faults: "Sequence[Fault]" = ()
    served_seconds: float = 45.0
    begin_seconds: float = math.inf
    visitors: Sequence[str] = ()


class Asked(msgspec.Struct):
    """``kind``: of FORKED."""

    seed: int
    kind: str


@dataclass
class Outcome:
    """``trace``: the same for the same schedule. ``operations``: what people tried in it."""

    seed: int
    kind: str = ""
    operations: int = 0
    trace: int = 0
    steps: int = 0
    faults: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    violations: list[str] = field(default_factory=list)
    restarts: int = 0


def short(chance: random.Random) -> Plan:
    """About a hundred operations, and mostly one fault or two. Where things last longer people do less."""
    longest = chance.choices([0.5, 1.0, 2.0, 4.0, 12.0], [6, 6, 5, 2, 1])[0]
    return Plan(
        seconds=chance.uniform(0, 2),
        times=chance.choice([1, 1, 1, 2]),
        longest=longest,
        quiet=(0.0, 0.2),
        pace=chance.uniform(0.3, 0.6) + longest / 4,
        tiring=4.0,
    )


def long(chance: random.Random) -> Plan:
    """Some thousand operations, and faults that last as they would."""
    return Plan()


def wishes(chance: random.Random) -> Plan:
    """2,000 wishes for 50 handles, while owners are killed, and write late what was decided in an old epoch."""
    faults = (kill_an_owner, stop_a_process, lose_answers_of_brokers, cut_a_process_off_from_brokers)
    return Plan(seconds=_RACE_SECONDS, pace=4.0, faults=faults, visitors=("racer",))


FORKED: Final[Mapping[str, Callable[[random.Random], Plan]]] = {"short": short, "long": long, "wishes": wishes}


def host(
    number: int,
    folder: Path,
    begin: Callable[[], Asked],
    end: Callable[[Outcome], None],
    *,
    plan: Plan | None = None,
    log: bool = False,
) -> None:
    """Start the cluster of that number; then run the schedule that ``begin`` says, and tell what came of it.

    ``plan``: of the schedule, instead of its kind's.

    No simulated time passes meanwhile. Raises what is a fault of the simulation's own.
    """
    chance = random.Random(f"origin {number}")
    simulation = Simulation(chance.randrange(2**32))
    log_to(simulation, shown=log)
    falcon = SimulatedFalcon(
        simulation, folder, writers=chance.choice([2, 2, 3]), projectors=chance.choice([1, 2]), edges=2
    )

    async def run() -> None:
        course = Course(falcon, number)
        await course.prepare()
        await course.rehearse()
        asked = simulation.outside(begin)
        outcome = Outcome(asked.seed, asked.kind)
        await course.run(asked.seed, plan or FORKED[asked.kind](random.Random(f"plan {asked.seed}")), outcome)
        outcome.trace, outcome.steps, outcome.restarts = simulation.trace, simulation.steps, falcon.restarts
        simulation.outside(lambda: end(outcome))

    with falcon.in_place():
        simulation.run(lambda: asyncio.run(run()))


def simulate(
    outcome: Outcome, folder: Path, work: Callable[[SimulatedFalcon], Coroutine[Any, Any, None]], **processes: int
) -> None:
    """Runs with a Falcon of its own with so many ``processes``. It is not started yet."""
    simulation = Simulation(outcome.seed)
    log_to(simulation, shown=True)
    falcon = SimulatedFalcon(simulation, folder, **processes)
    with falcon.in_place():
        simulation.run(lambda: asyncio.run(work(falcon)))
    outcome.trace = hash((outcome.trace, simulation.trace)) if outcome.trace else simulation.trace
    outcome.steps += simulation.steps
    outcome.restarts += falcon.restarts


def log_to(simulation: Simulation, *, shown: bool) -> None:
    """Records are made even if the log is not shown: each reads the clock, and the schedule must be the same."""
    handler = logging.StreamHandler() if shown else logging.NullHandler()
    handler.setFormatter(_Line(simulation))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class _Line(logging.Formatter):
    """A log line with the simulated second and the process."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self._simulation = simulation
        self._began = simulation.now

    def format(self, record: logging.LogRecord) -> str:
        process = self._simulation.current.process.name if self._simulation.running else "-"
        return f"{self._simulation.now - self._began:.3f} {process}: {super().format(record)}"


class _Listener:
    """A client that follows the stream through all reconnects: each message of a hall comes once, and in order."""

    def __init__(self, name: str, client: FalconClient, halls: Sequence[int]) -> None:
        self.violations: list[str] = []
        self.last: dict[int, int] = {}
        self._name = name
        self._client = client
        self._halls = halls

    async def run(self) -> None:
        async for event in self._client.stream():
            if isinstance(event, Hello | CatchUp):
                self.last |= {each.room_id: each.last_seq for each in event.rooms if each.room_id in self._halls}
            elif isinstance(event, MessagePosted) and event.message.room_id in self._halls:
                self._take(event.message)

    def lacks(self, posted: Mapping[int, int]) -> dict[int, int]:
        """The halls whose last message has not come: up to where it is known."""
        return {room: self.last.get(room, 0) for room in self._halls if self.last.get(room, 0) < posted.get(room, 0)}

    def _take(self, message: Message) -> None:
        room, last = message.room_id, self.last.get(message.room_id)
        if last is None:
            self.violations.append(f"{self._name}: room {room} has a message before its state was told")
        elif message.seq != last + 1:
            self.violations.append(f"{self._name}: room {room}: message {message.seq} follows {last} in the stream")
        if not message.deleted and token_of(message.text).startswith("damaged"):
            self.violations.append(f"{self._name}: room {room}: message {message.seq} is damaged")
        self.last[room] = message.seq


class Noted(History):
    """In memory."""

    def __init__(self, before: History | None = None) -> None:
        self._began = time.monotonic()
        self._noted = [] if before is None else list(before.operations())

    def note(self, operation: Operation) -> None:
        self._noted.append(operation)

    def operations(self) -> Iterator[Operation]:
        return iter(self._noted)

    def close(self) -> None:
        """Does nothing: there is nothing to close."""


class Course:
    """``prepare`` it, and ``run`` one schedule. ``visited``: visitors come as well."""

    def __init__(self, falcon: SimulatedFalcon, number: int, *, visited: bool = True) -> None:
        self._falcon = falcon
        self._visited = visited
        self._number = number
        self._history = Noted()
        self._plan = Plan()
        self._calm = 0  # operations before it has begun
        self._listeners: dict[asyncio.Task[None], _Listener] = {}
        self._talking: list[asyncio.Task[None]] = []
        self._auditors: dict[tuple[str, Account], FalconClient] = {}

    async def prepare(self) -> None:
        """Set up until people chat, and some listen."""
        self._admin_token = (await self._falcon.start()).admin_token
        await self._make_accounts(self._admin_token)
        self._halls = await self._open_halls()
        self._load.halls = list(self._halls.values())
        self._visitors = Visitors(
            self._falcon.simulation,
            self._falcon.urls,
            self._admin_token,
            self._accounts,
            self._load.http,
            VISITORS if self._visited else (),
        )
        await self._visitors.open_halls()
        self._listen()
        self._talk(range(len(self._accounts)))
        await asyncio.sleep(_CALM_SECONDS)

    async def rehearse(self) -> None:
        """Run what schedules do once, before the fork: they then take half the time. And not all of them begin with
        processes that have never died."""
        started, self._plan = self._history.now(), Plan(pace=3.0)
        self._load.pace = self._plan.pace
        for names in (self._falcon.writers, self._falcon.projectors, self._falcon.edges):
            self._falcon.kill(names[0])
            await asyncio.sleep(_CALM_SECONDS)
        if missing := await self._not_served(self._history.now()):
            raise RuntimeError(f"not served before anything has begun: {missing}")
        self._history.note(Operation(kind="fault", name="api", started=started, ended=self._history.now()))
        await self._audit(Noted(self._history))
        self._auditors = {(url, each): patient(url, each) for url in self._falcon.urls for each in self._accounts}

    async def run(self, seed: int, plan: Plan, outcome: Outcome) -> None:
        self._plan, self._outcome = plan, outcome
        self._calm = sum(bool(each.outcome) for each in self._history.operations())
        self._random = Chance(f"course {seed}")
        self._falcon.reseed(seed)
        self._load.pace = plan.pace
        for session in self._sessions:
            session.reseed(seed)
        coming = self._visitors.coming(seed, plan.visitors, plan.begin_seconds)
        self._talking += [asyncio.create_task(each) for each in coming]
        await self._hurt()
        await self._reckon()
        await self._settle_listeners()

    async def _make_accounts(self, admin_token: str) -> None:
        async with FalconClient(self._falcon.urls, admin_token) as admin:
            made = [await admin.create_account(f"s{i}") for i in range(_SESSIONS + PARTITIONS + _GUESTS)]
        accounts = [Account(each.account_id, each.token) for each in made]
        self._accounts, self._guests = accounts[:-_GUESTS], [each.account_id for each in accounts[-_GUESTS:]]
        http = EdgeClient(self._falcon.http)
        self._load = Load(self._falcon.urls, self._history, self._accounts, self._guests, http)

    async def _open_halls(self) -> dict[int, int]:
        """Open rooms that all accounts are in, by partition."""
        halls: dict[int, int] = {}
        first, *others = self._accounts
        async with FalconClient(self._falcon.urls, first.token) as falcon:
            while len(halls) < PARTITIONS:
                room = await falcon.create_room("Hall", members={each.account_id: "member" for each in others})
                halls.setdefault(room.room_id % PARTITIONS, room.room_id)
            await falcon.rooms()  # waits until all of it can be read
        return halls

    def _listen(self) -> None:
        """Two, each at first at an edge of its own."""
        for number, account in enumerate(self._accounts[:2]):
            urls = self._falcon.urls[number:] + self._falcon.urls[:number]
            listener = _Listener(f"listener {number}", FalconClient(urls, account.token), list(self._halls.values()))
            self._listeners[asyncio.create_task(listener.run())] = listener

    async def _settle_listeners(self) -> None:
        """All readers get all that stands in the log, in time."""
        posted: dict[int, int] = {}
        for op in self._history.operations():
            if op.kind == "logged" and op.name == "MessagePosted":
                posted[op.room] = op.seq

        def are_told() -> bool:
            return all(task.done() or not listener.lacks(posted) for task, listener in self._listeners.items())

        await eventually_within(are_told, _TOLD_SECONDS, every=0.1)
        for task, listener in self._listeners.items():
            if lacking := listener.lacks(posted):
                told = f"listener at {lacking} of {posted}"
                why = f" ({task.exception()!r})" if task.done() and not task.cancelled() else ""
                self._outcome.violations.append(f"the stream does not tell what the log has: {told}{why}")
            self._outcome.violations += listener.violations
            task.cancel()
        await asyncio.wait(self._listeners)

    def _talk(self, numbers: Iterable[int]) -> None:
        """The accounts of these numbers."""
        self._sessions = [Session(self._load, number, self._number) for number in numbers]
        probing = [session.probe(room) for session, room in zip(self._sessions, self._halls.values(), strict=False)]
        *chatting, last = self._sessions[len(probing) :]
        talking = [*(session.run() for session in chatting), self._talk_without_keys(last)]
        self._talking = [asyncio.create_task(each) for each in (*probing, *talking)]

    async def _talk_without_keys(self, session: Session) -> None:
        """Each message at most once, whatever the answers."""
        while not self._load.ending:
            await session.post_without_key()
            await session.pause(_PAUSE_SECONDS)

    async def _hurt(self) -> None:
        until = self._falcon.simulation.now + self._plan.seconds
        times = 0
        try:
            await asyncio.sleep(self._random.uniform(*self._plan.quiet))
            while times < self._plan.times and (not times or self._falcon.simulation.now < until):
                times += 1
                await self._one()
        finally:
            self._load.end()
            if self._visitors is not None:
                self._visitors.end()
            ended = await asyncio.gather(*self._talking, return_exceptions=True)
        self._outcome.violations += [f"a session failed: {each!r}" for each in ended if isinstance(each, BaseException)]

    async def _one(self) -> None:
        """One fault, or some together. Then all heals, and all clients are served again in time."""
        chosen = [self._random.choice(self._plan.faults or FAULTS)]
        while self._random.random() < self._plan.together:
            chosen.append(self._random.choice(self._plan.faults or FAULTS))
        started, name = self._history.now(), " + ".join(each.__name__ for each in chosen)
        self._outcome.faults.append(f"{started:.1f} s: {name}")
        await asyncio.gather(*(each(self._falcon, self._chance()) for each in chosen))
        self._falcon.heal()
        await self._served(self._history.now())
        hurt = "api" if any(each in _OF_EDGES for each in chosen) else name
        self._history.note(Operation(kind="fault", name=hurt, started=started, ended=self._history.now()))
        await asyncio.sleep(self._random.uniform(*self._plan.quiet))

    def _chance(self) -> Chance:
        chance = Chance(self._random.random())
        chance.longest = self._plan.longest
        return chance

    async def _served(self, since: float) -> None:
        """All clients must be served again, in time."""
        if missing := await self._not_served(since):
            after = self._outcome.faults[-1:]
            self._outcome.violations.append(
                f"not served within {self._plan.served_seconds:g} s after {after}: {missing}"
            )

    async def _not_served(self, since: float) -> list[tuple[str, int]]:
        """Wait until a send and a read that began after that time were acknowledged in each partition. Returns the ones
        that were not, in time."""
        wanted = {(kind, room) for room in self._halls.values() for kind in ("send", "read")}
        began = self._falcon.simulation.now
        until = began + self._plan.served_seconds
        while wanted:
            waited = self._falcon.simulation.now - began
            self._load.pace = self._plan.pace * min(1 + self._plan.tiring * waited, _TIRED)
            wanted -= {(wait.kind, wait.room) for wait in self._load.waits if wait.started >= since}
            if self._falcon.simulation.now > until:
                rooms = {room: partition for partition, room in self._halls.items()}
                return sorted((kind, rooms[room]) for kind, room in wanted)
            await asyncio.sleep(0.05)
        self._load.pace = self._plan.pace
        return []

    async def _audit(self, history: History) -> None:
        def client(url: str, account: Account) -> FalconClient:
            return self._auditors.get((url, account)) or patient(url, account)

        audit = Audit(self._falcon.urls, self._accounts, self._guests, history, client)
        await audit.run(log_of(self._falcon.journal()))

    async def _reckon(self) -> None:
        try:
            await self._audit(self._history)
            await self._visitors.resolve_membership()
        except* Exception as failed:
            self._outcome.violations += [f"not everything could be read back: {each!r}" for each in failed.exceptions]
        self._history.close()
        checker = Checker()
        self._outcome.violations += checker.check(self._history.operations())
        self._outcome.violations += self._visitors.wrong(list(self._history.operations()))
        self._outcome.faults += self._visitors.told
        self._outcome.counts = checker.counts
        self._outcome.operations = checker.counts.operations - self._calm


# --- what can happen --------------------------------------------------------------------------------------------------


async def kill_an_owner(falcon: SimulatedFalcon, chance: Chance) -> None:
    falcon.kill(chance.choice(falcon.writers))
    await asyncio.sleep(chance.seconds(0, 10))


async def kill_a_projector(falcon: SimulatedFalcon, chance: Chance) -> None:
    falcon.kill(chance.choice(falcon.projectors))
    await asyncio.sleep(chance.seconds(0, 10))


async def kill_an_edge(falcon: SimulatedFalcon, chance: Chance) -> None:
    falcon.kill(chance.choice(falcon.edges))
    await asyncio.sleep(chance.seconds(0, 10))


async def stop_a_process(falcon: SimulatedFalcon, chance: Chance) -> None:
    name = chance.choice([*falcon.writers, *falcon.projectors])
    falcon.stop(name)
    await asyncio.sleep(chance.choice([chance.seconds(0, 2), chance.seconds(5, 20)]))
    falcon.go_on(name)


async def lose_a_broker(falcon: SimulatedFalcon, chance: Chance) -> None:
    brokers = falcon.brokers
    act = chance.choice([brokers.kill, brokers.pause, brokers.shut_down])
    brokers.loop.call_soon_threadsafe(act, chance.choice(brokers.nodes))
    await asyncio.sleep(chance.seconds(0, 15))


async def lose_answers_of_brokers(falcon: SimulatedFalcon, chance: Chance) -> None:
    network = falcon.brokers.network
    network.unanswered, network.late, network.delay_max = chance.uniform(0, 0.2), chance.uniform(0, 0.1), 0.1
    falcon.brokers._replication_max = 0.2
    await asyncio.sleep(chance.seconds(1, 15))
    falcon.brokers._replication_max = 0.01


async def cut_a_process_off_from_brokers(falcon: SimulatedFalcon, chance: Chance) -> None:
    """Cut a process off. Its messages of that time arrive later."""
    name = chance.choice(list(falcon.processes))
    nodes = chance.sample(falcon.brokers.nodes, chance.randint(1, 3))
    for node in nodes:
        falcon.brokers.loop.call_soon_threadsafe(falcon.brokers.network.cut, name, node)
    await asyncio.sleep(chance.choice([chance.seconds(0, 5), chance.seconds(8, 20)]))


async def trouble_hbase(falcon: SimulatedFalcon, chance: Chance) -> None:
    road = falcon.road
    for name in ("refused", "unanswered", "late", "cut", "twice"):
        setattr(road, name, chance.choice([0.0, chance.uniform(0, 0.2)]))
    road.delay_max = chance.choice([0.002, 0.3])
    await asyncio.sleep(chance.seconds(1, 15))


async def lose_a_region(falcon: SimulatedFalcon, chance: Chance) -> None:
    seconds = chance.seconds(1, 12)
    falcon.hbase.go_away(chance.randrange(4), seconds)
    await asyncio.sleep(seconds)


async def lose_the_gateways(falcon: SimulatedFalcon, chance: Chance) -> None:
    falcon.road.down = True
    await asyncio.sleep(chance.seconds(1, 10))


async def trouble_http(falcon: SimulatedFalcon, chance: Chance) -> None:
    falcon.http.delay_max, falcon.http.broken = chance.uniform(0, 0.3), chance.uniform(0, 0.2)
    await asyncio.sleep(chance.seconds(1, 10))


async def cut_an_edge_off_from_an_owner(falcon: SimulatedFalcon, chance: Chance) -> None:
    falcon.http.cut(chance.choice(falcon.edges), chance.choice(falcon.writers))
    await asyncio.sleep(chance.seconds(1, 10))


async def step_a_clock(falcon: SimulatedFalcon, chance: Chance) -> None:
    """Step the clock of any process, by less than makes owners refuse to take over."""
    process = falcon.processes[chance.choice(list(falcon.processes))]
    process.skew = chance.uniform(-4, 4)
    await asyncio.sleep(chance.seconds(0, 3))


FAULTS: Final[Sequence[Fault]] = (
    kill_an_owner,
    kill_a_projector,
    kill_an_edge,
    stop_a_process,
    lose_a_broker,
    lose_answers_of_brokers,
    cut_a_process_off_from_brokers,
    trouble_hbase,
    lose_a_region,
    lose_the_gateways,
    trouble_http,
    cut_an_edge_off_from_an_owner,
    step_a_clock,
)
_OF_EDGES: Final[Sequence[Fault]] = (kill_an_edge, trouble_http, lose_the_gateways, trouble_hbase, lose_a_region)
