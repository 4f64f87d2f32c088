"""The recording rules and alerts for Prometheus. docs/runbooks says what to do about each.

A job is one Falcon: all processes of all roles, and no other Falcon's. Figures of the whole system are added up by job;
a pod's figures keep all labels of its target. No alert fires because nothing happens.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from tools.monitoring.documents import document
from tools.monitoring.thresholds import BurnRate, Objective, Severity, Thresholds, promql

# The address of the project's folder; change it if you keep your own runbooks.
BASE_URL: Final = "https://falcon.example/"
RUNBOOKS: Final = "docs/runbooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """``summary``: for a person who has just been woken. ``description``: with the value. ``held``: how long ``expr``
    must hold. ``labels``: more than its severity, for inhibition."""

    name: str
    severity: Severity
    summary: str
    description: str
    runbook: str
    expr: str
    held: timedelta = timedelta(0)
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def runbook_url(self) -> str:
        return f"{BASE_URL}{RUNBOOKS}/{self.runbook}.md"

    def rule(self) -> dict[str, Any]:
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.held:
            rule["for"] = promql(self.held)
        rule["labels"] = {"severity": self.severity, **dict(self.labels)}
        rule["annotations"] = {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": self.runbook_url,
        }
        return rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An objective, with what is counted for it. ``bad`` and ``total``: per second and job, over a range."""

    name: str  # in the names of series
    title: str  # in those of alerts
    objective: Objective
    bad: str
    total: str
    summary: str
    what: str

    def ratio(self, window: timedelta) -> str:
        return f"job:falcon_{self.name}_bad:ratio_rate{promql(window)}"

    def rate(self, window: timedelta) -> str:
        return f"job:falcon_{self.name}:rate{promql(window)}"


def text(thresholds: Thresholds) -> str:
    """A file of rules for Prometheus."""
    return document({"groups": groups(thresholds)}, "thresholds.py and rules.py")


def groups(thresholds: Thresholds) -> list[dict[str, Any]]:
    made = [{"name": "falcon-objectives", "rules": [*_records(thresholds), *_rules(_burning(thresholds))]}]
    for name, alerts in _by_kind(thresholds).items():
        made.append({"name": f"falcon-{name}", "rules": _rules(alerts)})
    return made


def alerts(thresholds: Thresholds) -> list[Alert]:
    return [*_burning(thresholds), *(alert for kind in _by_kind(thresholds).values() for alert in kind)]


