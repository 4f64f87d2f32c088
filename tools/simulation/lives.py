"""Schedules of one machine's lives: people talk, and between two moments the processes are killed, the clock is set,
the folder is rolled back to a snapshot or replaced by a copy, also by one for another number of processes.

The people know exactly what each answer must say (``tools.people.exact``), and some listen.
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from falcon.run.bootstrap import embedded
from falcon_chat import FalconClient
from falcon_chat.sse import Parser
from tools.people.asking import over
from tools.people.exact import Exact, Told
from tools.people.sessions import Account
from tools.simulation.cluster import EdgeClient, _Transport
from tools.simulation.course import Outcome, log_to
from tools.simulation.http import Broken, Exchange, NotReached
from tools.simulation.machine import SimulatedMachine
from tools.simulation.threads import Simulation

_ROOMS: Final = 4
_PEOPLE: Final = 4
_STEPS: Final = (60, 140)
_ROOMS_MAX: Final = 5  # of an account
_ANSWER_SECONDS: Final = 12.0
_KILL_SECONDS: Final = (0.0, 0.3)  # after which a process dies, within what people do then
_PAUSE_SECONDS: Final = (0.0, 0.2)
_TOKENS: Final = 30
_MINUTES_SECONDS: Final = 660.0  # longer than keys live
_AHEAD_SECONDS: Final = 75.0  # the minute by which clocks may differ, and what an answer takes


def run(outcome: Outcome, folder: Path) -> None:
    """Raises what is a fault of the simulation's own."""
    chance = random.Random(f"lives {outcome.seed}")
    simulation = Simulation(outcome.seed)
    log_to(simulation, shown=True)
    machine = SimulatedMachine(
        simulation,
        folder,
        chance.choice([1, 1, 2, 3]),
        limits="on",
        account_rooms=_ROOMS_MAX,
        account_rooms_a_day=500,
        account_commands=10_000,
        account_burst=10_000,
        account_reads=10_000,
        room_messages=10_000,
        address_requests=10_000,
        address_burst=10_000,
    )
    course = LivesCourse(machine, folder, outcome, chance)
    with machine.in_place():
        simulation.run(lambda: asyncio.run(course.run()))
    outcome.trace, outcome.steps = simulation.trace, simulation.steps
    outcome.operations = course.exact.operations


@dataclass
class _Token:
    """A resume token. ``last``: the newest message at it, by room; ``said``: their texts, as far as they were heard.
    ``rooms``: that the person is in.

    ``log``: the number of the log's name. ``lost``: it stands in a history that the log has lost; ``doubtful``: it may.
    """

    text: str
    last: dict[int, int]
    said: dict[tuple[int, int], str]
    rooms: frozenset[int]
    log: int
    lost: bool = False
    doubtful: bool = False


