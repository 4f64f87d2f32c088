"""Measures what a request costs this process while it is answered."""

import time
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

# The system takes 0.4 µs to say how much processor time a thread has used, ten times as long as to say what time it is.
# Between two such questions others of this thread may have worked for so long, which a long step pays too.
ASK_SECONDS: Final = 0.005


class Processor:
    """The processor time of this thread, which the steps of requests share. A step does not wait, so it has the
    processor for as long as it lasts. Only of a long step the system is asked if others had it meanwhile.

    ``used``: in seconds, when the system was last asked, at ``asked_at``.
    """

    def __init__(self) -> None:
        self.asked_at = -ASK_SECONDS
        self.used = 0.0


PROCESSOR: Final = Processor()


@coroutine
def measured(work: "Coroutine[Any, Any, T]", charge: Callable[[float], None]) -> Generator[Any, Any, T]:
    """Run the work, and charge the processor time of this thread that its steps took, in seconds, when it ends in
    whatever way. What runs while it waits is not its own."""
    used, value, error = 0.0, None, None
    try:
        while True:
            began = time.perf_counter()
            if began - PROCESSOR.asked_at > ASK_SECONDS:
                PROCESSOR.asked_at, PROCESSOR.used = began, time.thread_time()
            try:
                awaited = work.send(value) if error is None else work.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                now = time.perf_counter()
                took = now - began
                if took > ASK_SECONDS:
                    before, PROCESSOR.asked_at, PROCESSOR.used = PROCESSOR.used, now, time.thread_time()
                    took = min(took, max(0.0, PROCESSOR.used - before))
                used += took
            value = error = None
            try:
                value = yield awaited
            except BaseException as thrown:  # the work decides what becomes of it
                error = thrown
    finally:
        charge(used)
