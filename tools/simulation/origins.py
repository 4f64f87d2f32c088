"""Schedules, each in a process of its own: a cluster is started once, and forked for each schedule that begins there.

A schedule's seed names its origin, so that it begins in the same state whenever it comes again.
"""

import os
import select
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

import msgspec

from tools.harness.in_memory import folder_in_memory
from tools.simulation import acts, lives, owners, restores, revocations
from tools.simulation.course import FORKED, Asked, Outcome, Plan, host

Mistake: TypeAlias = Callable[[], AbstractContextManager[None]]

ALONE: Final[Mapping[str, Callable[[Outcome, Path], None]]] = {
    "acts": acts.run,
    "lives": lives.run,
    "owners": owners.explore,
    "restores": restores.run,
    "revocations": revocations.run,
}
KINDS: Final = (*FORKED, *ALONE)
_RARE: Final = {  # the others are short
    **dict.fromkeys((12, 62, 112, 162), "lives"),
    **dict.fromkeys(range(7, 200, 20), "owners"),
    24: "revocations",
    49: "acts",
    99: "long",
    149: "restores",
    199: "long",
}

SHARED: Final = 200  # so many schedules begin at one origin
_SCHEDULE_SECONDS: Final = 600.0  # real ones, after which a schedule does not end any more
_EXIT: Final = os._exit  # which is something else within a simulation


def kind_of(seed: int) -> str:
    return _RARE.get(seed % SHARED, "short")


def explore(
    seed: int, kind: str = "", mistake: Mistake = nullcontext, *, plan: Plan | None = None, log: bool = False
) -> Iterator[Outcome]:
    """The schedules of a seed and of all that follow it, for as long as they are wanted.

    ``kind``: of all of them; without one each seed says its own. ``mistake``: is made in all of them.
    ``plan``: of the ones that are forked, instead of their kind's.
    """
    origin: Origin | None = None
    try:
        while True:
            asked = Asked(seed, kind or kind_of(seed))
            if asked.kind in ALONE:
                yield _alone(asked, mistake, log=log)
                seed += 1
                continue
            if origin is None or origin.number != seed // SHARED:
                if origin is not None:
                    origin.close()
                origin = Origin(seed // SHARED, mistake, plan=plan, log=log)
            yield origin.run(asked)
            seed += 1
    finally:
        if origin is not None:
            origin.close()


def _alone(asked: Asked, mistake: Mistake, *, log: bool) -> Outcome:
    """Run it with a cluster of its own."""
    reading, writing = Pipe(duplex=False)
    with tempfile.TemporaryDirectory(dir=folder_in_memory()) as folder:
        child = os.fork()
        if not child:
            _live_alone(asked, Path(folder), mistake, writing, log)
        writing.close()
        said = _said(reading, asked)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return msgspec.json.decode(said, type=Outcome)


def _live_alone(asked: Asked, folder: Path, mistake: Mistake, pipe: Connection, log: bool) -> NoReturn:
    quiet(log)
    outcome = Outcome(asked.seed, asked.kind)
    try:
        with mistake():
            ALONE[asked.kind](outcome, folder)
    except BaseException:
        outcome.violations += failure()
    pipe.send_bytes(msgspec.json.encode(outcome))
    _EXIT(0)


def quiet(log: bool = False) -> None:
    """A child's standard error is wanted only with the log."""
    if not log:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # also what asyncio says of tasks whose process was killed


def failure() -> list[str]:
    """The exception that is being handled, as violations."""
    lines = traceback.format_exc().splitlines()
    return [f"the schedule failed: {lines[-1]}", *lines]


class Origin:
    """A process in which the cluster of a number has been started. ``run`` forks it."""

    def __init__(
        self, number: int, mistake: Mistake = nullcontext, *, plan: Plan | None = None, log: bool = False
    ) -> None:
        self.number = number
        self._folder = tempfile.TemporaryDirectory(dir=folder_in_memory())
        self._pipe, theirs = Pipe()
        self._child = os.fork()
        if not self._child:
            self._pipe.close()
            _live(number, Path(self._folder.name), mistake(), theirs, plan, log)
        theirs.close()

    def run(self, asked: Asked) -> Outcome:
        try:
            self._pipe.send_bytes(msgspec.json.encode(asked))
            if not self._pipe.poll(2 * _SCHEDULE_SECONDS):
                return Outcome(asked.seed, violations=["the cluster did not start"])
            return msgspec.json.decode(self._pipe.recv_bytes(), type=Outcome)
        except (EOFError, OSError) as error:
            return Outcome(asked.seed, violations=[f"the process with the cluster died: {error!r}"])

    def close(self) -> None:
        self._pipe.close()
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        self._folder.cleanup()


def _live(
    number: int, folder: Path, mistake: AbstractContextManager[None], pipe: Connection, plan: Plan | None, log: bool
) -> NoReturn:
    quiet(log)
    forks = _Forks(pipe)
    try:
        with mistake:
            host(number, folder, forks.next, forks.tell, plan=plan, log=log)
    except BaseException:
        failed = failure()
        while True:  # in the origin itself all that begin here have failed
            asked = forks.asked or forks.ask()
            forks.tell(Outcome(asked.seed, asked.kind, violations=failed))
    _EXIT(0)


class _Forks:
    """``asked``: in a child, what it is for."""

    def __init__(self, pipe: Connection) -> None:
        self.asked: Asked | None = None
        self._pipe = pipe

    def ask(self) -> Asked:
        """The next one that is wanted; the process ends where there is none."""
        try:
            return msgspec.json.decode(self._pipe.recv_bytes(), type=Asked)
        except EOFError:
            _EXIT(0)

    def next(self) -> Asked:
        """In a child of its own."""
        while True:
            asked = self.ask()
            reading, writing = Pipe(duplex=False)
            child = os.fork()
            if not child:
                self.asked, self._pipe = asked, writing
                return asked
            writing.close()
            self._pipe.send_bytes(_said(reading, asked))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            reading.close()

    def tell(self, outcome: Outcome) -> None:
        self._pipe.send_bytes(msgspec.json.encode(outcome))
        if self.asked is not None:
            _EXIT(0)


def _said(reading: Connection, asked: Asked) -> bytes:
    """Said by a child, or about it. Reads no clock: the simulated one would continue."""
    try:
        ready, _, _ = select.select([reading], [], [], _SCHEDULE_SECONDS)
        if ready:
            return reading.recv_bytes()
        why = f"the schedule did not end within {_SCHEDULE_SECONDS:g} s"
    except EOFError:
        why = "the process died"
    return msgspec.json.encode(Outcome(asked.seed, asked.kind, violations=[why]))
