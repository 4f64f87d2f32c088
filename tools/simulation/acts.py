"""Operators' acts while people chat and things fail, each with its check; and the schedules with them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition

from falcon.adapters.hbase.meta import (
    Generations,
    applied_key,
    applied_of,
    generations_key,
    recipe_key,
    stop_key,
    stop_of,
)
from falcon.adapters.hbase.schema import table_name
from falcon.adapters.kafka import topics
from falcon.cli.exporting import write_export
from falcon.cli.faults import Fault
from falcon.cli.importing import import_lines
from falcon.cli.merging import numbered
from falcon.features.messages.hbase import MESSAGE_COLUMNS, message_seq
from falcon.features.messages.rules import MessagePosted
from falcon.projections.skipping import NotStoppedThere
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import Comparison
from falcon.run.bootstrap import cluster as roles
from falcon.run.settings import Settings
from falcon_chat import FalconClient, Imported
from tools.harness.waiting import eventually, eventually_within
from tools.people.folds import as_exported, exported, fold
from tools.people.history import Operation
from tools.simulation.cluster import PARTITIONS, SimulatedFalcon
from tools.simulation.course import FAULTS, Chance, Course, Outcome, simulate
from tools.simulation.hbase.servers import Cell, Lost
from tools.simulation.operator import Operator

_ACT_SECONDS: Final = 240.0  # after which an act must be done
_ENDED_SECONDS: Final = 30.0  # after SIGTERM
_LOOK_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 120.0
_EVENTS_A_SECOND: Final = 50_000.0

Act = Callable[[Operator, random.Random], Awaitable[Sequence[str]]]
Work = Callable[[Settings], Any]


def run(outcome: Outcome, folder: Path) -> None:
    """Raises what is a fault of the simulation's own."""
    simulate(outcome, folder, lambda falcon: ActsCourse(falcon, folder, outcome).act())
    whole = sorted(folder.glob("whole-*.jsonl"))
    if whole:
        imported = partial(_import, export=whole[-1], outcome=outcome)
        simulate(outcome, folder / "fresh", imported, writers=1, projectors=1, edges=1)


class ActsCourse(Course):
    """In a simulation of its own."""

    def __init__(self, falcon: SimulatedFalcon, folder: Path, outcome: Outcome) -> None:
        super().__init__(falcon, outcome.seed, visited=False)
        self._folder = folder
        self._outcome = outcome
        self._random = Chance(f"course {outcome.seed}")

    async def act(self) -> None:
        await self._begin()
        await self._hurt()
        await self._reckon()
        await self._settle_listeners()

    async def _begin(self) -> None:
        await self.prepare()
        chance = random.Random(self._random.random())
        self._operator = Operator(self._falcon, self._admin_token, self._folder, chance)

    async def _one(self) -> None:
        """An act, maybe two, with some faults or none."""
        acts = self._random.sample(ACTS, 1 if self._random.random() < 0.7 else 2)
        faults = self._random.sample(FAULTS, self._random.choice([0, 0, 1, 1, 2]))
        started, name = self._history.now(), " + ".join(each.__name__ for each in (*acts, *faults))
        self._outcome.faults.append(f"{started:.1f} s: {name}")
        self._operator.troubled = bool(faults)
        acting = [asyncio.create_task(self._act(act)) for act in acts]
        await asyncio.gather(*(fault(self._falcon, self._chance()) for fault in faults))
        self._falcon.heal()
        await asyncio.gather(*acting)
        await self._served(self._history.now())
        self._history.note(Operation(kind="fault", name="rolling", started=started, ended=self._history.now()))
        await asyncio.sleep(self._random.uniform(0.5, 3.0))

    async def _act(self, act: Act) -> None:
        try:
            async with asyncio.timeout(_ACT_SECONDS):
                wrong = await act(self._operator, random.Random(self._random.random()))
        except TimeoutError:
            wrong = [f"not done within {_ACT_SECONDS:g} s"]
        except Exception as error:
            wrong = [f"failed: {error!r}"]
        self._outcome.violations += [f"{act.__name__}: {each}" for each in wrong]


# --- the tables -------------------------------------------------------------------------------------------------------


async def prepare_again(operator: Operator, chance: random.Random) -> Sequence[str]:
    """Existing things stay as they are."""
    before = await operator.command(name_of_log)
    name = await operator.command(lambda settings: asyncio.run(roles.prepare(settings)))
    return [] if name == before else [f"the log {before} is called {name} now"]


