"""Says which process keeps an account or a room. Pure: the caller passes the time.

Ids are spread over slots, and each slot is kept by one of the processes that serve streams (rendezvous hashing). All
processes agree without asking one another, and a process that comes or goes moves its own slots only.
"""

import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, TypeAlias

SLOTS: Final = 512  # enough for tens of processes to have equal parts, and few sums to compare
FORGOTTEN_SECONDS: Final = 10.0  # a process that has been silent for so long is taken for dead

_SLOT_BITS: Final = 9  # of SLOTS
_MIX: Final = 0x9E3779B97F4A7C15  # spreads ids that have a factor or a remainder in common
_MASK: Final = (1 << 64) - 1  # of 64 bits

Score: TypeAlias = tuple[bytes, str]


def slot_of(id: int) -> int:
    return (id * _MIX & _MASK) >> (64 - _SLOT_BITS)


class Keepers:
    """The processes that serve streams, this one included."""

    def __init__(self, here: str) -> None:
        self._here = here
        self._heard: dict[str, float] = {here: -math.inf}
        self._best: list[Score] = _scores(here)

    @property
    def processes(self) -> Iterable[str]:
        return self._heard.keys()

    def keeper_of(self, slot: int) -> str:
        return self._best[slot][1]

    def heard(self, process: str, now: float) -> dict[int, str]:
        """Returns the slots that the process keeps from now on, with the processes that kept them before."""
        is_known = process in self._heard
        self._heard[process] = now
        moved: dict[int, str] = {}
        if not is_known:
            for slot, score in enumerate(_scores(process)):
                if score > self._best[slot]:
                    moved[slot] = self.keeper_of(slot)
                    self._best[slot] = score
        return moved

    def silent(self) -> list[str]:
        """The processes that have been silent for too long.

        A process measures silence up to the moment at which it last heard itself. If signals do not arrive, or this
        process was stopped for a while, then it has not heard itself either, and takes no other for dead.
        """
        now = self._heard[self._here]
        return [process for process, at in self._heard.items() if now - at > FORGOTTEN_SECONDS]

    def gone(self, process: str) -> list[int]:
        """Returns the slots that the process has kept. Others keep them from now on."""
        if process == self._here or self._heard.pop(process, None) is None:
            return []
        moved = [slot for slot in range(SLOTS) if self.keeper_of(slot) == process]
        for slot in moved:
            self._best[slot] = max(_score(each, slot) for each in self._heard)
        return moved


def _score(process: str, slot: int) -> Score:
    return blake2b(f"{slot} {process}".encode(), digest_size=8).digest(), process


def _scores(process: str) -> list[Score]:
    return [_score(process, slot) for slot in range(SLOTS)]
