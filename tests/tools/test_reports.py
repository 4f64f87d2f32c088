"""Reports show tables on pages and on terminals, and count what they leave out."""

from tools.chaos.report import Recoveries, Report
from tools.harness.reports import counts_in_words, figure, markdown_table, percentile, shortened, text_table


def test_figures_stand_to_the_right_of_the_words() -> None:
    rows = [("send", "to a room", "1,200"), ("read", "a page", "9")]
    assert markdown_table(("act", "of", "times"), rows, words=2).splitlines() == [
        "| act | of | times |",
        "|---|---|---:|",
        "| send | to a room | 1,200 |",
        "| read | a page | 9 |",
    ]
    assert text_table(("act", "of", "times"), rows, words=2).splitlines() == [
        "act    of          times",
        "────────────────────────",
        "send   to a room   1,200",
        "read   a page          9",
    ]


def test_a_terminal_shows_cells_as_they_are() -> None:
    assert "[/red] " + "x" * 300 in text_table(("", "n"), [("[/red] " + "x" * 300, "1")])


def test_a_percentile_is_a_value_that_was_met() -> None:
    hundred = list(range(1, 101))
    assert [percentile(hundred, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7.0


def test_what_was_not_measured_is_a_dash() -> None:
    assert (figure(None), figure(1234.56), figure(0.5, "{:.2f}")) == ("–", "1,234.6", "0.50")


def test_counts_stand_in_the_order_of_their_names() -> None:
    assert counts_in_words({"late": 1_200, "early": 3}) == "early 3, late 1,200"
    assert counts_in_words({}) == "none"


def test_a_long_list_says_how_many_more_there_are() -> None:
    assert shortened(["lost"] * 25) == ["lost"] * 25
    assert shortened(["lost"] * 1_026)[25:] == ["... and 1,001 more"]


def test_the_report_of_chaos_shows_how_long_each_fault_kept_people_waiting() -> None:
    faults = {"kill serve": Recoveries(3, [0.5, 2.0, 1.0], [0.25]), "fill disk": Recoveries(1)}
    report = Report(seed=1, faults=faults, load=12.34)
    lines = [line.split() for line in str(report).splitlines()]
    assert ["kill", "serve", "3", "1.0", "2.0", "0.2", "0.2"] in lines
    assert ["fill", "disk", "1", "–", "–", "–", "–"] in lines
    assert "load of the machine at most 12.3 for each processor" in str(report)
