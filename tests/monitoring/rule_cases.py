"""When each alert fires and when it does not, as files for ``promtool test rules``."""

from dataclasses import dataclass, replace
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # comes with what tests the API

from tests.monitoring.rules import ALERTS, GROUPS
from tools.monitoring import RULES

_EACH_SECONDS: Final = 15  # between scrapes
_POD: Final = 'job="falcon",instance="a:8081"'
_INSTANCE: Final = {"job": "falcon", "instance": "a:8081"}
_JOB: Final = {"job": "falcon"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``series``: their values, a scrape each. Without a ``description`` the alert is silent, at all times from
    ``since`` on; with one it fires at the end, with these ``labels`` beside its own."""

    alert: str
    what: str
    series: dict[str, str]
    minutes: int = 20
    since: int = 0
    each_seconds: int = _EACH_SECONDS
    labels: dict[str, str] | None = None
    description: str | None = None


def files() -> dict[str, str]:
    """Files of tests and of rules, by name.

    Each alert has its own: Prometheus evaluates all rules of a file at each step of each case, and a case asks for one
    alert only. Cases that take hours are apart, since a file has one interval at which rules are evaluated.
    """
    made = {
        "rules.yaml": RULES.read_text(),
        "idle_test.yaml": _file("rules.yaml", "1m", [_idle()]),
    }
    for alert in ALERTS:
        name = alert["alert"]
        made[f"{name}.yaml"] = yaml.safe_dump({"groups": _groups_of(name)})
        cases = [case for case in CASES if case.alert == name]
        quick = [_test(case, alert) for case in cases if case.each_seconds == _EACH_SECONDS]
        slow = [_test(case, alert) for case in cases if case.each_seconds != _EACH_SECONDS]
        if quick:
            made[f"{name}_quick_test.yaml"] = _file(f"{name}.yaml", "1m", quick)
        if slow:
            made[f"{name}_slow_test.yaml"] = _file(f"{name}.yaml", "10m", slow)
    return made


def _groups_of(name: str) -> list[dict[str, Any]]:
    """The group with the alert, without other alerts: with the rules that record series for it."""
    alone = [
        {**group, "rules": [rule for rule in group["rules"] if rule.get("alert", name) == name]} for group in GROUPS
    ]
    return [group for group in alone if any("alert" in rule for rule in group["rules"])]


def _file(rule_file: str, interval: str, tests: list[dict[str, Any]]) -> str:
    return str(yaml.safe_dump({"rule_files": [rule_file], "evaluation_interval": interval, "tests": tests}))


def _test(case: Case, alert: dict[str, Any]) -> dict[str, Any]:
    fires = case.description is not None
    test: dict[str, Any] = {
        "name": f"{case.alert} {'fires' if fires else 'is silent'}: {case.what}",
        "interval": f"{case.each_seconds}s",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
    }
    if not fires:
        return test | _silence(f'alertname="{case.alert}",', case.minutes, case.minutes - case.since)
    expected = {
        "exp_labels": (case.labels or {}) | alert["labels"],
        "exp_annotations": alert["annotations"] | {"description": case.description},
    }
    return test | {
        "alert_rule_test": [{"eval_time": f"{case.minutes}m", "alertname": case.alert, "exp_alerts": [expected]}]
    }


def _silence(selector: str, at_minute: int, minutes: int) -> dict[str, Any]:
    """Nothing fired in the minutes before: what fires is a series too."""
    fired = f'count_over_time(ALERTS{{{selector}alertstate="firing"}}[{minutes}m])'
    return {"promql_expr_test": [{"expr": fired, "eval_time": f"{at_minute}m", "exp_samples": []}]}


def _idle() -> dict[str, Any]:
    """The series of a Falcon that has had no requests since its start."""
    still = {
        f"falcon_partitions{{{_POD}}}": 64,
        f'falcon_partitions_owned{{{_POD},shard="0"}}': 64,
        f'falcon_partitions_assigned{{{_POD},shard="0"}}': 64,
        f'falcon_mailbox_size{{{_POD},shard="0"}}': 0,
        f'falcon_mailbox_bound{{{_POD},shard="0"}}': 2_000,
        f'falcon_mailbox_oldest_seconds{{{_POD},shard="0"}}': 0,
        f'falcon_mailbox_rejections_total{{{_POD},shard="0"}}': 0,
        f'falcon_journal_oldest_append_seconds{{{_POD},shard="0"}}': 0,
        f"falcon_journal_commit_events_sum{{{_POD}}}": 4,
        f'falcon_message_seconds_count{{{_POD},stage="readable"}}': 4,
        f'falcon_message_seconds_bucket{{{_POD},stage="readable",le="1.0"}}': 4,
        f'falcon_message_seconds_count{{{_POD},stage="pushed"}}': 4,
        f'falcon_message_seconds_bucket{{{_POD},stage="pushed",le="1.0"}}': 0,
        f"falcon_disk_free_bytes{{{_POD}}}": 60 << 30,
        f"falcon_disk_reserve_bytes{{{_POD}}}": 1 << 30,
        f'falcon_journal_append_failures_total{{{_POD},outcome="unknown"}}': 0,
        f'falcon_journal_append_failures_total{{{_POD},outcome="fenced"}}': 0,
        f'falcon_actor_processing_seconds_count{{{_POD},actor="RoomShard"}}': 4,
        f'falcon_actor_processing_seconds_bucket{{{_POD},actor="RoomShard",le="1.0"}}': 4,
        f'falcon_projected_events_total{{{_POD},projection="timeline"}}': 4,
        f'falcon_projection_stopped{{{_POD},projection="timeline"}}': 0,
        f'falcon_projection_lag_events{{{_POD},projection="timeline"}}': 0,
        f'falcon_projection_lag_seconds{{{_POD},projection="timeline"}}': 0,
        f'falcon_read_failures_total{{{_POD},call="page"}}': 0,
        f"falcon_lost_messages_shown_total{{{_POD}}}": 0,
        f'falcon_dispatcher_queue_size{{{_POD},dispatcher="operations"}}': 0,
        f'falcon_dispatcher_queue_bound{{{_POD},dispatcher="operations"}}': 32,
        f'falcon_dispatcher_oldest_seconds{{{_POD},dispatcher="operations"}}': 0,
        f'falcon_dispatcher_all_active_seconds_total{{{_POD},dispatcher="operations"}}': 0,
        f'falcon_dispatcher_rejections_total{{{_POD},dispatcher="operations"}}': 0,
        f'falcon_gc_pause_seconds_total{{{_POD},process="serve-0",generation="2"}}': 0.03,
        f'falcon_process_sampled_seconds{{{_POD},process="serve-0"}}': 0.9,
        f'falcon_process_restarts_total{{{_POD},role="serve"}}': 0,
        f'falcon_log_lines_total{{{_POD},level="error"}}': 0,
        f'falcon_process_pss_bytes{{{_POD},process="serve-0"}}': 30_000_000,
        f'falcon_process_fds{{{_POD},process="serve-0"}}': 29,
        f'falcon_process_fds_max{{{_POD},process="serve-0"}}': 20_000,
        f'falcon_certificate_end_timestamp_seconds{{{_POD},setting="FALCON_TLS_CERT"}}': 4_000_000_000,
        f'falcon_build_info{{{_POD},version="1",python="3.11"}}': 1,
        f"up{{{_POD}}}": 1,
    }
    moving = {
        f'falcon_event_loop_delay_seconds_count{{{_POD},process="serve-0"}}': _rises(9.9, 60),
        f'falcon_event_loop_delay_seconds_bucket{{{_POD},process="serve-0",le="0.5"}}': _rises(9.9, 60),
        f'falcon_process_uptime_seconds{{{_POD},process="serve-0"}}': _rises(1, 60),
        f'falcon_process_uptime_seconds{{{_POD},process="launcher-0"}}': _rises(1, 60),
    }
    return {
        "name": "an idle system: nothing fires",
        "interval": f"{_EACH_SECONDS}s",
        "input_series": [
            {"series": series, "values": values}
            for series, values in ({name: _stays(value, 60) for name, value in still.items()} | moving).items()
        ],
        **_silence("", 60, 60),
    }


# --- values of a series, a scrape each --------------------------------------------------------------------------------


def _stays(value: float, minutes: int = 20, each: int = _EACH_SECONDS) -> str:
    return f"{value:.10g}+0x{minutes * 60 // each}"


def _rises(per_second: float, minutes: int = 20, start: float = 0, each: int = _EACH_SECONDS) -> str:
    return f"{start:.10g}{per_second * each:+.10g}x{minutes * 60 // each}"


def _absent(minutes: int) -> str:
    return f"_x{minutes * 60 // _EACH_SECONDS}"


# --- the cases --------------------------------------------------------------------------------------------------------


def _requests(good: str, bad: str, route: str = "/v1/rooms") -> dict[str, str]:
    labels = f'{_POD},route="{route}",method="GET"'
    return {
        f'falcon_http_requests_total{{{labels},status="2xx"}}': good,
        f'falcon_http_requests_total{{{labels},status="5xx"}}': bad,
    }


def _commands(total: float, quick: float, minutes: int, each: int) -> dict[str, str]:
    labels = f'{_POD},command="PostMessage"'
    return {
        f"falcon_command_seconds_count{{{labels}}}": _rises(total, minutes, each=each),
        f'falcon_command_seconds_bucket{{{labels},le="0.25"}}': _rises(quick, minutes, each=each),
    }


def _messages(total: float, quick: float, minutes: int, each: int) -> dict[str, str]:
    return {
        f'falcon_message_seconds_count{{{_POD},stage="readable"}}': _rises(total, minutes, each=each),
        f'falcon_message_seconds_bucket{{{_POD},stage="readable",le="1.0"}}': _rises(quick, minutes, each=each),
        f'falcon_message_seconds_count{{{_POD},stage="durable"}}': _rises(total, minutes, each=each),
        f'falcon_message_seconds_bucket{{{_POD},stage="durable",le="1.0"}}': _stays(0, minutes, each=each),
    }


def _burning() -> list[Case]:
    cases: list[Case] = []
    allowed = {"Requests": "0.1%", "Commands": "1%", "Messages": "1%"}
    what = {
        "Requests": "of the requests were answered 5xx",
        "Commands": "of the commands took longer than 0.25 s",
        "Messages": "of the events were readable later than 1 s after they were decided",
    }
    # Of ten a second, how many are bad: enough that it fires, and few enough that it does not.
    figures = {
        ("Requests", "Fast"): (0.2, 0.1),
        ("Requests", "Steady"): (0.1, 0.05),
        ("Requests", "Slow"): (0.02, 0.005),
        ("Commands", "Fast"): (2.0, 1.0),
        ("Commands", "Steady"): (1.0, 0.5),
        ("Commands", "Slow"): (0.2, 0.05),
        ("Messages", "Fast"): (2.0, 1.0),
        ("Messages", "Steady"): (1.0, 0.5),
        ("Messages", "Slow"): (0.2, 0.05),
    }
    windows = {"Fast": "1h", "Steady": "6h", "Slow": "3d"}
    minutes, each = {"Fast": 70, "Steady": 400, "Slow": 400}, {"Fast": 15, "Steady": 60, "Slow": 60}
    for (title, burn), (many, few) in figures.items():
        long, step = minutes[burn], each[burn]

        def series(bad: float, title: str = title, long: int = long, step: int = step) -> dict[str, str]:
            if title == "Requests":
                return _requests(_rises(10 - bad, long, each=step), _rises(bad, long, each=step))
            return (_commands if title == "Commands" else _messages)(10, 10 - bad, long, step)

        cases.append(
            Case(
                alert=f"Falcon{title}Burn{burn}",
                what="too many are bad, for long and still",
                series=series(many),
                minutes=long,
                each_seconds=step,
                labels=_JOB,
                description=f"{many * 10:g}% {what[title]} in the last {windows[burn]}; "
                f"the objective allows {allowed[title]}.",
            )
        )
        cases.append(
            Case(
                alert=f"Falcon{title}Burn{burn}",
                what="fewer are bad",
                series=series(few),
                minutes=long,
                each_seconds=step,
            )
        )
    cases.append(
        Case(
            alert="FalconRequestsBurnFast",
            what="it was bad, and is over",
            series=_requests(_rises(9, 70), "0+15x200 3000+0x80"),
            minutes=70,
            since=56,
        )
    )
    cases.append(
        Case(
            alert="FalconRequestsBurnFast",
            what="one of a few requests an hour fails",
            series=_requests(_rises(0.002, 70), "_x120 0 1+0x160"),
            minutes=70,
        )
    )
    return cases


def _pair(
    alert: str, series: dict[str, str], labels: dict[str, str], description: str, silent: dict[str, str], why: str
) -> list[Case]:
    return [
        Case(alert=alert, what="it is so for minutes", series=series, labels=labels, description=description),
        Case(alert=alert, what=why, series=silent),
    ]


def _gauge(alert: str, gauge: str, labels: dict[str, str], high: float, low: float, description: str) -> list[Case]:
    """Fires where the gauge is high; neither where it is low nor where it is high for a moment."""
    series = ",".join([f"{gauge}{{{_POD}", *(f'{name}="{value}"' for name, value in labels.items())]) + "}"
    return [
        *_pair(
            alert, {series: _stays(high)}, {**_INSTANCE, **labels}, description, {series: _stays(low)}, "it is lower"
        ),
        Case(alert=alert, what="it is so for a moment", series={series: f"{high:g}+0x3 {low:g}+0x76"}),
    ]


def _above(alert: str, histogram: str, labels: dict[str, str], bound: float, description: str) -> list[Case]:
    """Of ten a second, fires where one in a hundred is above the bound all the time, and not where some were for a
    moment."""
    of = ",".join([_POD, *(f'{name}="{value}"' for name, value in labels.items())])
    count, bucket = f"{histogram}_count{{{of}}}", f'{histogram}_bucket{{{of},le="{bound}"}}'
    every = _rises(10)
    return [
        *_pair(
            alert,
            {count: every, bucket: _rises(9.9)},
            {**_INSTANCE, **labels},
            f"In every 2m, 12 or more {description}",
            {count: every, bucket: every},
            "none is",
        ),
        Case(alert=alert, what="some were for a moment", series={count: every, bucket: "0+150x40 5950+150x39"}),
    ]


def _answers() -> list[Case]:
    route = {"route": "/v1/rooms", "method": "GET"}
    command = {"command": "PostMessage"}

    def timed(histogram: str, labels: str, per_second: float, mean: float) -> dict[str, str]:
        return {
            f"{histogram}_count{{{_POD},{labels}}}": _rises(per_second),
            f"{histogram}_sum{{{_POD},{labels}}}": _rises(per_second * mean),
        }

    http, get = "falcon_http_request_seconds", 'route="/v1/rooms",method="GET"'
    asked, post = "falcon_command_seconds", 'command="PostMessage"'
    outcomes = f'falcon_commands_total{{{_POD},command="PostMessage",outcome='
    return [
        *_pair(
            "FalconRouteSlow",
            timed(http, get, 2, 0.4),
            {**_INSTANCE, **route},
            "GET /v1/rooms takes 400ms on average at a:8081.",
            timed(http, get, 2, 0.2),
            "it is quicker",
        ),
        Case(alert="FalconRouteSlow", what="hardly anybody asks", series=timed(http, get, 0.05, 2)),
        Case(
            alert="FalconRouteSlow",
            what="an export takes as long as it is",
            series=timed(http, 'route="/v1/export",method="GET"', 2, 20),
        ),
        *_above("FalconRouteMaximum", http, route, 4.0, "GET /v1/rooms took longer than 4 s at a:8081."),
        *_pair(
            "FalconCommandSlow",
            timed(asked, post, 2, 0.3),
            {**_INSTANCE, **command},
            "PostMessage takes 300ms on average at a:8081.",
            timed(asked, post, 2, 0.1),
            "it is quicker",
        ),
        Case(alert="FalconCommandSlow", what="hardly anybody sends", series=timed(asked, post, 0.05, 2)),
        *_above("FalconCommandMaximum", asked, command, 2.0, "PostMessage took longer than 2 s at a:8081."),
        *_above(
            "FalconActorMaximum",
            "falcon_actor_processing_seconds",
            {"actor": "RoomShard"},
            1.0,
            "messages took RoomShard longer than 1 s at a:8081.",
        ),
        *_pair(
            "FalconRouteErrors",
            _requests(_rises(9), _rises(1)),
            {**_JOB, "route": "/v1/rooms"},
            "10% of the requests for /v1/rooms were answered 5xx.",
            _requests(_rises(9.6), _rises(0.4)),
            "fewer fail",
        ),
        Case(
            alert="FalconRouteErrors",
            what="hardly anybody asks",
            series=_requests(_rises(0.01), _rises(0.05)),
        ),
        Case(
            alert="FalconRouteErrors",
            what="nothing has ever failed",
            series={f'falcon_http_requests_total{{{_POD},{get},status="2xx"}}': _rises(10)},
        ),
        *_pair(
            "FalconCommandErrors",
            {
                f'{outcomes}"accepted"}}': _rises(8),
                f'{outcomes}"rejected"}}': _rises(1),
                f'{outcomes}"overloaded"}}': _rises(1),
            },
            {**_JOB, **command},
            "10% of PostMessage were neither accepted nor refused by a rule.",
            {f'{outcomes}"accepted"}}': _rises(1), f'{outcomes}"rejected"}}': _rises(9)},
            "many are refused by a rule",
        ),
    ]


def _waiting() -> list[Case]:
    shard, projection, dispatcher = {"shard": "0"}, {"projection": "timeline"}, {"dispatcher": "hbase-reads"}
    mailbox, pool = f'{{{_POD},shard="0"}}', f'{{{_POD},dispatcher="hbase-reads"}}'
    return [
        *_pair(
            "FalconMailboxFull",
            {f"falcon_mailbox_size{mailbox}": _stays(1_900), f"falcon_mailbox_bound{mailbox}": _stays(2_000)},
            {**_INSTANCE, **shard},
            "The mailbox of shard 0 at a:8081 is at 95% of its bound.",
            {f"falcon_mailbox_size{mailbox}": _stays(1_000), f"falcon_mailbox_bound{mailbox}": _stays(2_000)},
            "there is room",
        ),
        Case(
            alert="FalconMailboxFull",
            what="it was full for a moment",
            series={
                f"falcon_mailbox_size{mailbox}": "0+0x20 2000+0x4 0+0x55",
                f"falcon_mailbox_bound{mailbox}": _stays(2_000),
            },
        ),
        *_gauge(
            "FalconMailboxOld",
            "falcon_mailbox_oldest_seconds",
            shard,
            3,
            0.3,
            "The oldest command for shard 0 at a:8081 has had no reply for 3s.",
        ),
        *_pair(
            "FalconMailboxRejections",
            {f"falcon_mailbox_rejections_total{mailbox}": _rises(0.5)},
            {**_INSTANCE, **shard},
            "Shard 0 at a:8081: 0.50 commands refused a second.",
            {f"falcon_mailbox_rejections_total{mailbox}": "0+0x40 20+0x40"},
            "a few were refused once",
        ),
        *_gauge(
            "FalconAppendOld",
            "falcon_journal_oldest_append_seconds",
            shard,
            4,
            0.2,
            "The oldest append of shard 0 at a:8081 has been under way for 4s.",
        ),
        *_gauge(
            "FalconProjectionBehind",
            "falcon_projection_lag_events",
            projection,
            20_000,
            5_000,
            "Projection timeline at a:8081 is 20k events behind the log.",
        ),
        *_gauge(
            "FalconProjectionLate",
            "falcon_projection_lag_seconds",
            projection,
            60,
            5,
            "The oldest event that projection timeline at a:8081 has yet to apply is 1m 0s old.",
        ),
        *_pair(
            "FalconDispatcherFull",
            {f"falcon_dispatcher_queue_size{pool}": _stays(250), f"falcon_dispatcher_queue_bound{pool}": _stays(256)},
            {**_INSTANCE, **dispatcher},
            "The queue of dispatcher hbase-reads at a:8081 is at 97.66% of its bound.",
            {f"falcon_dispatcher_queue_size{pool}": _stays(100), f"falcon_dispatcher_queue_bound{pool}": _stays(256)},
            "there is room",
        ),
        *_gauge(
            "FalconDispatcherOld",
            "falcon_dispatcher_oldest_seconds",
            dispatcher,
            2,
            0.2,
            "The oldest task of dispatcher hbase-reads at a:8081 has waited for 2s.",
        ),
        *_pair(
            "FalconDispatcherSaturated",
            {f"falcon_dispatcher_all_active_seconds_total{pool}": _rises(0.99)},
            {**_INSTANCE, **dispatcher},
            "All threads of dispatcher hbase-reads at a:8081 were at work for 99% of the time.",
            {f"falcon_dispatcher_all_active_seconds_total{pool}": _rises(0.5)},
            "half of the time there is one to spare",
        ),
        *_pair(
            "FalconDispatcherRejections",
            {f"falcon_dispatcher_rejections_total{pool}": _rises(0.5)},
            {**_INSTANCE, **dispatcher},
            "Dispatcher hbase-reads at a:8081: 0.50 tasks refused a second.",
            {f"falcon_dispatcher_rejections_total{pool}": "0+0x40 20+0x40"},
            "a few were refused once",
        ),
    ]


def _log() -> list[Case]:
    other = 'job="falcon",instance="b:8081"'
    api = 'job="falcon",instance="api:8081"'
    failures = f"falcon_journal_append_failures_total{{{_POD},outcome="
    return [
        Case(
            alert="FalconPartitionWithoutOwner",
            what="half of them have none",
            series={
                f"falcon_partitions{{{_POD}}}": _stays(64),
                f'falcon_partitions_owned{{{_POD},shard="0"}}': _stays(32),
                f"up{{{_POD}}}": _stays(1),
            },
            labels=_JOB,
            description="32 partitions have no owner.",
        ),
        Case(
            alert="FalconPartitionWithoutOwner",
            what="no owner is left, and the edge is",
            series={
                f"falcon_partitions{{{_POD}}}": "64+0x40 stale",
                f'falcon_partitions_owned{{{_POD},shard="0"}}': "64+0x40 stale",
                f"up{{{api}}}": _stays(1),
            },
            labels=_JOB,
            description="64 partitions have no owner.",
        ),
        Case(
            alert="FalconPartitionWithoutOwner",
            what="two pods and three shards share them",
            series={
                f"falcon_partitions{{{_POD}}}": _stays(64),
                f"falcon_partitions{{{other}}}": _stays(64),
                f'falcon_partitions_owned{{{_POD},shard="0"}}': _stays(20),
                f'falcon_partitions_owned{{{_POD},shard="1"}}': _stays(12),
                f'falcon_partitions_owned{{{other},shard="0"}}': _stays(32),
                f"up{{{_POD}}}": _stays(1),
            },
        ),
        Case(
            alert="FalconPartitionWithoutOwner",
            what="they move to another pod within a minute",
            series={
                f"falcon_partitions{{{_POD}}}": "64+0x20 stale",
                f"falcon_partitions{{{other}}}": _stays(64),
                f'falcon_partitions_owned{{{_POD},shard="0"}}': "32+0x20 stale",
                f'falcon_partitions_owned{{{other},shard="0"}}': "32+0x24 64+0x55",
                f"up{{{other}}}": _stays(1),
            },
        ),
        Case(
            alert="FalconPartitionWithoutOwner",
            what="all of it was switched off",
            series={
                f"falcon_partitions{{{_POD}}}": "64+0x40 stale",
                f'falcon_partitions_owned{{{_POD},shard="0"}}': "64+0x40 stale",
                f"up{{{_POD}}}": "1+0x40 stale",
            },
        ),
        Case(
            alert="FalconPartitionNotServed",
            what="four of them are down, and one is leaving elsewhere",
            series={
                f'falcon_partitions_assigned{{{_POD},shard="0"}}': _stays(32),
                f'falcon_partitions_owned{{{_POD},shard="0"}}': _stays(28),
                f'falcon_partitions_assigned{{{_POD},shard="1"}}': _stays(32),
                f'falcon_partitions_owned{{{_POD},shard="1"}}': _stays(33),
            },
            labels=_INSTANCE,
            description="4 partitions that are assigned to a:8081 are not served there.",
        ),
        Case(
            alert="FalconPartitionNotServed",
            what="they are taken over within a minute",
            series={
                f'falcon_partitions_assigned{{{_POD},shard="0"}}': "32+0x20 64+0x59",
                f'falcon_partitions_owned{{{_POD},shard="0"}}': "32+0x24 64+0x55",
            },
        ),
        Case(
            alert="FalconAppendsUnknown",
            what="it happens for the first time, which makes the series",
            series={f'{failures}"unknown"}}': f"{_absent(15)} 1+0x20"},
            labels={**_INSTANCE, "outcome": "unknown"},
            description="1 appends of unknown outcome at a:8081.",
        ),
        Case(
            alert="FalconAppendsUnknown",
            what="it happens again",
            series={f'{failures}"unknown"}}': "1+0x60 3+0x20"},
            labels={**_INSTANCE, "outcome": "unknown"},
            description="2 appends of unknown outcome at a:8081.",
        ),
        Case(
            alert="FalconAppendsUnknown",
            what="it happened long ago",
            series={f'{failures}"unknown"}}': _stays(3, 40)},
            minutes=40,
            since=11,
        ),
        Case(
            alert="FalconAppendsUnknown",
            what="it happened long ago, and for some minutes nothing could be scraped",
            series={f'{failures}"unknown"}}': f"{_stays(3, 40)} stale {_absent(80)} {_stays(3, 40)}"},
            minutes=100,
            since=11,
        ),
        Case(alert="FalconAppendsUnknown", what="one was fenced", series={f'{failures}"fenced"}}': "0+0x40 1+0x40"}),
        Case(
            alert="FalconAppendsFenced",
            what="it goes on",
            series={f'{failures}"fenced"}}': _rises(0.02, 40)},
            minutes=40,
            labels={**_INSTANCE, "outcome": "fenced"},
            description="12 fenced appends at a:8081.",
        ),
        Case(
            alert="FalconAppendsFenced",
            what="a handover fences some",
            series={f'{failures}"fenced"}}': "0+0x40 8+0x120"},
            minutes=40,
        ),
        *_disk(),
    ]


def _disk() -> list[Case]:
    """Of 100 GiB: the reserve is one."""
    free, reserve = f"falcon_disk_free_bytes{{{_POD}}}", f"falcon_disk_reserve_bytes{{{_POD}}}"
    days, each = 1_560, 120  # 26 hours
    kept = _stays(1 << 30, days, each)

    def fills(of: str, gib: float, mib_a_second: float, minutes: int = 60, each: int = _EACH_SECONDS) -> Case:
        """``gib``: free at first."""
        values = _rises(-mib_a_second * (1 << 20), minutes, gib * (1 << 30), each)
        series = {free: values, reserve: _stays(1 << 30, minutes, each)}
        what = f"{gib:g} GiB are free, and {mib_a_second:g} MiB are written each second"
        return Case(alert=of, what=what, series=series, minutes=minutes, each_seconds=each)

    fast, slow = fills("FalconDiskFillsFast", 32, 0.5), fills("FalconDiskFillsSlowly", 80, 0.125, days, each)
    return [
        *_pair(
            "FalconDiskFull",
            {free: _stays(1 << 29), reserve: _stays(1 << 30)},
            _INSTANCE,
            "a:8081 has 512MiB left.",
            {free: _stays(1 << 31), reserve: _stays(1 << 30)},
            "two gibibytes are free",
        ),
        replace(
            fast,
            labels=_INSTANCE,
            description="If it goes on as in the last 1h, a:8081 takes nothing new in 16h 38m 8s.",
        ),
        fills("FalconDiskFillsFast", 80, 0.5),
        Case(
            alert="FalconDiskFillsFast",
            what="it is made free",
            series={free: _rises(1e6, 60), reserve: _stays(1, 60)},
            minutes=60,
        ),
        replace(
            slow,
            labels=_INSTANCE,
            description="If it goes on as in the last 1d, a:8081 takes nothing new in 6d 9h 46m 8s.",
        ),
        fills("FalconDiskFillsSlowly", 80, 0.01, days, each),
        Case(
            alert="FalconDiskFillsSlowly",
            what="nothing is written",
            series={free: _stays(2 << 30, days, each), reserve: kept},
            minutes=days,
            each_seconds=each,
        ),
    ]


def _projections() -> list[Case]:
    growth, applied = f"falcon_journal_commit_events_sum{{{_POD}}}", "falcon_projected_events_total"
    timeline = f'{applied}{{job="falcon",instance="b:8081",projection="timeline"}}'
    rooms = f'{applied}{{job="falcon",instance="b:8081",projection="rooms"}}'
    failures = f'falcon_read_failures_total{{{_POD},call="page"}}'
    lost = f"falcon_lost_messages_shown_total{{{_POD}}}"
    return [
        *_gauge(
            "FalconProjectionStopped",
            "falcon_projection_stopped",
            {"projection": "timeline"},
            1,
            0,
            "Projection timeline has stopped at a:8081 (falcon_projection_stopped is 1).",
        ),
        Case(
            alert="FalconLostMessages",
            what="three were shown",
            series={lost: "0+0x60 3+0x20"},
            labels=_INSTANCE,
            description="3 were shown in 10m at a:8081.",
        ),
        Case(alert="FalconLostMessages", what="there were none", series={lost: _stays(0)}),
        Case(
            alert="FalconProjectionNoProgress",
            what="one stands still",
            series={growth: _rises(1), timeline: _stays(500), rooms: _rises(1)},
            labels={**_JOB, "projection": "timeline"},
            description="The log grows by 1.00 events a second; projection timeline applies none.",
        ),
        Case(
            alert="FalconProjectionNoProgress",
            what="there is no projector any more",
            series={growth: _rises(1), timeline: "500+15x10 stale"},
            labels=_JOB,
            description="The log grows by 1.00 events a second; every projection applies none.",
        ),
        Case(
            alert="FalconProjectionNoProgress",
            what="nothing is sent",
            series={growth: _stays(500), timeline: _stays(500), rooms: _stays(500)},
        ),
        Case(
            alert="FalconProjectionNoProgress",
            what="they keep up",
            series={growth: _rises(1), timeline: _rises(1), rooms: _rises(1)},
        ),
        Case(
            alert="FalconProjectionNoProgress",
            what="the first message after a quiet time makes the series",
            series={growth: "0+0x20 1+0x60", timeline: "_x21 1+0x59"},
        ),
        *_pair(
            "FalconReadStoreFailures",
            {failures: _rises(0.5), failures.replace("page", "bearer"): _rises(0.5)},
            _INSTANCE,
            "1.00 failures a second at a:8081.",
            {failures: "0+0x40 5+0x40"},
            "a few fail once",
        ),
    ]


def _streams() -> list[Case]:
    ended = f"falcon_streams_ended_total{{{_POD},reason="

    def pushed(per_second: float, in_time: float) -> dict[str, str]:
        return {
            f'falcon_message_seconds_count{{{_POD},stage="pushed"}}': _rises(per_second),
            f'falcon_message_seconds_bucket{{{_POD},stage="pushed",le="1.0"}}': _rises(in_time),
            f'falcon_message_seconds_count{{{_POD},stage="durable"}}': _rises(per_second),
            f'falcon_message_seconds_bucket{{{_POD},stage="durable",le="1.0"}}': _stays(0),
        }

    return [
        *_pair(
            "FalconPushedLate",
            pushed(10, 9),
            {**_INSTANCE, "stage": "pushed"},
            "10% of what a:8081 pushed came later than 1 s after it was decided.",
            pushed(10, 9.7),
            "few are late",
        ),
        Case(alert="FalconPushedLate", what="hardly anything happens", series=pushed(0.05, 0)),
        Case(
            alert="FalconPushedLate",
            what="everything was late for a minute",
            series={
                f'falcon_message_seconds_count{{{_POD},stage="pushed"}}': _rises(10),
                f'falcon_message_seconds_bucket{{{_POD},stage="pushed",le="1.0"}}': "0+150x40 6000+0x2 6000+150x38",
            },
        ),
        Case(
            alert="FalconPushedLate",
            what="somebody listens for the first time, and nothing happens",
            series={
                f'falcon_message_seconds_count{{{_POD},stage="pushed"}}': f"{_absent(5)} 1+0x60",
                f'falcon_message_seconds_bucket{{{_POD},stage="pushed",le="1.0"}}': f"{_absent(5)} 0+0x60",
            },
        ),
        *_pair(
            "FalconStreamsSlow",
            {f'{ended}"slow"}}': _rises(0.5)},
            {**_INSTANCE, "reason": "slow"},
            "0.50 slow streams a second are ended at a:8081.",
            {f'{ended}"slow"}}': _rises(0.02)},
            "now and then one is ended",
        ),
        Case(
            alert="FalconStreamsSlow",
            what="many were slow once",
            series={f'{ended}"slow"}}': f"{_absent(5)} 40+0x20 100+0x38"},
        ),
        Case(alert="FalconStreamsSlow", what="a process drains", series={f'{ended}"draining"}}': _rises(20)}),
    ]


def _processes() -> list[Case]:
    role = f'falcon_process_restarts_total{{{_POD},role="serve"}}'
    launcher = f'falcon_process_uptime_seconds{{{_POD},process="launcher-0"}}'
    serve = f'{{{_POD},process="serve-0"}}'
    count, uptime = f"falcon_event_loop_delay_seconds_count{serve}", f"falcon_process_uptime_seconds{serve}"
    sampled = f"falcon_process_sampled_seconds{serve}"
    ends = f'falcon_certificate_end_timestamp_seconds{{{_POD},setting="FALCON_TLS_CERT"}}'
    pauses = f'falcon_gc_pause_seconds_total{{{_POD},process="serve-0",generation='
    pss = f"falcon_process_pss_bytes{serve}"
    lines = f"falcon_log_lines_total{{{_POD},level="
    known = {'falcon_build_info{job="falcon",instance="b:8081",version="1",python="3.11"}': _stays(1)}
    hours, each = 32 * 60, 300
    process = {**_INSTANCE, "process": "serve-0"}
    return [
        Case(
            alert="FalconProcessRestarts",
            what="four times, the first of which makes the series",
            series={role: f"{_absent(10)} 1 1 2 3 4+0x40"},
            labels={**_INSTANCE, "role": "serve"},
            description="serve at a:8081 has ended 4 times in 15m.",
        ),
        Case(alert="FalconProcessRestarts", what="once", series={role: f"{_absent(10)} 1+0x60"}),
        Case(
            alert="FalconProcessRestarts",
            what="it did in the course of weeks, and a scrape failed",
            series={role: f"{_stays(9, 40)} stale {_stays(9, 40)}"},
            minutes=80,
            since=16,
        ),
        Case(
            alert="FalconPodRestarts",
            what="three times",
            series={launcher: "3+15x20 3+15x10 3+15x10 3+15x40"},
            labels={**_INSTANCE, "process": "launcher-0"},
            description="a:8081 has been restarted 3 times in 30m.",
        ),
        Case(alert="FalconPodRestarts", what="a new version", series={launcher: "3000+15x20 3+15x60"}),
        *_pair(
            "FalconGarbageCollection",
            {f'{pauses}"0"}}': _rises(0.05), f'{pauses}"2"}}': _rises(0.15)},
            process,
            "serve-0 at a:8081 is held up for 20% of the time.",
            {f'{pauses}"0"}}': _rises(0.03), f'{pauses}"2"}}': _rises(0.02)},
            "it is less",
        ),
        *_above(
            "FalconEventLoopLate",
            "falcon_event_loop_delay_seconds",
            {"process": "serve-0"},
            0.5,
            "calls of the event loop of serve-0 at a:8081 were late by more than 0.5 s.",
        ),
        Case(
            alert="FalconEventLoopStuck",
            what="it has stopped, and other threads go on",
            series={count: "0+148x40 5920+0x40", uptime: _rises(1), sampled: _stays(0.9)},
            labels=process,
            description="The event loop of serve-0 at a:8081 turned 0 times a second.",
        ),
        Case(alert="FalconEventLoopStuck", what="it turns", series={count: _rises(9.9), uptime: _rises(1)}),
        Case(
            alert="FalconEventLoopStuck",
            what="all of the process hangs",
            series={count: "0+148x40 5920+0x40", uptime: _rises(1), sampled: "0.9+0x40 0.9+15x40"},
        ),
        Case(
            alert="FalconEventLoopStuck",
            what="the process has ended, and what it counted is still told",
            series={count: "0+148x40 5920+0x40", uptime: "0+15x40 stale"},
        ),
        Case(
            alert="FalconEventLoopStuck",
            what="the process starts again, and takes a minute",
            series={count: "0+148x40 5920+0x8 5920+148x30", uptime: "0+15x40 0+15x39"},
        ),
        *_pair(
            "FalconCertificateEnds",
            {ends: _stays(20 * 60 + 6 * 86_400)},
            {**_INSTANCE, "setting": "FALCON_TLS_CERT"},
            "The certificate of FALCON_TLS_CERT at a:8081 ends in 6d 0h 0m 0s.",
            {ends: _stays(20 * 60 + 8 * 86_400)},
            "it is valid for longer",
        ),
        Case(
            alert="FalconCertificateEnds",
            what="it is renewed minutes later",
            series={ends: f"{6 * 86_400}+0x20 {90 * 86_400}+0x59"},
        ),
        Case(
            alert="FalconProcessHung",
            what="it was stopped five minutes ago",
            series={sampled: "0.5+0x60 15+15x19"},
            labels=process,
            description="serve-0 at a:8081 has shown no sign of life for 5m 0s.",
        ),
        Case(alert="FalconProcessHung", what="it measures itself", series={sampled: _stays(0.9)}),
        Case(
            alert="FalconProcessHung",
            what="it is asked something now and then that takes a while",
            series={sampled: "0.5+0x20 15 0.5+0x10 15 30 0.5+0x40"},
        ),
        Case(
            alert="FalconProcessHung",
            what="it has ended, and another one is there in its place",
            series={sampled: "0.5+0x20 15 30 stale 0.5+0x50"},
        ),
        Case(
            alert="FalconMemoryGrowth",
            what="10 MiB an hour",
            series={
                pss: _rises((10 << 20) / 3600, hours, 300 << 20, each),
                uptime: _rises(1, hours, each=each),
            },
            minutes=hours,
            each_seconds=each,
            labels=process,
            description="serve-0 at a:8081 will need 1.309GiB in 3d if it goes on like this.",
        ),
        Case(
            alert="FalconMemoryGrowth",
            what="it needs much, and no more",
            series={pss: _stays(900e6, hours, each), uptime: _rises(1, hours, each=each)},
            minutes=hours,
            each_seconds=each,
        ),
        Case(
            alert="FalconMemoryGrowth",
            what="it was started today, and fills its caches",
            series={pss: _rises(3_000, hours, 300e6, each), uptime: _rises(0.9, hours, each=each)},
            minutes=hours,
            each_seconds=each,
        ),
        Case(
            alert="FalconMemoryGrowth",
            what="it grows, and is small",
            series={pss: _rises(500, hours, 30e6, each), uptime: _rises(1, hours, each=each)},
            minutes=hours,
            each_seconds=each,
        ),
        *_pair(
            "FalconFileDescriptors",
            {f"falcon_process_fds{serve}": _stays(900), f"falcon_process_fds_max{serve}": _stays(1_000)},
            process,
            "serve-0 at a:8081 has 90% of its file descriptors open.",
            {f"falcon_process_fds{serve}": _stays(500), f"falcon_process_fds_max{serve}": _stays(1_000)},
            "it has half of them",
        ),
        Case(
            alert="FalconErrorLines",
            what="there are two, the first ever",
            series={f'{lines}"error"}}': f"{_absent(15)} 2+0x20"},
            labels={**_INSTANCE, "level": "error"},
            description="2 lines of level error in 10m at a:8081.",
        ),
        Case(alert="FalconErrorLines", what="they are warnings", series={f'{lines}"warning"}}': _rises(1)}),
        Case(
            alert="FalconTargetDown",
            what="it was scraped once",
            series={f"up{{{_POD}}}": "1+0x40 0+0x40", **known},
            labels=_INSTANCE,
            description="a:8081 does not answer (up is 0).",
        ),
        Case(alert="FalconTargetDown", what="it answers", series={f"up{{{_POD}}}": _stays(1), **known}),
        Case(
            alert="FalconTargetDown",
            what="it is not Falcon",
            series={'up{job="database",instance="c:1"}': _stays(0), **known},
        ),
    ]


CASES: Final = [*_burning(), *_answers(), *_waiting(), *_log(), *_projections(), *_streams(), *_processes()]
