"""Linux's means for several processes: to leave no orphan when one is killed, and to exclude others."""

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Connections that the kernel keeps until they are accepted, within net.core.somaxconn. Beyond that it drops the first
# packets of further clients, who then wait for seconds: a burst from one client must not do that to others.
LISTEN_BACKLOG: Final = 16_384

# From linux/prctl.h.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_PTRACER: Final = 0x59616D61
_PR_SET_PTRACER_ANY: Final = -1


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def take_lock(handle: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock of an open file without waiting. Returns False if another process has it. It lasts until all copies
    of the handle are closed, also by the process's end."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies for any reason, also if it has died already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def allow_profiling() -> None:
    """Let processes of the same user look at this one, even if the kernel (Yama) reserves that for ancestors.

    A kernel without that restriction does not know the option, and none is needed.
    """
    with contextlib.suppress(OSError):
        _prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY)


def raise_descriptors() -> None:
    """Raise the limit of open files and connections of this process and its children to the most that the system
    allows."""
    most = descriptors_max()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def is_open_to_others(path: Path, modes: int) -> bool:
    """True if users other than the owner and its group have one of these modes. As with ssh only what belongs to this
    process's user counts: a volume or a secret of a container may belong to another one, and nothing can be done then.
    Raises OSError."""
    found = path.stat()
    return found.st_uid == os.getuid() and bool(found.st_mode & modes)


def leave_no_cores() -> None:
    """Write no memory to disk when this process, or a child of it, crashes: it has messages, tokens and keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def descriptors_max() -> int:
    """How many files and connections a process may have open; RLIM_INFINITY if there is no limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none is lost."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


@contextlib.contextmanager
def short_path(folder: Path, name: str) -> Iterator[Path]:
    """A short path for a socket: it may have 107 bytes, and a folder's path many more. It goes through an open
    handle."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{handle}") / name
    finally:
        os.close(handle)


def descendants(pid: int) -> list[int]:
    """The processes below this one, nearest first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # it has just ended
        parent = int(text.rpartition(")")[2].split()[1])
        children.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    level = children.get(pid, [])
    while level:
        found += level
        level = [below for child in level for below in children.get(child, [])]
    return found


def start_ticks(pid: int) -> int | None:
    """The start of a process, in the kernel's ticks since boot. None if it has ended, also while it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])
