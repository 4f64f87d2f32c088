"""Which rooms get the most commands: the question behind a shard that is busy. Metrics cannot tell, since they bear no
room; whoever looks at the shards is told."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from falcon.domain.ids import Partition
from falcon.write.protocol import CommandEnvelope

_SECONDS: Final = 10.0
_SHOWN: Final = 3


class BusyRooms:
    """Of one shard; over the last ten to twenty seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since = monotonic()
        self._counts: Counter[tuple[Partition, int]] = Counter()
        self._before: Counter[tuple[Partition, int]] = Counter()

    def count(self, envelope: CommandEnvelope) -> None:
        room_id = getattr(envelope.command, "room_id", None)
        if room_id is not None:
            self._counts[envelope.partition, room_id] += 1

    def turn(self) -> None:
        """Called often."""
        now = self._monotonic()
        if now - self._since >= _SECONDS:
            self._since = now
            self._before, self._counts = self._counts, Counter()

    def busiest(self) -> dict[Partition, tuple[float, str]]:
        """By partition: commands a second, and its busiest rooms with theirs. It may be asked from elsewhere."""
        seconds = max(1.0, self._monotonic() - self._since + (_SECONDS if self._before else 0.0))
        rates: Counter[Partition] = Counter()
        rooms: dict[Partition, list[str]] = {}
        for (partition, room_id), count in (self._counts.copy() + self._before.copy()).most_common():
            rates[partition] += count
            shown = rooms.setdefault(partition, [])
            if len(shown) < _SHOWN:
                shown.append(f"room {room_id}: {count / seconds:.1f}/s")
        return {partition: (rates[partition] / seconds, ", ".join(shown)) for partition, shown in rooms.items()}
