"""Where in the log the answers to keyed commands stand, for as long as a retry may ask for them."""

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from falcon.account_factors import AccountFactors
from falcon.domain.ids import AccountId, Millis
from falcon.journal.envelope import Position
from falcon.write.packed_table import PackedTable

# A process grows by so much with a key, and with an account that has keys: measured under churn.
KEY_BYTES: Final = 54
ACCOUNT_BYTES: Final = 20
_FINGERPRINT_BITS: Final = 32
_FINGERPRINT_MASK: Final = (1 << _FINGERPRINT_BITS) - 1
_NAME_MASK: Final = (1 << 60) - 1  # a number of more bits would take another sixteen bytes
_DIGEST_MASK: Final = (1 << 64) - 1
# Digest, account; offset, n and time behind the chunk's first.
_KEY: Final = struct.Struct("<QQIII")
_NEVER: Final = 1 << 64
# Keys of a partition whose accounts are counted before it serves.
_COUNTED_AT_ONCE: Final = 256
_COLLISIONS_MAX: Final = 1_000
_NO_PLACES: Final[frozenset[Position]] = frozenset()
_CHUNK_BITS: Final = 7
_CHUNK_KEYS: Final = 1 << _CHUNK_BITS
_CHUNK_NUMBERS: Final = 1 << 31 - _CHUNK_BITS
# Keys that are forgotten with each new chunk: more than it takes, so that keys whose window is over do not pile up.
_FORGOTTEN_WITH_CHUNK: Final = 2 * _CHUNK_KEYS


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """The place of the event that carries a command's answer.

    ``at``: when the answer was given, by the partition's WindowTime.
    """

    offset: int
    epoch: int
    n: int
    at: Millis

    @property
    def position(self) -> Position:
        return Position(self.offset, self.epoch, self.n)


