"""One runner for all suites: what it is asked, what it measures again, and what it says of a section that failed."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.bench.__main__ import SUITES, Options, earlier, main, measure, parse, write
from tools.bench.bench import Bench, Measures, Suite
from tools.bench.report import Page, Section, Target
from tools.harness.machine import Cores
from tools.harness.servers import ServerFailed


def suite(name: str) -> Suite:
    found: Suite = importlib.import_module(SUITES[name]).SUITE
    return found


def a_suite(*, must_hold: bool = False) -> Suite:
    """A suite in which one section fails, and one misses its target."""

    def fails() -> Section:
        raise ServerFailed("it did not start\nand said so")

    @contextmanager
    def opened(bench: Bench) -> Iterator[Measures]:
        yield {"good": lambda: Section("good", targets=[Target("p50", "≤ 1", "2", False)]), "bad": fails}

    method = Path(importlib.import_module(SUITES["profile"]).__file__ or "").with_name("method.md")
    return Suite(
        name="some", title="Some", method=method, sections=("bad", "good"), sizes={}, open=opened,
        must_hold=must_hold,
    )  # fmt: skip


def a_bench(tmp_path: Path) -> Bench:
    return Bench(Cores(0, 1), tmp_path, {"runs": 1, "seconds": 1}, ())


@pytest.mark.parametrize("name", SUITES)
def test_a_smoke_of_everything_writes_no_page(name: str) -> None:
    options = parse(suite(name), ["--quick"])
    assert options.only == tuple(suite(name).sections)
    assert options.page is None and options.sizes["runs"] == 1


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_has_a_method_to_tell(name: str) -> None:
    assert suite(name).method.read_text().startswith("- **")


def test_parts_can_be_chosen_and_unknown_ones_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    embedded = suite("embedded")
    assert parse(embedded, ["--only", "growth,idle"]).only == ("idle", "growth")
    assert parse(embedded, ["--servers", "falcon,crud"]).servers == ("crud", "falcon")
    assert parse(embedded, ["--subscribers", "7"]).sizes["subscribers"] == 7
    for wrong in (["--only", "everything"], ["--servers", "slack"], ["--runs", "0"], ["--messages", "9"]):
        with pytest.raises(SystemExit):
            parse(embedded, wrong)
    assert "--messages: must be at least 1,000" in capsys.readouterr().err


def test_an_unknown_suite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["everything"]) == 2
    assert "one of embedded, cluster, overload, profile" in capsys.readouterr().err


def test_a_page_written_elsewhere_leaves_the_kept_figures_alone(tmp_path: Path) -> None:
    embedded = suite("embedded")
    assert parse(embedded, ["--out", str(tmp_path / "page.md")]).kept == tmp_path / "page.json"
    assert parse(embedded, []).kept == parse(embedded, ["--quick"]).kept != tmp_path / "page.json"


def test_a_section_that_fails_is_named_and_the_others_are_measured(tmp_path: Path) -> None:
    some, page = a_suite(), Page()
    assert measure(some, parse(some, ["--quick"]), a_bench(tmp_path), page) == ["bad"]
    assert page.sections["bad"].failure == "ServerFailed: it did not start"
    assert page.sections["good"].targets
    assert list(some.ordered(page).sections) == ["bad", "good"]


def test_a_target_that_must_hold_and_is_missed_is_a_failure(tmp_path: Path) -> None:
    some = a_suite(must_hold=True)
    assert measure(some, parse(some, ["--quick", "--only", "good"]), a_bench(tmp_path), Page()) == ["good"]


def test_what_is_not_measured_again_is_kept_and_a_complete_run_begins_with_nothing(tmp_path: Path) -> None:
    some = a_suite()

    def options(*more: str) -> Options:
        return parse(some, ["--out", str(tmp_path / "page.md"), *more])

    write(some, options(), Page(sections={"good": Section("good")}))
    assert list(earlier(some, options("--only", "bad")).sections) == ["good"]
    assert earlier(some, options()).sections == {}
    assert (tmp_path / "page.md").read_text().startswith("# Some\n")
