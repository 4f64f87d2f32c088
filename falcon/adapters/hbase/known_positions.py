"""How far the read tables show the log, as far as a process knows it without a look at them."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias

from falcon.adapters.hbase.meta import Generations
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.read.store import Fill, Moves, Reached, shown_by

Live: TypeAlias = Mapping[str, Generations]  # the generations of each projection's tables
_NOTHING: Final = Reached(Position())


def _never() -> bool:
    return False


class KnownPositions:
    """Learns positions from looks at the tables and from what projectors tell. For one thread.

    A position of a generation only rises, so the highest one that was heard is one that the tables have reached,
    however late it is heard. The tables may have gone further.
    """

    def __init__(self) -> None:
        self.are_told: Callable[[], bool] = _never  # True while projectors are heard
        self.highest: defaultdict[Partition, int] = defaultdict(int)  # of any tables, ever
        self._reached: defaultdict[tuple[str, int], dict[Partition, Reached]] = defaultdict(dict)

    def learn(self, moves: Moves) -> None:
        known = self._reached[moves.projection, moves.generation]
        for partition, reached in moves.reached.items():
            self.highest[partition] = max(self.highest[partition], reached.position.offset)
            if partition not in known or reached.position.offset >= known[partition].position.offset:
                known[partition] = reached

    def forget(self, partitions: Collection[Partition] | None = None) -> None:
        """None: all of them."""
        if partitions is None:
            self._reached.clear()
            return
        for known in self._reached.values():
            for partition in partitions:
                known.pop(partition, None)

    def drop_before(self, live: Live) -> None:
        """Forget the positions of tables that have been replaced."""
        gone = [each for each in self._reached if each[0] in live and each[1] < live[each[0]].live]
        for each in gone:
            del self._reached[each]

    def are_of_newer_tables(self, moves: Moves, live: Live) -> bool:
        return moves.projection in live and moves.generation > live[moves.projection].live

    def know(self, live: Live, partitions: Collection[Partition]) -> bool:
        """True if all positions are known that decide what the live tables show."""
        return all(
            partition in self._reached[name, generations.live]
            for name, generations in live.items()
            for partition in partitions
        )

    def shown(
        self, live: Live, partitions: Collection[Partition], projections: Collection[str] | None = None
    ) -> dict[Partition, Position]:
        """The least of the positions that these projections show; None for the ones that have been filled."""
        if projections is None:
            projections = [name for name, generations in live.items() if generations.fill is not Fill.FILLING]
        shown: dict[Partition, Position] = {}
        for partition in partitions:
            reached = {
                name: self._reached[name, generations.live].get(partition, _NOTHING)
                for name, generations in live.items()
            }
            each = (shown_by(name, reached) for name in projections if name in reached)
            shown[partition] = min(each, default=Position())
        return shown