class WindowTime:
    """The time by which answers grow old, in milliseconds. Only its differences mean something.

    A steady clock counts it while the partition serves. In the log it is read from the events' time, but only between
    events of one epoch, which one process wrote by one clock: the next process may have had another time of day. So
    answers live longer after a restart, and never shorter.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._reached: Millis = 0
        self._at: Millis = 0
        self._epoch = -1
        self._started = 0.0

    def resume(self, window_at: Millis) -> None:
        """Begin at the window time of a checkpoint."""
        self._reached = window_at

    def read(self, at: Millis, epoch: int) -> Millis:
        """The window time of the next event of the log. ``at``: its own time."""
        if epoch == self._epoch:
            self._reached += max(0, at - self._at)
        self._at, self._epoch = at, epoch
        return self._reached

    def start(self) -> None:
        """The log has been read to its end: from now on the steady clock counts."""
        self._started = self._monotonic()

    def now(self) -> Millis:
        """Call ``start`` before."""
        return self._reached + round((self._monotonic() - self._started) * 1_000)


class KeyCounts:
    """Counts the keys that the partitions of a shard remember, in all and for each account.

    ``bytes_max``: for all accounts together. ``most_of_account``: keys of one account, 0 for any number. ``factors``:
    of accounts that may have more or fewer. A shard that has taken partitions over may remember more, since no key is
    forgotten within its window.
    """

    def __init__(self, bytes_max: int, most_of_account: int = 0, factors: AccountFactors | None = None) -> None:
        self._bytes_max = bytes_max
        self._most_of_account = most_of_account
        self._factors = factors
        self._of = PackedTable()
        self._uncounted: deque[tuple[Iterator[AccountId], int]] = deque()
        self.total = 0

    @property
    def bytes(self) -> int:
        return self.total * KEY_BYTES + len(self._of) * ACCOUNT_BYTES

    def is_full_for(self, account_id: AccountId) -> bool:
        most: float = self._most_of_account
        if not most:
            return False
        if self._factors is not None:
            most *= self._factors.of(account_id)
        return sum(self._of.get(account_id)) >= most

    def has_room_for(self, account_id: AccountId) -> bool:
        """True if another key of this account may be remembered."""
        return self.bytes < self._bytes_max and not self.is_full_for(account_id)

    def change(self, account_id: AccountId, by: int) -> None:
        """Add or remove (``by``) keys of an account."""
        self.total += by
        if self._most_of_account:
            self._of.change(account_id, by)

    def add_all(self, keys: int, account_ids: Iterator[AccountId], by: int) -> None:
        """Add or remove (``by``) the keys of a partition. Those of its accounts are counted a part at a time.

        Meanwhile an account may have more keys, or fewer, than it should.
        """
        self.total += by * keys
        if self._most_of_account:
            self._uncounted.append((account_ids, by))
            self.count(_COUNTED_AT_ONCE)

    def count(self, most: int) -> None:
        """Count the next keys of partitions that came or went."""
        while most > 0 and self._uncounted:
            account_ids, by = self._uncounted[0]
            for account_id in islice(account_ids, most):
                self._of.change(account_id, by)
                most -= 1
            if most > 0:
                self._uncounted.popleft()


class _KeyChunk:
    """The keys of consecutive answers, oldest first. Of a place it keeps the distance from the first."""

    __slots__ = ("_first", "_keys", "count")

    def __init__(self, first: Remembered) -> None:
        self._first = first
        self._keys = bytearray(_CHUNK_KEYS * _KEY.size)
        self.count = 0

    def add(self, digest: int, account_id: AccountId, remembered: Remembered) -> bool:
        """False if the chunk is full, or if the place is before the first or too far from it."""
        first = self._first
        if remembered.epoch != first.epoch:
            return False
        offset, n, at = remembered.offset - first.offset, remembered.n - first.n, remembered.at - first.at
        try:
            _KEY.pack_into(self._keys, self.count * _KEY.size, digest, account_id, offset, n, at)
        except struct.error:
            return False
        self.count += 1
        return True

    def remembered(self, index: int) -> Remembered:
        _, _, offset, n, at = _KEY.unpack_from(self._keys, index * _KEY.size)
        first = self._first
        return Remembered(first.offset + offset, first.epoch, first.n + n, first.at + at)

    def keys(self, start: int, most: int, before: Millis) -> list[tuple[int, AccountId]]:
        """Digest and account of the keys from ``start`` on, up to the first whose answer was not given before then.

        At most ``most``.
        """
        data = memoryview(self._keys)[start * _KEY.size : min(self.count, start + most) * _KEY.size]
        distance = before - self._first.at
        keys: list[tuple[int, AccountId]] = []
        for digest, account_id, _, _, at in _KEY.iter_unpack(data):
            if at >= distance:
                break
            keys.append((digest, account_id))
        return keys


class AnswerWindow:
    """Remembers for each key where the log has the answer, for at least ``window`` milliseconds. It finds none later.

    There may be millions of keys, so a key is remembered as a digest and a place. The log has the key itself. Two keys
    may have the same digest: then places are found for a key that are not its own. No client can choose such keys,
    since each process makes other digests.
    """

    def __init__(self, window: Millis) -> None:
        self.window = window
        self._numbers = PackedTable()  # by digest: number of the chunk, index within it
        self._chunks: deque[_KeyChunk] = deque()
        self._first_chunk = 0
        self._forgotten = 0  # keys of the first chunk
        self._counts: KeyCounts | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def find(self, account_id: AccountId, key: str, at: Millis) -> list[Remembered]:
        """The answers to keys with this digest, oldest first."""
        numbers = self._numbers.get(_digest(account_id, key))
        if not numbers:
            return []
        return [found for found in map(self._remembered, numbers) if found.at >= at - self.window]

    def add(self, account_id: AccountId, key: str, remembered: Remembered) -> None:
        """``remembered.at`` should not go back: an answer is forgotten after all that were added before it."""
        digest = _digest(account_id, key)
        if not self._chunks or not self._chunks[-1].add(digest, account_id, remembered):
            self.forget(remembered.at, _FORGOTTEN_WITH_CHUNK)
            self._chunks.append(_KeyChunk(remembered))
            added = self._chunks[-1].add(digest, account_id, remembered)
            assert added, f"no account has the number {account_id}"
        number = (self._first_chunk + len(self._chunks) - 1) % _CHUNK_NUMBERS
        self._numbers.add(digest, number << _CHUNK_BITS | self._chunks[-1].count - 1)
        if self._counts is not None:
            self._counts.change(account_id, 1)

    def forget(self, at: Millis, most: int) -> int:
        """Forget keys whose window is over, the oldest first. Returns how many; if ``most``, there may be others."""
        forgotten = 0
        while self._chunks and forgotten < most:
            chunk = self._chunks[0]
            expired = chunk.keys(self._forgotten, most - forgotten, at - self.window)
            if not expired:
                break
            for digest, account_id in expired:
                self._numbers.remove(digest, self._first_chunk << _CHUNK_BITS | self._forgotten)
                self._forgotten += 1
                if self._counts is not None:
                    self._counts.change(account_id, -1)
            forgotten += len(expired)
            if self._forgotten == chunk.count:
                self._chunks.popleft()
                self._first_chunk = (self._first_chunk + 1) % _CHUNK_NUMBERS
                self._forgotten = 0
        return forgotten

    def count_in(self, counts: KeyCounts) -> None:
        """From now on, until :meth:`count_out`."""
        self._counts = counts
        counts.add_all(len(self), self._accounts(), 1)

    def count_out(self) -> None:
        if self._counts is not None:
            self._counts.add_all(len(self), self._accounts(), -1)
            self._counts = None

    def seconds_to_forget(self, at: Millis) -> float:
        """Seconds until the next answer is forgotten."""
        oldest = self._chunks[0].remembered(self._forgotten).at if self._chunks else at
        return max(1.0, (oldest + self.window + 1 - at) / 1_000)

    def _accounts(self) -> Iterator[AccountId]:
        """The accounts of the keys that are remembered at this call, even if some are forgotten meanwhile."""
        parts = [(chunk, 0, chunk.count) for chunk in self._chunks]
        if parts:
            parts[0] = (self._chunks[0], self._forgotten, self._chunks[0].count - self._forgotten)
        return (account_id for chunk, start, count in parts for _, account_id in chunk.keys(start, count, _NEVER))

    def _remembered(self, number: int) -> Remembered:
        chunk = ((number >> _CHUNK_BITS) - self._first_chunk) % _CHUNK_NUMBERS
        return self._chunks[chunk].remembered(number % _CHUNK_KEYS)


class Collisions:
    """Places that were found for a key, and of which the log has shown that they are another key's.

    Digests have 64 bits, so there is hardly ever one.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[AccountId, str], frozenset[Position]] = {}

    def note(self, account_id: AccountId, key: str, places: Iterable[Position]) -> None:
        if len(self._places) >= _COLLISIONS_MAX:
            self._places.clear()  # the log shows them again
        self._places[account_id, key] = self.of(account_id, key).union(places)

    def of(self, account_id: AccountId, key: str) -> frozenset[Position]:
        return self._places.get((account_id, key), _NO_PLACES)


