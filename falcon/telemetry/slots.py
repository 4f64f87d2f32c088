"""A process's values, in a file that it shares with the process that exposes them.

A process tree has a folder, and each process in it a slot, named for its role and its place ("serve-0") and not for its
pid. So a process that replaces a killed one goes on counting where that one stopped, at the very last increment: the
kernel keeps a mapped page when the process is killed. Nothing is left over from dead processes, since nothing is named
for them.

A slot is two files. ``NAME.cells`` is an array of doubles: a header, then what was allocated. ``NAME.keys`` has a line
for each allocation: offset, length, metric, kind, and label values, as JSON. Only its process writes a slot.
"""

import json
import math
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

CELLS: Final = 1 << 17  # a megabyte that takes no memory until it is used
_PID, _TICKS, _SAMPLED, _FIRST = 0, 1, 2, 8
_SHARED_MEMORY: Final = Path("/dev/shm")
_FOLDER: Final = "falcon-"

Key: TypeAlias = tuple[str, tuple[str, ...]]


class Place(NamedTuple):
    """The place of one label set of a metric. ``kind``: counter, gauge or histogram."""

    offset: int
    length: int
    kind: str


class SlotFull(Exception):
    """There are more label sets than any metric should have."""


class Slot:
    """The writing end of a slot."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self._keys = folder / f"{name}.keys"
        self._places = dict(_read_keys(self._keys)) if self._keys.exists() else {}
        self._end = max((place.offset + place.length for place in self._places.values()), default=_FIRST)
        handle = os.open(folder / f"{name}.cells", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, CELLS * 8)
            self.cells = memoryview(mmap.mmap(handle, CELLS * 8)).cast("d")
        finally:
            os.close(handle)
        if self._keys.exists() and not self._keys.read_bytes().endswith(b"\n"):
            self._write(b"\n")  # the process before was killed while it wrote a line
        for place in self._places.values():
            if place.kind == "gauge":  # a gauge of the process before says nothing about this one
                self.cells[place.offset] = math.nan
        self.cells[_PID], self.cells[_TICKS] = os.getpid(), start_ticks(os.getpid()) or 0
        self.sampled()

    def sampled(self) -> None:
        """Note that the gauges are up to date. Those of a process that hangs stand still, and the other processes must
        be able to tell."""
        self.cells[_SAMPLED] = time.monotonic()

    def allocate(self, key: Key, length: int, kind: str) -> int:
        """The offset of this key's cells, which may have values already. Raises SlotFull."""
        place = self._places.get(key)
        if place is not None and (place.length, place.kind) == (length, kind):
            return place.offset
        if self._end + length > CELLS:
            raise SlotFull(f"no room for {key} in the metrics of {self.name}")
        place = Place(self._end, length, kind)
        self._end += length
        if kind == "gauge":
            self.cells[place.offset] = math.nan
        line = json.dumps([*place, *_flat(key)], separators=(",", ":")) + "\n"
        self._write(line.encode())
        self._places[key] = place
        return place.offset

    def _write(self, line: bytes) -> None:
        handle = os.open(self._keys, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)


class SlotView:
    """The reading end of a slot, for any process at any time."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.role, _, self.index = name.rpartition("-")
        self._keys = folder / f"{name}.keys"
        with (folder / f"{name}.cells").open("rb") as file:
            self._map = mmap.mmap(file.fileno(), CELLS * 8, prot=mmap.PROT_READ)
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
        """Key, kind and cells of all allocations. The last one counts if a key was allocated twice."""
        for key, place in dict(_read_keys(self._keys)).items():
            yield key, place.kind, list(self._cells[place.offset : place.offset + place.length])


def make_folder() -> Path:
    """Make a folder for this process and its children, in memory if the system has a place for that.

    Removes the folders of launchers that were killed.
    """
    base = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in base.glob(f"{_FOLDER}*-*"):
        pid, _, ticks = left.name.removeprefix(_FOLDER).partition("-")
        if pid.isdigit() and str(start_ticks(int(pid))) != ticks:
            shutil.rmtree(left, ignore_errors=True)
    folder = base / f"{_FOLDER}{os.getpid()}-{start_ticks(os.getpid())}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


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


def _read_keys(path: Path) -> Iterator[tuple[Key, Place]]:
    """Ignores a last line that is cut short: its process was killed while it wrote the line, and nothing has counted
    there."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines[:-1]:
        try:
            offset, length, kind, name, labels = json.loads(line)
        except ValueError:
            continue  # cut short, and then appended to
        yield (name, tuple(labels)), Place(offset, length, kind)


def start_ticks(pid: int) -> int | None:
    """The start of a process, in the kernel's ticks since boot. None if it has ended, also while it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])
