"""Nudges between the processes of one machine: one of them has written something that the others may wait for."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 1 << 16  # as many as a pipe holds


class Nudges:
    """Each process has a pipe in ``folder``. A byte in it is a nudge, and the ones that come before the process looks
    are one.

    ``names``: of the processes; ``here``: the number of this one among them. A process that was killed leaves its pipe
    to the next one with its name.
    """

    def __init__(self, folder: Path, names: Sequence[str], here: int) -> None:
        self._pipe = _open(folder, names[here])
        self._others = [_open(folder, name) for number, name in enumerate(names) if number != here]
        self._nudged: Callable[[], None]

    def open(self, nudged: Callable[[], None]) -> None:
        """``nudged`` is called on the running event loop."""
        self._nudged = nudged
        asyncio.get_running_loop().add_reader(self._pipe, self._read)

    def send(self) -> None:
        """Nudge every other process."""
        for pipe in self._others:
            try:
                os.write(pipe, b"\0")
            except BlockingIOError:
                continue  # it is full: its process has been nudged and has not looked

    def close(self) -> None:
        """Stop sending."""
        asyncio.get_running_loop().remove_reader(self._pipe)
        others, self._others = self._others, []
        for pipe in (self._pipe, *others):
            os.close(pipe)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._pipe, _READ_BYTES)
        self._nudged()


def _open(folder: Path, name: str) -> int:
    path = folder / f"{name}.nudges"
    with suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
