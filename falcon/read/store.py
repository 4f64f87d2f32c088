"""The tables of the read side: the ports by which they are kept up to date, and why they cannot be read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import msgspec

from falcon import __version__
from falcon.domain.ids import Partition
from falcon.journal.envelope import Cursor, Position
from falcon.read.write import Write


class ReadStoreUnavailable(Exception):
    """The tables cannot be read for now. The message says why."""


class BeingFilled(ReadStoreUnavailable):
    """A read model is new here, and does not show yet what the log had before it."""

    def __init__(self, projection: str) -> None:
        super().__init__(f"The read model {projection} is new here and is being filled from the log.")


class StaleProjector(Exception):
    """Another process has moved this projection's position: stop, and start again from where it stands now."""


class Fill(IntEnum):
    """How far a new read model has been filled from a log that was there before it.

    FILLING: queries of it raise BeingFilled, and ``applied`` leaves it out, so that other queries do not wait for it.
    COUNTED: it has reached the log's end, so ``applied`` counts it; queries still raise. SHOWN: they answer. COUNTED
    lies between the two so that a reader never waits for a position without the model and then queries the model.
    """

    SHOWN = 0
    COUNTED = 1
    FILLING = 2


class Skip(NamedTuple):
    """An event to pass over: the one at this very position, and no other one at its offset in another history of the
    log."""

    partition: Partition
    at: Position
    reason: str


class Recipe(msgspec.Struct, frozen=True):
    """A rebuild makes the same of the log with the same recipe: the version of Falcon, and the events to pass over."""

    version: str = __version__
    skips: tuple[Skip, ...] = ()

    def continues(self, kept: "Recipe", cursor: Cursor) -> bool:
        """True if the other recipe has made the same of the log up to the cursor."""
        differing = {(skip.partition, skip.at) for skip in self.skips} ^ {
            (skip.partition, skip.at) for skip in kept.skips
        }
        return self.version == kept.version and all(
            at.offset >= cursor[partition].offset for partition, at in differing
        )


WITHOUT_SKIPS: Final = Recipe()


class UnfinishedRebuild(NamedTuple):
    """``shadow``: the name to apply its tables under."""

    shadow: str
    recipe: Recipe


class FilledTables(Protocol):
    """Tables that are filled from the log. Every method may raise ReadStoreUnavailable."""

    def cursor(self, projection: str) -> Cursor:
        """The positions up to which the projection has been applied."""

    def fill(self, projection: str) -> Fill:
        """How far the live tables have been filled."""

    def move_fill(self, projection: str, fill: Fill) -> None:
        """Record how far the live tables have been filled. A step back, or a repetition, changes nothing."""


class ProjectionTables(FilledTables, Protocol):
    """The tables of the projections, for the process that keeps them up to date.

    ``projection`` names the live tables, or those of a rebuild under way (see ``begin_rebuild``). Every method may
    raise ReadStoreUnavailable.
    """

    def apply(self, projection: str, expected: Cursor, after: Cursor, writes: Sequence[Write]) -> None:
        """Make the writes and move the cursor from ``expected`` to ``after``: all of it, or a part that may be
        repeated.

        Raises StaleProjector if the cursor is not the expected one.
        """

    def begin_rebuild(self, projection: str, recipe: Recipe = WITHOUT_SKIPS) -> str:
        """Make empty tables beside the live ones. Returns the name to apply them under. An older rebuild is thrown
        away."""

    def unfinished_rebuild(self, projection: str) -> UnfinishedRebuild | None:
        """The rebuild that was begun and neither finished nor thrown away."""

    def resume_rebuild(self, projection: str, shadow: str, recipe: Recipe) -> None:
        """Finish an unfinished rebuild from here, by this recipe from now on."""

    def finish_rebuild(self, projection: str, catch_up: Callable[[], bool]) -> bool:
        """Replace the live tables by the rebuilt ones.

        ``catch_up`` is called while no other process can move the live ones. It brings the rebuilt ones to the same
        positions, or returns False if that would take too long. Then this returns False too, the live tables stay, and
        the rebuild can continue.
        """

    def stopped(self, projection: str, error: str | None) -> None:
        """Record that the projection has stopped at an error, or continues again."""

    def why_stopped(self, projection: str) -> str | None:
        """The error that the projection has stopped at."""


