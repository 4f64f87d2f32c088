"""`falcon top` on answers of operations ports."""

from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
import pytest
from typer.testing import CliRunner, Result

from falcon.cli import app
from falcon.cli import top as top_module
from falcon.cli.calling import Outside
from falcon.telemetry import metrics as _declared  # noqa: F401  they register when they are declared
from falcon.telemetry.instruments import REGISTRY
from falcon.telemetry.process_tree import PROCESS_GAUGES
from tests.cli.fake import FakeClock

OPS = "http://127.0.0.1:8081"
OTHER = "http://127.0.0.1:9081"
INFO = 'falcon_build_info{version="1.2.3",python="3.11.7"} 1\n'


class Ops:
    """Operations ports by number. Each answers with its texts in turn, and then always with the last."""

    def __init__(self, **texts: Sequence[str | int | None]) -> None:
        self.texts = {int(port.removeprefix("p")): list(given) for port, given in texts.items()}
        self.ready = httpx.Response(200, text="ok")

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            return self.ready
        texts = self.texts[request.url.port or 80]
        text = texts.pop(0) if len(texts) > 1 else texts[0]
        if text is None:
            raise httpx.ConnectError("connection refused", request=request)
        return httpx.Response(text) if isinstance(text, int) else httpx.Response(200, text=INFO + text)


def run_top(ops: Ops, *args: str, clock: FakeClock | None = None) -> Result:
    outside = Outside(httpx.MockTransport(ops.answer), (clock or FakeClock()).clock())
    return CliRunner().invoke(app, ["top", *args], obj=outside)


def read(ops: Ops, *args: str) -> dict[str, Any]:
    result = run_top(ops, OPS, *args, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = msgspec.json.decode(result.stdout)
    return found


def figure(before: str, after: str, part: str, what: str) -> Any:
    """Over the two seconds between the readings."""
    found = read(Ops(p8081=[before, after]))["figures"]
    return next((each["value"] for each in found if (each["part"], each["what"]) == (part, what)), None)


def commands(count: int) -> str:
    return f'falcon_commands_total{{command="PostMessage",outcome="accepted"}} {count}\n'


# --- figures ----------------------------------------------------------------------------------------------------------


def test_a_rate_is_the_growth_over_the_interval() -> None:
    before = 'falcon_http_requests_total{route="/a",status="2xx"} 100\n'
    after = 'falcon_http_requests_total{route="/a",status="2xx"} 110\nfalcon_http_requests_total{route="/b",status="2xx"} 6\n'  # noqa: E501
    assert figure(before, after, "HTTP", "requests") == 8.0


def test_a_counter_that_restarted_has_no_negative_rate() -> None:
    assert figure(commands(1000), commands(4), "HTTP", "commands accepted") == 2.0


def test_a_mean_time_is_of_what_ended_in_the_interval_without_streams() -> None:
    def times(route: str, total: float, count: int) -> str:
        labels = f'{{method="GET",route="{route}"}}'
        name = "falcon_http_request_seconds"
        return f"# TYPE {name} histogram\n{name}_sum{labels} {total}\n{name}_count{labels} {count}\n"

    before, after = times("/v1/me", 100, 10), times("/v1/me", 100.5, 15) + times("/v1/stream", 900, 1)
    assert figure(before, after, "HTTP", "mean time") == pytest.approx(0.1)
    assert figure(before, before, "HTTP", "mean time") is None


def test_what_a_role_does_not_have_is_not_shown() -> None:
    assert figure("", "", "Mailboxes", "waiting") is None
    assert figure("", 'falcon_mailbox_size{shard="0"} 3\n', "Mailboxes", "waiting") == 3


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", 'falcon_mailbox_oldest_seconds{shard="4"} 3\n', "Mailboxes: oldest 3.0 s (4)"),
        ("", 'falcon_projection_stopped{projection="timeline"} 1\n', "Projections: stopped 1 (timeline)"),
        ("", 'falcon_partitions_owned{shard="0"} 60\nfalcon_partitions_assigned{shard="0"} 64\n', "not owned 4"),
        (
            'falcon_journal_append_failures_total{outcome="fenced"} 1\n',
            'falcon_journal_append_failures_total{outcome="fenced"} 2\n',
            "Journal: failed 0.5/s (fenced)",
        ),
        (
            'falcon_process_cpu_seconds_total{process="serve-0"} 10\n',
            'falcon_process_cpu_seconds_total{process="serve-0"} 12\n',
            "Processes: busiest 100% (serve-0)",
        ),
        (
            'falcon_log_lines_total{level="info"} 1\n',
            'falcon_log_lines_total{level="error"} 2\n',
            "Log: error lines 1/s",
        ),
    ],
)
def test_a_problem_is_said_in_words(before: str, after: str, said: str) -> None:
    (problem,) = read(Ops(p8081=[before, after]))["problems"]
    assert said in problem