class _TokenKeeper:
    """Listens again and again from tokens of every age. ``threads``: those of now, each with its room."""

    def __init__(
        self,
        machine: SimulatedMachine,
        person: Account,
        threads: Callable[[], Mapping[int, int]],
        chance: random.Random,
    ) -> None:
        self.wrong: list[str] = []
        self.tokens: list[_Token] = []
        self.heard: dict[tuple[int, int], str] = {}  # text by room and seq, in the history of now
        self.log = 0
        self.ending = False
        self._machine = machine
        self._person = person
        self._threads = threads
        self._chance = chance

    async def run(self) -> None:
        while not self.ending:
            with_token = self.tokens and self._chance.random() < 0.85
            newest = self._chance.random() < 0.5
            token = (self.tokens[-1] if newest else self._chance.choice(self.tokens)) if with_token else None
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._listen(token)
            except (NotReached, Broken, TimeoutError):
                pass
            await asyncio.sleep(self._chance.uniform(0.05, 0.3))

    async def _listen(self, token: _Token | None) -> None:
        url = self._chance.choice(self._machine.urls)
        headers = {"Authorization": f"Bearer {self._person.token}", "Accept": "text/event-stream"}
        target = f"{url}/v1/stream" + (f"?resume={token.text}" if token else "")
        exchange = await self._machine.http.request("GET", target, headers, b"")
        try:
            if exchange.status == 200:
                await self._follow(exchange, token)
            elif exchange.status == 400 and token is not None and not (token.lost or token.doubtful):
                self.wrong.append(f"a token of this history is refused: {token}")
            elif exchange.status not in (400, 503):
                self.wrong.append(f"a stream was answered {exchange.status}")
            if exchange.status == 400 and token in self.tokens:
                self.tokens.remove(token)
        finally:
            self._machine.http.drop(exchange)

    async def _follow(self, exchange: Exchange, token: _Token | None) -> None:
        last, rooms = (dict(token.last), set(token.rooms)) if token else ({}, set[int]())
        parser, first = Parser(), True
        until = self._machine.simulation.now + self._chance.uniform(0.3, 3.0)
        while self._machine.simulation.now < until:
            async with asyncio.timeout(max(0.01, until - self._machine.simulation.now)):
                part = await exchange.part()
            if part is None:
                return
            for block in parser.feed(part):
                data = msgspec.json.decode(block.data)
                if token is not None and token.lost and first and block.name not in ("catch_up", "hello"):
                    self.wrong.append(
                        f"a stream resumes from a history that was rolled back, with {block.name}: {token}"
                    )
                    self.tokens.remove(token)
                    return
                first = False
                if block.name in ("catch_up", "hello"):
                    last = {each["room_id"]: each["last_seq"] for each in data["rooms"]}
                    rooms = {*last}
                elif "room_id" in data:
                    self._see_membership(block.name, data, last, rooms)
                if block.name == "room.created":
                    last.setdefault(data["room_id"], 0)
                elif block.name == "thread.started":
                    last.setdefault(data["thread_id"], 0)
                elif block.name == "thread.changed":
                    self._comes(last, data["thread_id"], data["last_seq"])
                elif block.name == "message.posted":
                    self._hear(last, data)
                if block.id and self._chance.random() < 0.3:
                    self._keep(block.id, last, rooms)

    def _see_membership(self, name: str, data: Any, last: dict[int, int], rooms: set[int]) -> None:
        """After the end of a membership nothing comes of the room and its threads, until it begins again."""
        room, threads = data["room_id"], self._threads()
        is_own = data.get("account_id") == self._person.account_id
        if name == "room.created" or (name == "member.joined" and is_own):
            rooms.add(room)
        if threads.get(room, room) not in rooms:
            self.wrong.append(f"account {self._person.account_id} has left room {room}, and is told {name} {data}")
        if name == "member.left" and is_own:
            rooms.discard(room)
            for each in (room, *(thread for thread, parent in threads.items() if parent == room)):
                last.pop(each, None)

    def _hear(self, last: dict[int, int], message: Any) -> None:
        room, seq, text = message["room_id"], message["seq"], message["text"]
        self._comes(last, room, seq)
        if message["deleted"]:
            return
        before = self.heard.setdefault((room, seq), text)
        if before != text:
            self.wrong.append(f"room {room}: message {seq} is {text!r} in a stream, and was {before!r}")

    def _comes(self, last: dict[int, int], room: int, seq: int) -> None:
        """The person hears of each message in a thread, also of one that it does not follow. Hello lists no threads."""
        if room in last and seq != last[room] + 1:
            self.wrong.append(f"room {room}: message {seq} follows {last[room]} in a stream")
        last[room] = seq

    def _keep(self, text: str, last: dict[int, int], rooms: set[int]) -> None:
        said = {place: self.heard[place] for place in last.items() if place in self.heard}
        self.tokens = [*self.tokens[-_TOKENS:], _Token(text, dict(last), said, frozenset(rooms), self.log)]

    def go_back(self, told: Told, log: int) -> None:
        """The folder has only this history from now on. A copy's log has a name of its own."""
        self.log = log
        there = told.said()
        for token in self.tokens:
            token.doubtful = True
            token.lost = token.log != log or any(
                place not in there or there[place] != token.said.get(place, there[place])
                for place in token.last.items()
                if place[1]
            )
        self.heard = {place: text for place, text in self.heard.items() if there.get(place) == text}


