"""Tests that are marked ``simulated`` run within a simulation, fixtures and all. What ends the simulation fails its
test."""

from collections.abc import Callable
from typing import Literal

import pytest
from _pytest.runner import runtestprotocol

from tools.simulation.threads import Simulation


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if item.get_closest_marker("simulated") is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    _reported(item, "call", lambda: Simulation().run(lambda: runtestprotocol(item, nextitem=nextitem)))
    # Tear down what the simulation left when it ended before its test.
    _reported(item, "teardown", lambda: item.session._setupstate.teardown_exact(nextitem))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _reported(item: pytest.Item, when: Literal["call", "teardown"], work: Callable[[], object]) -> None:
    """Report what ``work`` raises, if it raises, as a failure of the test."""
    call = pytest.CallInfo.from_call(work, when=when, reraise=(KeyboardInterrupt, pytest.exit.Exception))
    if call.excinfo is not None:
        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        item.ihook.pytest_runtest_logreport(report=report)
