"""A real ``falcon up`` on a data folder of its own, its processes by role, and ways to hurt them."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from falcon.base.process import descendants
from tools.harness.ports import free_port

START_SECONDS: Final = 30

# The title of each role in the list of processes.
TITLES: Final = {
    "serve": "falcon: serve",
    "ops": "falcon: ops",
}


@dataclass
class Falcon:
    """``settings``: names of Settings' fields, as in FALCON_ variables; one process serves unless they say otherwise.
    ``descriptors``: the system's limit, 0 for its own. ``variables``: of the environment, beside those. ``within``: a
    command that runs the rest of its line somewhere, in the same process."""

    data_dir: Path
    settings: dict[str, Any] = field(default_factory=dict)
    descriptors: int = 0
    variables: dict[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()
    process: "subprocess.Popen[str] | None" = None
    info: dict[str, Any] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.settings = {"http_port": free_port(), "ops_port": free_port(), **self.settings}

    def environment(self) -> dict[str, str]:
        settings = {"processes": 1, "log_level": "warning", **self.settings, "data_dir": self.data_dir}
        own = {f"FALCON_{name.upper()}": str(value) for name, value in settings.items()}
        return {**{k: v for k, v in os.environ.items() if not k.startswith("FALCON_")}, **own, **self.variables}

    def start(self) -> "Falcon":
        """Returns once it accepts commands. The ports stay the same over restarts, as they would for a user."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "up.log").open("a") as log:
            self.process = subprocess.Popen(
                [*self.within, sys.executable, "-m", "falcon", "up", "--json"],
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=self._limit_descriptors if self.descriptors else None,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"falcon up ended without a word: {(self.data_dir / 'up.log').read_text()[-2000:]}"
        self.info = json.loads(line)
        self.pids()
        return self

    def _limit_descriptors(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))

    def pids(self, role: str | None = None) -> list[int]:
        """The processes below the launcher, or those of one role."""
        assert self.process is not None
        found = descendants(self.process.pid)
        self.seen |= {self.process.pid, *found}
        return [pid for pid in found if role is None or title(pid).startswith(TITLES[role])]

    def place(self, number: int) -> int:
        """The process that serves at this place."""
        (pid,) = [pid for pid in self.pids("serve") if title(pid).endswith(f" {number}")]
        return pid

    def kill(self, role: str, chance: Random | None = None) -> int:
        """kill -9 of one process of the role; its pid. The launcher itself is the role ``launcher``. Without a
        ``chance`` it is the last of them."""
        assert self.process is not None
        pids = [self.process.pid] if role == "launcher" else self.pids(role)
        pid = pids[-1] if chance is None else chance.choice(pids)
        os.kill(pid, signal.SIGKILL)
        if role == "launcher":
            self.process.wait()
        return pid

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Ask it to end; how many seconds it took."""
        if self.process is None or self.process.poll() is not None:
            return 0.0
        self.pids()
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        return time.monotonic() - started

    def left(self) -> list[int]:
        """Processes that belonged to it at some time and are still alive."""
        return [pid for pid in self.seen if alive(pid)]

    def log(self) -> str:
        return (self.data_dir / "up.log").read_text()


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
