"""The index as a sink of the log. Its positions and notes lie in the index itself, so that an index that was lost or
deleted is filled again without an order."""

import time
from collections.abc import Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

import msgspec

from falcon.adapters.opensearch.client import NoIndex
from falcon.adapters.opensearch.index import OpenSearchIndex
from falcon.domain.ids import Partition
from falcon.journal.envelope import Cursor, Position
from falcon.read.store import Fill, Skip, StaleProjector, Stop
from falcon.read.write import Write

T = TypeVar("T")

_LOOK_SECONDS: Final = 2.0  # one small call; a search waits for an index that was deleted anyway

_stops: Final = msgspec.json.Decoder(Stop)
_skips: Final = msgspec.json.Decoder(Skip)


class CallInLoop(Protocol):
    """Runs a coroutine in the event loop of the index, and waits for it."""

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T: ...


class OpenSearchSink:
    """``SinkTables``, for callers without an event loop. Every method may raise ReadStoreUnavailable."""

    def __init__(self, index: OpenSearchIndex, call: CallInLoop, partitions: int) -> None:
        self._index = index
        self._call = call
        self._partitions = partitions
        self._look_at = 0.0

    def is_there(self) -> bool:
        """False if the index was deleted. Its consumer must then begin with the cursor of another one."""
        if time.monotonic() < self._look_at:
            return True
        self._look_at = time.monotonic() + _LOOK_SECONDS
        return self._call(self._index.is_there())

    def cursor(self, projection: str) -> Cursor:
        """The positions in the index, which is made if it is not there."""
        self._call(self._index.prepare())
        self._call(self._index.refresh())
        found = self._call(self._index.positions())
        return {partition: found.get(partition, Position()) for partition in range(self._partitions)}

    def apply(
        self,
        projection: str,
        expected: Cursor,
        after: Cursor,
        writes: Sequence[Write],
        quiet_since: Mapping[Partition, Mapping[str, int]] = MappingProxyType({}),
    ) -> None:
        """Write to the index of the last ``cursor``, or raise StaleProjector. Writes have versions and positions only
        rise, so ``expected`` need not be compared."""
        try:
            self._call(self._index.write(writes))
            self._call(self._index.move(after))
        except NoIndex as error:  # begin again with an empty one
            raise StaleProjector(f"the index of search is gone: {error}") from error

    # --- stops and skips ----------------------------------------------------------------------------------------------

    def stop(self, projection: str, partition: Partition, stop: Stop) -> None:
        self._call(self._index.note("stop", str(partition), stop))

    def go_on(self, projection: str, partition: Partition) -> None:
        self._call(self._index.note("stop", str(partition), None))

    def stops(self, projection: str) -> dict[Partition, Stop]:
        return {int(name): _stops.decode(note) for name, note in self._notes("stop").items()}

    def skip(self, projection: str, skip: Skip) -> None:
        self._call(self._index.note("skip", f"{skip.partition}.{skip.at.offset}", skip))

    def skips(self, projection: str) -> list[Skip]:
        return [_skips.decode(note) for note in self._notes("skip").values()]

    def _notes(self, kind: str) -> dict[str, bytes]:
        self._call(self._index.prepare())
        self._call(self._index.refresh())
        return self._call(self._index.notes(kind))

    # --- the whole index ----------------------------------------------------------------------------------------------

    def fill(self, projection: str) -> Fill:
        return Fill.SHOWN if self._call(self._index.is_shown()) else Fill.FILLING

    def move_fill(self, projection: str, fill: Fill) -> None:
        """No read waits for an index that it does not ask, so nothing lies between filled and shown."""
        if fill is not Fill.FILLING:
            self._call(self._index.show())

    def went_back(self, why: str | None) -> None:
        """Throw the index away: what it finds may be of a history that is lost."""
        self._call(self._index.throw_away())

    def why_went_back(self) -> str | None:
        return None
