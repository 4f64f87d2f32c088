"""The node's processes: each is one of the programs, in the node's network namespace."""

import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.harness.waiting import holds_within
from tools.node.network import INSIDE
from tools.servers.daemon import Daemon

_MARK: Final = "FALCON_NODE_PROCESS"
_EXEC_SECONDS: Final = 0.5


@dataclass(slots=True)
class Process(Daemon):
    """Known by a variable, since these programs take no argument that they do not know."""

    def run(self, program: str | Path, *options: str) -> None:
        """Run it in the background, without this machine's proxies, which the node cannot reach."""
        no_proxy = dict.fromkeys((name for name in os.environ if name.lower().endswith("_proxy")), "")
        self.launch(str(program), options, {**no_proxy, _MARK: f"{self.folder}/{self.name}"})

    def _command(self, program: str, options: Sequence[str]) -> list[str]:
        return [*INSIDE, program, *options]

    def _is_marked(self, pid: int) -> bool:
        # It becomes another program just now, and has no environment for a moment.
        holds_within(lambda: _variables(pid) or not _lives(pid), _EXEC_SECONDS, every=0.001)
        return f"{_MARK}={self.folder}/{self.name}" in _variables(pid)


def marked(folder: Path) -> set[int]:
    """Every process of the node in this folder, with their descendants; pods are not among them."""
    pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return {pid for pid in pids if _mark(pid).startswith(f"{folder}/")}


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _mark(pid: int) -> str:
    return next((each.partition("=")[2] for each in _variables(pid) if each.startswith(f"{_MARK}=")), "")


def _variables(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="surrogateescape")
    except OSError:
        return []
    return [each for each in text.split("\0") if each]


def _lives(pid: int) -> bool:
    """True if it exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
