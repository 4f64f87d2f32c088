"""Schedules in which the data of the servers are replaced by older copies, as docs/operations.md says it.

What was acknowledged before a copy of the log was made is there afterwards, as if nothing else had ever happened.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from falcon.adapters.hbase.meta import went_back_key
from falcon.journal import naming
from falcon.journal.ports import LogWentBack
from falcon.read.catalogue import READ_MODELS
from falcon.run.bootstrap import cluster as roles
from falcon.run.settings import Settings
from falcon_chat import FalconClient
from tools.harness.waiting import eventually_within
from tools.people.history import Operation
from tools.people.sessions import Account, Load
from tools.simulation.acts import ActsCourse, applied, ends_of_log, name_of_log, nothing_differs, rebuilding, verifying
from tools.simulation.cluster import EdgeClient, SimulatedFalcon
from tools.simulation.course import Noted, Outcome, Plan, simulate
from tools.simulation.hbase.servers import Table
from tools.simulation.kafka.brokers import Copy

_SAID_SECONDS: Final = 90.0  # after which a projection has said that it has stopped
_LOOK_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 120.0


def run(outcome: Outcome, folder: Path) -> None:
    """Raises what is a fault of the simulation's own."""
    simulate(outcome, folder, lambda falcon: RestoreCourse(falcon, folder, outcome).act())


class Copies:
    """Copies of the brokers' data and of the tables, each of a moment of its own: seconds of the history."""

    def __init__(self, falcon: SimulatedFalcon) -> None:
        self._falcon = falcon
        self.log: tuple[float, Copy] | None = None
        self.tables: tuple[float, Mapping[str, Table]] | None = None

    def take(self, now: float, chance: random.Random) -> None:
        """One that there is not yet, or both at once."""
        both = chance.random() < 0.3
        log = self.log is None and (both or self.tables is not None or chance.random() < 0.5)
        if log:
            self.log = now, self._falcon.brokers.copy()
        if self.tables is None and (both or not log):
            self.tables = now, self._falcon.hbase.copy()


