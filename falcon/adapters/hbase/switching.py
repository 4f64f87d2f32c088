"""Rebuilds: tables of a new generation are made beside the live ones, and then take their place.

A switch-over *closes* the live tables' applied positions, one by one, under its name: from then on no projector can
move them. When the new tables have reached the closed positions, one write makes them live. That write succeeds only if
the switch-over is still under way. To call off a switch-over, because it failed or has made no progress for long, take
its name away first, and then open the positions again. A switch-over that wakes up later finds its name gone.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from falcon.adapters.hbase.client import HBase
from falcon.adapters.hbase.connection import TableMissing
from falcon.adapters.hbase.meta import Applied, Generations, Meta, applied_key
from falcon.adapters.hbase.schema import TableSpec, table_names, table_specs
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.read.store import Fill, ReadStoreUnavailable

log = logging.getLogger("falcon.hbase")

Create: TypeAlias = Callable[[Sequence[TableSpec]], None]


class Switching:
    """Generations of the tables under a prefix, for the process that builds them.

    ``seconds``: for reading and writing. ``admin_seconds``: for creating and dropping tables. ``switch_seconds``: a
    switch-over without progress for so long is dead. ``grace_seconds``: the old tables stay for so long after it, until
    readers have heard of the new ones.
    """

    def __init__(
        self,
        hbase: HBase,
        create: Create,
        prefix: str,
        partitions: int,
        regions: Mapping[str, int],
        *,
        seconds: float,
        admin_seconds: float,
        switch_seconds: float,
        grace_seconds: float,
    ) -> None:
        self._hbase = hbase
        self._create = create
        self._prefix = prefix
        self._partitions = partitions
        self._regions = regions
        self._seconds = seconds
        self._admin_seconds = admin_seconds
        self._switch_seconds = switch_seconds
        self._grace_seconds = grace_seconds
        self._closing_seen: dict[str, tuple[str, float]] = {}

    def generations(self, projection: str) -> Generations:
        """Raises ReadStoreUnavailable, also if the tables were never prepared."""
        try:
            generations = self._meta().generations(projection)
        except TableMissing:
            generations = None
        if generations is None:
            raise ReadStoreUnavailable(f"there are no tables {self._prefix}_* of {projection}: prepare them first")
        return generations

    def begin(self, projection: str) -> int:
        """A new generation with empty tables. One that was being built is dropped."""
        before = self.generations(projection)
        begun = Generations(
            live=before.live,
            last=before.last + 1,
            rebuilding=before.last + 1,
            dropping=before.dropping + ((before.rebuilding,) if before.rebuilding else ()),
            fill=before.fill,
        )
        if not self._meta().swap_generations(projection, before, begun):
            raise ReadStoreUnavailable(f"another rebuild of {projection} has just begun")
        self._drop_old(projection)
        self._create(table_specs(self._prefix, projection, begun.rebuilding, self._regions))
        return begun.rebuilding

    def start_over(self, projection: str, fill: Fill = Fill.SHOWN) -> None:
        """Make empty tables of a new generation live at once."""
        generation = self.begin(projection)
        before = self.generations(projection)
        after = Generations(live=generation, last=before.last, dropping=(*before.dropping, before.live), fill=fill)
        if before.rebuilding != generation or not self._meta().swap_generations(projection, before, after):
            raise ReadStoreUnavailable(f"another rebuild of {projection} has just begun")
        self._drop_old(projection)

    def finish(self, projection: str, generation: int, catch_up: Callable[[], bool]) -> bool:
        """Make ``generation`` live, once ``catch_up`` has brought it to where the live one stands.

        Returns False if ``catch_up`` does. After that, and after any failure, the live tables are as they were, and
        open.
        """
        name = secrets.token_hex(4)
        live = self._claim(projection, generation, name)
        try:
            closed = self._close(projection, live, name)
            if not catch_up():
                self._call_off(projection, name)
                return False
            self._check(projection, generation, closed)
            self._switch(projection, generation, name)
        except BaseException:
            self._call_off_quietly(projection, name)
            raise
        time.sleep(self._grace_seconds)
        self._drop_old(projection)
        return True

    def wait_or_reopen(self, projection: str, generation: int, closed: Mapping[Partition, Applied]) -> None:
        """Deal with closed positions of the generation that was live when they were read.

        Raises ReadStoreUnavailable while a switch-over is under way. Otherwise the positions are open when it returns,
        or another generation is live: look again.
        """
        generations = self.generations(projection)
        if generations.live != generation:
            return
        if generations.closing and not self._has_died(projection, generations.closing):
            raise ReadStoreUnavailable(f"{projection} is being switched over to rebuilt tables")
        if generations.closing:
            log.warning("the switch-over of %s has stood still for long and is called off", projection)
            self._call_off(projection, generations.closing)
            return
        self._reopen(projection, generation, closed)

    def move_fill(self, projection: str, fill: Fill) -> None:
        """Raises ReadStoreUnavailable."""
        before = self.generations(projection)
        while fill < before.fill:
            if self._meta().swap_generations(projection, before, msgspec.structs.replace(before, fill=fill)):
                return
            before = self.generations(projection)

    # --- steps of a switch-over ---------------------------------------------------------------------------------------

    def _claim(self, projection: str, generation: int, name: str) -> int:
        before = self.generations(projection)
        claimed = msgspec.structs.replace(before, closing=name)
        if before.rebuilding != generation or not self._meta().swap_generations(projection, before, claimed):
            raise ReadStoreUnavailable(f"the rebuild of {projection} was taken away by another one")
        return before.live

    def _close(self, projection: str, live: int, name: str) -> dict[Partition, Position]:
        """Close each partition. Returns the positions."""
        meta = self._meta()
        open_positions = meta.applied(projection, live, self._partitions)
        closed: dict[Partition, Position] = {}
        while open_positions:
            for partition, applied in open_positions.items():
                key = applied_key(projection, live, partition)
                if meta.move(key, applied, Applied(applied.position, name)):
                    closed[partition] = applied.position
            moved_meanwhile = open_positions.keys() - closed.keys()
            if not moved_meanwhile:
                return closed
            now = meta.applied(projection, live, self._partitions)
            open_positions = {partition: now[partition] for partition in moved_meanwhile}
        return closed

    def _check(self, projection: str, generation: int, closed: Mapping[Partition, Position]) -> None:
        built = self._meta().applied(projection, generation, self._partitions)
        unread = [p for p, position in closed.items() if built[p].position.offset < position.offset]
        if unread:
            raise ReadStoreUnavailable(f"the rebuilt tables of {projection} are behind in partitions {unread}")

    def _switch(self, projection: str, generation: int, name: str) -> None:
        before = self.generations(projection)
        fill = min(before.fill, Fill.COUNTED)  # readers may not know yet that it has been filled
        after = Generations(live=generation, last=before.last, dropping=(*before.dropping, before.live), fill=fill)
        ours = before.closing == name and before.rebuilding == generation
        if not ours or not self._meta().swap_generations(projection, before, after):
            raise ReadStoreUnavailable(f"the switch-over of {projection} was called off by another process")

    def _call_off_quietly(self, projection: str, name: str) -> None:
        try:
            self._call_off(projection, name)
        except ReadStoreUnavailable as error:  # a projector will open it after a while
            log.warning("the switch-over of %s could not be called off: %s", projection, error)

    def _call_off(self, projection: str, name: str) -> None:
        before = self.generations(projection)
        if before.closing != name:
            return
        if self._meta().swap_generations(projection, before, msgspec.structs.replace(before, closing="")):
            applied = self._meta().applied(projection, before.live, self._partitions)
            self._reopen(projection, before.live, {p: a for p, a in applied.items() if a.closed_by == name})

    def _reopen(self, projection: str, live: int, closed: Mapping[Partition, Applied]) -> None:
        """Open the positions that this switch-over has closed. The ones that another one has closed meanwhile stay as
        they are."""
        meta = self._meta()
        for partition, applied in closed.items():
            meta.move(applied_key(projection, live, partition), applied, Applied(applied.position))

    def _has_died(self, projection: str, name: str) -> bool:
        now = time.monotonic()
        seen, since = self._closing_seen.get(projection, ("", now))
        if seen != name:
            self._closing_seen[projection] = (name, since := now)
        return now - since >= self._switch_seconds

    def _drop_old(self, projection: str) -> None:
        """Best effort: the next rebuild drops what stays."""
        before = self.generations(projection)
        try:
            calls = self._hbase.within(self._admin_seconds)
            for generation in before.dropping:
                for table in table_names(self._prefix, projection, generation):
                    calls.drop(table)
            self._meta().swap_generations(projection, before, msgspec.structs.replace(before, dropping=()))
        except ReadStoreUnavailable as error:
            log.warning("old tables of %s stay for now: %s", projection, error)

    def _meta(self) -> Meta:
        return Meta(self._hbase.within(self._seconds), self._prefix)
