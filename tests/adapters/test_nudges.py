"""A process that has written something wakes the others, which may wait for it."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from falcon.adapters.sockets.nudges import Nudges
from tools.harness.waiting import eventually


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


class Process:
    """One of two. ``nudged``: how often it was."""

    def __init__(self, folder: Path, here: int) -> None:
        self.nudges = Nudges(folder, ("ann", "ben"), here)
        self.nudged = 0
        self.nudges.open(self._count)

    def _count(self) -> None:
        self.nudged += 1


def test_a_nudge_wakes_the_other_process_and_not_the_one_that_sent_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        ann, ben = Process(tmp_path, 0), Process(tmp_path, 1)
        ann.nudges.send()
        await eventually(lambda: ben.nudged == 1)
        ben.nudges.send()
        await eventually(lambda: ann.nudged == 1)
        assert (ann.nudged, ben.nudged) == (1, 1)
        ann.nudges.close()
        ben.nudges.close()

    run(scenario())


def test_many_nudges_before_a_process_looks_are_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        ann, ben = Process(tmp_path, 0), Process(tmp_path, 1)
        for _ in range(1_000):
            ann.nudges.send()
        await eventually(lambda: ben.nudged)
        ben.nudges.send()
        await eventually(lambda: ann.nudged)
        assert ben.nudged == 1
        ann.nudges.close()
        ben.nudges.close()

    run(scenario())


def test_a_process_that_does_not_look_holds_up_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        ann = Process(tmp_path, 0)
        for _ in range(100_000):  # more than its pipe holds
            ann.nudges.send()
        ben = Process(tmp_path, 1)
        await eventually(lambda: ben.nudged == 1)
        ann.nudges.send()
        await eventually(lambda: ben.nudged == 2)
        ann.nudges.close()
        ben.nudges.close()

    run(scenario())


def test_a_process_that_is_started_again_is_nudged_like_the_one_before(tmp_path: Path) -> None:
    async def scenario() -> None:
        ann, killed = Process(tmp_path, 0), Process(tmp_path, 1)
        killed.nudges.close()
        ben = Process(tmp_path, 1)
        ann.nudges.send()
        await eventually(lambda: ben.nudged == 1)
        ann.nudges.close()
        ben.nudges.close()

    run(scenario())
