"""What the cluster's benchmark makes of figures; nothing here measures anything."""

from pathlib import Path

import msgspec
import pytest

from tools.bench.cluster.figures import Section, Work, at_least, at_most, ratios
from tools.bench.cluster.history import Note
from tools.bench.cluster.metrics import Scraped, mean_since
from tools.bench.cluster.recovering import longest_gap
from tools.bench.cluster.site import port_of
from tools.bench.cluster_bench import SECTIONS, Page, markdown, parse
from tools.bench.tables import Table

COMMITS = """# TYPE falcon_journal_commit_events histogram
falcon_journal_commit_events_bucket{{le="+Inf"}} {count}
falcon_journal_commit_events_count {count}
falcon_journal_commit_events_sum {total}
# TYPE falcon_projected_events_total counter
falcon_projected_events_total{{projection="rooms"}} 7.0
falcon_projected_events_total{{projection="timeline"}} 5.0
"""


def test_a_target_is_judged_by_the_median_and_shows_the_spread() -> None:
    target = at_most("p50", [9.0, 2.0, 3.0], 6.0, " ms")
    assert target.met
    assert target.found == "3.00 ms (2.00–9.00)"
    assert not at_least("rate", [9_000.0, 12_000.0, 9_500.0], 10_000, "", "{:,.0f}").met


def test_a_ratio_is_formed_run_by_run() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]


def test_falcons_own_cpu_leaves_out_the_servers() -> None:
    work = Work({"api": 3.0, "write": 2.0, "project": 1.0, "Kafka": 9.0}).since(Work({"api": 1.0, "Kafka": 4.0}))
    assert work.falcon == 5.0
    assert work.micros_each(1_000)["Kafka"] == 5_000.0


def test_the_mean_of_a_histogram_is_that_of_what_came_between() -> None:
    before, after = (Scraped(COMMITS.format(count=count, total=total)) for count, total in ((10, 20), (14, 60)))
    assert mean_since(before, after, "falcon_journal_commit_events") == 10.0
    assert mean_since(after, after, "falcon_journal_commit_events") is None


def test_samples_are_summed_over_the_labels_that_were_not_asked_for() -> None:
    scraped = Scraped(COMMITS.format(count=1, total=1))
    assert scraped.total("falcon_projected_events_total") == 12.0
    assert scraped.total("falcon_projected_events_total", projection="rooms") == 7.0
    assert scraped.total("falcon_unheard_of") == 0.0


def test_a_gap_that_began_before_the_loss_counts_and_one_that_ended_before_does_not() -> None:
    assert longest_gap([0.0, 5.0, 5.1, 7.1, 7.2], since=6.0) == pytest.approx(2.0)
    assert longest_gap([1.0], since=0.0) == 0.0


def test_an_owners_port_is_found_in_its_address() -> None:
    assert port_of("127.0.0.1:27800/1") == 27800


def test_a_log_that_was_not_filled_has_no_rooms() -> None:
    assert Note() == Note(rooms=[], filled=0)


def test_the_page_says_which_section_failed_and_shows_the_others() -> None:
    table = Table("Reading", ("", "pages"), [("1 at once", "900")], "A note.")
    met, missed = at_least("pages", [0.8], 0.7, "×"), at_most("p50", [3.0], 1.0, " ms")
    page = Page(
        machine={"Processor": "two cores"},
        method={"partitions": 8},
        sections={
            "read": Section("read", "2026-11-25", [table], [met, missed]),
            "send": Section("send", "2026-11-25", failure="LoadFailed: wrk did not end"),
        },
    )
    text = markdown(page)
    assert "`send` failed and has no figures here: LoadFailed: wrk did not end" in text
    assert "| pages | ≥ 0.7× | 0.80× | yes |" in text
    assert "| p50 | ≤ 1 ms | 3.00 ms | no |" in text
    assert "| 1 at once | 900 |" in text


def test_a_smoke_of_everything_writes_no_page() -> None:
    options = parse(["--quick"])
    assert options.only == SECTIONS
    assert options.out is None


def test_sections_can_be_chosen_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    assert parse(["--only", "read,send", "--folder", str(tmp_path)]).only == ("send", "read")
    with pytest.raises(SystemExit):
        parse(["--only", "writing"])


def test_what_was_found_is_kept_and_read_again() -> None:
    section = Section("read", "2026-11-25", [Table("Reading", ("", "pages"), [("1 at once", "900")], "A note.")])
    page = Page(sections={"read": section})
    again = msgspec.json.decode(msgspec.json.encode(page), type=Page)
    assert markdown(again) == markdown(page)
