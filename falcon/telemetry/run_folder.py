"""The folder in which the processes of a tree meet and measure, in memory if there is room for it.

Each process has files there, named for its role and its place ("serve-0") and not for its pid: those of
prometheus-client (``instruments``), a socket (``probes``), and its *sign of life*. So a process that replaces a killed
one has the same files and continues its counts, and however often processes start again, there are no more files.

Space is reserved when a file is made: when memory is full, the first write to a page that was not reserved would kill
the process.
"""

import contextlib
import fcntl
import mmap
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from falcon.base.process import start_ticks, take_lock

SIGN_BYTES: Final = mmap.PAGESIZE  # a file takes whole pages
_SIGN_TEXT_BYTES: Final = 64  # two numbers of at most 20 digits, and one with as many before its point as seconds need
_SHARED_MEMORY: Final = Path("/dev/shm")
_FOLDER: Final = "falcon-run-"
# A data folder has files with .db, too.
_FILES: Final = re.compile(r"(counter|histogram|gauge_\w+)_[a-z]+-\d+\.db|.+\.(sign|new|lock)")


class NoRoom(Exception):
    """A file of a process does not fit into the folder. The message says what to do."""


def reserve(path: Path, size: int) -> None:
    """Make a file of zeros, unless it is there already. It appears whole. Raises NoRoom."""
    if path.exists():
        return
    new = path.with_suffix(".new")
    try:
        handle = os.open(new, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
        finally:
            os.close(handle)
        new.rename(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise NoRoom(
            f"{path} needs {size >> 10} KiB for measurements ({error.strerror}): make room, or set FALCON_RUN_DIR"
        ) from error


class SignOfLife:
    """Says whose files these are, and when that process last measured itself."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises NoRoom."""
        path = folder / f"{name}.sign"
        reserve(path, SIGN_BYTES)
        self._handle = os.open(path, os.O_WRONLY)
        self._whose = f"{os.getpid()} {start_ticks(os.getpid()) or 0}"
        self.renew()

    def renew(self) -> None:
        """Note that the gauges are up to date. Those of a process that hangs stand still, and the other processes must
        be able to tell."""
        os.pwrite(self._handle, f"{self._whose} {time.monotonic():.3f}".ljust(_SIGN_TEXT_BYTES).encode(), 0)


class Sign(NamedTuple):
    """The sign of life of a process, for any process at any time. ``sampled_at``: by CLOCK_MONOTONIC."""

    name: str
    pid: int
    ticks: int
    sampled_at: float

    @property
    def role(self) -> str:
        return self.name.rpartition("-")[0]

    @property
    def sampled_seconds(self) -> float:
        """The age of the gauges."""
        return max(0.0, time.monotonic() - self.sampled_at)

    @property
    def alive(self) -> bool:
        """True if the pid still belongs to the process that wrote the sign."""
        return start_ticks(self.pid) == self.ticks


def signs(folder: Path) -> list[Sign]:
    """All of a tree, by name. Empty if the folder has gone, with a tree that has ended."""
    found: list[Sign] = []
    for path in sorted(folder.glob("*.sign")):
        with contextlib.suppress(OSError, ValueError):  # a file that is being made has no text yet
            pid, ticks, sampled_at = path.read_bytes()[:_SIGN_TEXT_BYTES].split()
            found.append(Sign(path.stem, int(pid), int(ticks), float(sampled_at)))
    return found


@contextlib.contextmanager
def make_folder(processes: int, process_bytes: int, within: Path | None = None) -> Iterator[Path]:
    """Make a folder for this process and its children, ``within`` a given one, or else in memory if the system has a
    place for that with room for the files of so many processes. It is locked, and gone after the block. Raises NoRoom,
    OSError.

    Removes the folders of launchers that were killed.
    """
    if within is not None:
        within.mkdir(parents=True, exist_ok=True)
    bases = (within,) if within is not None else (_SHARED_MEMORY, Path(tempfile.gettempdir()))
    for base in bases:
        _remove_left(base)
    for base in bases:
        if os.access(base, os.W_OK) and _has_room(base, processes * process_bytes):
            folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=base))
            with _opened(folder) as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)  # another start may look whether the folder is in use
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
            return
    raise NoRoom(
        f"{' and '.join(map(str, bases))} cannot take {processes * process_bytes >> 10:,} KiB for the measurements of "
        f"{processes} processes: make room there, or set FALCON_RUN_DIR to another folder"
    )


def _has_room(base: Path, size: int) -> bool:
    disk = shutil.disk_usage(base)
    return disk.total == 0 or disk.free >= size  # a disk in memory may have no limit, and then its total is 0


def _remove_left(base: Path) -> None:
    """The folder's lock tells that its launcher lives, also if that has pids of its own, as in another container."""
    for left in base.glob(f"{_FOLDER}[0-9]*-*"):
        # Another user's folder can have such a name, and so can something else than a folder.
        with contextlib.suppress(OSError), _opened(left) as handle:
            if os.fstat(handle).st_uid == os.geteuid() and take_lock(handle) and _is_of_a_tree(left):
                shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A handle of the folder itself, never of what a link names. Raises OSError at once if it is no folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield handle
    finally:
        os.close(handle)


def _is_of_a_tree(folder: Path) -> bool:
    """Returns True if the folder holds files, and only such as the processes of a tree make: measurements, locks,
    sockets and pipes. Another start may have just made an empty one."""
    modes = {path: path.lstat().st_mode for path in folder.iterdir()}
    return bool(modes) and all(
        stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or (stat.S_ISREG(mode) and _FILES.fullmatch(path.name) is not None)
        for path, mode in modes.items()
    )