async def rebuild(operator: Operator, chance: random.Random) -> Sequence[str]:
    """Maybe the command is killed, again and again, and given again: it continues with the tables that it has begun."""
    name = chance.choice(list(READ_MODELS))
    async with operator.alone:
        before = live(operator, name)
        while chance.random() < 0.5:
            await operator.killed(rebuilding(name), chance.uniform(0, chance.choice([0.3, 1, 8])))
        begun = unfinished(operator, name)
        await operator.command(rebuilding(name))
        after = live(operator, name)
        wrong = [] if after > before else [f"generation {after} of {name} is live, after {before}"]
        if begun is not None and after != begun and not operator.troubled:
            wrong.append(f"generation {after} of {name} is live, and {begun} was begun before")
        return wrong


async def verify(operator: Operator, chance: random.Random) -> Sequence[str]:
    """It finds nothing if nothing was lost."""
    async with operator.alone:
        return await nothing_differs(operator, list(READ_MODELS))


async def lose_rows(operator: Operator, chance: random.Random) -> Sequence[str]:
    """HBase loses some of the operator's: a backup says so, verify finds those and nothing else, and repairs them."""
    room = await operator.room()
    for _ in range(chance.randint(1, 12)):
        await operator.post(room)
    projection = chance.choice(["timeline", "rooms", "memberships"])
    async with operator.alone:
        await _until_applied(operator, projection)
        lost = _lose(operator, projection, chance.choice([0.1, 0.5, 1.0]))
        wrong = []
        if projection == "timeline":
            wrong += await _shows_holes(operator, room, lost)
            wrong += await _backs_up_around(operator, lost)
        wrong += _compared(operator, lost, await operator.command(verifying(projection)))
        wrong += _compared(operator, lost, await operator.command(verifying(projection, repair=True)), repaired=True)
        wrong += await nothing_differs(operator, [projection])
        return [*wrong, *await _shows(operator, room)]


def _lose(operator: Operator, projection: str, share: float) -> list[Lost]:
    generation = live(operator, projection)
    tables = {table_name("falcon", table, generation): table for table in READ_MODELS[projection].hbase.tables}
    identity_of_row = READ_MODELS[projection].hbase.identity_of_row

    def loses(name: str, row: bytes, cells: Mapping[bytes, Cell]) -> bool:
        if name not in tables:
            return False
        values = {column: cell.value for column, cell in cells.items()}
        return identity_of_row(tables[name], row, values) in operator.posted

    return operator.falcon.hbase.lose_some(loses, share)


def _room_of(message: Lost) -> int:
    return READ_MODELS["timeline"].hbase.identity_of_row("timeline", message.row, {})


async def _shows_holes(operator: Operator, room: int, lost: Sequence[Lost]) -> list[str]:
    """A message that is lost may be missing in its place; all others are there, also behind it."""
    gone = {
        message_seq(each.row, each.column) for each in lost if each.column in MESSAGE_COLUMNS and _room_of(each) == room
    }
    shown, texts = operator.shown(room), await operator.texts(room)
    wrong = [
        f"room {room} has {(texts[seq - 1 : seq] or ['nothing'])[0]!r} at {seq} instead of {text!r}"
        for seq, text in enumerate(shown, 1)
        if seq not in gone and texts[seq - 1 : seq] != [text]
    ]
    return wrong[:1]


async def _backs_up_around(operator: Operator, lost: Sequence[Lost]) -> list[str]:
    """A backup has the lost messages as missing ones in their places, or fails. It leaves none out."""
    path = operator.file("around")
    try:
        await operator.command(_exporting(operator, path))
    except Fault:
        return []
    places = {(_room_of(each), message_seq(each.row, each.column)) for each in lost if each.column in MESSAGE_COLUMNS}
    chat, then = as_exported(path, await operator.log())
    return chat.differences_from_log(then, operator.skipped | places)[:1]


def _compared(operator: Operator, lost: Sequence[Lost], found: Comparison, *, repaired: bool = False) -> list[str]:
    """Rows that are written again meanwhile, by a late batch for instance, may be found or not."""
    still = lost if repaired else operator.falcon.hbase.still_lost(lost)
    gone, stale = (len([each for each in lost if (each.left is None) == none]) for none in (True, False))
    still_gone, still_stale = (len([each for each in still if (each.left is None) == none]) for none in (True, False))
    if repaired:
        still_gone = still_stale = 0
    as_it_is = still_gone <= found.missing <= gone and still_stale <= found.wrong <= stale and not found.unexplained
    return [] if as_it_is else [f"{found}, where {gone} cells were lost and {stale} are older"]


