"""Memory and CPU of this process, between two moments."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """What the process has in memory now, once everything unused is collected."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


class CpuClock:
    """Seconds of CPU of this process, of all its threads, since it was made."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()  # objects of the preparation are not looked at again by each collection
        self._began = time.process_time()

    def seconds(self) -> float:
        used = time.process_time() - self._began
        gc.unfreeze()
        return used