class RestoreCourse(ActsCourse):
    """People chat and things fail, servers are restored, and other people continue."""

    async def act(self) -> None:
        await self._begin()
        self._plan = Plan(seconds=self._plan.seconds / 2)
        self._copies = Copies(self._falcon)
        await self._hurt()
        what = self._random.choice(["the log", "the tables", "both"])
        self._copies.take(self._history.now(), self._random)
        self._copies.take(self._history.now(), self._random)
        await self._restore(log=what != "the tables", tables=what != "the log")
        await self._come_in()
        await self._hurt()
        self._outcome.violations += await nothing_differs(self._operator, list(READ_MODELS))
        await self._reckon()
        await self._settle_listeners()

    async def _one(self) -> None:
        if self._random.random() < 0.4:
            self._copies.take(self._history.now(), self._random)
        await super()._one()

    async def _restore(self, *, log: bool, tables: bool) -> None:
        """The people have gone home; the people who listen to a log that is replaced go as well."""
        falcon, copies, started = self._falcon, self._copies, self._history.now()
        assert copies.log is not None
        assert copies.tables is not None
        told = [f"the log of {copies.log[0]:.1f} s"] * log + [f"the tables of {copies.tables[0]:.1f} s"] * tables
        self._outcome.faults.append(f"{started:.1f} s: put back {' and '.join(told)}")
        if log:
            await self._end_listeners()
        await falcon.end_all(orderly=self._random.random() < 0.5)
        falcon.heal()
        await falcon.stop_servers()
        if log:
            falcon.brokers.put_back(copies.log[1])
        if tables:
            falcon.hbase.put_back(copies.tables[1])
        falcon.heal()
        if log:
            self._begin_history_again(copies.log[0])
            await self._make_known()
        await falcon.launch_all()
        self._history.note(Operation(kind="fault", name="api", started=started, ended=self._history.now()))

    # --- the log ------------------------------------------------------------------------------------------------------

    async def _make_known(self) -> None:
        """Run ``falcon restored``. It may be forgotten at first, or killed and given again."""
        operator = self._operator
        if self._tables_are_ahead() and self._random.random() < 0.5:
            await self._forget()
        before = await operator.command(name_of_log)
        if self._random.random() < 0.3:
            await operator.killed(_restored, roles._LISTENED_SECONDS + self._random.uniform(0, 3))
        name = await operator.command(_restored)
        if name == before or naming.family(name) != naming.family(before):
            self._outcome.violations.append(f"restored: the log {before} is called {name} now")
        operator.skipped.clear()

    def _tables_are_ahead(self) -> bool:
        """The tables are ahead of a log that is their own, so that a projector sees what was lost."""
        ends = ends_of_log(self._falcon)
        places = [applied(self._operator, projection) for projection in READ_MODELS]
        return any(at > ends[partition] for each in places for partition, at in each.items())

    async def _forget(self) -> None:
        """The projectors stop at once and say why; what operators do to the tables is refused; and so is the command
        that was forgotten, until all that runs has ended."""
        operator, falcon, wrong = self._operator, self._falcon, self._outcome.violations
        falcon.supervised = True
        for name in falcon.projectors:
            falcon.launch(name)
        if not await eventually_within(
            lambda: operator.meta(went_back_key()) not in (None, b"-"), _SAID_SECONDS, _LOOK_SECONDS
        ):
            wrong.append("no projector says that the log has lost what the tables show")
        name = self._random.choice([each for each in READ_MODELS if self._is_ahead(each)])
        for what, work in (("rebuild", rebuilding(name)), ("verify", verifying(name))):
            try:
                await operator.command(work)
            except LogWentBack:
                continue
            wrong.append(f"{what} {name} is not refused, though the log has lost what the tables show")
        await self._is_refused("projectors run")
        await falcon.end_all(orderly=True)
        falcon.launch(falcon.edges[0])
        await self._is_refused("an edge runs")
        await falcon.end_all(orderly=True)

    async def _is_refused(self, while_: str) -> None:
        try:
            await self._operator.once(_restored)
            self._outcome.violations.append(f"restored is not refused while {while_}")
        except roles.StillRunning:
            pass

    def _is_ahead(self, projection: str) -> bool:
        ends = ends_of_log(self._falcon)
        return any(at > ends[partition] for partition, at in applied(self._operator, projection).items())

    def _begin_history_again(self, moment: float) -> None:
        """Begin with what people know to be in the log that ends at that moment."""
        before = list(self._history.operations())
        self._history = Noted()
        for operation in known_at(moment, before):
            self._history.note(operation)

    # --- people -------------------------------------------------------------------------------------------------------

    async def _come_in(self) -> None:
        """Others than before, to the earlier halls."""
        urls = self._falcon.urls
        async with FalconClient(urls, self._admin_token, timeout=_PATIENCE_SECONDS) as admin:
            made = [await admin.create_account(f"t{number}") for number in range(len(self._sessions))]
        async with FalconClient(urls, self._accounts[0].token, timeout=_PATIENCE_SECONDS) as first:
            for hall in self._halls.values():
                for each in made:
                    await first.put_member(hall, each.account_id, "member")
        before = len(self._accounts)
        self._accounts += [Account(each.account_id, each.token) for each in made]
        self._load = Load(urls, self._history, self._accounts, self._guests, EdgeClient(self._falcon.http))
        self._load.halls = list(self._halls.values())
        self._talk(range(before, len(self._accounts)))
        self._operator.begin_again()
        if not self._listeners:
            self._listen()

    async def _end_listeners(self) -> None:
        for task, listener in self._listeners.items():
            self._outcome.violations += listener.violations
            task.cancel()
        await asyncio.wait(self._listeners)
        self._listeners.clear()


def known_at(moment: float, found: Sequence[Operation]) -> Iterator[Operation]:
    """What was acknowledged before the moment is as it was. What was tried later, or was not settled by then, may be in
    the log or not: no client hears any more."""
    settled = {op.key for op in found if op.key and op.outcome == "acknowledged" and op.ended < moment}
    opened = {op.room for op in found if op.kind in ("open", "direct") and op.room}
    reused = opened - {op.room for op in found if op.kind in ("open", "direct") and op.key in settled}
    placed: set[tuple[int, int]] = set()  # guests whose role is known, or may be none
    for op in found:
        op.started, op.ended = op.started - moment, op.ended - moment
        if op.ended < 0 and (not op.key or op.key in settled):
            placed |= {(op.room, op.who)} if op.kind == "member" else set()
            yield op
        elif op.kind in ("post", "edit", "delete", "member") and op.key not in settled and op.room not in reused:
            if op.kind == "member" and (op.room, op.who) not in placed:
                placed.add((op.room, op.who))
                yield msgspec.structs.replace(_unknown(op), role="")
            yield _unknown(op)


def _unknown(op: Operation) -> Operation:
    seq = 0 if op.kind == "post" else op.seq
    unknown = Operation(kind=op.kind, session=op.session, room=op.room, seq=seq, token=op.token, who=op.who)
    unknown.role, unknown.outcome, unknown.started, unknown.ended = op.role, "unknown", op.started, op.ended
    return unknown


def _restored(settings: Settings) -> str:
    return asyncio.run(roles.restored(settings))