class Comparison(NamedTuple):
    """Counts cells: the ones that were compared, the ones that were missing or wrong, and the ones that nothing in the
    log has written."""

    cells: int = 0
    missing: int = 0
    wrong: int = 0
    unexplained: int = 0

    def plus(self, other: "Comparison") -> "Comparison":
        return Comparison(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Comparing(Protocol):
    """Compares a projection's tables with the log while both are in use. Cells that were written after it began are not
    judged. Raises ReadStoreUnavailable, also if other tables replace these meanwhile."""

    def compare(self, partition: Partition, through: int, writes: Sequence[Write]) -> Comparison:
        """Compare the writes of a partition's next events, up to offset ``through`` (excluded), with the tables."""

    def rest(self) -> Iterator[Comparison]:
        """Call at the end: count what the tables hold beside all that, part by part."""


class Stop(NamedTuple):
    """The event before which a partition of a projection has stopped, and why."""

    at: Position
    why: str


class Reached(NamedTuple):
    """How far a projection has been applied in a partition.

    ``quiet_since``: from this offset up to ``position`` the log holds nothing that the other projections write. So one
    that has been applied up to this offset shows all that this one does.
    """

    position: Position
    quiet_since: Mapping[str, int] = MappingProxyType({})


class Moves(NamedTuple):
    """The positions to which the tables of a projection have moved in some partitions. ``generation``: of the
    tables; positions in one only rise."""

    projection: str
    generation: int
    reached: Mapping[Partition, Reached]


def shown_by(name: str, reached: Mapping[str, Reached]) -> Position:
    """How far a projection shows a partition, according to what all of them have recorded there."""
    own = shown = reached[name].position
    for each in reached.values():
        since = each.quiet_since.get(name)
        if since is not None and since <= own.offset and each.position > shown:
            shown = each.position
    return shown


class ConsumedTables(FilledTables, Protocol):
    """Tables that several consumers keep up to date: each some of the partitions, and each partition by itself. So are
    the works of sinks."""

    def apply(
        self,
        projection: str,
        expected: Cursor,
        after: Cursor,
        writes: Sequence[Write],
        quiet_since: Mapping[Partition, Mapping[str, int]] = MappingProxyType({}),
    ) -> None:
        """Like ProjectionTables.apply. ``quiet_since`` (see Reached) is recorded with the position."""

    def stop(self, projection: str, partition: Partition, stop: Stop) -> None:
        """Record that the partition has stopped before an event."""

    def go_on(self, projection: str, partition: Partition) -> None:
        """Record that the partition continues."""

    def stops(self, projection: str) -> dict[Partition, Stop]:
        """The partitions that have stopped."""

    def skip(self, projection: str, skip: Skip) -> None:
        """Record that an event is to be passed over, now and in every rebuild."""

    def skips(self, projection: str) -> list[Skip]:
        """All events that are to be passed over."""

    def went_back(self, why: str | None) -> None:
        """Record that the log has lost events that these tables show. None: they were rebuilt since. A sink throws its
        work away instead, and stands at the log's start."""

    def why_went_back(self) -> str | None:
        """While this is recorded nothing may be applied, even if the log has grown over the place."""


class ConsumerTables(ConsumedTables, ProjectionTables, Protocol):
    """The tables of a cluster's projections."""

    def comparing(self, projection: str, ends: Cursor, *, repair: bool) -> Comparing:
        """``ends``: the projection's positions in all partitions. ``repair``: write what is missing or wrong."""
