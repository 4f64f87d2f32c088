"""A queue that serves accounts in turn (round robin, one at a time): an account that fills it waits for itself."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from falcon.domain.ids import AccountId

T = TypeVar("T")


class FairQueue(Generic[T]):
    """What one account has put in comes out in its order. Between accounts the order is their turns'."""

    def __init__(self) -> None:
        self._of: dict[AccountId, deque[T]] = {}
        self._turns: deque[tuple[AccountId, deque[T]]] = deque()
        self._size = 0
        self._longest: AccountId | None = None  # when it was last looked for, since the last turn

    def __len__(self) -> int:
        return self._size

    def append(self, account_id: AccountId, item: T) -> None:
        waiting = self._of.get(account_id)
        if waiting is None:
            waiting = self._of[account_id] = deque((item,))
            self._turns.append((account_id, waiting))
        else:
            waiting.append(item)
        self._size += 1

    def popleft(self) -> T:
        """The first of the account whose turn it is. Raises IndexError."""
        turn = self._turns.popleft()
        account_id, waiting = turn
        item = waiting.popleft()
        if waiting:
            self._turns.append(turn)
        else:
            del self._of[account_id]
        self._size -= 1
        self._longest = None
        return item

    def yields_to(self, account_id: AccountId) -> bool:
        """Whether another account has at least twice as much in here as this one would have with one more.

        Not just more: where all send as much, each would take the other's place again and again.
        """
        return self._length(self._crowder()) >= 2 * (self._length(account_id) + 1)

    def newest_of_crowder(self) -> T:
        """The newest of the account that has most in here. Raises IndexError."""
        return self._crowders()[-1]

    def pop_of_crowder(self) -> T:
        """The same, and it is not in here any more. Raises IndexError."""
        waiting = self._crowders()
        item = waiting.pop()
        self._size -= 1
        if not waiting:
            self._tidy()
        return item

    def firsts(self) -> list[T]:
        """The oldest of each account; also from another thread."""
        return [item for waiting in list(self._of.values()) for item in list(waiting)[:1]]

    def take_first_while(self, condition: Callable[[T], bool]) -> Iterator[T]:
        """Out of each account's, from the oldest on, those that fulfil the condition, up to the first that does not."""
        for waiting in list(self._of.values()):
            while waiting and condition(waiting[0]):
                self._size -= 1
                yield waiting.popleft()
        self._tidy()

    def take_all(self, condition: Callable[[T], bool]) -> list[T]:
        """Out of all, those that fulfil the condition."""
        taken: list[T] = []
        for waiting in self._of.values():
            kept = deque[T]()
            for item in waiting:
                (taken if condition(item) else kept).append(item)
            waiting.clear()
            waiting.extend(kept)
        self._size -= len(taken)
        self._tidy()
        return taken

    def _crowder(self) -> AccountId | None:
        """Looked for once a turn: a queue that is full is asked for it with each command that finds no room."""
        if self._longest is None:
            self._longest = max(self._of, key=lambda account_id: len(self._of[account_id]), default=None)
        return self._longest

    def _crowders(self) -> deque[T]:
        crowder = self._crowder()
        if crowder is None:
            raise IndexError("there is nothing in the queue")
        return self._of[crowder]

    def _length(self, account_id: AccountId | None) -> int:
        return 0 if account_id is None else len(self._of.get(account_id, ()))

    def _tidy(self) -> None:
        """Let go of those who have nothing in here any more."""
        self._longest = None
        self._turns = deque(turn for turn in self._turns if turn[1])
        self._of = dict(self._turns)
