"""The node's cgroup, below which every pod has its own; and the kernel's settings that kubelet changes."""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from tools.node.place import NAME
from tools.servers.daemon import POLL_SECONDS, ServerFault

_ROOT: Final = Path("/sys/fs/cgroup")
_ALL: Final = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
_GONE_SECONDS: Final = 10.0
_WEIGHT: Final = 16  # of all pods, in processes of this machine; they would be one, and a busy machine starves them
_SETTINGS: Final = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def make() -> None:
    """Version 1, a tree a controller, is what this was tried with; version 2 is one tree."""
    if (_ROOT / "cgroup.controllers").exists():
        (_ROOT / NAME).mkdir(exist_ok=True)
        controllers = (_ROOT / "cgroup.controllers").read_text().split()
        (_ROOT / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
        (_ROOT / NAME / "cpu.weight").write_text(str(100 * _WEIGHT))
        return
    for controller in _ALL:
        if (_ROOT / controller).is_dir():
            (_ROOT / controller / NAME).mkdir(exist_ok=True)
    (_ROOT / "cpu" / NAME / "cpu.shares").write_text(str(1024 * _WEIGHT))
    for name in ("cpuset.cpus", "cpuset.mems"):  # empty in a new one, and nothing could run in it
        (_ROOT / "cpuset" / NAME / name).write_text((_ROOT / "cpuset" / name).read_text())


def processes() -> set[int]:
    """The processes of all pods."""
    found = set()
    for tree in _trees():
        for folder in _within(tree):
            with suppress(OSError):  # it has just been removed
                found |= {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
    return found


def remove() -> None:
    """Raises ServerFault if a process still runs in it."""
    until = time.monotonic() + _GONE_SECONDS
    while trees := _trees():
        for tree in trees:
            for folder in _within(tree):
                with suppress(OSError):
                    folder.rmdir()
        if time.monotonic() > until:
            raise ServerFault(f"{trees[0]} cannot be removed; a process runs in it that does not end")
        time.sleep(POLL_SECONDS)


def _within(tree: Path) -> list[Path]:
    """The cgroups of a tree, each before the one that it is in. One that a pod's end removes meanwhile is no error:
    ``os.walk`` passes over it, where ``rglob`` raises."""
    return [Path(folder) for folder, _, _ in os.walk(tree, topdown=False)]


def _trees() -> list[Path]:
    return [path for path in (*_ROOT.glob(f"*/{NAME}"), _ROOT / NAME) if path.is_dir()]


def keep_settings(folder: Path) -> None:
    """Note what the kernel's settings are before the node changes them."""
    for name in _SETTINGS:
        kept = folder / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text((Path("/proc/sys") / name).read_text())


def put_settings_back(folder: Path) -> None:
    for name in _SETTINGS:
        if (folder / name).exists():
            (Path("/proc/sys") / name).write_text((folder / name).read_text())
    shutil.rmtree(folder, ignore_errors=True)
