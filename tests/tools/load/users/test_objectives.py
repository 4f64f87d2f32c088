"""Thresholds: what the file says, and what is made of it."""

from collections import Counter
from pathlib import Path

import pytest

from load_tests.load import THRESHOLDS
from load_tests.users.objectives import Objectives, WrongThresholds
from load_tests.users.plans import PLANS, SHAPES
from load_tests.users.recorder import Met, Recorder

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


def met(times: int, milliseconds: int, failed: int = 0) -> Met:
    return Met(Counter({milliseconds: times}), failed)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "thresholds.toml"
    path.write_text(FILE)
    return path


def broken(objectives: Objectives, met: dict[str, Met]) -> list[str]:
    return [verdict.what for verdict in objectives.judge(met) if not verdict.held]


def test_a_run_in_which_all_was_well_holds_everything(file: Path) -> None:
    assert broken(Objectives.read(file, "soak"), {"send": met(100, 20), "edit": met(10, 900)}) == []


def test_a_kind_that_is_named_has_a_bound_of_its_own_and_others_that_of_all(file: Path) -> None:
    sums = {"send": met(100, 300), "edit": met(100, 300), "cold start": met(100, 1_100)}
    assert broken(Objectives.read(file, "step"), sums) == ["cold start, p99", "send, p99"]


def test_a_shape_says_otherwise_where_it_says_something(file: Path) -> None:
    assert broken(Objectives.read(file, "spike"), {"send": met(100, 300)}) == []
    assert broken(Objectives.read(file, "spike"), {"send": met(100, 600)}) == ["send, p99"]


def test_a_bound_for_which_nothing_was_measured_is_not_held(file: Path) -> None:
    assert broken(Objectives.read(file, "step"), {"edit": met(10, 1)}) == ["send, p99"]


def test_one_broken_promise_is_one_too_many(file: Path) -> None:
    assert broken(Objectives.read(file, "step"), {"send": met(100, 20), "promise": met(1, 0, 1)}) == ["broken promises"]


def test_failures_do_not_vanish_among_what_is_pushed(file: Path) -> None:
    sums = {"send": met(100, 20, failed=2), "pushed": met(100_000, 20)}
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
    found = Objectives.read(THRESHOLDS, shape).judge({"send": met(100, 1)})
    assert any(verdict.what == "broken promises" for verdict in found)


def test_a_quantile_is_what_so_many_do_not_exceed() -> None:
    times = Counter({10: 98, 20: 1, 3_000: 1})
    assert [Met(times, 0).quantile(share) for share in (0.5, 0.98, 0.99, 1.0)] == [10, 10, 20, 3_000]
    assert Met(Counter(), 0).quantile(0.99) is None
    later = Met(times + Counter({10: 2}), 1).since(Met(times, 0))
    assert (later.count, later.failed) == (2, 1)


def test_a_flood_of_different_failures_does_not_fill_the_memory() -> None:
    found = Recorder()
    found.violated(f"room {number}" for number in range(1_000))
    met = found.take()
    assert (len(met), len({text for _, _, text in met})) == (1_000, 201)
    assert found.take() == []


def test_the_shapes_go_from_nothing_to_everybody_and_never_beyond() -> None:
    for plan in PLANS.values():
        shares = [plan(step / 1_000) for step in range(1_000)]
        assert min(shares) > 0 and max(shares) == 1.0
    assert [PLANS["step"](share) for share in (0.0, 0.26, 0.51, 0.99)] == [0.25, 0.5, 0.75, 1.0]
    assert [PLANS["spike"](share) for share in (0.39, 0.5, 0.61)] == [0.25, 1.0, 0.25]
