"""What a request costs this process, measured while it is answered."""

import time
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


@coroutine
def measured(work: "Coroutine[Any, Any, T]", charge: Callable[[float], None]) -> Generator[Any, Any, T]:
    """Run the work, and charge the processor time of this thread that its steps took, in seconds, when it ends in
    whatever way. What runs while it waits is not its own."""
    used, value, error = 0.0, None, None
    try:
        while True:
            began = time.thread_time()
            try:
                awaited = work.send(value) if error is None else work.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                used += time.thread_time() - began
            value = error = None
            try:
                value = yield awaited
            except BaseException as thrown:  # the work decides what becomes of it
                error = thrown
    finally:
        charge(used)
