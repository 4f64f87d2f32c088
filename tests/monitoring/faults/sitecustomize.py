"""Faults of the code, for a Falcon that has this folder on its PYTHONPATH; see ``tests.monitoring.provoking``.

Python imports a module of this name when it starts. Without the variable it does nothing; with it, each fault is there
for as long as a file of its name stands in the folder that the variable names.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, Final

FOLDER: Final = os.environ.get("PROVOKED_FAULTS", "")
_SLOW_SECONDS: Final = 1.2
_SLOW_EVERY_SECONDS: Final = 4.0
_LEAKED_BYTES: Final = 512 << 10  # with a request
# As many requests as there are would reach the most before the alert looks at a process of this age.
_LEAKED_SECONDS: Final = 0.3
_LEAKED_MAX: Final = 600  # a test must not take all of the machine's memory: three minutes
_GARBAGE: Final = 40_000  # objects with each request


def _is_there(fault: str) -> bool:
    return os.access(f"{FOLDER}/{fault}", os.F_OK)


class _Handlers:
    """Faults of reading messages."""

    def __init__(self) -> None:
        self._leaked: list[bytearray] = []
        self._leaks_again = 0.0
        self._kept: list[list[Any]] = []
        self._previews: Any = None

    def spoil(self, module: ModuleType) -> None:
        history_of = module.Edge.history_of

        def spoiled(*arguments: Any) -> Any:
            self._meet()
            return history_of(*arguments)

        module.Edge.history_of = spoiled

    def _meet(self) -> None:
        if _is_there("handler-raises"):
            raise LookupError("a handler has a fault")
        while _is_there("handler-blocks"):
            time.sleep(0.05)
        if _is_there("memory-leaks"):
            self._leak()
        else:
            self._leaked.clear()
        if _is_there("garbage"):
            self._litter()
        if _is_there("dispatcher-hangs"):
            self._hang()

    def _leak(self) -> None:
        now = time.monotonic()
        if now >= self._leaks_again and len(self._leaked) < _LEAKED_MAX:
            self._leaks_again = now + _LEAKED_SECONDS
            self._leaked.append(bytearray(b"x" * _LEAKED_BYTES))

    def _litter(self) -> None:
        """Objects that only the collector can free, beside many that are new and that it looks at in vain."""
        kept: list[list[Any]] = []
        for i in range(_GARBAGE):
            kept.append([[i], [[i]]])
            circle: list[Any] = []
            circle.append(circle)
        self._kept = kept

    def _hang(self) -> None:
        """A request waits for another thread, which does not come back."""
        from falcon.telemetry.dispatchers import Dispatcher, Saturated

        def make() -> None:
            while _is_there("dispatcher-hangs"):
                time.sleep(0.05)

        if self._previews is None:
            self._previews = Dispatcher("previews", threads=2, queue=4)
        try:
            self._previews.submit(make)
        except Saturated:
            return  # the request is answered without it


class _Actors:
    """An actor that works long on a message now and then."""

    def __init__(self) -> None:
        self._slow_at = 0.0

    def spoil(self, actors: ModuleType) -> None:
        tick = actors.RoomShardActor._tick  # a message that comes by itself

        def spoiled(actor: Any) -> None:
            if _is_there("actor-is-slow") and time.monotonic() > self._slow_at:
                time.sleep(_SLOW_SECONDS)
                self._slow_at = time.monotonic() + _SLOW_EVERY_SECONDS
            tick(actor)

        actors.RoomShardActor._tick = spoiled


class _Disk:
    """A disk of 10 GiB. While it fills, what is left above the reserve of 0.5 shrinks by a fifteenth each second, so
    that it is as near to its end at any time. Once it is full, nothing is left."""

    def __init__(self) -> None:
        self._began = 0.0

    def spoil(self, module: ModuleType) -> None:
        look = module.Disk.look

        def spoiled(disk: Any) -> None:
            if _is_there("disk-full"):
                disk._statvfs = lambda folder: _disk_of_10_gib(0.25)
            elif _is_there("disk-fills"):
                disk._statvfs = self._filling
            else:
                disk._statvfs, self._began = os.statvfs, time.monotonic()
            look(disk)

        module.Disk.look = spoiled

    def _filling(self, folder: Any) -> os.statvfs_result:
        return _disk_of_10_gib(0.5 + 2.0 * math.exp((self._began - time.monotonic()) / 15))


def _disk_of_10_gib(free: float) -> os.statvfs_result:
    blocks = int(free * (1 << 18))
    return os.statvfs_result((4096, 4096, 10 << 18, blocks, blocks, 0, 0, 0, 0, 255))


_SPOILED: Final[dict[str, Callable[[ModuleType], None]]] = {
    "falcon.http.edge": _Handlers().spoil,
    "falcon.adapters.thespian.actors": _Actors().spoil,
    "falcon.write.disk": _Disk().spoil,
}


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _SPOILED[module.__name__](module)


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name in _SPOILED else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin)
        return spec


if FOLDER:
    sys.meta_path.insert(0, _Finder())
