import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from falcon.cli import app
from falcon.cli.calling import Outside
from falcon.cli.top import figures
from falcon.cli.top.change import Change, Distribution
from falcon.cli.top.rendering import Screenful, allotted
from falcon.cli.top.rows import LatencyRow, View
from falcon.cli.top.scraping import PortState, Scrape, parse
from falcon.cli.top.view import Reading, chosen, short_names, view
from falcon.telemetry import metrics as _declared  # noqa: F401  they register when they are declared
from falcon.telemetry.buckets import maximum_name
from falcon.telemetry.instruments import REGISTRY
from falcon.telemetry.process_tree import PROCESS_GAUGES
from tests.cli.fake import FakeClock

OPS = "http://127.0.0.1:8081"
OTHER = "http://127.0.0.1:9081"
INFO = 'falcon_build_info{version="1.2.3",python="3.11.7"} 1\n'
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def scrape(at: float, text: str = "") -> Scrape:
    samples = parse(INFO + text)
    assert samples is not None
    return Scrape(at, samples)


def change(before: str, after: str, seconds: float = 2.0) -> Change:
    return Change(scrape(10.0, before), scrape(10.0 + seconds, after))


def histogram(name: str, buckets: Mapping[str, float], labels: str = "") -> str:
    more = f",{labels}" if labels else ""
    text = "".join(f'{name}_bucket{{le="{bound}"{more}}} {count}\n' for bound, count in buckets.items())
    return f"# TYPE {name} histogram\n{text}"


def seen(before: str, after: str, seconds: float = 2.0) -> View:
    return view([Reading("pod", PortState.UP, "", change(before, after, seconds))], NOON)


def problems_of(before: str, after: str, seconds: float = 2.0) -> list[str]:
    return [problem.what for problem in seen(before, after, seconds).problems]


def shown(found: View, width: int = 80, height: int = 24, *, fit: bool = False) -> list[str]:
    console = Console(file=StringIO(), width=width, height=height, highlight=False)
    console.print(Screenful(found, fit=fit))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


# --- differences ------------------------------------------------------------------------------------------------------


def test_a_rate_is_the_growth_over_the_interval() -> None:
    before = 'falcon_http_requests_total{route="/a",status="2xx"} 100\n'
    after = (
        'falcon_http_requests_total{route="/a",status="2xx"} 110\n'
        'falcon_http_requests_total{route="/b",status="2xx"} 6\n'
    )
    rates = change(before, after)
    assert rates.rates("falcon_http_requests", "route") == {("/a",): 5.0, ("/b",): 3.0}
    assert rates.rates("falcon_http_requests", "status") == {("2xx",): 8.0}
    assert rates.rates("falcon_http_requests") == {(): 8.0}


def test_a_counter_that_began_anew_has_no_negative_rate() -> None:
    grown = change('falcon_commands_total{outcome="accepted"} 1000\n', 'falcon_commands_total{outcome="accepted"} 4\n')
    assert grown.rates("falcon_commands", "outcome") == {("accepted",): 2.0}


def test_a_histogram_that_began_anew_counts_from_zero_in_every_bucket() -> None:
    before = histogram("falcon_read_seconds", {"0.5": 10, "1.0": 10, "+Inf": 10})
    after = histogram("falcon_read_seconds", {"0.5": 2, "1.0": 12, "+Inf": 12})
    found = change(before, after).distributions("falcon_read_seconds")[()]
    assert found.buckets == {0.5: 1.0, 1.0: 6.0, float("inf"): 6.0}


def test_a_restart_shows_nothing_below_zero() -> None:
    before = (
        'falcon_process_cpu_seconds_total{process="serve-0"} 900\n'
        'falcon_dispatcher_all_active_seconds_total{dispatcher="d"} 50\n'
    )
    after = (
        'falcon_process_cpu_seconds_total{process="serve-0"} 1\nfalcon_process_uptime_seconds{process="serve-0"} 1\n'
        'falcon_dispatcher_all_active_seconds_total{dispatcher="d"} 0\n'
        'falcon_dispatcher_threads_max{dispatcher="d"} 4\n'
    )
    found = seen(before, after)
    assert found.processes[0].cpu == 0.5
    assert found.dispatchers[0].all_active == 0.0


