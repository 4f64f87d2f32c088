"""Tests that take long, of a real Prometheus, a browser, deployments or servers that are restored: a run of all tests
leaves them out while nothing has changed of what they are about, and says so. ``CI=true`` runs them all the same."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tools.harness.last_pass import LastPass

# Beginnings of the tests' paths, and what they are about.
_ABOUT: Final = {
    "monitoring/": (
        "deploy/monitoring",
        "falcon/telemetry",
        "tests/monitoring",
        "tests/support/left_out.py",
        "tools/monitoring.py",
    ),
    "deploy/test_pipeline_deploy": ("deploy", "tests/deploy", "tests/support/checkers.py"),
    "cluster/test_restore": ("docs/backups.md", "falcon/adapters", "tests/cluster", "tools/servers"),
    "web/": ("clients/javascript", "falcon/http/web.py", "falcon/web", "tests/web"),
}


class _Part:
    """A part passes when all of it has run and nothing was skipped. It is left out if it has passed as it is now."""

    def __init__(self, beginning: str, made_of: Sequence[str], root: Path) -> None:
        self.beginning = f"tests/{beginning}"
        self.made_of = made_of
        self.last = LastPass(f"tests-{beginning.strip('/').replace('/', '-')}", made_of, root)
        self.is_left_out = not self.last.changed() and os.environ.get("CI") != "true"
        self.results: set[str] = set()


class LeftOut:
    """A plugin for a run of all tests, in each worker and in the process that gives them work and has all results."""

    def __init__(self, root: Path) -> None:
        self._parts = [_Part(beginning, made_of, root) for beginning, made_of in _ABOUT.items()]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        beginnings = tuple(part.beginning for part in self._parts if part.is_left_out)
        mine = [item for item in items if item.nodeid.startswith(beginnings)]
        items[:] = [item for item in items if item not in mine]
        config.hook.pytest_deselected(items=mine)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for part in self._parts:
            if report.nodeid.startswith(part.beginning):
                part.results.add(report.outcome)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for part in self._parts:
            if part.is_left_out:
                terminalreporter.write_line(
                    f"Not run: {part.beginning}, since {', '.join(part.made_of)} are as when they last passed. "
                    f"To run them: rm {part.last.file}, or CI=true"
                )

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        is_worker = hasattr(session.config, "workerinput")
        if is_worker or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return
        for part in self._parts:
            if part.results == {"passed"}:
                part.last.passes()


def pytest_configure(config: pytest.Config) -> None:
    if config.args == ["tests"] and not config.option.keyword and not config.option.markexpr:
        config.pluginmanager.register(LeftOut(config.rootpath))