def _rules(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    return [alert.rule() for alert in alerts]


def _by_kind(thresholds: Thresholds) -> dict[str, list[Alert]]:
    return {
        "answers": _answers(thresholds),
        "waiting": _waiting(thresholds),
        "log": _log(thresholds),
        "projections": _projections(thresholds),
        "streams": _streams(thresholds),
        "processes": _processes(thresholds),
    }


# --- objectives -------------------------------------------------------------------------------------------------------


def objectives(thresholds: Thresholds) -> list[Measured]:
    commands, messages = thresholds.commands_answered, thresholds.messages_readable
    requests = "sum by (job) (rate(falcon_http_requests_total[RANGE]))"
    return [
        Measured(
            name="requests",
            title="Requests",
            objective=thresholds.requests_not_5xx,
            # There is no series of answers that there were none of.
            bad=f'(sum by (job) (rate(falcon_http_requests_total{{status="5xx"}}[RANGE])) or 0 * {requests})',
            total=requests,
            summary="Falcon answers too many requests with an error of its own (5xx).",
            what="of the requests were answered 5xx",
        ),
        Measured(
            name="commands",
            title="Commands",
            objective=commands,
            bad=_later("falcon_command_seconds", "", commands.seconds),
            total="sum by (job) (rate(falcon_command_seconds_count[RANGE]))",
            summary="Sending messages to Falcon, and what else changes something, takes too long too often.",
            what=f"of the commands took longer than {commands.seconds:g} s",
        ),
        Measured(
            name="messages",
            title="Messages",
            objective=messages,
            bad=_later("falcon_message_seconds", 'stage="readable"', messages.seconds),
            total='sum by (job) (rate(falcon_message_seconds_count{stage="readable"}[RANGE]))',
            summary="Messages that were sent take too long to become readable.",
            what=f"of the events were readable later than {messages.seconds:g} s after they were decided",
        ),
    ]


def _later(histogram: str, selector: str, seconds: float) -> str:
    """The bound must be one of the histogram's, or there is no such series."""
    bucket = ",".join(filter(None, (selector, f'le="{seconds!r}"')))
    every = f"{{{selector}}}" if selector else ""
    return (
        f"(sum by (job) (rate({histogram}_count{every}[RANGE]))\n"
        f"    - sum by (job) (rate({histogram}_bucket{{{bucket}}}[RANGE])))"
    )


def _records(thresholds: Thresholds) -> list[dict[str, Any]]:
    longs = {burn.long for burn in thresholds.burn_rates}
    records = []
    for measured in objectives(thresholds):
        for window in sorted({*longs, *(burn.short for burn in thresholds.burn_rates)}):
            ratio, rate = f"{measured.bad}\n  / {measured.total}", measured.total
            records.append({"record": measured.ratio(window), "expr": ratio.replace("RANGE", promql(window))})
            if window in longs:
                records.append({"record": measured.rate(window), "expr": rate.replace("RANGE", promql(window))})
    return records


def _burning(thresholds: Thresholds) -> list[Alert]:
    return [_burns(thresholds, m, burn) for m in objectives(thresholds) for burn in thresholds.burn_rates]


def _burns(thresholds: Thresholds, measured: Measured, burn: BurnRate) -> Alert:
    bad = burn.times * (1 - measured.objective.share)
    days = 30 / burn.times
    return Alert(
        name=f"Falcon{measured.title}Burn{burn.name}",
        severity=burn.severity,
        summary=f"{measured.summary} At this rate the error budget of 30 days is gone in {days:.2g} days.",
        description=f"{{{{ $value | humanizePercentage }}}} {measured.what} in the last {promql(burn.long)}; "
        f"the objective allows {100 - 100 * measured.objective.share:.3g}%.",
        runbook="objectives",
        expr=(
            f"{measured.ratio(burn.long)} > {bad:.6g}\n"
            f"and {measured.ratio(burn.short)} > {bad:.6g}\n"
            f"and {measured.rate(burn.long)} > {thresholds.burn_per_second_min:g}"
        ),
        labels=(("objective", measured.name), ("burn", burn.name.lower())),
    )


# --- how long things take, how they end -------------------------------------------------------------------------------


def _some(t: Thresholds) -> str:
    return f'In every {promql(t.max_window)}, {{{{ $value | printf "%.0f" }}}} or more'


def _answers(t: Thresholds) -> list[Alert]:
    some = _some(t)
    return [
        Alert(
            name="FalconRouteSlow",
            severity="ticket",
            summary="Requests for one route take long on average.",
            description="{{ $labels.method }} {{ $labels.route }} takes {{ $value | humanizeDuration }} on average "
            "at {{ $labels.instance }}.",
            runbook="slow-answers",
            expr=_mean("falcon_http_request_seconds", f'{{route!~"{t.bulk_routes}"}}', t.route_mean_seconds, t),
            held=t.mean_for,
        ),
        Alert(
            name="FalconRouteMaximum",
            severity="ticket",
            summary="For minutes, some requests for one route have taken very long.",
            description=f"{some} {{{{ $labels.method }}}} {{{{ $labels.route }}}} "
            f"took longer than {t.route_max_seconds:g} s at {{{{ $labels.instance }}}}.",
            runbook="slow-answers",
            expr=_above("falcon_http_request_seconds", f'route!~"{t.bulk_routes}"', t.route_max_seconds, t),
            held=t.max_for,
        ),
        Alert(
            name="FalconCommandSlow",
            severity="ticket",
            summary="Commands of one kind take long on average.",
            description="{{ $labels.command }} takes {{ $value | humanizeDuration }} on average "
            "at {{ $labels.instance }}.",
            runbook="slow-answers",
            expr=_mean("falcon_command_seconds", "", t.command_mean_seconds, t),
            held=t.mean_for,
        ),
        Alert(
            name="FalconCommandMaximum",
            severity="ticket",
            summary="For minutes, some commands of one kind have taken very long.",
            description=f"{some} {{{{ $labels.command }}}} "
            f"took longer than {t.command_max_seconds:g} s at {{{{ $labels.instance }}}}.",
            runbook="slow-answers",
            expr=_above("falcon_command_seconds", "", t.command_max_seconds, t),
            held=t.max_for,
        ),
        Alert(
            name="FalconActorMaximum",
            severity="ticket",
            summary="For minutes, an actor has been busy with a single message for very long.",
            description=f"{some} messages took {{{{ $labels.actor }}}} longer than {t.actor_max_seconds:g} s "
            "at {{ $labels.instance }}.",
            runbook="slow-answers",
            expr=_above("falcon_actor_processing_seconds", "", t.actor_max_seconds, t),
            held=t.max_for,
        ),
        Alert(
            name="FalconRouteErrors",
            severity="page",
            summary="Many requests for one route fail with an error of Falcon's own (5xx).",
            description="{{ $value | humanizePercentage }} of the requests for {{ $labels.route }} were answered 5xx.",
            runbook="errors",
            expr=_share(
                'falcon_http_requests_total{status="5xx"}', "falcon_http_requests_total", "job, route", t.error_share, t
            ),
            held=t.error_for,
        ),
        Alert(
            name="FalconCommandErrors",
            severity="page",
            summary="Many commands of one kind, such as posting a message, cannot be carried out.",
            description="{{ $value | humanizePercentage }} of {{ $labels.command }} were neither accepted "
            "nor refused by a rule.",
            runbook="errors",
            expr=_share(
                'falcon_commands_total{outcome!~"accepted|rejected"}',
                "falcon_commands_total",
                "job, command",
                t.error_share,
                t,
            ),
            held=t.error_for,
        ),
    ]


def _above(histogram: str, selector: str, seconds: float, t: Thresholds) -> str:
    """The least number of values above a bound of the histogram's in a window, if each of some windows has one."""
    window = f"[{promql(t.max_window)}]"
    within = ",".join(filter(None, (selector, f'le="{seconds!r}"')))
    every = f"{{{selector}}}" if selector else ""
    return (
        f"min_over_time((increase({histogram}_count{every}{window})\n"
        f"  - ignoring (le) increase({histogram}_bucket{{{within}}}{window}))"
        f"[{promql(t.max_window * t.max_windows)}:{promql(t.max_window)}]) > 0"
    )


def _mean(histogram: str, selector: str, seconds: float, t: Thresholds) -> str:
    window = promql(t.window)
    count = f"rate({histogram}_count{selector}[{window}])"
    return f"rate({histogram}_sum{selector}[{window}]) / {count} > {seconds:g}\nand {count} > {t.per_second_min:g}"


def _share(part: str, whole: str, by: str, share: float, t: Thresholds) -> str:
    window = promql(t.window)
    total = f"sum by ({by}) (rate({whole}[{window}]))"
    return f"sum by ({by}) (rate({part}[{window}]))\n  / {total} > {share:g}\nand {total} > {t.per_second_min:g}"


# --- work that waits --------------------------------------------------------------------------------------------------


def _waiting(t: Thresholds) -> list[Alert]:
    window, held = promql(t.waiting_window), t.waiting_for
    return [
        Alert(
            name="FalconMailboxFull",
            severity="page",
            summary="Commands pile up in front of a shard; soon they are refused.",
            description="The mailbox of shard {{ $labels.shard }} at {{ $labels.instance }} is at "
            "{{ $value | humanizePercentage }} of its bound.",
            runbook="mailbox",
            expr=_of_bound("falcon_mailbox_size", "falcon_mailbox_bound", t),
            held=held,
        ),
        Alert(
            name="FalconMailboxOld",
            severity="page",
            summary="Commands wait long for their shard.",
            description="The oldest command for shard {{ $labels.shard }} at {{ $labels.instance }} has had no reply "
            "for {{ $value | humanizeDuration }}.",
            runbook="mailbox",
            expr=f"avg_over_time(falcon_mailbox_oldest_seconds[{window}]) > {t.mailbox_oldest_seconds:g}",
            held=held,
        ),
        Alert(
            name="FalconMailboxRejections",
            severity="ticket",
            summary="Commands are refused because a mailbox is full.",
            description='Shard {{ $labels.shard }} at {{ $labels.instance }}: {{ $value | printf "%.2f" }} '
            "commands refused a second.",
            runbook="mailbox",
            expr=f"rate(falcon_mailbox_rejections_total[{promql(t.window)}]) > {t.rejections_per_second:g}",
            held=t.rejections_for,
        ),
        Alert(
            name="FalconAppendOld",
            severity="page",
            summary="The log takes long to make events durable.",
            description="The oldest append of shard {{ $labels.shard }} at {{ $labels.instance }} has been under way "
            "for {{ $value | humanizeDuration }}.",
            runbook="appends",
            expr=f"avg_over_time(falcon_journal_oldest_append_seconds[{window}]) > {t.append_oldest_seconds:g}",
            held=held,
        ),
        Alert(
            name="FalconProjectionBehind",
            severity="ticket",
            summary="A projection has many events to apply; what was sent is readable late.",
            description="Projection {{ $labels.projection }} at {{ $labels.instance }} is {{ $value | humanize }} "
            "events behind the log.",
            runbook="projection-lag",
            expr=f"falcon_projection_lag_events > {t.lag_events}",
            held=t.lag_for,
        ),
        Alert(
            name="FalconProjectionLate",
            severity="page",
            summary="Messages that were sent long ago cannot be read yet.",
            description="The oldest event that projection {{ $labels.projection }} at {{ $labels.instance }} has yet "
            "to apply is {{ $value | humanizeDuration }} old.",
            runbook="projection-lag",
            expr=f"falcon_projection_lag_seconds > {t.lag_seconds:g}",
            held=t.lag_for,
        ),
        Alert(
            name="FalconDispatcherFull",
            severity="ticket",
            summary="Blocking calls pile up in front of a dispatcher; soon they are refused.",
            description="The queue of dispatcher {{ $labels.dispatcher }} at {{ $labels.instance }} is at "
            "{{ $value | humanizePercentage }} of its bound.",
            runbook="dispatcher",
            expr=_of_bound("falcon_dispatcher_queue_size", "falcon_dispatcher_queue_bound", t),
            held=held,
        ),
        Alert(
            name="FalconDispatcherOld",
            severity="ticket",
            summary="Blocking calls wait long for a thread of their dispatcher.",
            description="The oldest task of dispatcher {{ $labels.dispatcher }} at {{ $labels.instance }} has waited "
            "for {{ $value | humanizeDuration }}.",
            runbook="dispatcher",
            expr=f"avg_over_time(falcon_dispatcher_oldest_seconds[{window}]) > {t.dispatcher_oldest_seconds:g}",
            held=held,
        ),
        Alert(
            name="FalconDispatcherSaturated",
            severity="ticket",
            summary="All threads of a dispatcher are at work without a pause.",
            description="All threads of dispatcher {{ $labels.dispatcher }} at {{ $labels.instance }} were at work "
            "for {{ $value | humanizePercentage }} of the time.",
            runbook="dispatcher",
            expr=f"rate(falcon_dispatcher_all_active_seconds_total[{promql(t.window)}]) > {t.all_active_share:g}",
            held=t.all_active_for,
        ),
        Alert(
            name="FalconDispatcherRejections",
            severity="ticket",
            summary="Blocking calls are refused because too many wait for a thread.",
            description='Dispatcher {{ $labels.dispatcher }} at {{ $labels.instance }}: {{ $value | printf "%.2f" }} '
            "tasks refused a second.",
            runbook="dispatcher",
            expr=f"rate(falcon_dispatcher_rejections_total[{promql(t.window)}]) > {t.rejections_per_second:g}",
            held=t.rejections_for,
        ),
    ]


def _of_bound(size: str, bound: str, t: Thresholds) -> str:
    return f"avg_over_time({size}[{promql(t.waiting_window)}]) / {bound} > {t.queue_share:g}"


# --- the log and its partitions ---------------------------------------------------------------------------------------


def _log(t: Thresholds) -> list[Alert]:
    partitions = f"max by (job) (max_over_time(falcon_partitions[{promql(t.partitions_remembered)}]))"
    return [
        Alert(
            name="FalconPartitionWithoutOwner",
            severity="page",
            summary="Some rooms and accounts have no owner: nothing can be sent to them.",
            description="{{ $value }} partitions have no owner.",
            runbook="partitions",
            # Without an owner there is no series of partitions. If no process runs at all, Falcon was switched off.
            expr=(
                f"{partitions}\n"
                f"  - (sum by (job) (falcon_partitions_owned) or 0 * {partitions}) > 0\n"
                "and on (job) count by (job) (up == 1)"
            ),
            held=t.owner_for,
        ),
        Alert(
            name="FalconPartitionNotServed",
            severity="page",
            summary="A process does not serve partitions that are its own: nothing can be sent to their rooms.",
            description="{{ $value }} partitions that are assigned to {{ $labels.instance }} are not served there.",
            runbook="partitions",
            expr="sum without (shard) (clamp_min(falcon_partitions_assigned - falcon_partitions_owned, 0)) > 0",
            held=t.owner_for,
        ),
        Alert(
            name="FalconAppendsUnknown",
            severity="ticket",
            summary="It was not known of some appends whether they are in the log.",
            description='{{ $value | printf "%.0f" }} appends of unknown outcome at {{ $labels.instance }}.',
            runbook="appends",
            expr=_happened('falcon_journal_append_failures_total{outcome!="fenced"}', t.append_window, t),
        ),
        Alert(
            name="FalconAppendsFenced",
            severity="ticket",
            summary="Owners of partitions keep being deposed while they write.",
            description='{{ $value | printf "%.0f" }} fenced appends at {{ $labels.instance }}.',
            runbook="appends",
            expr=_happened('falcon_journal_append_failures_total{outcome="fenced"}', t.append_window, t),
            held=t.fenced_for,
        ),
        Alert(
            name="FalconDiskFull",
            severity="page",
            summary="The disk is nearly full: nothing new is taken. Reading, deleting and read marks go on.",
            description="{{ $labels.instance }} has {{ $value | humanize1024 }}B left.",
            runbook="disk",
            expr="falcon_disk_free_bytes < falcon_disk_reserve_bytes",
            held=t.disk_full_for,
        ),
        Alert(
            name="FalconDiskFillsFast",
            severity="page",
            summary="The disk fills within a day; then nothing new is taken.",
            description=f"If it goes on as in the last {promql(t.disk_fast_window)}, {{{{ $labels.instance }}}} takes "
            "nothing new in {{ $value | humanizeDuration }}.",
            runbook="disk",
            expr=_disk_left(t.disk_fast_window, t.disk_fast_left),
            held=t.disk_fast_for,
        ),
        Alert(
            name="FalconDiskFillsSlowly",
            severity="ticket",
            summary="The disk fills within two weeks; then nothing new is taken.",
            description=f"If it goes on as in the last {promql(t.disk_slow_window)}, {{{{ $labels.instance }}}} takes "
            "nothing new in {{ $value | humanizeDuration }}.",
            runbook="disk",
            expr=_disk_left(t.disk_slow_window, t.disk_slow_left),
            held=t.disk_slow_for,
        ),
    ]


def _disk_left(window: timedelta, left: timedelta) -> str:
    """The seconds until no more than the reserve is free, as it fell within the window. A disk that does not fill has
    none: they would be negative, or infinite."""
    above = "clamp_min(falcon_disk_free_bytes - falcon_disk_reserve_bytes, 0)"
    return f"({above}\n  / -deriv(falcon_disk_free_bytes[{promql(window)}]) > 0) < {left.total_seconds():g}"


def _happened(series: str, window: timedelta, t: Thresholds, more_than: int = 0) -> str:
    """How often it happened, also if the series is new: many series appear with their first event, and ``increase``
    does not count a series' first value. A series that could not be scraped for a while is not new."""
    over = promql(window)
    known = f"last_over_time({series}[{promql(t.series_remembered)}] offset {over})"
    return f"({series} unless {known}\n  or increase({series}[{over}])) > {more_than}"


# --- projections and the read tables ----------------------------------------------------------------------------------


def _projections(t: Thresholds) -> list[Alert]:
    window = promql(t.window)
    growth = f"sum by (job) (rate(falcon_journal_commit_events_sum[{window}]))"
    return [
        Alert(
            name="FalconProjectionStopped",
            severity="page",
            summary="A projection has stopped at an event that it cannot apply; what follows cannot be read.",
            description="Projection {{ $labels.projection }} has stopped at {{ $labels.instance }} "
            "(falcon_projection_stopped is {{ $value }}).",
            runbook="projection-stopped",
            expr="falcon_projection_stopped > 0",
            held=t.stopped_for,
        ),
        Alert(
            name="FalconProjectionNoProgress",
            severity="page",
            summary="Messages are being sent, and none of them becomes readable.",
            description='The log grows by {{ $value | printf "%.2f" }} events a second; '
            "{{ with $labels.projection }}projection {{ . }}{{ else }}every projection{{ end }} applies none.",
            runbook="projection-lag",
            # The second half: if no projector is left, there is no series that could stand still.
            expr=(
                f"(sum by (job, projection) (rate(falcon_projected_events_total[{window}])) == 0)\n"
                f"  + on (job) group_left () ({growth} > 0)\n"
                f"or ({growth} > 0\n"
                f"  unless on (job) sum by (job) (rate(falcon_projected_events_total[{window}])))"
            ),
            held=t.no_progress_for,
        ),
        Alert(
            name="FalconReadStoreFailures",
            severity="ticket",
            summary="Calls of the read tables fail; requests that read are answered 503.",
            description='{{ $value | printf "%.2f" }} failures a second at {{ $labels.instance }}.',
            runbook="read-store",
            expr=f"sum without (call) (rate(falcon_read_failures_total[{window}])) > {t.read_failures_per_second:g}",
            held=t.read_failures_for,
        ),
        Alert(
            name="FalconLostMessages",
            severity="ticket",
            summary="The read tables lack messages that the log has; pages show them as missing.",
            description='{{ $value | printf "%.0f" }} were shown '
            f"in {promql(t.events_window)} at {{{{ $labels.instance }}}}.",
            runbook="lost-messages",
            expr=_happened("falcon_lost_messages_shown_total", t.events_window, t),
        ),
    ]


# --- streams ----------------------------------------------------------------------------------------------------------


def _streams(t: Thresholds) -> list[Alert]:
    window, pushed = promql(t.window), 'stage="pushed"'
    count = f"rate(falcon_message_seconds_count{{{pushed}}}[{window}])"
    in_time = f'rate(falcon_message_seconds_bucket{{{pushed},le="{t.pushed_seconds!r}"}}[{window}])'
    return [
        Alert(
            name="FalconPushedLate",
            severity="page",
            summary="Those who listen hear late of what happens.",
            description="{{ $value | humanizePercentage }} of what {{ $labels.instance }} pushed came later than "
            f"{t.pushed_seconds:g} s after it was decided.",
            runbook="streams",
            expr=(
                f"1 - {in_time}\n"
                f"  / ignoring (le) {count} > {t.pushed_late_share:g}\n"
                f"and {count} > {t.per_second_min:g}"
            ),
            held=t.pushed_for,
        ),
        Alert(
            name="FalconStreamsSlow",
            severity="ticket",
            summary="Streams keep being ended because their clients read too slowly.",
            description='{{ $value | printf "%.2f" }} slow streams a second are ended at {{ $labels.instance }}.',
            runbook="streams",
            expr=f'rate(falcon_streams_ended_total{{reason="slow"}}[{window}]) > {t.streams_slow_per_second:g}',
            held=t.streams_slow_for,
        ),
    ]


# --- processes --------------------------------------------------------------------------------------------------------


def _processes(t: Thresholds) -> list[Alert]:
    window, restarts = promql(t.window), promql(t.restarts_window)
    pods, events, remembered = promql(t.pod_restarts_window), t.events_window, promql(t.targets_remembered)
    pss = "falcon_process_pss_bytes"
    count = "falcon_event_loop_delay_seconds_count"
    hung = f"falcon_process_sampled_seconds > {t.hung_seconds:g}"
    return [
        Alert(
            name="FalconProcessRestarts",
            severity="page",
            summary="A process of Falcon's keeps ending and being started again.",
            description=f"{{{{ $labels.role }}}} at {{{{ $labels.instance }}}} has ended "
            f'{{{{ $value | printf "%.0f" }}}} times in {restarts}.',
            runbook="restarts",
            expr=_happened("falcon_process_restarts_total", t.restarts_window, t, t.restarts),
        ),
        Alert(
            name="FalconPodRestarts",
            severity="page",
            summary="A pod of Falcon's keeps being restarted.",
            description=f"{{{{ $labels.instance }}}} has been restarted {{{{ $value }}}} times in {pods}.",
            runbook="restarts",
            expr=f'resets(falcon_process_uptime_seconds{{process="launcher-0"}}[{pods}]) > {t.restarts}',
        ),
        Alert(
            name="FalconGarbageCollection",
            severity="ticket",
            summary="A process spends much of its time on collecting garbage.",
            description="{{ $labels.process }} at {{ $labels.instance }} is held up for "
            "{{ $value | humanizePercentage }} of the time.",
            runbook="garbage-collection",
            expr=f"sum without (generation) (rate(falcon_gc_pause_seconds_total[{window}])) > {t.gc_share:g}",
            held=t.gc_for,
        ),
        Alert(
            name="FalconEventLoopLate",
            severity="ticket",
            summary="The event loop of a process is held up again and again.",
            description=f"{_some(t)} calls of the event loop of {{{{ $labels.process }}}} "
            f"at {{{{ $labels.instance }}}} were late by more than {t.loop_delay_seconds:g} s.",
            runbook="event-loop",
            expr=_above("falcon_event_loop_delay_seconds", "", t.loop_delay_seconds, t),
            held=t.max_for,
        ),
        Alert(
            name="FalconEventLoopStuck",
            severity="page",
            summary="The event loop of a process does not turn: it serves no request.",
            description="The event loop of {{ $labels.process }} at {{ $labels.instance }} turned {{ $value }} times "
            "a second.",
            runbook="event-loop",
            # It measures itself ten times a second. One that ended has no age, and one that hangs has its own alert.
            expr=(
                f"rate({count}[{promql(t.loop_stuck_window)}]) == 0\n"
                f"and falcon_process_uptime_seconds > {t.loop_stuck_uptime.total_seconds():g}\n"
                f"unless {hung}"
            ),
        ),
        Alert(
            name="FalconProcessHung",
            severity="page",
            summary="A process stands still with all of its threads, or is stopped.",
            description="{{ $labels.process }} at {{ $labels.instance }} has shown no sign of life "
            "for {{ $value | humanizeDuration }}.",
            runbook="process-hung",
            expr=hung,
            held=t.hung_for,
        ),
        Alert(
            name="FalconMemoryGrowth",
            severity="ticket",
            summary="A process needs more and more memory.",
            description="{{ $labels.process }} at {{ $labels.instance }} will need {{ $value | humanize1024 }}B "
            f"in {promql(t.memory_horizon)} if it goes on like this.",
            runbook="memory-growth",
            expr=(
                f"predict_linear({pss}[{promql(t.memory_window)}], {t.memory_horizon.total_seconds():g})"
                f" > {t.memory_growth:g} * {pss}\n"
                f"and {pss} > {t.memory_bytes_min}\n"
                f"and {pss} offset {promql(t.memory_window)}\n"
                f"and falcon_process_uptime_seconds > {t.memory_settled.total_seconds():g}"
            ),
            held=t.memory_for,
        ),
        Alert(
            name="FalconFileDescriptors",
            severity="page",
            summary="A process is about to run out of file descriptors; then it takes no connections.",
            description="{{ $labels.process }} at {{ $labels.instance }} has {{ $value | humanizePercentage }} "
            "of its file descriptors open.",
            runbook="file-descriptors",
            expr=f"falcon_process_fds / falcon_process_fds_max > {t.fds_share:g}",
            held=t.fds_for,
        ),
        Alert(
            name="FalconCertificateEnds",
            severity="page",
            summary="A certificate ends soon, and nothing has renewed it; then no new connection is made with it.",
            description="The certificate of {{ $labels.setting }} at {{ $labels.instance }} "
            "ends in {{ $value | humanizeDuration }}.",
            runbook="certificates",
            expr=f"falcon_certificate_end_timestamp_seconds - time() < {t.certificate_seconds:g}",
            held=t.certificate_for,
        ),
        Alert(
            name="FalconErrorLines",
            severity="ticket",
            summary="Falcon has logged errors.",
            description='{{ $value | printf "%.0f" }} lines of level {{ $labels.level }} '
            f"in {promql(events)} at {{{{ $labels.instance }}}}.",
            runbook="error-lines",
            expr=_happened('falcon_log_lines_total{level=~"error|critical"}', events, t),
        ),
        Alert(
            name="FalconTargetDown",
            severity="page",
            summary="A pod of Falcon's cannot be scraped: it is down, or its operations port does not answer.",
            description="{{ $labels.instance }} does not answer (up is {{ $value }}).",
            runbook="target-down",
            expr=f"up == 0\nand on (job) count by (job) (last_over_time(falcon_build_info[{remembered}]))",
            held=t.down_for,
        ),
    ]
