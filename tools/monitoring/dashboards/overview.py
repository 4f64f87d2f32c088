"""One screen that shows if Falcon is well."""

from typing import Final

from tools.monitoring.dashboards import grafana
from tools.monitoring.dashboards.grafana import Dashboard, Panel, Query, Section, times
from tools.monitoring.dashboards.promql import (
    ANSWERED,
    failed,
    highest_rate,
    largest,
    maximum,
    peak,
    quantile,
    rate,
    ratio,
    select,
    total,
)
from tools.monitoring.thresholds import Thresholds

# A figure turns red where an alert would begin to count.
_THRESHOLDS: Final = Thresholds()
_FIRING: Final = 'ALERTS{alertstate="firing",alertname=~"Falcon.*"}'
_UNANSWERED: Final = 'outcome!~"accepted|rejected"'


def _figure(
    title: str,
    description: str,
    unit: str,
    expr: str,
    more: str = "",
    *,
    bad_above: float | None = None,
    bad_below: float | None = None,
) -> Panel:
    return Panel(
        title=title,
        description=description,
        unit=unit,
        queries=(Query(expr, title),),
        kind="stat",
        width=3,
        height=3,
        bad_above=bad_above,
        bad_below=bad_below,
        more=more,
    )


_FIGURES: Final = (
    _figure(
        "Alerts firing",
        "Does anything need attention now? The table below says what.",
        grafana.COUNT,
        f"count({_FIRING}) or vector(0)",
        bad_above=1,
    ),
    _figure(
        "Instances up",
        "Do all instances answer Prometheus? Each is a process tree.",
        grafana.SHARE,
        # Of every job that has been Falcon's within the hour.
        f"avg({select('up')} and on (job, instance) last_over_time({select('falcon_build_info')}[1h]))",
        "falcon-process",
        bad_below=1,
    ),
    _figure(
        "Requests",
        "How much is asked?",
        grafana.REQUESTS,
        rate("falcon_http_requests_total"),
        "falcon-read",
    ),
    _figure(
        "Requests failed",
        "What share of the requests is answered with a 5xx status, 503 for overload among them?",
        grafana.SHARE,
        failed(rate("falcon_http_requests_total", where='status="5xx"'), rate("falcon_http_requests_total")),
        "falcon-read",
        bad_above=_THRESHOLDS.error_share,
    ),
    _figure(
        "Commands undecided",
        "What share of the commands was neither accepted nor rejected: overloaded, expired, unavailable, of unknown "
        "outcome?",
        grafana.SHARE,
        failed(rate("falcon_commands_total", where=_UNANSWERED), rate("falcon_commands_total")),
        "falcon-write",
        bad_above=_THRESHOLDS.error_share,
    ),
    _figure(
        "Partitions owned",
        "Has every partition an owner? What has none takes no messages.",
        grafana.SHARE,
        ratio(total("falcon_partitions_owned"), largest("falcon_partitions")),
        "falcon-write",
        bad_below=1,
    ),
    _figure(
        "Projections stopped",
        "Has a projection stopped at an error? What is behind it does not become readable.",
        grafana.COUNT,
        f"sum({largest('falcon_projection_stopped', 'projection')})",
        "falcon-read",
        bad_above=1,
    ),
    _figure(
        "Behind the log",
        "How old is the oldest event that the read tables lack?",
        grafana.SECONDS,
        largest("falcon_projection_lag_seconds"),
        "falcon-read",
        bad_above=_THRESHOLDS.lag_seconds,
    ),
)