def test_the_process_of_the_operations_port_may_wait_for_others() -> None:
    assert read(Ops(p8081=["", 'falcon_event_loop_delay_max_seconds{process="ops-0"} 3\n']))["problems"] == []


def test_the_worst_problem_comes_first() -> None:
    text = 'falcon_projection_lag_seconds{projection="timeline"} 10\nfalcon_mailbox_oldest_seconds{shard="4"} 9\n'
    first, second = read(Ops(p8081=[text]))["problems"]
    assert first.startswith("Mailboxes") and second.startswith("Projections")


def test_several_ports_must_own_all_partitions_between_them() -> None:
    text = 'falcon_partitions 64\nfalcon_partitions_owned{shard="0"} 20\nfalcon_partitions_assigned{shard="0"} 20\n'
    assert read(Ops(p8081=[text]))["problems"] == []
    assert read(Ops(p8081=[text], p9081=[text]), OTHER)["problems"] == ["Shards: partitions not owned 24"]


def test_each_metric_that_it_reads_exists() -> None:
    declared = {*REGISTRY, *PROCESS_GAUGES}
    read_ones = {row[5].removesuffix("_total") for row in top_module._FIGURES}
    assert read_ones - declared == set()


# --- the command ------------------------------------------------------------------------------------------------------


def test_one_reading_is_printed_after_one_interval() -> None:
    clock = FakeClock()
    result = run_top(Ops(p8081=[commands(10), commands(40)]), OPS, "--once", "--interval", "3", clock=clock)
    assert (result.exit_code, clock.slept) == (0, [3.0])
    assert "commands accepted 10/s" in result.stdout
    assert "1 of 1 addresses up" in result.stdout
    assert "No problems." in result.stdout


@pytest.mark.parametrize("seconds", ["0.1", "0", "-1"])
def test_an_interval_has_a_least(seconds: str) -> None:
    assert run_top(Ops(), OPS, "--interval", seconds).exit_code == 2


def test_ctrl_c_ends_it_in_order() -> None:
    result = run_top(Ops(p8081=[commands(1)]), OPS, clock=FakeClock(patience=3))
    assert result.exit_code == 0
    assert result.stdout.count("falcon top") == 3
    assert result.stderr == ""


def test_an_address_that_goes_and_comes_back_does_not_end_the_view() -> None:
    ops = Ops(p8081=[commands(0)], p9081=[commands(0), None, commands(8)])
    result = run_top(ops, OPS, OTHER, clock=FakeClock(patience=2))
    away, back = result.stdout.split("falcon top")[1:]
    assert "1 of 2 addresses up" in away
    assert f"{OTHER} is not reachable (connection refused)" in away.replace("\n", " ")
    assert "2 of 2 addresses up" in back
    assert "commands accepted 2/s" in back  # over the four seconds since the last scrape


def test_one_that_is_not_ready_says_why_and_cannot_move_the_cursor() -> None:
    ops = Ops(p8081=[""])
    ops.ready = httpx.Response(503, text="\x1b[2Jno owner")
    result = run_top(ops, OPS, "--once")
    assert f"{OPS} is not ready" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(("answer", "said"), [(404, "no operations port"), (None, "not reachable")])
def test_a_port_that_is_none_of_falcons_is_a_fault_at_the_start(answer: int | None, said: str) -> None:
    result = run_top(Ops(p8081=[answer]), OPS)
    assert result.exit_code == 1
    assert f"{OPS} is {said}" in result.stderr


def test_without_a_falcon_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_top(Ops())
    assert result.exit_code == 1
    assert "start one with `falcon up`" in result.stderr


def test_without_an_address_it_shows_the_processes_of_make_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build/cluster.json").write_text(f'{{"ops_urls": ["{OPS}", "{OTHER}"]}}')
    monkeypatch.chdir(tmp_path)
    result = run_top(Ops(p8081=[""], p9081=[""]), "--once")
    assert "2 of 2 addresses up" in result.stdout
