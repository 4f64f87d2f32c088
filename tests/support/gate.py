"""A gate at which a thread waits until the test opens it."""

import threading
from typing import Final

GATE_SECONDS: Final = 60.0  # then the test has failed


class Gate:
    """Holds each call until it is opened. ``reached`` is released once for each call."""

    def __init__(self) -> None:
        self.reached = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self) -> None:
        self.reached.release()
        self._open.wait(GATE_SECONDS)

    def open(self) -> None:
        self._open.set()
