"""Thresholds: what the file says, and what is made of it."""

from pathlib import Path

import pytest

from load_tests.load import THRESHOLDS
from load_tests.users.objectives import Objectives, WrongThresholds
from load_tests.users.plans import SHAPES
from load_tests.users.recorder import Sum
from tools.harness.histogram import Histogram

FILE = """
[every]
violations = 0
failed_share = 0.01
[every.p99]
"*" = 1000
"send" = 250
[spike.p99]
"send" = 500
"""


def met(times: int, milliseconds: float, failed: int = 0) -> Sum:
    found = Sum()
    found.times = Histogram()
    for _ in range(times):
        found.times.add(milliseconds / 1000)
    found.failed = failed
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "thresholds.toml"
    path.write_text(FILE)
    return path


def broken(objectives: Objectives, sums: dict[str, Sum], violations: int = 0) -> list[str]:
    return [verdict.what for verdict in objectives.judge(sums, violations) if not verdict.held]


def test_a_run_in_which_all_was_well_holds_everything(file: Path) -> None:
    assert broken(Objectives.read(file, "soak"), {"send": met(100, 20.0), "edit": met(10, 900.0)}) == []


def test_a_kind_that_is_named_has_a_bound_of_its_own_and_others_that_of_all(file: Path) -> None:
    sums = {"send": met(100, 300.0), "edit": met(100, 300.0), "cold start": met(100, 1_100.0)}
    assert broken(Objectives.read(file, "step"), sums) == ["cold start, p99", "send, p99"]


def test_a_shape_says_otherwise_where_it_says_something(file: Path) -> None:
    assert broken(Objectives.read(file, "spike"), {"send": met(100, 300.0)}) == []
    assert broken(Objectives.read(file, "spike"), {"send": met(100, 600.0)}) == ["send, p99"]


def test_a_bound_for_which_nothing_was_measured_is_not_held(file: Path) -> None:
    assert broken(Objectives.read(file, "step"), {"edit": met(10, 1.0)}) == ["send, p99"]


def test_one_broken_promise_is_one_too_many(file: Path) -> None:
    assert broken(Objectives.read(file, "step"), {"send": met(100, 20.0)}, violations=1) == ["broken promises"]


def test_failures_do_not_vanish_among_what_is_pushed(file: Path) -> None:
    sums = {"send": met(100, 20.0, failed=2), "pushed": met(100_000, 20.0)}
    assert broken(Objectives.read(file, "step"), sums) == ["failed"]


def test_nothing_at_all_has_failed(file: Path) -> None:
    assert "failed" in broken(Objectives.read(file, "step"), {})


def test_a_word_that_nobody_knows_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.toml"
    path.write_text("[every]\nfailures = 3\n")
    with pytest.raises(WrongThresholds, match="failures") as refused:
        Objectives.read(path, "step")
    assert "\n" not in str(refused.value)


def test_a_share_is_a_share(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.toml"
    path.write_text("[every]\nfailed_share = 5\n")
    with pytest.raises(WrongThresholds):
        Objectives.read(path, "step")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_file_that_there_is_can_be_read_for_every_shape(shape: str) -> None:
    found = Objectives.read(THRESHOLDS, shape).judge({"send": met(100, 1.0)}, 0)
    assert any(verdict.what == "broken promises" for verdict in found)
