"""The first steps of every process: it raises its limit of descriptors, configures its log, and is measured."""

import sys
from pathlib import Path
from typing import Final

from falcon.base.process import allow_profiling, leave_no_cores, raise_descriptors
from falcon.run.settings import Settings
from falcon.telemetry import logs, otel, probes

# A thread that waits for a busy one gets its turn after so long; Python's own value is 5 ms. A command passes from
# thread to thread a few times, so with a busy event loop it waited for 25 ms more. Sending is not slower for it.
_SWITCH_SECONDS: Final = 0.001


def begin(settings: Settings, name: str) -> None:
    """``name``: of the process in its tree, such as serve-0. Once a process, after it was forked. Raises NoRoom."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    raise_descriptors()
    leave_no_cores()
    logs.configure(name, settings.log_level, settings.log_format)
    otel.configure(name)
    if settings.run_dir:
        allow_profiling()
        probes.start(Path(settings.run_dir), name)
