"""The room that is left on the disk of one machine's log, and what is still taken when there is little of it."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from falcon.domain.commands import ReadPosition
from falcon.features.catalogue import modules
from falcon.telemetry import metrics

log = logging.getLogger("falcon.disk")

# What only takes away, so that there is an end to it, and an operator's tokens. Their records are a few hundred bytes.
TAKEN_TO_THE_END: Final = (ReadPosition, *(command for rules in modules("rules") for command in rules.FREEING))

# Kept for these, for checkpoints and for SQLite's log: 0.5 GiB of a volume of 10, which takes an hour to fill with them
# at 100 KB/s. It is room enough for an operator to act, and little enough not to be missed.
_RESERVE_SHARE: Final = 0.05
_RESERVE_BYTES: Final = 1 << 30
# More than the reserve must be free before anything new is taken again, or each checkpoint would turn it on and off.
_CLEARLY: Final = 1.25


class Disk:
    """Look at it some times a second. ``is_nearly_full``: at the last look less than the reserve was free, which is the
    smaller of 5 % of the disk and 1 GiB. Another thread may read it."""

    def __init__(self, folder: Path | None = None, statvfs: "Callable[[Path], os.statvfs_result]" = os.statvfs) -> None:
        """``folder``: on the disk. Without one there is always room: a cluster's log is on the disks of its servers."""
        self._folder = folder
        self._statvfs = statvfs
        self.is_nearly_full = False

    def look(self) -> None:
        if self._folder is None:
            return
        try:
            found = self._statvfs(self._folder)
        except OSError:  # the journal meets the same error, and says so
            return
        free = found.f_bavail * found.f_frsize
        reserve = min(found.f_blocks * found.f_frsize * _RESERVE_SHARE, _RESERVE_BYTES)
        metrics.disk_free.labels().set(free)
        metrics.disk_reserve.labels().set(reserve)
        is_nearly_full = free < reserve * (_CLEARLY if self.is_nearly_full else 1.0)
        if is_nearly_full != self.is_nearly_full:
            self.is_nearly_full = is_nearly_full
            self._say(free, reserve)

    def _say(self, free: float, reserve: float) -> None:
        if self.is_nearly_full:
            log.error(
                "the disk of %s has %.0f MiB left: nothing new is taken until %.0f MiB are free",
                self._folder,
                free / 2**20,
                reserve * _CLEARLY / 2**20,
            )
        else:
            log.warning("the disk of %s has %.0f MiB left: all is taken again", self._folder, free / 2**20)