def test_the_first_scrape_of_an_address_has_gauges_and_no_rates() -> None:
    first = Change(None, scrape(5.0, "falcon_commands_total 7\nfalcon_partitions 64\n"))
    assert first.rates("falcon_commands") == {(): 0.0}
    assert first.now("falcon_partitions") == {(): 64.0}


# --- percentiles ------------------------------------------------------------------------------------------------------


def test_percentiles_are_of_what_happened_in_the_interval() -> None:
    before = histogram("falcon_read_seconds", {"0.25": 0, "0.5": 1000, "1.0": 1000, "+Inf": 1000})
    after = histogram("falcon_read_seconds", {"0.25": 0, "0.5": 1000, "1.0": 1010, "+Inf": 1010})
    found = change(before, after).distributions("falcon_read_seconds")[()]
    assert found.per_second == 5.0
    assert found.quantile(0.5) == pytest.approx(0.5 * 2**0.5)


def test_between_two_bounds_a_percentile_is_found_by_ratio_and_from_zero_by_difference() -> None:
    assert Distribution({1.0: 0, 2.0: 4, float("inf"): 4}, 0).quantile(0.5) == pytest.approx(2**0.5)
    assert Distribution({1.0: 4, float("inf"): 4}, 0).quantile(0.5) == 0.5


def test_no_percentile_is_above_the_largest_value_of_the_minute_that_it_lies_in() -> None:
    buckets = {1.0: 0, 2.0: 4, float("inf"): 4}
    assert Distribution(buckets, 1.1).quantile(0.99) == 1.1
    assert Distribution(buckets, 1.1, covered=False).quantile(0.99) == pytest.approx(2**0.99)


def test_beyond_the_last_bound_a_percentile_is_that_bound() -> None:
    assert Distribution({1.0: 0, 2.0: 0, float("inf"): 4}, 0).quantile(0.5) == 2.0


def test_without_anything_in_the_interval_there_is_no_percentile() -> None:
    assert Distribution({1.0: 0, float("inf"): 0}, 3.0).quantile(0.5) is None
    assert Distribution({}, 0).quantile(0.5) is None


def test_distributions_of_several_addresses_come_together() -> None:
    one = Distribution({1.0: 99, 2.0: 99, float("inf"): 99}, 0.9)
    other = Distribution({1.0: 0, 2.0: 101, float("inf"): 101}, 1.9)
    both = one + other
    assert (both.per_second, both.maximum) == (200, 1.9)
    assert (both.quantile(0.5) or 0) > 1.0


# --- problems ---------------------------------------------------------------------------------------------------------


def test_without_problems_it_says_so() -> None:
    found = seen("", "falcon_partitions 64\n")
    assert found.problems == []
    assert shown(found)[1] == "No problems."


def test_a_command_that_waits_is_told_with_its_age() -> None:
    text = 'falcon_mailbox_size{shard="0"} 3\nfalcon_mailbox_oldest_seconds{shard="0"} 4.2\n'
    assert problems_of("", text) == ["mailbox 0: oldest command 4.2 s"]


def test_a_dispatcher_without_a_free_thread_is_told_with_its_share_of_the_time() -> None:
    threads = 'falcon_dispatcher_threads_max{dispatcher="hbase-reads"} 16\n'
    busy = 'falcon_dispatcher_all_active_seconds_total{dispatcher="hbase-reads"} '
    assert problems_of(f"{threads}{busy}10\n", f"{threads}{busy}11.96\n") == [
        "dispatcher hbase-reads: all 16 threads active 98 % of the time"
    ]


def test_a_dispatcher_is_never_busy_for_more_than_all_of_the_time() -> None:
    text = (
        'falcon_dispatcher_threads_max{dispatcher="d"} 1\n'
        'falcon_dispatcher_all_active_seconds_total{dispatcher="d"} 9\n'
    )
    assert problems_of("", text) == ["dispatcher d: its one thread active 100 % of the time"]


