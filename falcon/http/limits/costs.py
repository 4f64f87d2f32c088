"""Measures what a request costs this process while it is answered."""

import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from types import coroutine
from typing import Any, Final, TypeVar

from falcon.http.limits.usages import Usage
from falcon.http.requests import USAGE

T = TypeVar("T")

# The system takes 0.4 µs to say how much processor time a thread has used, ten times as long as to say what time it is.
# Between two such questions others of this thread may have worked for so long, which a long step pays too.
ASK_SECONDS: Final = 0.005
# An account pays at least for so much of the processor, before a request begins: most take less, and are not measured
# when they end. 70 requests a second, as many as an account may have by default, pay for 7 ms.
SHORT_SECONDS: Final = 0.0001


class Processor:
    """The processor time of this thread, which the steps of requests share. A step does not wait, so it has the
    processor for as long as it lasts. Only of a long step the system is asked if others had it meanwhile.

    One step runs at a time, and none within another. The runner of a request's steps sets two fields before each step:
    ``before``, the seconds that earlier steps took, and ``began``. It calls ``ask`` if ``asked_at`` is ASK_SECONDS ago.
    """

    def __init__(self) -> None:
        self.before = 0.0
        self.began = 0.0
        self.asked_at = -ASK_SECONDS
        self._used = 0.0  # in seconds, when the system was last asked

    def ask(self, now: float) -> None:
        self.asked_at, self._used = now, time.thread_time()

    def spent(self, now: float) -> float:
        """The seconds that the request whose step runs has taken up to ``now``."""
        took = now - self.began
        if took > ASK_SECONDS:
            used = self._used
            self.ask(now)
            took = min(took, max(0.0, self._used - used))
        return self.before + took


PROCESSOR: Final = Processor()


@coroutine
def stepwise(work: "Coroutine[Any, Any, T]", scope: Mapping[str, Any]) -> Generator[Any, Any, T]:
    """Run the work, whose steps are measured: within it :meth:`Processor.spent` says what it has taken. What runs while
    it waits is not its own. From its first wait on the request is under way for the usage in its ``scope``."""
    usage: Usage | None = None
    try:
        value, error, before = None, None, 0.0
        while True:
            PROCESSOR.before, PROCESSOR.began = before, time.perf_counter()
            if PROCESSOR.began - PROCESSOR.asked_at > ASK_SECONDS:
                PROCESSOR.ask(PROCESSOR.began)
            try:
                awaited = work.send(value) if error is None else work.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            before = PROCESSOR.spent(time.perf_counter())
            if usage is None and USAGE in scope:
                usage = scope[USAGE]
                usage.under_way += 1
            value = error = None
            try:
                value = yield awaited
            except BaseException as thrown:  # the work decides what becomes of it
                error = thrown
    finally:
        if usage is not None:
            usage.under_way -= 1


async def measured(work: "Coroutine[Any, Any, T]", charge: Callable[[float], None]) -> T:
    """Run the work. When it ends, also by an exception, charge the processor time of this thread that its steps took,
    in seconds."""
    return await stepwise(_charged(work, charge), {})


async def _charged(work: "Coroutine[Any, Any, T]", charge: Callable[[float], None]) -> T:
    try:
        return await work
    finally:
        charge(PROCESSOR.spent(time.perf_counter()))
