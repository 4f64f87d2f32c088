"""A process tree as one thing: its measurements, its health, and its processes' answers to questions."""

import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from falcon import __version__
from falcon.base.process import descendants, start_ticks
from falcon.telemetry import exposition, instruments, probes
from falcon.telemetry.run_folder import signs

_YOUNG_SECONDS: Final = 2.0  # a process that starts cannot answer yet
_HEALTH_SECONDS: Final = 3.0  # longer than the process itself waits for its loop
_PAGE: Final = os.sysconf("SC_PAGESIZE")

# Figures from /proc for each process. The processes do not measure these themselves.
PROCESS_GAUGES: Final = {
    "falcon_process_resident_bytes": "Memory of a process that is in RAM, shared pages included.",
    "falcon_process_pss_bytes": "RAM of a process, with each shared page divided among its sharers.",
    "falcon_process_threads": "Threads of a process.",
    "falcon_process_fds": "File descriptors that a process has open.",
    "falcon_process_fds_max": "The most file descriptors that a process may have open.",
    "falcon_process_uptime_seconds": "How long the process has run.",
    "falcon_process_sampled_seconds": "Age of a process's gauges; if it is more than a few seconds the process hangs.",
}
INFO: Final = ("falcon_build_info", "Always 1; its labels say which versions run.", ("version", "python"))


class ProcessTree:
    """``role``: of the processes that serve; their health is the tree's. ``launcher``: the pid of the tree's root."""

    def __init__(self, folder: Path, launcher: int, role: str) -> None:
        self._folder = folder
        self._launcher = launcher
        self._role = role

    # --- metrics ------------------------------------------------------------------------------------------------------

    def _measured(self) -> list[Family]:
        """The other processes' gauges and histograms are up to a second old, this process's are of now."""
        instruments.sample()
        return exposition.collect(self._folder)

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an Accept header asks for, and its content type."""
        return exposition.render([*self._measured(), *self._process_families(), _info()], accept)

    def processes(self) -> dict[str, int]:
        """The pids of the living processes by their names."""
        return {sign.name: sign.pid for sign in signs(self._folder) if sign.alive}

    def _process_families(self) -> Iterator[Family]:
        found = {name: _figures(pid) for name, pid in self._tree().items()}
        for sign in signs(self._folder):
            if sign.name in found:
                found[sign.name]["falcon_process_sampled_seconds"] = sign.sampled_seconds
        for name, help in PROCESS_GAUGES.items():
            family = GaugeMetricFamily(name, help, labels=("process",))
            for process, figures in found.items():
                if name in figures:
                    family.add_metric((process,), figures[name])
            yield family

    def _tree(self) -> dict[str, int]:
        """All processes, also those without a name."""
        tree = self.processes()
        known = set(tree.values())
        for pid in (self._launcher, *descendants(self._launcher)):
            if pid not in known and _lasts(pid):
                tree[_title(pid)] = pid
        return tree

    # --- asking -------------------------------------------------------------------------------------------------------

    def ask(self, process: str, what: str, arguments: Mapping[str, str] = {}, seconds: float = 5.0) -> Any:
        """Raises probes.NoAnswer."""
        return probes.ask(self._folder, process, what, arguments, seconds)

    def answering(self) -> list[str]:
        """The names of the processes that answer questions: all that live but the launcher, which must not be held
        up."""
        return [name for name in self.processes() if (self._folder / f"{name}.sock").exists()]

    def health(self) -> dict[str, dict[str, bool]]:
        """The health of the serving processes by name. It is empty for a process that does not answer."""
        said: dict[str, dict[str, bool]] = {}
        for sign in signs(self._folder):
            if sign.role == self._role:
                try:
                    said[sign.name] = self.ask(sign.name, "health", seconds=_HEALTH_SECONDS)
                except probes.NoAnswer:
                    said[sign.name] = {}
        return said


def _figures(pid: int) -> dict[str, float]:
    """The figures that can be read of a process, which may have just ended, or may be another user's."""
    figures: dict[str, float] = {}
    proc = Path(f"/proc/{pid}")
    try:
        figures["falcon_process_resident_bytes"] = int((proc / "statm").read_text().split()[1]) * _PAGE
        figures["falcon_process_threads"] = len(list((proc / "task").iterdir()))
        figures["falcon_process_uptime_seconds"] = _uptime(pid)
        figures["falcon_process_fds"] = len(list((proc / "fd").iterdir()))
        figures["falcon_process_fds_max"] = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
        figures["falcon_process_pss_bytes"] = _pss(pid)
    except (OSError, ValueError):
        pass
    return figures


def _lasts(pid: int) -> bool:
    """False for a process that was just forked, and may become another program in a moment, and for one that has
    ended."""
    try:
        return _uptime(pid) > _YOUNG_SECONDS
    except ProcessLookupError:
        return False


def _uptime(pid: int) -> float:
    ticks = start_ticks(pid)
    if ticks is None:
        raise ProcessLookupError(pid)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024.0
    raise ValueError("no Pss")


def _title(pid: int) -> str:
    """A label for a process without a name. It must not contain the pid: each start would be another label."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "ended"
    return "admin" if "Admin" in title else "actor-logger" if "logger" in title else "other"


def _info() -> Family:
    name, help, labels = INFO
    family = GaugeMetricFamily(name, help, labels=labels)
    family.add_metric((__version__, sys.version.split()[0]), 1.0)
    return family