def test_what_has_stopped_comes_before_what_fails_before_what_is_slow() -> None:
    text = (
        'falcon_mailbox_oldest_seconds{shard="0"} 2\nfalcon_mailbox_size{shard="0"} 1\n'
        'falcon_projection_stopped{projection="timeline"} 1\nfalcon_projection_stopped{projection="rooms"} 0\n'
        'falcon_http_requests_total{status="5xx"} 6\nfalcon_http_requests_total{status="2xx"} 600\n'
        'falcon_projection_lag_seconds{projection="rooms"} 50\n'
    )
    assert problems_of("", text) == [
        "projection timeline has stopped",
        "requests answered 5xx: 3.0 a second",
        "projection rooms: 0 events behind, the oldest 50.0 s",
        "mailbox 0: oldest command 2.0 s",
    ]


def test_a_wait_of_minutes_is_worse_than_a_single_failure() -> None:
    text = (
        'falcon_mailbox_size{shard="0"} 1\nfalcon_mailbox_oldest_seconds{shard="0"} 60\n'
        'falcon_mailbox_rejections_total{shard="1"} 1\n'
    )
    assert [what.partition(":")[0] for what in problems_of("", text)] == [
        "mailbox 0",
        "mailbox 1 is full",
    ]


def test_an_event_loop_that_is_held_up_is_a_problem_but_not_that_of_the_operations_port() -> None:
    text = "".join(
        f'falcon_process_uptime_seconds{{process="{name}"}} 90\n'
        f'falcon_event_loop_delay_max_seconds{{process="{name}"}} 0.3\n'
        for name in ("ops-0", "serve-0")
    )
    assert problems_of("", text) == ["process serve-0: event loop held up in the last minute for 300 ms"]


def test_commands_refused_by_a_rule_are_no_problem_and_those_not_carried_out_are() -> None:
    text = 'falcon_commands_total{outcome="rejected"} 9\nfalcon_commands_total{outcome="overloaded"} 2\n'
    assert problems_of("", text) == ["commands not carried out (overloaded): 1.0 a second"]


def test_slow_routes_are_a_problem_but_not_those_that_carry_everything() -> None:
    slow = {"1.0": 0, "2.0": 10, "+Inf": 10}
    name = "falcon_http_request_seconds"
    text = histogram(name, slow, 'method="GET",route="/v1/me"') + histogram(
        name, slow, 'method="GET",route="/v1/export"'
    )
    assert problems_of("", text) == ["GET /v1/me: 99 % within 2.0 s"]


def test_an_address_alone_should_own_what_it_was_assigned_and_all_together_everything() -> None:
    text = 'falcon_partitions 64\nfalcon_partitions_owned{shard="0"} 30\nfalcon_partitions_assigned{shard="0"} 32\n'
    assert problems_of("", text) == ["2 of 32 partitions are not owned though assigned"]
    both = view([Reading(name, PortState.UP, "", change("", text)) for name in (":1", ":2")], NOON)
    assert [problem.what for problem in both.problems] == ["4 of 64 partitions are not owned by any of these"]


def test_with_several_addresses_it_says_where() -> None:
    text = (
        'falcon_mailbox_size{shard="0"} 1\nfalcon_mailbox_oldest_seconds{shard="0"} 3\n'
        'falcon_projection_stopped{projection="rooms"} 1\n'
    )
    readings = [
        Reading(":1", PortState.UP, "", change("", "")),
        Reading(":2", PortState.UP, "", change("", text)),
        Reading(":3", PortState.NOT_READY, "draining", change("", "")),
        Reading(":4", PortState.NOT_REACHABLE, "connection refused"),
    ]
    assert [problem.what for problem in view(readings, NOON).problems] == [
        ":4: not reachable (connection refused)",
        ":3: not ready (draining)",
        "projection rooms has stopped at :2",
        "mailbox 0 at :2: oldest command 3.0 s",
    ]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_rows_are_sorted_by_what_is_worst() -> None:
    text = (
        'falcon_mailbox_size{shard="0"} 9\nfalcon_mailbox_size{shard="1"} 1\n'
        'falcon_mailbox_oldest_seconds{shard="1"} 5\n'
        'falcon_projection_lag_events{projection="a"} 5\nfalcon_projection_lag_events{projection="b"} 0\n'
        'falcon_projection_stopped{projection="b"} 1\n'
        'falcon_process_uptime_seconds{process="x-0"} 1\nfalcon_process_uptime_seconds{process="y-0"} 1\n'
        'falcon_process_cpu_seconds_total{process="y-0"} 1\n'
    )
    found = seen("", text)
    assert [row.shard for row in found.mailboxes] == ["1", "0"]
    assert [row.projection for row in found.projections] == ["b", "a"]
    assert [(row.process, row.cpu) for row in found.processes] == [("y-0", 0.5), ("x-0", 0.0)]


