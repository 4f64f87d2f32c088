"""The cluster suite's figures. Nothing here measures anything."""

import pytest

from tools.bench.cluster.recovering import longest_gap
from tools.harness.scraped import Scraped

COMMITS = """# TYPE falcon_projected_events_total counter
falcon_projected_events_total{projection="rooms"} 7.0
falcon_projected_events_total{projection="timeline"} 5.0
"""


def test_samples_are_summed_over_the_labels_that_were_not_asked_for() -> None:
    scraped = Scraped(COMMITS)
    assert scraped.total("falcon_projected_events_total") == 12.0
    assert scraped.total("falcon_projected_events_total", projection="rooms") == 7.0
    assert scraped.total("falcon_unheard_of") == 0.0


def test_a_gap_that_began_before_the_loss_counts_and_one_that_ended_before_does_not() -> None:
    assert longest_gap([0.0, 5.0, 5.1, 7.1, 7.2], since=6.0) == pytest.approx(2.0)
    assert longest_gap([1.0], since=0.0) == 0.0
