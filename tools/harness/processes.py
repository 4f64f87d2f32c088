"""The processes that a benchmark starts: their CPU and memory, and that none of them stays.

The benchmark adopts orphans (PR_SET_CHILD_SUBREAPER), so all that a server starts remains its descendant. It can be
counted while it runs, and ended by its id when the benchmark ends for any reason.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PR_SET_CHILD_SUBREAPER = 36
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Proc:
    """A line of /proc/PID/stat: CPU in ticks, that of its reaped children included."""

    pid: int
    parent: int
    started: int
    ticks: int
    state: str


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB. PSS shares out the pages that several processes map, so it adds up; RSS counts them in each."""

    title: str
    rss: float
    pss: float


def adopt_orphans() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def scan() -> dict[int, Proc]:
    """Every process of the machine, by id."""
    found: dict[int, Proc] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            text = Path(entry.path, "stat").read_text()
        except OSError:
            continue
        # The name in parentheses may itself hold spaces and parentheses.
        fields = text.rpartition(")")[2].split()
        pid = int(entry.name)
        found[pid] = Proc(
            pid=pid,
            parent=int(fields[1]),
            started=int(fields[19]),
            ticks=sum(map(int, fields[11:15])),
            state=fields[0],
        )
    return found


def descendants(roots: Iterable[int], processes: Mapping[int, Proc]) -> set[int]:
    """The roots that live and everything below them."""
    children: dict[int, list[int]] = {}
    for proc in processes.values():
        children.setdefault(proc.parent, []).append(proc.pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in processes]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


class Tree:
    """The processes of one server, by descent; the ones that lost their parent stay in it."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}  # process id → when it started, as ids are used again

    def add(self, pid: int) -> None:
        proc = scan().get(pid)
        if proc is not None:
            self._known[pid] = proc.started

    def claim_strays(self, others: Iterable[Tree]) -> None:
        """Take the orphans that the benchmark has adopted since the other trees were complete."""
        processes = scan()
        taken = {pid for tree in others for pid in tree._living(processes)} | _started_here
        for proc in processes.values():
            if proc.parent == os.getpid() and proc.pid not in taken:
                self._known.setdefault(proc.pid, proc.started)
        self._living(processes)

    def pids(self) -> set[int]:
        """The pids that run, without zombies."""
        processes = scan()
        return {pid for pid in self._living(processes) if processes[pid].state != "Z"}

    def cpu_seconds(self) -> float:
        """User and system time of the tree so far, with the children that it has reaped."""
        processes = scan()
        return sum(processes[pid].ticks for pid in self._living(processes)) / _TICK

    def memory(self) -> list[Memory]:
        """The memory of each process, the largest first."""
        found = [memory for pid in self.pids() if (memory := _memory_of(pid)) is not None]
        return sorted(found, key=lambda memory: -memory.pss)

    def cores(self) -> set[int]:
        """Every core that a process of the tree may run on."""
        cores: set[int] = set()
        for pid in self.pids():
            try:
                cores |= os.sched_getaffinity(pid)
            except ProcessLookupError:
                continue
        return cores

    def kill(self) -> None:
        """SIGKILL to all of them until none is left, and reap our children. Raises TimeoutError after 10 s."""
        deadline = time.monotonic() + 10
        while True:
            processes = scan()
            living = {pid for pid in self._living(processes) if processes[pid].state != "Z"}
            _kill(living)
            reap_adopted()
            if not living:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes {sorted(living)} do not end")
            time.sleep(0.005)

    def _living(self, processes: Mapping[int, Proc]) -> set[int]:
        roots = [pid for pid, started in self._known.items() if pid in processes and processes[pid].started == started]
        living = descendants(roots, processes)
        self._known = {pid: processes[pid].started for pid in living}
        return living


# Children that subprocess waits for itself; all other children of ours are adopted.
_started_here: set[int] = set()


def spawn(
    command: list[str],
    core: int,
    *,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command on one core, in a session of its own so that a Ctrl-C at the terminal reaches us alone."""
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        env=dict(env) if env is not None else None,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    _started_here.add(process.pid)
    return process


def register(pid: int) -> None:
    """Say that a process started elsewhere in the benchmark is waited for there."""
    _started_here.add(pid)


def terminate(process: subprocess.Popen[bytes], seconds: float, sig: signal.Signals = signal.SIGTERM) -> bool:
    """Ask it to end and wait; gives False when it had to be killed."""
    if process.poll() is None:
        process.send_signal(sig)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def reap_adopted() -> None:
    """Let go of adopted processes that have ended."""
    processes = scan()
    for proc in processes.values():
        if proc.parent == os.getpid() and proc.state == "Z" and proc.pid not in _started_here:
            try:
                os.waitpid(proc.pid, os.WNOHANG)
            except ChildProcessError:
                continue


def kill_everything() -> None:
    """End every descendant of this process, whichever process started it."""
    for _ in range(100):
        processes = scan()
        below = descendants([os.getpid()], processes) - {os.getpid()}
        living = {pid for pid in below if processes[pid].state != "Z"}
        if not living:
            break
        _kill(living)
        time.sleep(0.02)
    reap_adopted()


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _memory_of(pid: int) -> Memory | None:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    kib = {line.split(":")[0]: int(line.split()[1]) for line in rollup.splitlines()[1:] if line.endswith("kB")}
    if "Pss" not in kib:
        return None
    return Memory(title=title, rss=kib["Rss"] / 1024, pss=kib["Pss"] / 1024)
