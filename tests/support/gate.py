"""A gate at which a thread waits until the test opens it."""

import threading


class Gate:
    """Holds each call until it is opened. ``reached`` is released once for each call."""

    def __init__(self) -> None:
        self.reached = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self) -> None:
        self.reached.release()
        self._open.wait(30)

    def open(self) -> None:
        self._open.set()