Act = Callable[["LivesCourse"], Awaitable[str]]


class LivesCourse:
    def __init__(self, machine: SimulatedMachine, folder: Path, outcome: Outcome, chance: random.Random) -> None:
        self.machine = machine
        self.chance = chance
        self.saved: list[tuple[Path, Told, int]] = []  # snapshots and copies: folder, history, the log's name
        self.exact: Exact
        self.listeners: list[_TokenKeeper] = []  # one stays in all rooms, and one comes and goes
        self.log = 0  # the number of the name of the log
        self._folder = folder
        self._outcome = outcome
        self.logs = itertools.count(1)  # names of copies' logs
        self._numbers = itertools.count()  # of saved folders
        self._skews = [0.0]  # of the machine's clock in this life: a process need not follow a jump

    async def run(self) -> None:
        machine, chance = self.machine, self.chance
        first = await machine.start()
        async with FalconClient(machine.urls, first.admin_token, transport=_Transport(machine.http)) as admin:
            made = [await admin.create_account(f"Person {i}") for i in range(_PEOPLE + 1)]
        founder, *people = [Account(each.account_id, each.token) for each in made]
        self.exact = Exact(
            over(EdgeClient(machine.http)),
            lambda: machine.urls,
            founder,
            people,
            random.Random(chance.random()),
            steady=lambda: machine.simulation.now,
            rooms_max=_ROOMS_MAX,
            is_searched=True,
        )
        self.exact.posted = self._look_at_time
        await self.exact.open_rooms(_ROOMS)
        await self.exact.open_to_the_limit()
        self.listeners = [
            _TokenKeeper(machine, each, self.exact.told_threads, random.Random(chance.random())) for each in people[:2]
        ]
        listening = [asyncio.create_task(each.run()) for each in self.listeners]
        for _ in range(chance.randint(*_STEPS)):
            if chance.random() < 0.1:
                act = chance.choice(ACTS)
                began = machine.simulation.now
                self._outcome.faults.append(f"{began:.1f} s: {act.__name__} {await act(self)}")
            await self.step()
        await self.exact.retry_all()
        await self.exact.find_all()
        self.exact.ending = True
        for listener in self.listeners:
            listener.ending = True
        await asyncio.gather(*listening)
        self._judge()
        await machine.end(orderly=True)

    async def step(self) -> None:
        await self.exact.step()
        await asyncio.sleep(self.chance.uniform(*_PAUSE_SECONDS))

    async def begin_life(self) -> None:
        self._skews = [self.machine.skew]
        await self.machine.start()

    def set_clock(self, skew: float) -> None:
        self._skews.append(skew)
        self.machine.set_clock(skew)

    def copy_folder(self) -> Path:
        return self._folder / f"saved-{next(self._numbers)}"

    def _judge(self) -> None:
        said = self.exact.told.said()
        self._outcome.violations += self.exact.wrong
        for listener in self.listeners:
            for (room_id, seq), text in listener.heard.items():
                if said.get((room_id, seq)) != text:
                    listener.wrong.append(
                        f"room {room_id}: a stream told {text!r} as {seq}, and answers {said.get((room_id, seq))!r}"
                    )
            self._outcome.violations += listener.wrong

    def go_back(self, told: Told, log: int) -> None:
        """The folder has only this history from now on."""
        self.log = log
        for listener in self.listeners:
            listener.go_back(told, log)

    def _look_at_time(self, posted_at: str) -> None:
        ahead = datetime.fromisoformat(posted_at).timestamp() - self.machine.wall() - max(self._skews)
        if ahead > _AHEAD_SECONDS:
            self.exact.wrong.append(f"a message bears a time that is {ahead:.0f} s ahead of the clock")


