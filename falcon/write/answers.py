"""Where in the log the answers to keyed commands stand, for as long as a retry may ask for them."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from falcon.domain.ids import AccountId, Millis
from falcon.journal.envelope import Position

_SLICES: Final = 10
# What is counted for a key, and for an account that some are counted for: as measured, where tables are filled least.
KEY_BYTES: Final = 140
ACCOUNT_BYTES: Final = 90
_NAME_MASK: Final = (1 << 60) - 1  # a number of more bits would take another sixteen bytes
# A packed answer, from its lower bits on: fingerprint, time within the slice, epoch, n, offset, account.
_FINGERPRINT_BITS: Final = 32
_AT_BITS: Final = 32
_EPOCH_BITS: Final = 48  # of a cluster, an offset
_N_BITS: Final = 44
_OFFSET_BITS: Final = 48
_FINGERPRINT_MASK: Final = (1 << _FINGERPRINT_BITS) - 1
_AT: Final = _FINGERPRINT_BITS
_EPOCH: Final = _AT + _AT_BITS
_N: Final = _EPOCH + _EPOCH_BITS
_OFFSET: Final = _N + _N_BITS
_ACCOUNT: Final = _OFFSET + _OFFSET_BITS


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """A part of the command's fingerprint (``is_same_request``), and where the event stands that carries its answer.

    ``at``: when the answer was given, by the partition's WindowTime.
    """

    fingerprint: int
    offset: int
    epoch: int
    n: int
    at: Millis

    @property
    def position(self) -> Position:
        return Position(self.offset, self.epoch, self.n)


class WindowTime:
    """The time by which answers grow old, in milliseconds: the steady clock plus the greatest lead of the events' time.

    The events' time alone would not do. It stands still while it is ahead of the clock, as after a restart with the
    clock set back, and answers would be kept for as long.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._reached: Millis = 0
        self._lead: Millis | None = None

    def reach(self, at: Millis) -> Millis:
        """An event of this time is read. Gives the latest time of all that were read."""
        self._reached = max(self._reached, at)
        return self._reached

    def start(self) -> None:
        """The log has been read to its end: from now on the steady clock counts."""
        self._lead = self._reached - round(self._monotonic() * 1_000)

    def now(self, at: Millis) -> Millis:
        """The time now, with ``at`` as the events' time. Call ``start`` before."""
        steady = round(self._monotonic() * 1_000)
        if self._lead is None or at - steady > self._lead:
            self._lead = at - steady
        return steady + self._lead


class KeyCounts:
    """Counts the keys that the partitions of a shard remember, in all and for each account.

    ``bytes_max``: for all accounts together. ``most_of_account``: keys of one account, 0 for any number. A shard that
    has taken partitions over may remember more, since no key is forgotten within its window.
    """

    def __init__(self, bytes_max: int, most_of_account: int = 0) -> None:
        self._bytes_max = bytes_max
        self._most_of_account = most_of_account
        self._of: Counter[AccountId] = Counter()
        self.total = 0

    @property
    def bytes(self) -> int:
        return self.total * KEY_BYTES + len(self._of) * ACCOUNT_BYTES

    def is_full_for(self, account_id: AccountId) -> bool:
        return self._most_of_account > 0 and self._of[account_id] >= self._most_of_account

    def has_room_for(self, account_id: AccountId) -> bool:
        """True if another key of this account may be remembered."""
        if self._most_of_account and self._of[account_id] >= self._most_of_account:
            return False
        return self.total * KEY_BYTES + len(self._of) * ACCOUNT_BYTES < self._bytes_max

    def add(self, account_ids: Iterable[AccountId]) -> None:
        for account_id in account_ids:
            self.total += 1
            if self._most_of_account:
                self._of[account_id] += 1

    def remove(self, account_ids: Iterable[AccountId]) -> None:
        for account_id in account_ids:
            self.total -= 1
            if self._most_of_account:
                self._of[account_id] -= 1
                if not self._of[account_id]:
                    del self._of[account_id]


