"""Figures are judged by the median of their rounds."""

from tools.bench.figures import Figure, beside, page


def test_the_median_meets_the_aim_whatever_a_single_round_does() -> None:
    assert Figure("gap", [0.2, 0.4, 9.0], "s", most=1).met
    assert not Figure("sends", [90, 110, 80], least=100).met
    assert not Figure("sends", [], least=100).met
    assert Figure("sends", []).met


def test_one_server_beside_another_is_compared_round_by_round() -> None:
    (times,) = beside("sends", [10, 40], [5, 10], least=3)
    assert (times.found, times.met) == ([2, 4], True)
    assert beside("sends", [10], []) == []


def test_a_page_shows_the_spread_the_aim_and_what_failed() -> None:
    shown = page(
        "Title", "- a method", {"Memory": "24 GiB"}, {"send": [Figure("p99", [1_234, 12.5], "ms", most=5)]}, ["x"]
    )
    assert "| p99 | 623 (12.5–1,234) ms | ≤ 5.00 | no |" in shown
    assert "Failed, and has no figures here: x" in shown
