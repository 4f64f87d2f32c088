"""Where in the log the answers to keyed commands stand, for as long as a retry may ask for them."""

import struct
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

import msgspec

from falcon.base.account_factors import AccountFactors
from falcon.domain.ids import AccountId, Millis
from falcon.journal.envelope import Position

# A process grows by so much with the longest key, and with an account that has keys: measured with a million of each,
# while as many come as are forgotten.
KEY_BYTES: Final = 270
ACCOUNT_BYTES: Final = 120
_FINGERPRINT_BITS: Final = 32
_FINGERPRINT_MASK: Final = (1 << _FINGERPRINT_BITS) - 1
_NAME_MASK: Final = (1 << 60) - 1  # a number of more bits would take another sixteen bytes
# Offset, n, time and epoch: one object in place of five.
_PLACE: Final = struct.Struct("<QQQI")
# A longer time between two events of the log may be a jump that the clock has followed, and a checkpoint is ten seconds
# old at most. So in the log's tail hardly any other time is longer.
_BETWEEN_EVENTS_MAX: Final[Millis] = 10_000
# Keys of a partition whose accounts are counted before it serves.
_COUNTED_AT_ONCE: Final = 256
# Keys that are forgotten with each new one: more than it takes, so that keys whose window is over do not pile up.
_FORGOTTEN_WITH_KEY: Final = 2


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
    """The time by which answers grow old, in milliseconds. Only its differences mean something, but it begins with the
    time of day: an owner of an earlier version, which takes the partition over in an upgrade, compares it with that.

    A steady clock counts it while the partition serves. In the log it is read from the events' time, but only between
    events of one epoch, which one process wrote by one clock: the next process may have had another time of day. A jump
    of that clock counts for ten seconds. So answers live longer after a restart, and hardly shorter.
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
        if not self._reached:
            self._reached = at
        elif epoch == self._epoch:
            self._reached += min(max(0, at - self._at), _BETWEEN_EVENTS_MAX)
        self._at, self._epoch = at, epoch
        return self._reached

    def start(self, at: Millis) -> None:
        """The log has been read to its end: from now on the steady clock counts. ``at``: the time of day."""
        self._reached = self._reached or at
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
        self._keys_by_account: dict[AccountId, int] = {}
        self._uncounted: deque[tuple[Iterator[AccountId], int]] = deque()
        self.total = 0

    @property
    def bytes(self) -> int:
        return self.total * KEY_BYTES + len(self._keys_by_account) * ACCOUNT_BYTES

    def is_full_for(self, account_id: AccountId) -> bool:
        most: float = self._most_of_account
        if not most:
            return False
        if self._factors is not None:
            most *= self._factors.factor_of(account_id)
        return self._keys_by_account.get(account_id, 0) >= most

    def has_room_for(self, account_id: AccountId) -> bool:
        """True if another key of this account may be remembered."""
        return self.bytes < self._bytes_max and not self.is_full_for(account_id)

    def add(self, account_id: AccountId, by: int) -> None:
        """Add or remove (``by``) keys of an account."""
        self.total += by
        if self._most_of_account:
            self._count(account_id, by)

    def add_all(self, keys: int, account_ids: Iterator[AccountId], by: int) -> None:
        """Add or remove (``by``) the keys of a partition. Those of its accounts are counted a part at a time.

        Meanwhile an account may have more keys, or fewer, than it should.
        """
        self.total += by * keys
        if self._most_of_account:
            self._uncounted.append((account_ids, by))
            self.settle_key_counts(_COUNTED_AT_ONCE)

    def settle_key_counts(self, limit: int) -> None:
        """Count up to ``limit`` more keys of the partitions that came or went."""
        while limit > 0 and self._uncounted:
            account_ids, by = self._uncounted[0]
            for account_id in islice(account_ids, limit):
                self._count(account_id, by)
                limit -= 1
            if limit > 0:
                self._uncounted.popleft()

    def _count(self, account_id: AccountId, by: int) -> None:
        count = self._keys_by_account.get(account_id, 0) + by
        if count:
            self._keys_by_account[account_id] = count
        else:
            self._keys_by_account.pop(account_id, None)


class AnswerWindow:
    """Remembers for each key where the log has the answer, for at least ``window`` milliseconds. It finds none later.

    One for each partition: a dict that grows moves all of its keys at once, and those of one partition are few.
    """

    def __init__(self, window: Millis) -> None:
        self.window = window
        self._places: dict[str, bytes] = {}
        self._oldest: deque[str] = deque()  # their names, in the order of adding
        self._counts: KeyCounts | None = None

    def __len__(self) -> int:
        return len(self._places)

    def find(self, account_id: AccountId, key: str, at: Millis) -> Remembered | None:
        place = self._places.get(f"{account_id} {key}")
        if place is None:
            return None
        offset, n, given_at, epoch = _PLACE.unpack(place)
        return Remembered(offset, epoch, n, given_at) if given_at >= at - self.window else None

    def add(self, account_id: AccountId, key: str, remembered: Remembered) -> None:
        """``remembered.at`` should not go back: an answer is forgotten after all that were added before it."""
        name = f"{account_id} {key}"
        self.forget(remembered.at, _FORGOTTEN_WITH_KEY)
        if name in self._places:  # its window is over, so that it stands near the beginning; or it is read twice
            self._oldest.remove(name)
        elif self._counts is not None:
            self._counts.add(account_id, 1)
        self._places[name] = _PLACE.pack(remembered.offset, remembered.n, remembered.at, remembered.epoch)
        self._oldest.append(name)

    def forget(self, at: Millis, most: int) -> int:
        """Forget keys whose window is over, the oldest first. Returns how many; if ``most``, there may be others."""
        forgotten = 0
        while self._oldest and forgotten < most:
            name = self._oldest[0]
            _, _, given_at, _ = _PLACE.unpack(self._places[name])
            if given_at >= at - self.window:
                break
            del self._places[name]
            self._oldest.popleft()
            forgotten += 1
            if self._counts is not None:
                self._counts.add(_account_of(name), -1)
        return forgotten

    def count_in(self, counts: KeyCounts) -> None:
        """Count the keys until :meth:`count_out`."""
        self._counts = counts
        counts.add_all(len(self), map(_account_of, list(self._places)), 1)

    def count_out(self) -> None:
        if self._counts is not None:
            self._counts.add_all(len(self), map(_account_of, list(self._places)), -1)
            self._counts = None

    def seconds_to_forget(self, at: Millis) -> float:
        """Seconds until the next answer is forgotten."""
        oldest = at
        if self._oldest:
            _, _, oldest, _ = _PLACE.unpack(self._places[self._oldest[0]])
        return max(1.0, (oldest + self.window + 1 - at) / 1_000)


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


def _account_of(name: str) -> AccountId:
    return int(name[: name.index(" ")])
