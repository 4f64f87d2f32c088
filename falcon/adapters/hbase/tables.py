"""Writes the read tables."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from types import MappingProxyType
from typing import Final

import msgspec

from falcon.adapters.hbase.cells import by_partition, fold
from falcon.adapters.hbase.client import HBase
from falcon.adapters.hbase.comparing import HBaseComparing
from falcon.adapters.hbase.connection import TableMissing
from falcon.adapters.hbase.meta import (
    Applied,
    Meta,
    applied_key,
    applied_of,
    encode_skip,
    encode_stop,
    recipe_key,
    skip_key,
    skip_of,
    skips_key,
    stop_key,
    stop_of,
    stopped_key,
    went_back_key,
)
from falcon.adapters.hbase.schema import table_name
from falcon.adapters.hbase.switching import Create, Switching
from falcon.domain.ids import Partition
from falcon.journal.envelope import Cursor, Position
from falcon.read.catalogue import READ_MODELS
from falcon.read.store import (
    WITHOUT_SKIPS,
    Fill,
    Moves,
    Reached,
    ReadStoreUnavailable,
    Recipe,
    Skip,
    StaleProjector,
    Stop,
    UnfinishedRebuild,
)
from falcon.read.write import Write
from falcon.telemetry.dispatchers import Dispatcher

_LOOKS: Final = 3  # between two looks the live tables may have been replaced, which happens once in a rebuild
_ATTEMPT_SECONDS: Final = 5.0  # a gateway that has hung by then is given up for the next one
# After our own move nothing but another projector can have moved the position, and a wrong skip is harmless.
_TRUSTED_SECONDS: Final = 1.0


class HBaseTables:
    """ProjectionTables for a log that is read by partition; for any thread.

    A batch's cells are stamped with the offset after the batch, each with its last value. Only then is the partition's
    position moved, by compare and set. Another process may write the same earlier or later, in other batches, without
    harm: only one of them moves the position.

    ``moved`` is called, from any thread, with the positions of live tables that a batch has moved, once they are
    durable.
    ``seconds``: the most that an operation may take. ``threads``: partitions that are written at once, on the
    ``dispatcher`` of that name.
    """

    def __init__(
        self,
        hbase: HBase,
        prefix: str,
        partitions: int,
        create: Create,
        threads: int = 4,
        *,
        regions: Mapping[str, int] = MappingProxyType({}),
        seconds: float = 20.0,
        admin_seconds: float = 180.0,
        switch_seconds: float = 15.0,
        grace_seconds: float = 5.0,
        dispatcher: str = "hbase-writes",
        moved: Callable[[Moves], None] = lambda moves: None,
    ) -> None:
        self._hbase = hbase
        self._prefix = prefix
        self._partitions = partitions
        self._seconds = seconds
        self._switching = Switching(
            hbase,
            create,
            prefix,
            partitions,
            regions,
            seconds=seconds,
            admin_seconds=admin_seconds,
            switch_seconds=switch_seconds,
            grace_seconds=grace_seconds,
        )
        self._threads = Dispatcher(dispatcher, threads=threads, queue=partitions)
        self._known: dict[str, int] = {}
        self._begun: dict[str, int] = {}
        self._fills: dict[str, Fill] = {}
        self._moved: dict[tuple[str, int, Partition], tuple[Applied, float]] = {}
        self._tell = moved

    def close(self) -> None:
        self._threads.shutdown()

    # --- ProjectionTables ---------------------------------------------------------------------------------------------

    def cursor(self, projection: str) -> Cursor:
        for _ in range(_LOOKS):
            generation = self._generation(projection)
            self._known[projection] = generation
            applied = self._meta().applied(_base(projection), generation, self._partitions)
            closed = {partition: each for partition, each in applied.items() if each.closed_by}
            if not closed:
                return {partition: each.position for partition, each in applied.items()}
            self._switching.wait_or_reopen(_base(projection), generation, closed)
        raise ReadStoreUnavailable(f"{projection} is being switched over again and again")

    def apply(
        self,
        projection: str,
        expected: Cursor,
        after: Cursor,
        writes: Sequence[Write],
        quiet_since: Mapping[Partition, Mapping[str, int]] = MappingProxyType({}),
    ) -> None:
        model = READ_MODELS[_base(projection)].hbase
        grouped = by_partition(model, writes, self._partitions)
        if strangers := grouped.keys() - after.keys():
            raise ValueError(f"writes of partitions {sorted(strangers)}, which the cursor does not stand in")
        generation = self._known.get(projection)
        if generation is None:
            generation = self._known[projection] = self._generation(projection)
        moving = [p for p, position in after.items() if p in grouped or position != expected[p]]
        reached: dict[Partition, Reached] = {}
        try:
            recorded = self._check(projection, generation, {partition: expected[partition] for partition in moving})
            moved = {p: Applied(after[p], quiet_since=tuple(quiet_since.get(p, {}).items())) for p in moving}

            def move(partition: Partition) -> None:
                of_it = grouped.get(partition, ())
                self._apply(projection, generation, partition, recorded[partition], moved[partition], of_it)
                reached[partition] = moved[partition].reached

            _each(self._threads, move, moving)
        except StaleProjector:
            self._known.pop(projection, None)
            raise
        except TableMissing as error:
            self._known.pop(projection, None)
            if self._generation(projection) == generation:
                raise ReadStoreUnavailable(f"a table of {projection} is missing: rebuild the read model") from error
            raise StaleProjector(f"the tables of {projection} have been replaced by rebuilt ones") from error
        finally:
            if reached and projection == _base(projection):  # otherwise no query reads the tables yet
                self._tell(Moves(projection, generation, reached))

    def begin_rebuild(self, projection: str, recipe: Recipe = WITHOUT_SKIPS) -> str:
        generation = self._switching.begin(projection)
        # Only now: a generation with a recipe has all of its tables.
        self._meta().say(recipe_key(projection, generation), msgspec.json.encode(recipe))
        self._begun[projection] = generation
        return f"{projection}@{generation}"

    def unfinished_rebuild(self, projection: str) -> UnfinishedRebuild | None:
        generation = self._switching.generations(projection).rebuilding
        if not generation:
            return None
        recipe = self._meta().said(recipe_key(projection, generation))
        if recipe is None:
            return None
        return UnfinishedRebuild(f"{projection}@{generation}", msgspec.json.decode(recipe, type=Recipe))

    def resume_rebuild(self, projection: str, shadow: str, recipe: Recipe) -> None:
        generation = self._generation(shadow)
        self._meta().say(recipe_key(projection, generation), msgspec.json.encode(recipe))
        self._begun[projection] = generation

    def finish_rebuild(self, projection: str, catch_up: Callable[[], bool]) -> bool:
        if projection not in self._begun:
            raise ReadStoreUnavailable(f"no rebuild of {projection} was begun here")
        if not self._switching.finish(projection, self._begun[projection], catch_up):
            return False
        del self._begun[projection]
        self._known.pop(projection, None)
        return True

    def stopped(self, projection: str, error: str | None) -> None:
        key = stopped_key(_base(projection), self._generation(projection))
        self._meta().say(key, None if error is None else error.encode())

    def why_stopped(self, projection: str) -> str | None:
        said = self._meta().said(stopped_key(_base(projection), self._generation(projection)))
        return None if said is None else said.decode()

    def fill(self, projection: str) -> Fill:
        """Looked up until it is complete."""
        if self._fills.get(projection) is not Fill.SHOWN:
            self._generation(projection)
        return self._fills[projection]

    def move_fill(self, projection: str, fill: Fill) -> None:
        self._switching.move_fill(projection, fill)

    # --- one partition at a time --------------------------------------------------------------------------------------

    def stop(self, projection: str, partition: Partition, stop: Stop) -> None:
        """Record that the partition has stopped before an event."""
        key = stop_key(_base(projection), self._generation(projection), partition)
        self._meta().say(key, encode_stop(stop))

    def go_on(self, projection: str, partition: Partition) -> None:
        """Record that the partition continues."""
        self._meta().say(stop_key(_base(projection), self._generation(projection), partition), None)

    def stops(self, projection: str) -> dict[Partition, Stop]:
        """The partitions that have stopped."""
        found = self._meta().below(stop_key(_base(projection), self._generation(projection), ""))
        return {int(partition): stop_of(value) for partition, value in found.items()}

    def skip(self, projection: str, skip: Skip) -> None:
        """Record that an event is passed over, now and in rebuilds."""
        self._meta().say(skip_key(_base(projection), skip.partition, skip.at.offset), encode_skip(skip))

    def skips(self, projection: str) -> list[Skip]:
        """All events that are passed over."""
        found = self._meta().below(skips_key(_base(projection)))
        places = {rest: rest.split(b"/") for rest in found}
        return [skip_of(int(p), int(offset), found[rest]) for rest, (p, offset) in places.items()]

    def went_back(self, why: str | None) -> None:
        self._meta().say(went_back_key(), None if why is None else why.encode())

    def why_went_back(self) -> str | None:
        said = self._meta().said(went_back_key())
        return None if said is None else said.decode()

    def comparing(self, projection: str, ends: Cursor, *, repair: bool) -> HBaseComparing:
        return HBaseComparing(
            self._hbase,
            self._prefix,
            projection,
            self._generation(projection),
            ends,
            repair=repair,
            seconds=self._seconds,
        )

    def _check(self, projection: str, generation: int, expected: Cursor) -> dict[Partition, Applied]:
        """Turn away a projector that has been overtaken before it writes anything. Returns the recorded state.

        Skip the check for one second after our own successful move. A wrong skip is harmless: the cells are stamped,
        and the position is moved by compare and set.
        """
        now = time.monotonic()
        recorded: dict[Partition, Applied] = {}
        keys: dict[bytes, Partition] = {}
        for partition, position in expected.items():
            moved, at = self._moved.get((projection, generation, partition), (Applied(), now))
            if moved.position == position and 0 < now - at <= _TRUSTED_SECONDS:
                recorded[partition] = moved
            else:
                keys[applied_key(_base(projection), generation, partition)] = partition
        found = self._meta().get_all(keys)
        for key, partition in keys.items():
            applied = recorded[partition] = applied_of(found.get(key))
            if applied.closed_by or applied.position != expected[partition]:
                raise _stale(projection, partition, expected[partition])
        return recorded

    def _apply(
        self,
        projection: str,
        generation: int,
        partition: Partition,
        expected: Applied,
        after: Applied,
        writes: Sequence[Write],
    ) -> None:
        calls = self._hbase.within(self._seconds, _ATTEMPT_SECONDS)
        for table, cells in fold(READ_MODELS[_base(projection)].hbase, writes):
            calls.put(table_name(self._prefix, table, generation), cells, after.position.offset)
        key = applied_key(_base(projection), generation, partition)
        if not Meta(calls, self._prefix).move(key, expected, after):
            raise _stale(projection, partition, expected.position)
        self._moved[projection, generation, partition] = after, time.monotonic()

    def _generation(self, projection: str) -> int:
        """Raises ReadStoreUnavailable for a rebuild that another process has taken away."""
        base, _, generation = projection.partition("@")
        generations = self._switching.generations(base)
        self._fills[base] = generations.fill
        if not generation:
            return generations.live
        if int(generation) not in (generations.live, generations.rebuilding):
            raise ReadStoreUnavailable(f"the rebuild of {base} was taken away by another one")
        return int(generation)

    def _meta(self) -> Meta:
        return Meta(self._hbase.within(self._seconds, _ATTEMPT_SECONDS), self._prefix)


def _stale(projection: str, partition: Partition, expected: Position) -> StaleProjector:
    return StaleProjector(f"{projection} does not stand at {expected.offset} in partition {partition} any more")


def _base(projection: str) -> str:
    """The projection that a rebuild's name belongs to."""
    return projection.partition("@")[0]


def _each(threads: Dispatcher, do: Callable[[Partition], None], partitions: Sequence[Partition]) -> None:
    """Run all of them, even if one fails. Then raise the first fault."""
    if len(partitions) == 1:
        do(partitions[0])
        return
    done = [threads.submit(do, partition) for partition in partitions]
    wait(done)
    for each in done:
        each.result()
