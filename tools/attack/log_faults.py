"""The faults in a Falcon's log, for a report: the log itself goes with its folder."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Final

_LINES_MAX: Final = 40  # of one fault: its stack, and the beginning of what each of its causes says


def faults_in(log: str) -> list[str]:
    """Each fault once: how often it was logged, what the line says, and the first lines of its stack."""
    counted = Counter(_stacks(log))
    return [f"{times} times: {stack}" for stack, times in counted.items()]


def _stacks(log: str) -> Iterator[str]:
    """A logged line has its stack in a field; what Python itself writes is several lines, up to the next logged one."""
    loose: list[str] = []
    for line in [*log.splitlines(), "{}"]:
        if not line.startswith("{"):
            loose.append(line)
            continue
        if any("Traceback" in each for each in loose):
            yield _shortened(loose)
        loose.clear()
        if "Traceback" in line:
            fields = json.loads(line)
            yield _shortened([f"{fields['logger']}: {fields['message']}", *fields["exception"].splitlines()])


def _shortened(lines: list[str]) -> str:
    return "\n    ".join(lines[:_LINES_MAX])