def test_a_process_that_has_ended_is_no_row() -> None:
    text = 'falcon_process_uptime_seconds{process="x-1"} 1\nfalcon_process_cpu_seconds_total{process="x-0"} 9\n'
    assert [row.process for row in seen("", text).processes] == ["x-1"]


def test_the_worst_are_shown_and_the_busiest_too() -> None:
    rows = [LatencyRow(f"r{i}", float(i), 1.0, 10.0 - i, 10.0) for i in range(10)]
    assert [row.name for row in chosen(rows, 4)] == ["r0", "r1", "r8", "r9"]
    assert chosen(rows, 20) == rows


def test_what_several_addresses_count_is_added() -> None:
    one = 'falcon_projected_events_total{projection="rooms"} 20\nfalcon_http_requests_total{status="2xx"} 2\n'
    found = view([Reading(name, PortState.UP, "", change("", one)) for name in (":1", ":2")], NOON)
    assert (found.throughput.events_projected, found.throughput.requests) == (20.0, {"2xx": 2.0})
    assert [row.per_second for row in found.projections] == [20.0]


def test_an_address_says_what_runs_there() -> None:
    text = "".join(
        f'falcon_process_uptime_seconds{{process="{name}"}} 90\n' for name in ("launcher-0", "ops-0", "write-0")
    )
    (row,) = seen("", text).addresses
    assert (row.roles, row.version, row.uptime_seconds, row.partitions_owned) == (["write"], "1.2.3", 90.0, None)


def test_names_are_short() -> None:
    assert short_names([OPS, OTHER]) == [":8081", ":9081"]
    assert short_names([OPS]) == ["127.0.0.1:8081"]
    assert short_names([OPS, "http://10.0.0.1:8081"]) == ["127.0.0.1:8081", "10.0.0.1:8081"]


def test_every_metric_that_is_asked_for_is_one_that_there_is() -> None:
    folder = Path(str(figures.__file__)).parent
    asked = set(re.findall(r'"(falcon_\w+)"', "".join(path.read_text() for path in folder.glob("*.py"))))
    declared = {*REGISTRY, *map(maximum_name, REGISTRY), *PROCESS_GAUGES, "falcon_build_info"}
    assert asked
    assert asked <= declared


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "–"), (0.0, "0"), (0.00042, "420 µs"), (0.0012, "1.2 ms"), (0.034, "34 ms"), (0.9999, "1.0 s")),
        *((4.2, "4.2 s"), (99.0, "99.0 s"), (150.0, "2.5 min"), (7200.0, "2.0 h"), (200_000.0, "2.3 d")),
    ],
)
def test_seconds_are_short(value: float | None, text: str) -> None:
    assert figures.seconds(value) == text


def test_rates_shares_and_sizes_are_short() -> None:
    assert [figures.rate(value) for value in (0.0, 0.02, 0.5, 12.4, 12_345.0)] == ["0", "0.02", "0.5", "12", "12,345"]
    assert [figures.share(value) for value in (0.0, 0.0001, 0.012, 0.98, 1.5)] == [
        "0 %",
        "0 %",
        "1.2 %",
        "98 %",
        "150 %",
    ]
    assert [figures.size(value) for value in (40 * 2**20, 1.5 * 2**30)] == ["40 MiB", "1.5 GiB"]


# --- a terminal of any size -------------------------------------------------------------------------------------------


