"""A benchmark's figures and reports. Nothing here measures anything."""

from pathlib import Path

import msgspec
import pytest

from tools.bench.report import Page, Picture, Section, Table, asked, at_least, at_most, markdown, numbers
from tools.bench.samples import FALCON, Sample, against, behind, ratios


def sample(rate: float = 100.0, cpu: float = 100.0, p50: float = 1.0, p99: float = 2.0) -> Sample:
    return Sample(rate, p50, p99, cpu, 1.0, refused=0, broken=0, generator=0.1, others=0.0, speed=40.0)


def page(*sections: Section) -> str:
    return markdown(
        "Benchmarks", "make bench", "- **Cores.** One.", Page(sections={each.name: each for each in sections})
    )


# --- figures ----------------------------------------------------------------------------------------------------------


def test_a_target_is_judged_by_the_median_and_shows_the_spread() -> None:
    target = at_most("p50", [9.0, 2.0, 3.0], 6.0, " ms")
    assert target.met
    assert target.found == "3.00 ms (2.00–9.00)"
    assert not at_least("rate", [9_000.0, 12_000.0, 9_500.0], 10_000, "", "{:,.0f}").met


def test_figures_of_one_run_have_no_spread_and_none_at_all_are_a_dash() -> None:
    assert (numbers([2.0], "{:.1f}"), numbers([], "{:.1f}")) == ("2.0", "–")


def test_a_ratio_is_formed_run_by_run() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_servers_are_compared_where_both_were_measured() -> None:
    samples = {FALCON: {"send": [sample(rate=400.0), sample(rate=900.0)]}, "crud": {"send": [sample(), sample(300.0)]}}
    assert against(samples, "send", "crud", lambda each: each.rate) == [4.0, 3.0]
    assert against(samples, "read", "crud", lambda each: each.rate) == []


def test_what_falcon_is_slower_at_is_named_with_both_figures() -> None:
    samples = {
        "crud": {"send, 1 in flight": [sample(p99=2.0)], "send, 64 in flight": [sample()]},
        FALCON: {"send, 1 in flight": [sample(p99=3.0)], "send, 64 in flight": [sample(rate=400.0, cpu=25.0)]},
    }
    assert behind(samples, "crud") == ["send, 1 in flight: 3.00 ms at the 99th percentile to 2.00, 1.50×"]


def test_cpu_is_shown_in_seconds_a_thousand_messages_beside_falcons_share() -> None:
    table = asked(
        "Sending", {FALCON: {"send, 64 in flight": [sample(cpu=157.0)]}, "crud": {"send, 64 in flight": [sample()]}}
    )
    assert table.rows == [
        ("send, 64 in flight, Falcon", "100", "1.00×", "1.00", "2.00", "0.157", "1.00×", "1.0"),
        ("send, 64 in flight, CRUD chat", "100", "1.00×", "1.00", "2.00", "0.100", "1.57×", "1.0"),
    ]
    assert table.note == "Failed requests: none."


def test_requests_that_failed_and_a_busy_load_generator_are_told_of() -> None:
    busy = msgspec.structs.replace(sample(), refused=3, generator=0.95)
    note = asked("Sending", {FALCON: {"send": [busy]}}).note
    assert "Falcon (send): 3 refused, 0 broken" in note and "Falcon (send): 95 %" in note


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_says_which_section_failed_and_shows_the_others() -> None:
    table = Table("Reading", ("", "pages"), [("1 at once", "900")], "A note.")
    met, missed = at_least("pages", [0.8], 0.7, "×"), at_most("p50", [3.0], 1.0, " ms")
    text = page(Section("read", [table], [met, missed]), Section("send", failure="LoadFailed: wrk did not end"))
    assert "`send` failed and has no figures here: LoadFailed: wrk did not end" in text
    assert "| pages | ≥ 0.7× | 0.80× | yes |" in text
    assert "| p50 | ≤ 1 ms | 3.00 ms | no |" in text
    assert "| 1 at once | 900 |" in text
    assert "Targets missed: p50: 3.00 ms, wanted ≤ 1 ms." in text


def test_where_it_is_nowhere_slower_that_is_said() -> None:
    assert "## Where Falcon is slower\n\nIn nothing that was measured here." in page(Section("send"))


def test_pictures_and_words_stand_with_their_section() -> None:
    section = Section(
        "send", [Table("Sending", ("",), [("x",)])], notes=["A fact."], slower=["Slow."], pictures=[Picture("a", "A")]
    )
    text = page(section)
    assert text.index("## Sending") < text.index("![A](images/a.png)") < text.index("A fact.") < text.index("Slow.")


def test_what_was_found_is_kept_and_read_again(tmp_path: Path) -> None:
    section = Section("read", [Table("Reading", ("", "pages"), [("1 at once", "900")], "A note.")])
    kept = Page(facts={"Processor": "two cores"}, sections={"read": section})
    again = msgspec.json.decode(msgspec.json.encode(kept), type=Page)
    assert markdown("T", "c", "m", again) == markdown("T", "c", "m", kept)


def test_a_plot_is_drawn_where_there_is_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tools.bench.plots import bars, draw, legend, line

    def paint(figure: object) -> None:
        axes = figure.subplots()  # type: ignore[attr-defined]
        bars(axes, ["send"], {FALCON: [[1.0, 2.0]], "crud": [[]]}, "ms")
        line(axes, FALCON, [(1, [2.0]), (2, [])])
        legend(figure, axes)

    with monkeypatch.context() as without:
        without.setitem(__import__("sys").modules, "matplotlib", None)
        assert not draw(tmp_path / "none.png", paint)
    pytest.importorskip("matplotlib", reason="matplotlib is in the dependency group load")
    assert draw(tmp_path / "images" / "one.png", paint)
    assert (tmp_path / "images" / "one.png").read_bytes().startswith(b"\x89PNG")
