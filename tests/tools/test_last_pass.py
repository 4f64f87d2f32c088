"""What takes minutes runs again once something has changed that it is made of, and not before it has passed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import left_out
from tests.support.left_out import LeftOut
from tools.harness.last_pass import LastPass


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(left_out, "_ABOUT", {"web/": ("pages",)})
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "chat.js").write_text("1")
    return tmp_path


def collected(root: Path, plugin: LeftOut) -> list[str]:
    """Which of two tests the lane runs."""
    paths = [root / "tests/web/test_web.py", root / "tests/faults/test_attack.py"]
    items: list[Any] = [SimpleNamespace(path=path) for path in paths]
    config: Any = SimpleNamespace(rootpath=root, hook=SimpleNamespace(pytest_deselected=lambda items: None))
    plugin.pytest_collection_modifyitems(config, items)
    return [item.path.parent.name for item in items]


def run(root: Path, outcome: str) -> LeftOut:
    plugin, report, session = LeftOut(), SimpleNamespace(), SimpleNamespace(shouldstop=False, exitstatus=0)
    collected(root, plugin)
    report.nodeid, report.passed = "tests/web/test_web.py::test_chat", outcome == "passed"
    plugin.pytest_runtest_logreport(report)  # type: ignore[arg-type]
    plugin.pytest_sessionfinish(session)  # type: ignore[arg-type]
    return plugin


def test_it_runs_until_it_has_passed_and_again_when_a_file_changes_or_comes(root: Path) -> None:
    for outcome in ("failed", "skipped", "passed"):
        assert collected(root, LeftOut()) == ["web", "faults"]
        run(root, outcome)
    assert collected(root, LeftOut()) == ["faults"]
    (root / "pages" / "chat.js").write_text("2")
    assert collected(root, LeftOut()) == ["web", "faults"]
    run(root, "passed")
    (root / "pages" / "more.js").write_text("")
    assert collected(root, LeftOut()) == ["web", "faults"]


def test_what_is_left_out_is_said_and_ci_leaves_nothing_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(root, "passed")
    plugin = LeftOut()
    collected(root, plugin)
    (said,) = plugin.said
    assert said.startswith("Not run: 1 tests of tests/web/, since pages are as when they last passed")
    monkeypatch.setenv("CI", "true")
    assert collected(root, LeftOut()) == ["web", "faults"]


def test_a_file_that_changes_while_it_runs_counts_as_changed_afterwards(root: Path) -> None:
    last = LastPass("slow", ("pages",), root)
    assert last.changed() == ["pages"]
    (root / "pages" / "chat.js").write_text("2")
    last.passes()
    assert LastPass("slow", ("pages",), root).changed() == ["pages"]