class UsedKeys:
    """Remembers for which requests keys were used: the newest ``most`` keys, and up to as many older ones.

    Two of its keys have the same digest with a chance of one in a thousand million; the later one is then refused.
    """

    def __init__(self, most: int, window_seconds: float) -> None:
        self._most = most
        self._window_ms = round(window_seconds * 1_000)
        self._newer: dict[int, int] = {}
        self._older: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def is_free(self, account_id: AccountId, key: str, fingerprint: int, now: float) -> bool:
        """True unless the key was noted for a request with another fingerprint. ``now``: seconds of a steady clock."""
        name = hash((account_id, key)) & _NAME_MASK
        known = self._newer.get(name) or self._older.get(name)
        if known is None or round(now * 1_000) - (known >> _FINGERPRINT_BITS) >= self._window_ms:
            return True
        return known & _FINGERPRINT_MASK == fingerprint & _FINGERPRINT_MASK

    def note(self, account_id: AccountId, key: str, fingerprint: int, now: float) -> None:
        """The owner remembers this request's key. A retry does not make the window longer."""
        name, now_ms = hash((account_id, key)) & _NAME_MASK, round(now * 1_000)
        known = self._newer.get(name) or self._older.get(name)
        if known is not None and now_ms - (known >> _FINGERPRINT_BITS) < self._window_ms:
            return
        self._newer[name] = now_ms << _FINGERPRINT_BITS | fingerprint & _FINGERPRINT_MASK
        if len(self._newer) >= self._most:
            self._newer, self._older = {}, self._newer


def _digest(account_id: AccountId, key: str) -> int:
    return hash((account_id, key)) & _DIGEST_MASK
