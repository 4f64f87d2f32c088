"""The table about the other tables: which log they show, which generation is live, and how far each has been applied.

Its cells are changed by ``checkAndPut`` only, which stamps them by the server's clock and never backwards. They are
never stamped with offsets, unlike the cells of other tables.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from falcon.adapters.hbase.client import HBaseClient
from falcon.adapters.hbase.schema import meta_name
from falcon.domain.ids import Partition
from falcon.journal.envelope import Position
from falcon.read.store import Fill, Reached, Skip, Stop

VALUE: Final = b"d:v"
_NOTHING: Final = b"-"  # the value of a cell that holds nothing any more
_SCAN_ROWS: Final = 100_000  # all: there is a row for each partition of each table at most
_ROWS: Final = 20_000  # read with one call: a position has some 30 bytes


class Log(msgspec.Struct, frozen=True):
    """The log that the tables are made from. ``format``: of the tables' layout."""

    instance: str
    partitions: int
    format: int


class Generations(msgspec.Struct, frozen=True, omit_defaults=True):
    """The generations of a projection's tables.

    ``last``: the highest generation so far. ``rebuilding``: the one that is being built, 0 for none. ``closing``: the
    name of a switch-over under way. ``dropping``: generations whose tables are to be dropped, or have half gone.
    ``fill``: how far the live one has been filled.
    """

    live: int
    last: int
    rebuilding: int = 0
    closing: str = ""
    dropping: tuple[int, ...] = ()
    fill: Fill = Fill.SHOWN


class Applied(NamedTuple):
    """How far a partition has been applied. ``closed_by``: the switch-over that has closed it: its position cannot move
    any more.

    ``quiet_since``: see Reached. A closed one has none: its position does not move any more.
    """

    position: Position = Position()
    closed_by: str = ""
    quiet_since: tuple[tuple[str, int], ...] = ()

    @property
    def reached(self) -> Reached:
        return Reached(self.position, dict(self.quiet_since))

    def encode(self) -> bytes:
        quiet = ",".join(f"{name}:{offset}" for name, offset in self.quiet_since)
        words = (*map(str, self.position), self.closed_by, quiet)
        return " ".join(filter(None, words)).encode()


def applied_of(value: bytes | None) -> Applied:
    """The inverse of ``Applied.encode``. Nothing stands for the beginning."""
    if value is None:
        return Applied()
    offset, epoch, n, *rest = value.decode().split()
    position = Position(int(offset), int(epoch), int(n))
    if not rest or ":" not in rest[0]:
        return Applied(position, "".join(rest))
    pairs = (each.split(":") for each in rest[0].split(","))
    return Applied(position, quiet_since=tuple((name, int(since)) for name, since in pairs))


def log_key() -> bytes:
    return b"log"


def went_back_key() -> bytes:
    """Row of the note that the log has lost events that the tables show."""
    return b"went-back"


def generations_key(projection: str) -> bytes:
    return f"projection/{projection}".encode()


def applied_key(projection: str, generation: int, partition: Partition) -> bytes:
    return f"applied/{projection}/{generation}/{partition}".encode()


def recipe_key(projection: str, generation: int) -> bytes:
    """Row of the recipe of a rebuild. It exists once the generation has all of its tables."""
    return f"recipe/{projection}/{generation}".encode()


def stopped_key(projection: str, generation: int) -> bytes:
    """Row of a stop. Each generation has its own, since a rebuild gets past a stop."""
    return f"stopped/{projection}/{generation}".encode()


def stop_key(projection: str, generation: int, partition: Partition | str) -> bytes:
    return f"stop/{projection}/{generation}/{partition}".encode()


def skips_key(projection: str) -> bytes:
    """The prefix of the keys of a projection's skips."""
    return f"skip/{projection}/".encode()


def skip_key(projection: str, partition: Partition, offset: int) -> bytes:
    """Row of a skip. All generations share it, since a rebuild passes over the same events. The log's next history does
    not."""
    return b"%b%d/%d" % (skips_key(projection), partition, offset)


class _StopValue(NamedTuple):
    offset: int
    why: str
    epoch: int
    n: int


