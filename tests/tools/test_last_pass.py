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


def collected(plugin: LeftOut) -> list[str]:
    """Which of two tests run."""
    items: list[Any] = [
        SimpleNamespace(nodeid=f"tests/{name}.py::test") for name in ("web/test_web", "faults/test_attack")
    ]
    config: Any = SimpleNamespace(hook=SimpleNamespace(pytest_deselected=lambda items: None))
    plugin.pytest_collection_modifyitems(config, items)
    return [item.nodeid.split("/")[1] for item in items]


def run(root: Path, outcome: str, **of_the_run: Any) -> LeftOut:
    plugin = LeftOut(root)
    report: Any = SimpleNamespace(nodeid="tests/web/test_web.py::test", outcome=outcome)
    plugin.pytest_runtest_logreport(report)
    session: Any = SimpleNamespace(config=SimpleNamespace(**of_the_run))
    plugin.pytest_sessionfinish(session, 0)
    return plugin


def test_it_runs_until_it_has_passed_and_again_when_a_file_changes_or_comes(root: Path) -> None:
    for outcome in ("failed", "skipped", "passed"):
        assert collected(LeftOut(root)) == ["web", "faults"]
        run(root, outcome)
    assert collected(LeftOut(root)) == ["faults"]
    (root / "pages" / "chat.js").write_text("2")
    assert collected(LeftOut(root)) == ["web", "faults"]
    run(root, "passed")
    (root / "pages" / "more.js").write_text("")
    assert collected(LeftOut(root)) == ["web", "faults"]


def test_a_worker_that_passed_its_part_says_nothing_of_the_others(root: Path) -> None:
    run(root, "passed", workerinput={})
    assert collected(LeftOut(root)) == ["web", "faults"]


def test_what_is_left_out_is_said_and_ci_leaves_nothing_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(root, "passed")
    said: list[str] = []
    reporter: Any = SimpleNamespace(write_line=said.append)
    LeftOut(root).pytest_terminal_summary(reporter)
    assert said[0].startswith("Not run: tests/web/, since pages are as when they last passed")
    monkeypatch.setenv("CI", "true")
    assert collected(LeftOut(root)) == ["web", "faults"]


def test_a_file_that_changes_while_it_runs_counts_as_changed_afterwards(root: Path) -> None:
    last = LastPass("slow", ("pages",), root)
    assert last.changed() == ["pages"]
    (root / "pages" / "chat.js").write_text("2")
    last.passes()
    assert LastPass("slow", ("pages",), root).changed() == ["pages"]