async def skip_what_the_tables_refuse(operator: Operator, chance: random.Random) -> Sequence[str]:
    """Exactly that message is missing then, also after a rebuild."""
    room, refused = await operator.room(), operator.falcon.hbase.refused
    async with operator.alone:
        for _ in range(chance.randint(0, 3)):
            await operator.post(room)
        text = operator.next_text()
        words = text.partition(" ")[0].encode() + b" "
        refused.add(words)
        await operator.post(room, text)
        seq = len(operator.posted[room])
        for _ in range(chance.randint(0, 3)):
            await operator.post(room)
        partition, offset = await _place_of(operator, text)
        stopped_at = await _stopped_at(operator, "timeline", partition)
        if stopped_at != offset:
            return [f"the timeline has stopped at offset {stopped_at}, and {offset} is refused"]
        try:
            await operator.command(_skipping("timeline", partition, offset + 1))
            return [f"offset {offset + 1} may be skipped, though the timeline has stopped at {offset}"]
        except NotStoppedThere:
            pass
        await operator.command(_skipping("timeline", partition, offset))
        operator.skipped.add((room, seq))
        await operator.post(room)
        wrong = await _shows(operator, room)
        refused.discard(words)
        wrong += await nothing_differs(operator, ["timeline"])
        if chance.random() < 0.5:
            await operator.command(rebuilding("timeline"))
            wrong += await _shows(operator, room)
        return wrong


async def _place_of(operator: Operator, text: str) -> tuple[int, int]:
    for recorded in await operator.log():
        event = recorded.envelope.event
        if isinstance(event, MessagePosted) and event.message.text == text:
            return recorded.envelope.partition, recorded.offset
    raise AssertionError(f"{text!r} was acknowledged and is not in the log")


async def _stopped_at(operator: Operator, projection: str, partition: int) -> int:
    def stop() -> bytes | None:
        return operator.meta(stop_key(projection, live(operator, projection), partition))

    await eventually(lambda: stop() not in (None, b"-"), f"{projection} has stopped", _ACT_SECONDS, _LOOK_SECONDS)
    value = stop()
    assert value is not None
    return stop_of(value).at.offset


async def _shows(operator: Operator, room: int) -> list[str]:
    """The room is as it should be. Another act may post there meanwhile."""
    least = operator.shown(room)
    texts = await operator.texts(room)
    most = operator.shown(room)
    as_posted = len(texts) >= len(least) and texts[: len(most)] == most[: len(texts)]
    return [] if as_posted else [f"room {room} shows {texts} instead of {most}"]


async def nothing_differs(operator: Operator, names: Sequence[str]) -> list[str]:
    found = {name: await operator.command(verifying(name)) for name in names}
    return [
        f"verify {name}: {each}, where nothing was lost"
        for name, each in found.items()
        if each.missing or each.wrong or each.unexplained
    ]


async def _until_applied(operator: Operator, projection: str) -> None:
    """All that is in the log by now."""
    ends = ends_of_log(operator.falcon)

    def is_applied() -> bool:
        return all(at >= ends[partition] for partition, at in applied(operator, projection).items())

    await eventually(is_applied, f"{projection} has applied the log", _ACT_SECONDS, _LOOK_SECONDS)


def ends_of_log(falcon: SimulatedFalcon) -> dict[int, int]:
    journal = falcon.journal().journal
    return {number: falcon.brokers.partition(TopicPartition(journal, number)).log.end for number in range(PARTITIONS)}


def applied(operator: Operator, projection: str) -> dict[int, int]:
    generation = live(operator, projection)
    keys = {number: applied_key(projection, generation, number) for number in range(PARTITIONS)}
    return {number: applied_of(operator.meta(key)).position.offset for number, key in keys.items()}


def live(operator: Operator, projection: str) -> int:
    """The generation of the projection's tables that is read."""
    return _generations(operator, projection).live


def unfinished(operator: Operator, projection: str) -> int | None:
    """The generation of a rebuild that was killed when it had its tables."""
    generation = _generations(operator, projection).rebuilding
    return generation if operator.meta(recipe_key(projection, generation)) else None


def _generations(operator: Operator, projection: str) -> Generations:
    value = operator.meta(generations_key(projection))
    assert value is not None
    return msgspec.json.decode(value, type=Generations)


# --- exports ----------------------------------------------------------------------------------------------------------


async def export(operator: Operator, chance: random.Random) -> Sequence[str]:
    """It must contain what the log says at its position. It may be killed, and begins again."""
    path = operator.file("export")
    async with operator.alone:
        if chance.random() < 0.3:
            await operator.killed(_exporting(operator, path), chance.uniform(0, 3))
            path = operator.file("export")  # what the killed one still has in hand never gets there
        while True:
            try:
                await operator.command(_exporting(operator, path))
                break
            except Fault:  # it says itself that it is not whole
                path = operator.file("export")
                await asyncio.sleep(_LOOK_SECONDS)
        wrong = await _as_the_log_says(operator, path)
    path.rename(operator.file("whole"))
    return wrong