def encode_stop(stop: Stop) -> bytes:
    return msgspec.json.encode(_StopValue(stop.at.offset, stop.why, stop.at.epoch, stop.at.n))


def stop_of(value: bytes) -> Stop:
    """The inverse of ``encode_stop``."""
    offset, why, epoch, n = msgspec.json.decode(value, type=_StopValue)
    return Stop(Position(offset, epoch, n), why)


class _SkipValue(msgspec.Struct, frozen=True):
    epoch: int
    n: int
    reason: str


def encode_skip(skip: Skip) -> bytes:
    return msgspec.json.encode(_SkipValue(skip.at.epoch, skip.at.n, skip.reason))


def skip_of(partition: Partition, offset: int, value: bytes) -> Skip:
    """The inverse of ``encode_skip``."""
    kept = msgspec.json.decode(value, type=_SkipValue)
    return Skip(partition, Position(offset, kept.epoch, kept.n), kept.reason)


class Meta:
    """The table, accessed through the client of one operation."""

    def __init__(self, calls: HBaseClient, prefix: str) -> None:
        self._calls = calls
        self._table = meta_name(prefix)

    def get(self, key: bytes) -> bytes | None:
        return self._calls.row(self._table, key).get(VALUE)

    def get_all(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        return {key: row[VALUE] for key, row in self._calls.rows(self._table, keys, at_once=_ROWS).items()}

    def below(self, prefix: bytes) -> dict[bytes, bytes]:
        """All values whose keys begin so, by the rest of the key."""
        rows = self._calls.scan(self._table, prefix, prefix + b"\xff", _SCAN_ROWS)
        return {key[len(prefix) :]: row[VALUE] for key, row in rows if row[VALUE] != _NOTHING}

    def swap(self, key: bytes, expected: bytes | None, value: bytes) -> bool:
        """False if the cell is not as expected."""
        return self._calls.check_and_put(self._table, key, VALUE, expected, value)

    def say(self, key: bytes, value: bytes | None) -> None:
        """Set the value, whatever it was before. None: remove it."""
        wanted = _NOTHING if value is None else value
        while (said := self.get(key)) != wanted and not (said is None and value is None):
            if self.swap(key, said, wanted):
                return

    def said(self, key: bytes) -> bytes | None:
        value = self.get(key)
        return None if value == _NOTHING else value

    def log(self) -> Log | None:
        value = self.get(log_key())
        return None if value is None else msgspec.json.decode(value, type=Log)

    def swap_log(self, expected: Log | None, new: Log) -> bool:
        before = None if expected is None else msgspec.json.encode(expected)
        return self.swap(log_key(), before, msgspec.json.encode(new))

    def generations(self, projection: str) -> Generations | None:
        return _generations(self.get(generations_key(projection)))

    def all_generations(self, projections: Sequence[str]) -> Mapping[str, Generations]:
        found = self.get_all(map(generations_key, projections))
        known = {projection: _generations(found.get(generations_key(projection))) for projection in projections}
        return {projection: generations for projection, generations in known.items() if generations is not None}

    def swap_generations(self, projection: str, expected: Generations | None, new: Generations) -> bool:
        before = None if expected is None else msgspec.json.encode(expected)
        return self.swap(generations_key(projection), before, msgspec.json.encode(new))

    def applied(self, projection: str, generation: int, partitions: int) -> dict[Partition, Applied]:
        """The applied positions of all partitions."""
        keys = {applied_key(projection, generation, partition): partition for partition in range(partitions)}
        found = self.get_all(keys)
        return {partition: applied_of(found.get(key)) for key, partition in keys.items()}

    def move(self, key: bytes, expected: Applied, after: Applied) -> bool:
        """Move an applied position. False if it does not stand where expected."""
        if self.swap(key, expected.encode(), after.encode()):
            return True
        # At the beginning the cell may not exist yet.
        return expected == Applied() and self.swap(key, None, after.encode())


def _generations(value: bytes | None) -> Generations | None:
    return None if value is None else msgspec.json.decode(value, type=Generations)
