"""A process's values, in a file that it shares with the process that exposes them.

A process tree has a folder, and each process in it a slot, named for its role and its place ("serve-0") and not for its
pid. So a process that replaces a killed one continues counting where that one stopped, at the very last increment: the
kernel keeps a mapped page when the process is killed. Nothing is left over from dead processes, since nothing is named
for them.

A slot is two files. ``NAME.cells`` is an array of doubles: a header, then what was allocated. ``NAME.keys`` has a line
for each allocation: offset, length, metric, kind, and label values, as JSON, and zeros after them. Only its process
writes a slot.

The space of both is reserved when they are made: when memory is full, the first write to a page that was not reserved
would kill the process. A process that measures nothing writes its header only, and reserves no more.
"""

import contextlib
import fcntl
import json
import math
import mmap
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from falcon.process import start_ticks, take_lock

CELLS: Final = 1 << 17
_CELL_BYTES: Final = 8
_KEYS_BYTES: Final = 1 << 18
SLOT_BYTES: Final = CELLS * _CELL_BYTES + _KEYS_BYTES
UNMEASURED_BYTES: Final = mmap.PAGESIZE
_PID, _TICKS, _SAMPLED, _FIRST = 0, 1, 2, 8
_SHARED_MEMORY: Final = Path("/dev/shm")
_FOLDER: Final = "falcon-slots-"
_SUFFIXES: Final = {".cells", ".keys", ".lock"}

Key: TypeAlias = tuple[str, tuple[str, ...]]


class Place(NamedTuple):
    """The place of one label set of a metric. ``kind``: counter, gauge or histogram."""

    offset: int
    length: int
    kind: str


class SlotFull(Exception):
    """There are more label sets than any metric should have."""


class NoRoom(Exception):
    """A slot does not fit into the folder. The message says what to do."""


class SlotHeader:
    """The writing end of a slot's header, which says whose slot it is, and that its process lives."""

    def __init__(self, folder: Path, name: str, reserved: int) -> None:
        self.name = name
        self.cells = memoryview(_mapped(folder / f"{name}.cells", CELLS * _CELL_BYTES, reserved)).cast("d")

    def sign(self) -> None:
        """Note that the slot is this process's from now on."""
        self.cells[_PID], self.cells[_TICKS] = os.getpid(), start_ticks(os.getpid()) or 0
        self.sampled()

    def sampled(self) -> None:
        """Note that the gauges are up to date. Those of a process that hangs stand still, and the other processes must
        be able to tell."""
        self.cells[_SAMPLED] = time.monotonic()


class UnmeasuredSlot(SlotHeader):
    """The slot of a process that measures nothing. It is a page."""

    def __init__(self, folder: Path, name: str) -> None:
        keys = folder / f"{name}.keys"
        if keys.exists():  # a process measured here before: its gauges must not be shown as those of this one
            (folder / f"{name}.cells").unlink(missing_ok=True)
            keys.unlink()
        super().__init__(folder, name, UNMEASURED_BYTES)
        self.sign()


class Slot(SlotHeader):
    """The writing end of a slot."""

    def __init__(self, folder: Path, name: str) -> None:
        self._keys = _mapped(folder / f"{name}.keys", _KEYS_BYTES, _KEYS_BYTES)
        lines = _written(self._keys[:])
        self._keys_end = len(lines)
        self._places = dict(_parsed(lines))
        self._end = max((place.offset + place.length for place in self._places.values()), default=_FIRST)
        super().__init__(folder, name, CELLS * _CELL_BYTES)
        if lines and not lines.endswith(b"\n"):
            self._write(b"\n")  # the process before was killed while it wrote a line
        for place in self._places.values():
            if place.kind == "gauge":  # a gauge of the process before says nothing about this one
                self.cells[place.offset] = math.nan
        self.sign()

    def allocate(self, key: Key, length: int, kind: str) -> int:
        """The offset of this key's cells, which may have values already. Raises SlotFull."""
        place = self._places.get(key)
        if place is not None and (place.length, place.kind) == (length, kind):
            return place.offset
        place = Place(self._end, length, kind)
        line = json.dumps([*place, *_flat(key)], separators=(",", ":")).encode() + b"\n"
        if self._end + length > CELLS or self._keys_end + len(line) > _KEYS_BYTES:
            raise SlotFull(f"no room for {key} in the metrics of {self.name}")
        self._end += length
        if kind == "gauge":
            self.cells[place.offset] = math.nan
        self._write(line)
        self._places[key] = place
        return place.offset

    def _write(self, line: bytes) -> None:
        end = self._keys_end + len(line)
        self._keys[self._keys_end : end] = line
        self._keys_end = end


