"""Finds the rooms that get the most commands: the first question about a busy shard. No metric says it, since none has
a room as its label, so the operators' page of shards does."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from falcon.domain.ids import Partition
from falcon.write.protocol import CommandBatch

_SECONDS: Final = 10.0  # of a rate: long enough to be steady, and short enough to show a burst
_SHOWN: Final = 3  # the operator's page has a line for it


class BusyRooms:
    """Estimates for one shard, over the last ten to twenty seconds.

    One command of each batch stands for all of its batch, so that counting costs no command anything. Each place of a
    batch has its turn: a room with half of the commands gets half of the count.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since = monotonic()
        self._counts: Counter[tuple[Partition, int]] = Counter()
        self._before: Counter[tuple[Partition, int]] = Counter()

    def sample(self, batch: CommandBatch) -> None:
        commands = batch.commands
        envelope = commands[batch.number % len(commands)]
        room_id = getattr(envelope.command, "room_id", None)
        if room_id is not None:
            self._counts[envelope.partition, room_id] += len(commands)

    def turn(self) -> None:
        """Call it at each tick: it begins a new period when the last one is over."""
        now = self._monotonic()
        if now - self._since >= _SECONDS:
            self._since = now
            self._before, self._counts = self._counts, Counter()

    def busiest(self) -> dict[Partition, tuple[float, str]]:
        """Rates by partition: commands a second, and its busiest rooms with theirs. Another thread may ask."""
        seconds = max(1.0, self._monotonic() - self._since + (_SECONDS if self._before else 0.0))
        rates: Counter[Partition] = Counter()
        rooms: dict[Partition, list[str]] = {}
        for (partition, room_id), count in (self._counts.copy() + self._before.copy()).most_common():
            rates[partition] += count
            shown = rooms.setdefault(partition, [])
            if len(shown) < _SHOWN:
                shown.append(f"room {room_id}: {count / seconds:.1f}/s")
        return {partition: (rates[partition] / seconds, ", ".join(shown)) for partition, shown in rooms.items()}
