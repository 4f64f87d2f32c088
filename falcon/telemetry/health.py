"""The answers of a process to the probes."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import Final

from falcon.telemetry import probes

_LOOP_SECONDS: Final = 2.0  # a loop that gives no turn for so long is stuck


class Health:
    """``ready`` is called for each probe: the process can serve now. ``draining``: it is about to end."""

    def __init__(self) -> None:
        self.started = False
        self.draining = False
        self.ready: Callable[[], bool] = lambda: True

    def tell(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Answer probes of this process. It is alive while the ``loop``, if it has one, answers."""

        def said(arguments: Mapping[str, str]) -> dict[str, bool]:
            return {
                "live": loop is None or _answers(loop),
                "started": self.started,
                "draining": self.draining,
                "ready": self.started and self.ready(),
            }

        probes.answer("health", said)


def _answers(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(_LOOP_SECONDS)
    except (WaitedTooLong, RuntimeError):  # it is stuck, or closed
        return False
    return True