class AnswerWindow:
    """Forgets whole slices of a tenth of the window, so that nothing is ever searched or sorted.

    An answer is found for at least ``window`` milliseconds after it was given, and not after it.

    There may be millions of answers, so each is two numbers: a hash of account and key, and all the rest. Two of the
    40,000 names of a partition have the same hash with a chance of one in a thousand million; the later one is then
    refused, as if its key had been used for another request. No client can choose such names: each process hashes in
    another way.
    """

    def __init__(self, window: Millis) -> None:
        self.window = window
        self._slice = max(1, window // _SLICES)
        self._slices: deque[tuple[Millis, dict[int, int]]] = deque()
        self._counts: KeyCounts | None = None

    def __len__(self) -> int:
        return sum(len(answers) for _, answers in self._slices)

    def find(self, account_id: AccountId, key: str, at: Millis) -> Remembered | None:
        name = _name(account_id, key)
        for start, answers in self._slices:
            packed = answers.get(name)
            if packed is not None:
                found = _unpack(packed, start)
                if found.at >= at - self.window:
                    return found
        return None

    def add(self, account_id: AccountId, key: str, remembered: Remembered) -> None:
        """``remembered.at`` must not go back."""
        start = remembered.at - remembered.at % self._slice
        if not self._slices or self._slices[-1][0] != start:
            self.expire(remembered.at)
            self._slices.append((start, {}))
        answers = self._slices[-1][1]
        name = _name(account_id, key)
        if self._counts is not None and name not in answers:
            self._counts.add((account_id,))
        answers[name] = _pack(account_id, remembered, start)

    def count_in(self, counts: KeyCounts) -> None:
        """From now on, until :meth:`count_out`."""
        self._counts = counts
        for _, answers in self._slices:
            counts.add(map(_account_of, answers.values()))

    def count_out(self) -> None:
        if self._counts is not None:
            for _, answers in self._slices:
                self._counts.remove(map(_account_of, answers.values()))
            self._counts = None

    def expire(self, at: Millis) -> None:
        """Forget answers whose window is over."""
        while self._slices and self._slices[0][0] + self._slice <= at - self.window:
            _, answers = self._slices.popleft()
            if self._counts is not None:
                self._counts.remove(map(_account_of, answers.values()))

    def seconds_to_forget(self, at: Millis) -> float:
        """Seconds until the next answers are forgotten."""
        first = self._slices[0][0] if self._slices else at
        return max(1.0, (first + self._slice + self.window - at) / 1_000)


class UsedKeys:
    """Remembers for which requests keys were used: the newest ``most`` keys, and up to as many older ones.

    It hashes names as AnswerWindow does, with the same chance of a mistake.
    """

    def __init__(self, most: int, window_seconds: float) -> None:
        self._most = most
        self._window_ms = round(window_seconds * 1_000)
        self._newer: dict[int, int] = {}
        self._older: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def use(self, account_id: AccountId, key: str, fingerprint: int, now: float) -> bool:
        """True if the key may be used for a request with this fingerprint. ``now``: seconds of a steady clock."""
        name, now_ms = _name(account_id, key), round(now * 1_000)
        known = self._newer.get(name) or self._older.get(name)
        if known is not None and now_ms - (known >> _FINGERPRINT_BITS) < self._window_ms:
            return is_same_request(known, fingerprint)
        self._newer[name] = now_ms << _FINGERPRINT_BITS | fingerprint & _FINGERPRINT_MASK
        if len(self._newer) >= self._most:
            self._newer, self._older = {}, self._newer
        return True


def is_same_request(kept: int, fingerprint: int) -> bool:
    """True if the part of a fingerprint that is kept (``Remembered.fingerprint``) is a part of this one."""
    return kept & _FINGERPRINT_MASK == fingerprint & _FINGERPRINT_MASK


def _name(account_id: AccountId, key: str) -> int:
    return hash((account_id, key)) & _NAME_MASK


def _pack(account_id: AccountId, remembered: Remembered, start: Millis) -> int:
    """One number: each object takes sixteen bytes and more beside what it holds."""
    return (
        account_id << _ACCOUNT
        | remembered.offset << _OFFSET
        | remembered.n << _N
        | remembered.epoch << _EPOCH
        | remembered.at - start << _AT
        | remembered.fingerprint & _FINGERPRINT_MASK
    )


def _unpack(packed: int, start: Millis) -> Remembered:
    return Remembered(
        packed & _FINGERPRINT_MASK,
        packed >> _OFFSET & (1 << _OFFSET_BITS) - 1,
        packed >> _EPOCH & (1 << _EPOCH_BITS) - 1,
        packed >> _N & (1 << _N_BITS) - 1,
        start + (packed >> _AT & (1 << _AT_BITS) - 1),
    )


def _account_of(packed: int) -> AccountId:
    return packed >> _ACCOUNT