_TRAFFIC: Final = (
    Panel(
        title="Requests by status",
        description="How much is asked, and how does it end? gone: the client left before there was an answer.",
        unit=grafana.REQUESTS,
        queries=(Query(rate("falcon_http_requests_total", "status"), "{{status}}"),),
        width=6,
        stacked=True,
        more="falcon-read",
    ),
    Panel(
        title="Time of a request",
        description="How long do clients wait for an answer? Without streams, which go on.",
        unit=grafana.SECONDS,
        queries=times("falcon_http_request_seconds", ANSWERED),
        width=6,
        more="falcon-read",
    ),
    Panel(
        title="Commands by outcome",
        description="How much is written, and is it decided? All but accepted and rejected is refused or unknown.",
        unit=grafana.COMMANDS,
        queries=(Query(rate("falcon_commands_total", "outcome"), "{{outcome}}"),),
        width=6,
        stacked=True,
        more="falcon-write",
    ),
    Panel(
        title="Time of a command",
        description="How long does a command take from the edge to its shard, the journal and back?",
        unit=grafana.SECONDS,
        queries=times("falcon_command_seconds"),
        width=6,
        more="falcon-write",
    ),
)

_WAYS: Final = (
    Panel(
        title="Life of a message",
        description="How long after it was decided is an event durable, readable, pushed?",
        unit=grafana.SECONDS,
        queries=(
            Query(quantile(0.99, "falcon_message_seconds", "stage"), "{{stage}} p99"),
            Query(maximum("falcon_message_seconds", "stage"), "{{stage}} max"),
        ),
        width=6,
        more="falcon-streams",
    ),
    Panel(
        title="Behind the log",
        description="How far is the slowest projection behind, in events (left) and in seconds (right)?",
        unit=grafana.COUNT,
        queries=(
            Query(f"max({total('falcon_projection_lag_events', 'projection')})", "events"),
            Query(peak("falcon_projection_lag_seconds"), "age", grafana.SECONDS),
        ),
        width=6,
        more="falcon-read",
    ),
    Panel(
        title="Mailboxes",
        description="How full is the fullest mailbox (left), and how long has a command waited for its reply (right)?",
        unit=grafana.SHARE,
        queries=(
            Query(f"max({select('falcon_mailbox_size')} / {select('falcon_mailbox_bound')})", "full"),
            Query(peak("falcon_mailbox_oldest_seconds"), "oldest", grafana.SECONDS),
        ),
        width=6,
        more="falcon-write",
    ),
    Panel(
        title="Dispatchers with all threads at work",
        description="For what share of the time had a dispatcher no thread left? Near 1 it is the bottleneck.",
        unit=grafana.SHARE,
        queries=(
            Query(
                highest_rate("falcon_dispatcher_all_active_seconds_total", "dispatcher"),
                "{{dispatcher}}",
            ),
        ),
        width=6,
        top=1,
        more="falcon-actors",
    ),
)

_MEANS: Final = (
    Panel(
        title="Memory by process",
        description="Where is the memory? Shared pages are divided by those who share them (PSS), so it adds up.",
        unit=grafana.BYTES,
        queries=(Query(total("falcon_process_pss_bytes", "process"), "{{process}}"),),
        width=6,
        stacked=True,
        more="falcon-process",
    ),
    Panel(
        title="Partitions owned of all",
        description="Who serves the partitions, and are those all?",
        unit=grafana.COUNT,
        queries=(
            Query(total("falcon_partitions_owned"), "owned"),
            Query(total("falcon_partitions_assigned"), "assigned"),
            Query(largest("falcon_partitions"), "all"),
        ),
        width=6,
        more="falcon-write",
    ),
    Panel(
        title="Append of the journal",
        description="How long until an append is durable? Nothing is acknowledged before.",
        unit=grafana.SECONDS,
        queries=times("falcon_journal_commit_seconds"),
        width=6,
        more="falcon-write",
    ),
    Panel(
        title="Alerts",
        description="Which alerts fire? Each has a runbook.",
        unit=grafana.COUNT,
        queries=(Query(f"count by (alertname, severity) ({_FIRING})", ""),),
        kind="table",
        value="firing",
        width=6,
    ),
)

OVERVIEW: Final = Dashboard(
    uid="falcon-overview",
    title="Falcon: overview",
    description="Is it well? The headings of the panels lead to the details.",
    sections=(Section("", (*_FIGURES, *_TRAFFIC, *_WAYS, *_MEANS)),),
)
