"""The processes of a Falcon tell one another which accounts are online and in which rooms streams listen. Pure: the
caller passes the time and sends the messages.

Each account and each room has a keeper among the processes (``keepers.py``). A process tells an account's keeper that
the account is here, or that a stream here watches it; the keeper tells the ones that watch. For typing a process tells
a room's keeper that a stream here listens in the room.
"""

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import Final

from falcon.domain.ids import AccountId, RoomId
from falcon.streams.keepers import Keepers, slot_of
from falcon.streams.replicated_maps import MapChanges, MapEntry, MapId, ReplicatedMaps, Sum

HERE: Final = "h"  # to the keeper: an account has a stream here; the value has its rooms
WATCHED: Final = "w"  # to the keeper: a stream here watches an account
LISTENING: Final = "l"  # to the keeper: a stream here wants to know who types in a room
ONLINE: Final = "o"  # from the keeper: an account is online; the value has its rooms
_KEPT: Final = (HERE, WATCHED, LISTENING)

ROOMS_MAX: Final = 100  # the account's newest rooms, whose members may watch it

# When a slot moves, processes tell its earlier keeper, too, for so long, and believe what that keeper told: they do not
# all see the move at the same moment.
HANDOVER_SECONDS: Final = 5.0
# After a process ended by itself, others believe what it told for so long: its clients are on their way to them.
LEAVING_SECONDS: Final = 15.0


