"""Tests that take minutes, of a real Prometheus, of a browser or of servers that are restored: their lane leaves them
out while nothing has changed of what they are about, and says so. ``CI=true`` runs them all the same."""

import os
from dataclasses import dataclass, field
from typing import Final

import pytest

from tools.harness.last_pass import LastPass

_LANE: Final = "seldom"
# Beginnings of the tests' paths, and what they are about.
_ABOUT: Final = {
    "monitoring/": (
        "deploy/monitoring",
        "falcon/telemetry",
        "tests/monitoring",
        "tests/support/left_out.py",
        "tools/monitoring.py",
    ),
    "cluster/test_restore": ("docs/backups.md", "falcon/adapters", "tests/cluster", "tools/servers"),
    "web/": ("clients/javascript", "falcon/http/web.py", "falcon/web", "tests/web"),
}


@dataclass
class _Part:
    last: LastPass
    ran: bool = False
    wrong: bool = False


@dataclass(eq=False)
class LeftOut:
    """A plugin for the run of the lane. A part passes when all of it has run and nothing was skipped."""

    parts: dict[str, _Part] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        tests = config.rootpath / "tests"
        for beginning, made_of in _ABOUT.items():
            mine = [item for item in items if item.path.relative_to(tests).as_posix().startswith(beginning)]
            last = LastPass(f"tests-{beginning.strip('/').replace('/', '-')}", made_of, config.rootpath)
            if last.changed() or os.environ.get("CI") == "true":
                self.parts[beginning] = _Part(last)
                continue
            items[:] = [item for item in items if item not in mine]
            config.hook.pytest_deselected(items=mine)
            self.said.append(
                f"Not run: {len(mine)} tests of tests/{beginning}, since {', '.join(made_of)} are as when they last "
                f"passed. To run them: rm {last.file}, or CI=true"
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for beginning, part in self.parts.items():
            if report.nodeid.startswith(f"tests/{beginning}"):
                part.ran = True
                part.wrong |= not report.passed

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.said:
            terminalreporter.write_line(line)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for part in self.parts.values():
            if part.ran and not part.wrong and not session.shouldstop:
                part.last.passes()
        if self.said and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK


def pytest_configure(config: pytest.Config) -> None:
    whole = config.args == ["tests"] and not config.option.keyword and not config.option.markexpr
    if config.option.lane == _LANE and whole:
        config.pluginmanager.register(LeftOut())
