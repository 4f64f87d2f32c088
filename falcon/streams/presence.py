"""Which accounts are online, according to what the processes of a Falcon tell one another. Pure: the caller passes the
time."""

from collections.abc import Collection, Iterable

from falcon.domain.ids import AccountId, RoomId

# A process that has been silent for so long is taken for dead, and its accounts for offline.
FORGOTTEN_SECONDS = 35.0


class PresenceTable:
    """An account is online while at least one process has a stream of it. ``rooms``: the rooms whose members may know
    that."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}
        self._processes: dict[AccountId, set[str]] = {}
        self._rooms: dict[AccountId, frozenset[RoomId]] = {}
        self._there: dict[RoomId, set[AccountId]] = {}

    def here(self, process: str, account_id: AccountId, rooms: Iterable[RoomId], now: float) -> bool:
        """Returns True if the account was offline before."""
        self._heard[process] = now
        processes = self._processes.setdefault(account_id, set())
        news = not processes
        processes.add(process)
        self._place(account_id, frozenset(rooms))
        return news

    def gone(self, process: str, account_id: AccountId) -> frozenset[RoomId] | None:
        """Returns the rooms whose members are to be told, or None while another process still has the account."""
        processes = self._processes.get(account_id)
        if processes is None or process not in processes:
            return None
        processes.discard(process)
        if processes:
            return None
        del self._processes[account_id]
        rooms = self._rooms[account_id]
        self._place(account_id, frozenset())
        del self._rooms[account_id]
        return rooms

    def alive(self, process: str, now: float) -> bool:
        """Returns True if the process was known."""
        known = process in self._heard
        self._heard[process] = now
        return known

    def forgotten(self, now: float) -> list[tuple[AccountId, frozenset[RoomId]]]:
        """Forget processes that are silent. Returns the accounts that are offline because of that, with their rooms."""
        silent = [process for process, heard in self._heard.items() if now - heard > FORGOTTEN_SECONDS]
        left: list[tuple[AccountId, frozenset[RoomId]]] = []
        for process in silent:
            del self._heard[process]
            for account_id in [each for each, processes in self._processes.items() if process in processes]:
                rooms = self.gone(process, account_id)
                if rooms is not None:
                    left.append((account_id, rooms))
        return left

    def among(self, rooms: Collection[RoomId]) -> set[AccountId]:
        """The accounts that are online in at least one of these rooms."""
        return {account_id for room_id in rooms for account_id in self._there.get(room_id, ())}

    def _place(self, account_id: AccountId, rooms: frozenset[RoomId]) -> None:
        before = self._rooms.get(account_id, frozenset())
        for room_id in before - rooms:
            there = self._there[room_id]
            there.discard(account_id)
            if not there:
                del self._there[room_id]
        for room_id in rooms - before:
            self._there.setdefault(room_id, set()).add(account_id)
        self._rooms[account_id] = rooms