class Presence:
    """The part of one process, named ``here``."""

    def __init__(self, here: str) -> None:
        self.here = here
        self._keepers = Keepers(here)
        self._maps = ReplicatedMaps()
        self._handing: dict[int, dict[str, float]] = {}  # by slot: earlier keepers, and until when they hear of changes
        self._leaving: dict[str, float] = {}  # when to forget what a process has told
        self._met: dict[str, float] = {}  # when a process was heard for the first time
        self._changed: set[AccountId] = set()

    @property
    def processes(self) -> Iterable[str]:
        return self._keepers.processes

    # --- the streams of this process ----------------------------------------------------------------------------------

    def tell_here(self, account_id: AccountId, rooms: Iterable[RoomId]) -> None:
        self._put(HERE, account_id, _packed(rooms))

    def tell_gone(self, account_id: AccountId) -> None:
        self._drop(HERE, account_id)

    def watch(self, account_id: AccountId) -> None:
        self._put(WATCHED, account_id, b"")

    def unwatch(self, account_id: AccountId) -> None:
        self._drop(WATCHED, account_id)

    def listen(self, room_id: RoomId) -> None:
        self._put(LISTENING, room_id, b"")

    def stop_listening(self, room_id: RoomId) -> None:
        self._drop(LISTENING, room_id)

    def rooms_of(self, account_id: AccountId) -> Collection[RoomId] | None:
        """The rooms of an account that is watched here, if it is online."""
        told = self._maps.heard(ONLINE, account_id)
        return _unpacked(told.values()) if told else None

    def changed(self) -> set[AccountId]:
        """The watched accounts that came or went or changed rooms since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    # --- what this process keeps --------------------------------------------------------------------------------------

    def keeper_of(self, id: AccountId | RoomId) -> str:
        return self._keepers.keeper_of(slot_of(id))

    def listeners(self, room_id: RoomId) -> Iterable[str]:
        """The processes that listen in a room that this one keeps."""
        return self._maps.heard(LISTENING, room_id)

    # --- between processes --------------------------------------------------------------------------------------------

    def heard(self, process: str, now: float) -> bool:
        """The process is alive. Returns True if it is new: then it must tell this one all that it has to."""
        self._leaving.pop(process, None)
        is_new = process not in self._met
        self._met.setdefault(process, now)
        for slot, before in self._keepers.heard(process, now).items():
            self._hand_over(slot, before, now)
        return is_new

    def leaves(self, process: str, now: float) -> None:
        """The process ends."""
        self._lose(process, now, LEAVING_SECONDS)

    def pass_time(self, now: float) -> None:
        """Take silent processes for dead, and end what has an end."""
        for process in self._keepers.silent():
            self._lose(process, now, HANDOVER_SECONDS)
        for process in [each for each, until in self._leaving.items() if now >= until]:
            del self._leaving[process], self._met[process]
            self._apply(process, self._maps.forget(process))
        for slot, before in list(self._handing.items()):
            for process in [each for each, until in before.items() if now >= until]:
                del before[process]
                if process != self._keepers.keeper_of(slot):
                    for map_id in _maps_of(slot):
                        self._maps.clear(process, map_id)
            if not before:
                del self._handing[slot]

    def receive(self, process: str, parts: Iterable[MapChanges]) -> None:
        for part in parts:
            self._apply(process, self._maps.receive(process, part))

    def compare(self, process: str, sums: list[Sum]) -> list[MapId]:
        """Returns the maps that the process must tell again."""
        again, changed = self._maps.compare(process, sums)
        self._apply(process, changed)
        return again

    def send_again(self, process: str, maps: Iterable[MapId] | None) -> None:
        """``maps``: the maps that the process asks for; None for all that it should have."""
        for map_id in self._maps.sent_to(process) if maps is None else maps:
            self._maps.send_again(process, map_id)

    def messages(self, most: int) -> Iterator[tuple[str, list[MapChanges]]]:
        """The messages for other processes, at most so many."""
        return self._maps.messages(most)

    def sums(self, process: str, now: float) -> list[Sum] | None:
        """The sums of what the process should have. None if it would be too early to compare."""
        if now < self._met.get(process, now) + HANDOVER_SECONDS:
            return None  # it has just been asked for what it watches
        return self._maps.sums(process)

    def _lose(self, process: str, now: float, seconds: float) -> None:
        for slot in self._keepers.gone(process):
            self._hand_over(slot, process, now)
        if process in self._met:
            self._leaving.setdefault(process, now + seconds)

    def _hand_over(self, slot: int, before: str, now: float) -> None:
        after = self._keepers.keeper_of(slot)
        for map_id in _maps_of(slot):
            self._maps.copy(map_id, before, after)
        self._handing.setdefault(slot, {})[before] = now + HANDOVER_SECONDS

    def _keepers_told(self, id: int) -> Iterable[str]:
        slot = slot_of(id)
        return {self._keepers.keeper_of(slot), *self._handing.get(slot, ())}

    def _put(self, kind: str, id: int, value: bytes) -> None:
        for process in self._keepers_told(id):
            self._maps.put(process, kind, id, value)

    def _drop(self, kind: str, id: int) -> None:
        for process in self._keepers_told(id):
            self._maps.drop(process, kind, id)

    def _apply(self, process: str, changed: Iterable[MapEntry]) -> None:
        """Tell the ones that watch an account what the process has told of it."""
        for kind, id in changed:
            if kind == ONLINE:
                self._changed.add(id)
            elif kind == WATCHED:
                self._tell([process], id, is_watched=process in self._maps.heard(WATCHED, id))
            elif kind == HERE:
                self._tell(self._maps.heard(WATCHED, id), id)

    def _tell(self, processes: Iterable[str], account_id: AccountId, *, is_watched: bool = True) -> None:
        here = self._maps.heard(HERE, account_id)
        rooms = _merged([here[each] for each in sorted(here)])
        for process in processes:
            if here and is_watched:
                self._maps.put(process, ONLINE, account_id, rooms)
            else:
                self._maps.drop(process, ONLINE, account_id)


def _maps_of(slot: int) -> Iterable[MapId]:
    return [(kind, slot) for kind in _KEPT]


def _merged(told: Sequence[bytes]) -> bytes:
    """The rooms of an account as processes have told them, newest first: each room once, and ROOMS_MAX at most. Then a
    further process with a stream of the account changes nothing for the ones that watch."""
    if len(told) == 1:
        return told[0]
    newest_first = chain.from_iterable(zip_longest(*(array("Q", rooms) for rooms in told)))
    rooms = dict.fromkeys(room for room in newest_first if room is not None)
    return _packed(islice(rooms, ROOMS_MAX))


def _packed(rooms: Iterable[RoomId]) -> bytes:
    return array("Q", rooms).tobytes()


def _unpacked(values: Iterable[bytes]) -> Collection[RoomId]:
    rooms = array("Q")
    for value in values:
        rooms.frombytes(value)
    return rooms