def full() -> View:
    """A view with rows in every table and many problems."""
    text = "".join(
        f'falcon_process_uptime_seconds{{process="serve-{i}"}} 1\n'
        f'falcon_mailbox_size{{shard="{i}"}} 1\nfalcon_mailbox_oldest_seconds{{shard="{i}"}} {i + 1}\n'
        f'falcon_dispatcher_threads_max{{dispatcher="a dispatcher of a long name {i}"}} 4\n'
        f'falcon_projection_lag_events{{projection="p{i}"}} 1\n'
        f'falcon_http_request_max_seconds{{method="GET",route="/a/route/that/is/long/{i}"}} 1\n'
        + histogram(
            "falcon_http_request_seconds", {"1.0": i, "+Inf": i}, f'method="GET",route="/a/route/that/is/long/{i}"'
        )
        + histogram("falcon_message_seconds", {"1.0": 1, "+Inf": 1}, 'stage="durable"')
        for i in range(20)
    )
    return view([Reading(name, PortState.UP, "", change("", text)) for name in (":1", ":2")], NOON)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for fit in (False, True):
        assert max(map(len, shown(full(), width, fit=fit))) <= width


@pytest.mark.parametrize("height", [10, 24, 60])
def test_it_fits_the_height_of_the_terminal_and_says_what_it_leaves_out(height: int) -> None:
    lines = shown(full(), 80, height, fit=True)
    assert len(lines) <= height
    assert any("of 4" in line for line in lines if line.startswith("Problems"))
    assert height < 24 or any(re.match(r"Mailboxes \(\+\d+\)", line) for line in lines)


def test_on_a_narrow_terminal_the_last_columns_make_room_for_names() -> None:
    (heading,) = (line for line in shown(full(), 50) if line.startswith("Dispatchers"))
    assert "active" in heading
    assert "tasks/s" not in heading


def test_tables_share_the_room() -> None:
    assert allotted([5, 1, 5], 9) == [3, 1, 2]
    assert allotted([5, 5], 3) == [2, 0]
    assert allotted([2, 2], 100) == [2, 2]
    assert allotted([2, 2], -1) == [0, 0]


def test_what_a_server_says_cannot_move_the_cursor() -> None:
    found = view([Reading("pod", PortState.NOT_READY, "\x1b[2Jgone", change("", ""))], NOON)
    assert not any("\x1b" in line for line in shown(found))


# --- the command ------------------------------------------------------------------------------------------------------


class Ops:
    """Operations ports by address. Each answers with its texts in turn, and then always with the last."""

    def __init__(self, **texts: Sequence[str | int | None]) -> None:
        self.texts = {int(port.removeprefix("p")): list(given) for port, given in texts.items()}
        self.ready = httpx.Response(200, text="ok")
        self.asked: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if request.url.path == "/readyz":
            return self.ready
        texts = self.texts[request.url.port or 80]
        text = texts.pop(0) if len(texts) > 1 else texts[0]
        if text is None:
            raise httpx.ConnectError("refused", request=request) from ConnectionRefusedError(111, "refused")
        return httpx.Response(text) if isinstance(text, int) else httpx.Response(200, text=INFO + text)


def run_top(ops: Ops, *args: str, clock: FakeClock | None = None) -> Result:
    outside = Outside(httpx.MockTransport(ops.answer), (clock or FakeClock()).clock())
    return CliRunner().invoke(app, ["top", *args], obj=outside)


def commands(count: int) -> str:
    return f'falcon_commands_total{{command="PostMessage",outcome="accepted"}} {count}\n'


def test_one_reading_is_printed_after_one_interval() -> None:
    clock = FakeClock()
    result = run_top(Ops(p8081=[commands(10), commands(40)]), OPS, "--once", "--interval", "3", clock=clock)
    assert (result.exit_code, clock.slept) == (0, [3.0])
    assert "Commands 10/s: accepted 10" in result.stdout
    assert "127.0.0.1:8081 up" in result.stdout


def test_a_reading_is_json_for_programs() -> None:
    result = run_top(Ops(p8081=[commands(10), commands(40)]), OPS, "--once", "--json")
    found: dict[str, Any] = msgspec.json.decode(result.stdout)
    assert found["throughput"]["commands"] == {"accepted": 15.0}
    assert found["addresses"][0]["state"] == "up"
    assert found["problems"] == []


def test_json_without_once_is_a_fault_of_usage() -> None:
    assert run_top(Ops(), OPS, "--json").exit_code == 2


@pytest.mark.parametrize("seconds", ["0.1", "0", "-1"])
def test_an_interval_has_a_least(seconds: str) -> None:
    assert run_top(Ops(), OPS, "--interval", seconds).exit_code == 2


