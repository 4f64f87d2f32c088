"""Read tables in memory, for what writes them: ProjectionTables, and how far they have been applied."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from falcon.domain.ids import Partition, RoomId, Seq
from falcon.features.messages.table import SetRevision, UpsertMessage
from falcon.journal.envelope import Cursor, Position
from falcon.read.catalogue import READ_MODELS
from falcon.read.hbase import HBaseModel
from falcon.read.store import (
    WITHOUT_SKIPS,
    BeingFilled,
    Comparison,
    Fill,
    Reached,
    Recipe,
    Skip,
    StaleProjector,
    Stop,
    UnfinishedRebuild,
    shown_by,
)
from falcon.read.write import Write

_REBUILDING = "_rebuilding"


class Tables(Protocol):
    """The tables of one read model."""

    def apply(self, write: Write) -> None: ...


@dataclass
class TimelineTables:
    messages: dict[tuple[RoomId, Seq], bytes] = field(default_factory=dict)
    revisions: dict[RoomId, int] = field(default_factory=dict)

    def apply(self, write: Write) -> None:
        match write:
            case UpsertMessage(room_id, seq, message):
                self.messages[room_id, seq] = message
            case SetRevision(room_id, revision):
                self.revisions[room_id] = revision


@dataclass
class CellTables:
    """Any read model, as the cells that its writes leave."""

    model: HBaseModel
    cells: dict[tuple[int, bytes, bytes], bytes] = field(default_factory=dict)

    def apply(self, write: Write) -> None:
        table, cells = self.model.cells[type(write)]
        for row, column, value in cells(write):
            self.cells[table, row, column] = value


@dataclass
class _ProjectedTables:
    """The tables of one projection, and how far it has been applied to them."""

    tables: Tables
    cursor: dict[Partition, Position]
    quiet_since: dict[Partition, dict[str, int]] = field(default_factory=dict)


class _Comparing:
    """Compares messages only."""

    def __init__(self, messages: dict[tuple[RoomId, Seq], bytes], repair: bool) -> None:
        self._messages = messages
        self._repair = repair
        self._written: set[tuple[RoomId, Seq]] = set()

    def compare(self, partition: Partition, through: int, writes: Sequence[Write]) -> Comparison:
        wanted = {(write.room_id, write.seq): write.message for write in writes if isinstance(write, UpsertMessage)}
        self._written |= wanted.keys()
        missing = [place for place in wanted if place not in self._messages]
        wrong = [place for place, message in wanted.items() if self._messages.get(place, message) != message]
        if self._repair:
            self._messages.update(wanted)
        return Comparison(len(wanted), len(missing), len(wrong))

    def rest(self) -> Iterator[Comparison]:
        yield Comparison(unexplained=len(self._messages.keys() - self._written))


class MemoryTables:
    """Read tables without their queries, but for messages."""

    def __init__(self, partitions: int, projections: Sequence[str]) -> None:
        self._partitions = partitions
        self._projections = {name: self._empty(name) for name in projections}
        self._fills: dict[str, Fill] = {}
        self._stopped: dict[str, str] = {}
        self._stops: dict[tuple[str, Partition], Stop] = {}
        self._skips: dict[tuple[str, Partition, int], Skip] = {}
        self._went_back: str | None = None
        self._unfinished: dict[str, UnfinishedRebuild] = {}
        self._rebuilds = 0

    def _empty(self, projection: str) -> _ProjectedTables:
        tables: Tables = TimelineTables() if projection == "timeline" else CellTables(READ_MODELS[projection].hbase)
        return _ProjectedTables(tables, dict.fromkeys(range(self._partitions), Position()))

    # --- ProjectionTables ---------------------------------------------------------------------------------------------

    def cursor(self, projection: str) -> Cursor:
        return dict(self._projections[projection].cursor)

    def apply(
        self,
        projection: str,
        expected: Cursor,
        after: Cursor,
        writes: Sequence[Write],
        quiet_since: Mapping[Partition, Mapping[str, int]] = MappingProxyType({}),
    ) -> None:
        kept = self._projections[projection]
        if any(kept.cursor[partition] != position for partition, position in expected.items()):
            raise StaleProjector(projection)
        for write in writes:
            kept.tables.apply(write)
        kept.cursor.update(after)
        kept.quiet_since.update({partition: dict(quiet_since.get(partition, {})) for partition in after})

    def begin_rebuild(self, projection: str, recipe: Recipe = WITHOUT_SKIPS) -> str:
        shadow = projection + _REBUILDING
        self._projections[shadow] = self._empty(projection)
        self.resume_rebuild(projection, shadow, recipe)
        return shadow

    def unfinished_rebuild(self, projection: str) -> UnfinishedRebuild | None:
        return self._unfinished.get(projection)

    def resume_rebuild(self, projection: str, shadow: str, recipe: Recipe) -> None:
        self._unfinished[projection] = UnfinishedRebuild(shadow, recipe)

    def finish_rebuild(self, projection: str, catch_up: Callable[[], bool]) -> bool:
        if not catch_up():
            return False
        self._projections[projection] = self._projections.pop(self._unfinished.pop(projection).shadow)
        self._fills.pop(projection, None)
        self._rebuilds += 1
        return True

    def stopped(self, projection: str, error: str | None) -> None:
        if error is None:
            self._stopped.pop(projection, None)
        else:
            self._stopped[projection] = error

    def why_stopped(self, projection: str) -> str | None:
        return self._stopped.get(projection)

    def fill(self, projection: str) -> Fill:
        return self._fills.get(projection, Fill.SHOWN)

    def move_fill(self, projection: str, fill: Fill) -> None:
        self._fills[projection] = min(fill, self.fill(projection))

    def install(self, projection: str) -> None:
        """Empty tables of a read model, to be filled from the log."""
        self._projections[projection] = self._empty(projection)
        self._fills[projection] = Fill.FILLING

    # --- ConsumerTables -----------------------------------------------------------------------------------------------

    def stop(self, projection: str, partition: Partition, stop: Stop) -> None:
        self._stops[projection, partition] = stop

    def go_on(self, projection: str, partition: Partition) -> None:
        self._stops.pop((projection, partition), None)

    def stops(self, projection: str) -> dict[Partition, Stop]:
        return {partition: stop for (name, partition), stop in self._stops.items() if name == projection}

    def skip(self, projection: str, skip: Skip) -> None:
        self._skips[projection, skip.partition, skip.at.offset] = skip

    def skips(self, projection: str) -> list[Skip]:
        return [skip for (name, _, _), skip in self._skips.items() if name == projection]

    def went_back(self, why: str | None) -> None:
        self._went_back = why

    def why_went_back(self) -> str | None:
        return self._went_back

    def comparing(self, projection: str, ends: Cursor, *, repair: bool) -> "_Comparing":
        kept = self._projections[projection].tables
        return _Comparing(kept.messages if isinstance(kept, TimelineTables) else {}, repair)

    # --- ReadStore ----------------------------------------------------------------------------------------------------

    async def applied(self, partition: Partition) -> int:
        return (await self.applied_everywhere(self._partitions))[partition].offset

    async def applied_in(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return {partition: await self.applied(partition) for partition in partitions}

    async def applied_everywhere(
        self, partitions: int, projections: Sequence[str] | None = None
    ) -> dict[Partition, Position]:
        for name in projections or ():
            self.tables(name)
        live = {
            name: kept
            for name, kept in self._projections.items()
            if not name.endswith(_REBUILDING) and self.fill(name) is not Fill.FILLING
        }
        shown: dict[Partition, Position] = {}
        for partition in range(partitions):
            reached = {
                name: Reached(kept.cursor[partition], kept.quiet_since.get(partition, {}))
                for name, kept in live.items()
            }
            shown[partition] = min(shown_by(name, reached) for name in projections or live)
        return shown

    # --- what they hold ----------------------------------------------------------------------------------------------

    def tables(self, projection: str) -> Any:
        if self.fill(projection) is not Fill.SHOWN:
            raise BeingFilled(projection)
        return self._projections[projection].tables

    def messages(self, room_id: RoomId) -> dict[Seq, bytes]:
        return {seq: message for (room, seq), message in self.tables("timeline").messages.items() if room == room_id}

    def revision(self, room_id: RoomId) -> int:
        """How many edits and deletions of the room's messages are shown."""
        return int(self.tables("timeline").revisions.get(room_id, 0))
