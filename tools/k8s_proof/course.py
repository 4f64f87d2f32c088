"""The course of an autoscaler."""

import time

import msgspec


class Sample(msgspec.Struct):
    """``at``: seconds since the beginning. By role: pods that are ready, and the CPU of each in percent of what it
    requests, as the autoscaler sees it."""

    at: float
    ready: dict[str, int]
    cpu: dict[str, int]


class Request(msgspec.Struct):
    """``seconds``: until it was answered, retries included."""

    at: float
    seconds: float


class Course(msgspec.Struct):
    """``began`` by the monotonic clock, all else in seconds since then. ``busy``: when the load was high."""

    began: float
    samples: list[Sample] = []
    requests: list[Request] = []
    retries: int = 0
    failed: int = 0
    busy: tuple[float, float] = (0.0, 0.0)

    def now(self) -> float:
        return time.monotonic() - self.began