def test_ctrl_c_ends_it_in_order() -> None:
    result = run_top(Ops(p8081=[commands(1)]), OPS, clock=FakeClock(patience=3))
    assert result.exit_code == 0
    assert result.stdout.count("falcon top") == 3
    assert result.stderr == ""


def test_on_a_terminal_it_has_the_screen_for_itself_and_gives_it_back() -> None:
    outside = Outside(httpx.MockTransport(Ops(p8081=[commands(1)]).answer), FakeClock(patience=2).clock())
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    result = CliRunner().invoke(app, ["top", OPS], obj=outside, env=terminal)
    assert result.exit_code == 0
    assert result.stdout.startswith("\x1b[?1049h")
    assert "No problems." in result.stdout
    assert result.stdout.rindex("\x1b[?1049l") > result.stdout.rindex("falcon top")


def test_its_help_has_examples() -> None:
    assert "falcon top --once --json | jq" in run_top(Ops(), "--help").stdout


def test_an_address_that_goes_and_comes_back_does_not_end_the_view() -> None:
    ops = Ops(p8081=[commands(0)], p9081=[commands(0), None, commands(8)])
    result = run_top(ops, OPS, OTHER, clock=FakeClock(patience=2))
    assert result.exit_code == 0
    away, back = result.stdout.split("falcon top")[1:]
    assert "1 of 2 addresses up" in away
    assert ":9081: not reachable (connection refused)" in away
    assert "2 of 2 addresses up" in back
    assert "Commands 2.0/s" in back  # over the four seconds since the last scrape
    assert "No problems." in back


def test_what_is_not_known_is_not_shown_as_nothing() -> None:
    result = run_top(Ops(p8081=[commands(0), None]), OPS, "--once")
    assert result.exit_code == 0
    assert "No figures of this interval." in result.stdout
    assert "/s" not in result.stdout


def test_an_address_that_is_not_ready_says_why() -> None:
    ops = Ops(p8081=[commands(0)])
    ops.ready = httpx.Response(503, text="the shards are recovering")
    result = run_top(ops, OPS, "--once")
    assert result.exit_code == 0
    assert "127.0.0.1:8081: not ready (the shards are recovering)" in result.stdout


def test_when_nothing_answers_at_the_start_it_is_one_line() -> None:
    result = run_top(Ops(p8081=[None]), OPS)
    assert (result.exit_code, result.stderr) == (1, f"{OPS} is not reachable (connection refused)\n")


def test_a_port_that_is_no_operations_port_is_one_line() -> None:
    result = run_top(Ops(p8081=[404]), OPS)
    assert result.exit_code == 1
    assert result.stderr == (
        f"{OPS} is no operations port of Falcon (404 at /metrics); its number is FALCON_OPS_PORT\n"
    )


def test_another_programs_metrics_are_not_falcons() -> None:
    assert parse("go_goroutines 7\n") is None
    assert parse("<!doctype html><p>Hello\n") is None


def test_what_is_no_address_is_one_line() -> None:
    result = run_top(Ops(), "localhost:8081")
    assert result.exit_code == 1
    assert result.stderr.startswith("'localhost:8081' is not an address; it should look like http://")


def test_an_address_named_twice_is_one() -> None:
    ops = Ops(p8081=[commands(0)])
    assert run_top(ops, OPS, f"{OPS}/", "--once").exit_code == 0
    assert ops.asked.count(f"{OPS}/metrics") == 2


def test_without_addresses_it_is_the_falcon_of_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    up = {"url": "http://127.0.0.1:8080", "ops_url": OPS, "pid": os.getpid()}
    (tmp_path / "data" / "up.json").write_bytes(msgspec.json.encode(up))
    assert run_top(Ops(p8081=[commands(0)]), "--once").exit_code == 0


def test_or_the_cluster_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "cluster.json").write_bytes(msgspec.json.encode({"urls": [], "ops_urls": [OPS, OTHER]}))
    result = run_top(Ops(p8081=[commands(0)], p9081=[commands(0)]), "--once")
    assert "2 of 2 addresses up" in result.stdout


def test_or_it_says_that_none_runs() -> None:
    result = run_top(Ops())
    assert result.exit_code == 1
    assert result.stderr.startswith("no Falcon runs on data/: start one with `falcon up`")
