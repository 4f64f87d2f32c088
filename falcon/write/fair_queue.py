"""A queue that serves accounts in turn (round robin, one item each): an account that fills it delays only itself."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from falcon.domain.ids import AccountId

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of one account keep their order; accounts take turns. ``size``: how many items there are."""

    def __init__(self) -> None:
        self._of: dict[AccountId, deque[T]] = {}
        self._turns: deque[tuple[AccountId, deque[T]]] = deque()
        self.size = 0
        self._longest: AccountId | None = None  # as found since the last turn

    def __len__(self) -> int:
        return self.size

    def append(self, account_id: AccountId, item: T) -> None:
        waiting = self._of.get(account_id)
        if waiting is None:
            waiting = self._of[account_id] = deque((item,))
            self._turns.append((account_id, waiting))
        else:
            waiting.append(item)
        self.size += 1

    def popleft(self) -> T:
        """The oldest item of the account whose turn it is. Raises IndexError."""
        turn = self._turns.popleft()
        account_id, waiting = turn
        item = waiting.popleft()
        if waiting:
            self._turns.append(turn)
        else:
            del self._of[account_id]
        self.size -= 1
        self._longest = None
        return item

    def yields_to(self, account_id: AccountId) -> bool:
        """True if another account has at least twice as many items as this one would have with one more.

        More alone is not enough: accounts that send equally much would take one another's places again and again.
        """
        return self._length(self._crowder()) >= 2 * (self._length(account_id) + 1)

    def newest_of_crowder(self) -> T:
        """The newest item of the account that has most items. Raises IndexError."""
        return self._crowders()[-1]

    def pop_of_crowder(self) -> T:
        """Take that item out. Raises IndexError."""
        waiting = self._crowders()
        item = waiting.pop()
        self.size -= 1
        if not waiting:
            self._tidy()
        return item

    def firsts(self) -> list[T]:
        """The oldest item of each account. Another thread may ask."""
        return [item for waiting in list(self._of.values()) for item in list(waiting)[:1]]

    def take_first_while(self, condition: Callable[[T], bool]) -> Iterator[T]:
        """Take each account's items out, from the oldest on, up to the first that does not fulfil the condition."""
        for waiting in list(self._of.values()):
            while waiting and condition(waiting[0]):
                self.size -= 1
                yield waiting.popleft()
        self._tidy()

    def take_all(self, condition: Callable[[T], bool]) -> list[T]:
        """Take all items out that fulfil the condition."""
        taken: list[T] = []
        for waiting in self._of.values():
            kept = deque[T]()
            for item in waiting:
                (taken if condition(item) else kept).append(item)
            waiting.clear()
            waiting.extend(kept)
        self.size -= len(taken)
        self._tidy()
        return taken

    def _crowder(self) -> AccountId | None:
        """The account that has most items. A full queue is asked with each command, so it looks once a turn only."""
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
        """Drop accounts without items."""
        self._longest = None
        self._turns = deque(turn for turn in self._turns if turn[1])
        self._of = dict(self._turns)