# --- what can happen between two steps --------------------------------------------------------------------------------


async def kill_soon(course: LivesCourse) -> str:
    course.machine.http.later(course.chance.uniform(*_KILL_SECONDS), course.machine.kill_one)
    return ""


async def restart_with_another_clock(course: LivesCourse) -> str:
    orderly = course.chance.random() < 0.5
    await course.machine.end(orderly=orderly)
    skew = course.chance.choice([0.0, 0.0, 5.0, -5.0, 700.0, -700.0, 3_600.0, -3_600.0, 86_400.0 * 365])
    course.set_clock(skew)
    await course.begin_life()
    return f"to {skew:+.0f} s"


async def set_the_clock(course: LivesCourse) -> str:
    skew = course.chance.choice([0.0, 0.0, 5.0, -5.0, 700.0, -700.0, 3_600.0])
    course.set_clock(skew)
    return f"to {skew:+.0f} s"


async def take_a_snapshot(course: LivesCourse) -> str:
    target = course.copy_folder()
    course.machine.snapshot(target)
    course.saved.append((target, course.exact.remember(), course.log))
    return ""


async def take_a_copy(course: LivesCourse) -> str:
    target = course.copy_folder()
    await course.machine.command(lambda settings: embedded.copy(settings, target))
    course.saved.append((target, course.exact.remember(), next(course.logs)))
    return ""


async def roll_back(course: LivesCourse) -> str:
    """Put back a snapshot or a copy. No client hears of it."""
    if not course.saved:
        return await take_a_snapshot(course)
    await course.machine.end(orderly=course.chance.random() < 0.5)
    source, told, log = course.chance.choice(course.saved)
    course.machine.put_back(source)
    course.exact.go_back(told)
    course.go_back(told, log)
    await course.begin_life()
    return f"to {source.name}"


async def lose_a_while(course: LivesCourse) -> str:
    """People speak after a snapshot, which is put back then, and continue until the log is as long as it was."""
    course.saved.clear()
    await take_a_snapshot(course)
    for _ in range(course.chance.randint(5, 15)):
        await course.step()
    await roll_back(course)
    for _ in range(course.chance.randint(10, 25)):
        await course.step()
    return ""


async def change_the_processes(course: LivesCourse) -> str:
    """Continue from a copy for another number of processes. Nothing is lost, and all clients begin new streams."""
    machine = course.machine
    await machine.end(orderly=course.chance.random() < 0.5)
    target, count = course.copy_folder(), course.chance.choice([1, 2, 3, 4])
    await machine.command(lambda settings: embedded.copy(settings, target, processes=count))
    machine.put_back(target)
    course.go_back(course.exact.told, next(course.logs))
    await course.begin_life()
    return f"to {count}"


async def hold_up_the_index(course: LivesCourse) -> str:
    """Nothing can be written to the index of messages. Only searches wait for it."""
    course.exact.is_searched = False
    index = apsw.Connection(str(embedded.search_of(course.machine.settings)))
    index.execute("BEGIN IMMEDIATE")
    for _ in range(course.chance.randint(5, 15)):
        await course.step()
    index.close()
    course.exact.is_searched = True
    return ""


async def let_minutes_pass(course: LivesCourse) -> str:
    await asyncio.sleep(_MINUTES_SECONDS)
    return ""


ACTS: Final[Sequence[Act]] = (
    kill_soon,
    kill_soon,
    kill_soon,
    restart_with_another_clock,
    restart_with_another_clock,
    set_the_clock,
    take_a_snapshot,
    take_a_copy,
    roll_back,
    lose_a_while,
    lose_a_while,
    change_the_processes,
    hold_up_the_index,
    let_minutes_pass,
)
