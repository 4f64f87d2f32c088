"""The machine that a benchmark runs on: its cores, its disk, and what to call it."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import apsw

from falcon.cli.doctor import how_built


class MachineUnfit(Exception):
    """The benchmark cannot run here. The message says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for every process of the servers, another for the load generator."""

    server: int
    generator: int


def choose_cores() -> Cores:
    """Two cores of those we may use, not two threads of one core if there is a choice. Raises MachineUnfit."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise MachineUnfit("the benchmark needs two cores: one for the servers, one for the load generator")
    generator = usable[0]
    siblings = _siblings(generator)
    server = next((core for core in reversed(usable) if core not in siblings), usable[-1])
    return Cores(server=server, generator=generator)


def _siblings(core: int) -> set[int]:
    try:
        text = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text()
    except OSError:
        return {core}
    siblings: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        siblings.update(range(int(first), int(last or first) + 1))
    return siblings


def work_folder_parent(chosen: Path | None) -> Path:
    """A folder for the servers' data: on a disk, so that durability costs what it costs. Raises MachineUnfit."""
    candidates = [chosen] if chosen else [Path("/var/tmp"), Path("/tmp"), Path.cwd() / "build"]
    for folder in candidates:
        folder.mkdir(parents=True, exist_ok=True)
        if filesystem(folder) not in ("tmpfs", "ramfs"):
            return folder
    raise MachineUnfit(f"{candidates[0]} lies in memory; name a folder on a disk with --folder")


def filesystem(folder: Path) -> str:
    """The type of the file system that holds the folder (ext4, xfs, tmpfs), or "unknown"."""
    best, kind = "", "unknown"
    real = str(folder.resolve())
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, type_, *_ = line.split()
        inside = point == "/" or real == point or real.startswith(point + "/")
        if inside and len(point) >= len(best):
            best, kind = point, type_
    return kind


def raise_open_files() -> int:
    """Let this process and what it starts have as many files open as the system permits; gives that number."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def require_wrk() -> None:
    """Raises MachineUnfit when the load generator is not installed."""
    if shutil.which("wrk") is None:
        raise MachineUnfit("wrk, the load generator, is not installed; on Debian: apt-get install wrk")


def describe(folder: Path, cores: Cores) -> dict[str, str]:
    """The facts that a reader needs to compare these figures with others."""
    packages = ("falcon-chat", "thespian", "starlette", "uvicorn", "uvloop", "httptools", "msgspec", "apsw", "asyncpg")
    versions = [f"{name} {_version(name)}" for name in packages]
    versions.append(f"SQLite {apsw.sqlite_lib_version()}")
    versions.append(f"wrk {_wrk_version()}")
    return {
        "Processor": f"{_cpu_model()}, {os.cpu_count()} cores visible; servers on {cores.server}, "
        f"load generator on {cores.generator}",
        "Memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "System": f"{platform.system()} {platform.release()}, data on {filesystem(folder)}",
        "Python": f"{platform.python_version()} ({platform.python_compiler()}), {how_built()}",
        "Versions": ", ".join(versions),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _wrk_version() -> str:
    if shutil.which("wrk") is None:
        return "missing"
    shown = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return shown.split()[1] if shown.startswith("wrk") else "missing"