def _exporting(operator: Operator, path: Path) -> Work:
    return lambda settings: asyncio.run(_export(operator.falcon.urls, operator.token, path))


async def _export(urls: Sequence[str], token: str, path: Path) -> None:
    async with FalconClient(urls, token, timeout=_PATIENCE_SECONDS) as falcon:
        with path.open("wb") as out:
            await write_export(falcon, out, lambda done: None)


async def _as_the_log_says(operator: Operator, path: Path) -> list[str]:
    log = await operator.log()
    chat, then = as_exported(path, log)
    wrong = chat.differences_from_log(then, operator.skipped)
    later = fold(log).accounts
    wrong += [f"account {ref} is not there" for ref in then.accounts if ref not in chat.accounts]
    wrong += [f"account {ref}: {name}" for ref, name in chat.accounts.items() if later.get(ref) != name]
    return wrong[:5]


async def _import(falcon: SimulatedFalcon, *, export: Path, outcome: Outcome) -> None:
    """Into an empty Falcon: then it has all that the export has, and doing it again changes nothing."""
    credentials = await falcon.start()
    try:
        wrong = await _imported(falcon, credentials.admin_token, export)
    except Fault as fault:
        wrong = [str(fault)]
    outcome.violations += [f"import: {each}" for each in wrong]


async def _imported(falcon: SimulatedFalcon, token: str, export: Path) -> list[str]:
    accounts: dict[str, int] = {}
    rooms: dict[str, int] = {}
    wrong: list[str] = []
    async with FalconClient(falcon.urls, token, timeout=_PATIENCE_SECONDS) as client:

        async def send(lines: bytes) -> Imported:
            answer = await client.import_lines(lines)
            accounts.update(answer.accounts)
            rooms.update(answer.rooms)
            return answer

        for again in (False, True):
            with export.open("rb") as file:
                done = await import_lines(numbered(file, export.name), export.name, send)
            if again and done.imported:
                wrong.append(f"{done.imported} messages are imported a second time")
    copy = export.with_name("of the fresh one.jsonl")
    await _export(falcon.urls, token, copy)
    with export.open("rb") as one, copy.open("rb") as other:
        wanted, there = exported(numbered(one, export.name)), exported(numbered(other, copy.name))
    return [*wrong, *there.differences(wanted.renamed(accounts, rooms))[:5]]


# --- processes --------------------------------------------------------------------------------------------------------


async def roll_out(operator: Operator, chance: random.Random) -> Sequence[str]:
    """Ends processes one after the other; others take their places."""
    falcon = operator.falcon
    wrong: list[str] = []
    roles = [falcon.writers, falcon.projectors, falcon.edges]
    for name in [name for role in chance.sample(roles, chance.randint(1, 3)) for name in role]:
        wrong += await _replaced(operator, name)
        await asyncio.sleep(chance.uniform(0, 3))
    return wrong


async def _replaced(operator: Operator, name: str) -> list[str]:
    """End the process, and wait until another has its place. Returns what went wrong."""
    falcon = operator.falcon
    wrong: list[str] = []
    process = falcon.processes[name]
    falcon.terminate(name)
    if not await eventually_within(lambda: process.dead, _ENDED_SECONDS, _LOOK_SECONDS):
        if not operator.troubled:
            wrong.append(f"{name} has not ended {_ENDED_SECONDS:g} s after it was told to")
        falcon.kill(name)
    await eventually(lambda: falcon.processes[name] is not process, "another starts", _ACT_SECONDS, _LOOK_SECONDS)
    return wrong


# --- commands ---------------------------------------------------------------------------------------------------------


def name_of_log(settings: Settings) -> str:
    return _run(topics.check(roles.kafka_cluster(settings)))


def rebuilding(name: str) -> Work:
    return lambda settings: roles.rebuild(settings, name, lambda done, total: None)


def verifying(name: str, *, repair: bool = False) -> Callable[[Settings], Comparison]:
    return lambda settings: roles.verify(
        settings, name, repair=repair, events_a_second=_EVENTS_A_SECOND, progress=lambda done, total: None
    )


def _skipping(name: str, partition: int, offset: int) -> Work:
    return lambda settings: roles.skip(settings, name, partition, offset, "seen in a simulation")


def _run(work: Coroutine[Any, Any, str]) -> str:
    return asyncio.run(work)


ACTS: Final[Sequence[Act]] = (
    prepare_again,
    rebuild,
    verify,
    lose_rows,
    skip_what_the_tables_refuse,
    export,
    roll_out,
)
