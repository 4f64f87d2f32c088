"""The page about capacity: it is what the program prints, and the program's numbers follow from its figures."""

from pathlib import Path

import pytest

from tools.capacity.__main__ import DOCS, PAGE, main, page
from tools.capacity.figures import Figures, measured
from tools.capacity.pages import BenchmarkPage, NoFigure
from tools.capacity.site import ASSUMED, Assumptions, Load, needed


@pytest.fixture(scope="module")
def figures() -> Figures:
    return measured(DOCS, 64, Assumptions().rooms)


def with_values(figures: Figures, **values: float) -> Figures:
    return figures._replace(**{name: getattr(figures, name)._replace(value=each) for name, each in values.items()})


def test_the_page_is_what_the_program_prints(figures: Figures) -> None:
    assert PAGE.read_text() == page(figures, Assumptions()), "run python -m tools.capacity --write"


def test_each_assumption_has_words() -> None:
    assert tuple(ASSUMED) == Assumptions._fields


def test_a_site_that_does_more_needs_more(figures: Figures) -> None:
    small, large = (needed(Load(*each), figures, Assumptions()) for each in ((1_000, 10_000), (10_000, 100_000)))
    assert small.api.processes is not None and large.api.processes is not None
    assert small.api.processes < large.api.processes
    assert small.write < large.write
    assert small.project < large.project


def test_two_processes_and_three_servers_are_the_least(figures: Figures) -> None:
    need = needed(Load(1, 10), figures, Assumptions(days=1))
    assert (need.api.processes, need.write, need.project, need.brokers, need.region_servers) == (2, 2, 2, 3, 3)
    assert {need.write_bound, need.broker_bound, need.region_bound} == {"the least"}


def test_no_number_of_processes_suffices_if_the_events_of_others_fill_each(figures: Figures) -> None:
    busy = with_values(figures, event_unwanted=10.0)
    need = needed(Load(100_000, 1_000), busy, Assumptions())
    assert need.api.processes is None
    assert need.routed.processes is not None


def test_more_owners_than_partitions_are_told(figures: Figures) -> None:
    need = needed(Load(10_000, 1_000), figures, Assumptions(partitions=2))
    assert need.write_bound == "more than there are partitions"


def test_an_account_in_more_rooms_takes_more_calls_to_begin_a_stream(figures: Figures) -> None:
    few, some, many = (measured(DOCS, 64, rooms).calls_a_hello.value for rooms in (20, 500, 1_000))
    assert few < some < many


def test_an_argument_changes_what_is_assumed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--marks", "0.25"]) == 0
    assert "| read marks for each message | 0.25 | `--marks` |" in capsys.readouterr().out


def test_a_figure_is_the_first_number_of_its_cell(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    path.write_text("# Tea\n\n## Cups\n\n|  | a second | µs |\n|---|---:|---:|\n| by day | 1,234.5 (9–12) | – |\n")
    cups = BenchmarkPage(path)
    assert cups.number("Cups", "by day", "a second") == 1_234.5
    with pytest.raises(NoFigure, match=r"benchmarks\.md has no number in the table 'Cups', row 'by day', column 'µs'"):
        cups.number("Cups", "by day", "µs")
    with pytest.raises(NoFigure, match="no table 'Pots'"):
        cups.number("Pots", "by day", "µs")
