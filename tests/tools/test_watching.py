"""Looks at Falcon by its operations port."""

import pytest

from tools.harness.watching import Look, rates, read

PAGE = """# HELP falcon_mailbox_size Commands queued for a shard or being carried out there.
# TYPE falcon_mailbox_size gauge
falcon_mailbox_size{{shard="0"}} {mailbox}
falcon_mailbox_size{{shard="1"}} 5.0
# TYPE falcon_projection_lag_seconds gauge
falcon_projection_lag_seconds{{projection="rooms"}} {lag}
falcon_projection_lag_seconds{{projection="timeline"}} 0.25
# TYPE falcon_process_cpu_seconds_total counter
falcon_process_cpu_seconds_total{{process="serve-0"}} 12.5
falcon_process_cpu_seconds_total{{process="ops-0"}} 0.5
# TYPE falcon_http_request_seconds histogram
falcon_http_request_seconds_bucket{{route="/v1/me",method="GET",le="+Inf"}} 3.0
"""


def test_pods_add_up_and_the_oldest_lag_is_that_of_all() -> None:
    look = read(1_000.0, [PAGE.format(mailbox=20.0, lag=0.0), PAGE.format(mailbox=1.0, lag=3.5)])
    assert (look.mailbox, look.lag, look.cpu) == (31.0, 3.5, 26.0)


def test_what_a_page_does_not_say_is_nothing() -> None:
    assert read(1_000.0, [""]) == Look(at=1_000.0)


def test_a_counter_that_begins_anew_did_not_go_back() -> None:
    looks = [Look(at=1.0, cpu=10.0), Look(at=3.0, cpu=11.0), Look(at=4.0, cpu=0.25)]
    assert rates(looks, "cpu") == [(3.0, pytest.approx(0.5)), (4.0, 0.0)]