class SlotView:
    """The reading end of a slot, for any process at any time."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.role = name.rpartition("-")[0]
        self._keys = folder / f"{name}.keys"
        with (folder / f"{name}.cells").open("rb") as file:
            self._map = mmap.mmap(file.fileno(), CELLS * _CELL_BYTES, prot=mmap.PROT_READ)
        self._cells = memoryview(self._map).cast("d")

    @property
    def pid(self) -> int:
        return int(self._cells[_PID])

    @property
    def sampled_seconds(self) -> float:
        """The age of the gauges."""
        return max(0.0, time.monotonic() - self._cells[_SAMPLED])

    @property
    def alive(self) -> bool:
        """True if the pid still belongs to the process that wrote the slot."""
        ticks = start_ticks(self.pid)
        return ticks is not None and ticks == self._cells[_TICKS]

    def read(self) -> Iterator[tuple[Key, str, list[float]]]:
        """Key, kind and cells of all allocations. The last one counts if a key was allocated twice. Empty if the file
        of keys has gone, with the folder of a tree that has ended."""
        try:
            lines = _written(self._keys.read_bytes())
        except FileNotFoundError:
            return
        for key, place in dict(_parsed(lines)).items():
            yield key, place.kind, list(self._cells[place.offset : place.offset + place.length])


@contextlib.contextmanager
def make_folder(processes: int, slot_bytes: int = SLOT_BYTES, within: Path | None = None) -> Iterator[Path]:
    """Make a folder for this process and its children, ``within`` a given one, or else in memory if the system has a
    place for that with room for the slots of so many processes. It is locked, and gone after the block. Raises NoRoom,
    OSError.

    Removes the folders of launchers that were killed.
    """
    if within is not None:
        within.mkdir(parents=True, exist_ok=True)
    bases = (within,) if within is not None else (_SHARED_MEMORY, Path(tempfile.gettempdir()))
    for base in bases:
        _remove_left(base)
    for base in bases:
        if os.access(base, os.W_OK) and _has_room(base, processes * slot_bytes):
            folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=base))
            with _opened(folder) as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)  # another start may look whether the folder is in use
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
            return
    raise NoRoom(
        f"{' and '.join(map(str, bases))} cannot take {processes * slot_bytes >> 10:,} KiB for the measurements of "
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
    """Returns True if the folder holds files, and only such as the processes of a tree make: slots, locks, sockets and
    pipes. Another start may have just made an empty one."""
    modes = {path: path.lstat().st_mode for path in folder.iterdir()}
    return bool(modes) and all(
        stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or (stat.S_ISREG(mode) and path.suffix in _SUFFIXES)
        for path, mode in modes.items()
    )


def views(folder: Path) -> list[SlotView]:
    """All slots, by name."""
    found: list[SlotView] = []
    for path in sorted(folder.glob("*.cells")):
        try:
            found.append(SlotView(folder, path.stem))
        except (OSError, ValueError):
            continue  # it is being made, and will be whole next time
    return found


def _flat(key: Key) -> tuple[str, list[str]]:
    return key[0], list(key[1])


def _mapped(path: Path, size: int, reserved: int) -> mmap.mmap:
    """Map the file for writing, with the space of its first bytes reserved. Raises NoRoom."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(handle, 0, reserved)
        os.ftruncate(handle, size)
        return mmap.mmap(handle, size)
    except OSError as error:
        raise NoRoom(
            f"{path} needs {reserved >> 10} KiB for measurements ({error.strerror}): make room, or set FALCON_RUN_DIR"
        ) from error
    finally:
        os.close(handle)


def _written(keys: bytes) -> bytes:
    """The lines in a file of keys, without the zeros after them."""
    return keys.rstrip(b"\0")


def _parsed(lines: bytes) -> Iterator[tuple[Key, Place]]:
    """Ignores a last line that is cut short: its process was killed while it wrote the line, and nothing has counted
    there."""
    for line in lines.split(b"\n")[:-1]:
        try:
            offset, length, kind, name, labels = json.loads(line)
        except ValueError:
            continue  # cut short, and then appended to
        yield (name, tuple(labels)), Place(offset, length, kind)
