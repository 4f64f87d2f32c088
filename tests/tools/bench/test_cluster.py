"""The cluster suite's figures. Nothing here measures anything."""

import pytest

from tools.bench.cluster.figures import Work
from tools.bench.cluster.history import Note
from tools.bench.cluster.metrics import Scraped, mean_since
from tools.bench.cluster.recovering import longest_gap
from tools.bench.cluster.running import port_of

COMMITS = """# TYPE falcon_journal_commit_events histogram
falcon_journal_commit_events_bucket{{le="+Inf"}} {count}
falcon_journal_commit_events_count {count}
falcon_journal_commit_events_sum {total}
# TYPE falcon_projected_events_total counter
falcon_projected_events_total{{projection="rooms"}} 7.0
falcon_projected_events_total{{projection="timeline"}} 5.0
"""


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
