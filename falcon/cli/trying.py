"""Trying a Falcon out: one step after the other, up to the first that finds something wrong."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from falcon.cli.calling import Outside
from falcon.cli.trials import Asked, Trial, Visit, Wrong, visiting
from falcon.client import Problem, Unreachable

_STEP_SECONDS: Final = 20.0
_ERROR_LINES: Final = "the log of what answered (docs/runbooks/error-lines.md)"


class Step(msgspec.Struct, frozen=True):
    """``found``: what was seen; of the step that failed, what was wrong."""

    step: str
    ok: bool
    seconds: float
    found: str


class Failure(msgspec.Struct, frozen=True):
    step: str
    wrong: str
    expected: str
    look_at: str

    def __str__(self) -> str:
        return f"{self.step}: {self.wrong}; expected {self.expected}; look at {self.look_at}"


class Outcome(msgspec.Struct, frozen=True):
    """The steps up to the first that failed."""

    ok: bool
    seconds: float
    steps: tuple[Step, ...]
    failure: Failure | None = None


async def try_out(asked: Asked, outside: Outside, on_step: Callable[[Step], None]) -> Outcome:
    """``on_step`` is told of each step as it ends. Raises Fault for an address or a token that cannot be one."""
    began = time.monotonic()
    done: list[Step] = []
    failure: Failure | None = None
    async with visiting(asked, outside) as visit:
        for trial in visit.trials():
            step_began = time.monotonic()
            found, failure = await _carry_out(trial, visit, asked.timeout - (step_began - began))
            done.append(Step(trial.name, failure is None, time.monotonic() - step_began, found))
            on_step(done[-1])
            if failure is not None:
                break
    return Outcome(failure is None, time.monotonic() - began, tuple(done), failure)


async def _carry_out(trial: Trial, visit: Visit, left: float) -> tuple[str, Failure | None]:
    """What was found, and what is wrong with it."""
    seconds = max(0.0, min(left, _STEP_SECONDS))
    visit.awaited = "an answer"
    expected, look_at = trial.expected, trial.look_at
    try:
        async with asyncio.timeout(seconds):
            return await trial.work(), None
    except Wrong as fault:
        wrong, expected, look_at = str(fault), fault.expected or expected, fault.look_at or look_at
    except Problem as problem:
        wrong, look_at = str(problem), _ERROR_LINES if problem.status >= 500 else look_at
    except Unreachable as fault:
        wrong = str(fault)
    except TimeoutError:
        said = f" ({visit.said[-1]})" if visit.said else ""
        why = ", which is what --timeout has left of it" if left < _STEP_SECONDS else ""
        wrong = f"{visit.awaited} did not come within {seconds:.1f} s{why}{said}"
    return wrong, Failure(trial.name, wrong, expected, look_at)
