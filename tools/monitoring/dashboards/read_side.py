"""The read side: from durable events to the clients' reads."""

from typing import Final

from tools.monitoring.dashboards import grafana
from tools.monitoring.dashboards.grafana import Dashboard, Panel, Query, Section, times_by
from tools.monitoring.dashboards.promql import (
    ANSWERED,
    failed,
    increase,
    largest,
    maximum,
    observed,
    peak,
    quantile,
    rate,
    ratio,
    total,
)

_READS: Final = 'method=~"GET|HEAD"'
_TIMED: Final = f"{_READS},{ANSWERED}"

_LAG: Final = Section(
    "Behind the log",
    (
        Panel(
            title="Behind, in events",
            description="How many events has each projection yet to apply?",
            unit=grafana.COUNT,
            queries=(Query(total("falcon_projection_lag_events", "projection"), "{{projection}}"),),
            width=6,
        ),
        Panel(
            title="Behind, in seconds",
            description="How old is the oldest of them? It grows while nothing is applied, whatever the reason.",
            unit=grafana.SECONDS,
            queries=(Query(peak("falcon_projection_lag_seconds", "projection"), "{{projection}}"),),
            width=6,
        ),
        Panel(
            title="Stopped",
            description="Which projection has stopped at an error? 1 while it has; the log says at which event.",
            unit=grafana.COUNT,
            queries=(Query(largest("falcon_projection_stopped", "projection"), "{{projection}}"),),
            width=6,
            top=1,
        ),
        Panel(
            title="From decided to readable and pushed",
            description="How soon do others see a message?",
            unit=grafana.SECONDS,
            queries=times_by("stage", "falcon_message_seconds", 'stage!="durable"'),
            width=6,
        ),
    ),
)

_PROJECTIONS: Final = Section(
    "Projections",
    (
        Panel(
            title="Events applied",
            description="How fast does each projection work?",
            unit=grafana.PER_SECOND,
            queries=(Query(rate("falcon_projected_events_total", "projection"), "{{projection}}"),),
            width=6,
        ),
        Panel(
            title="Time of a batch",
            description="How long does the writing of a batch to the tables take? Nothing where it is done within the "
            "journal's commit.",
            unit=grafana.SECONDS,
            queries=times_by("projection", "falcon_projection_batch_seconds"),
            width=12,
        ),
        Panel(
            title="Events a batch",
            description="How many events share a write? More when it is behind.",
            unit=grafana.COUNT,
            queries=(
                Query(
                    ratio(
                        rate("falcon_projected_events_total", "projection"),
                        f"({observed('falcon_projection_batch_seconds', 'projection')})",
                    ),
                    "{{projection}}",
                ),
            ),
            width=6,
        ),
    ),
)

_STORE: Final = Section(
    "Read store",
    (
        Panel(
            title="Calls",
            description="What is asked of the read tables?",
            unit=grafana.PER_SECOND,
            width=6,
            queries=(Query(observed("falcon_read_seconds", "call"), "{{call}}"),),
            stacked=True,
        ),
        Panel(
            title="Calls that failed",
            description="Which calls fail? Their requests were answered with 503.",
            unit=grafana.PER_SECOND,
            width=6,
            queries=(Query(rate("falcon_read_failures_total", "call"), "{{call}}"),),
        ),
        Panel(
            title="Refusals that were checked",
            description="What the tables did not show: was it not there, or could the edge not tell? Then it was 503.",
            unit=grafana.PER_SECOND,
            width=6,
            queries=(Query(rate("falcon_refusals_checked_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            title="Lost messages shown",
            description="Do the tables lack messages that the log has? Pages show them as missing.",
            unit=grafana.COUNT,
            width=6,
            queries=(Query(increase("falcon_lost_messages_shown_total", "instance"), "{{instance}}"),),
        ),
        Panel(
            title="Time of a call, p50",
            description="How long does each call usually take?",
            unit=grafana.SECONDS,
            queries=(Query(quantile(0.5, "falcon_read_seconds", "call"), "{{call}}"),),
        ),
        Panel(
            title="Time of a call, p99",
            description="How long does it take, but for one in a hundred?",
            unit=grafana.SECONDS,
            queries=(Query(quantile(0.99, "falcon_read_seconds", "call"), "{{call}}"),),
        ),
        Panel(
            title="Time of a call, max",
            description="What did the slowest take? The cluster's are cut off after 2 s.",
            unit=grafana.SECONDS,
            queries=(Query(maximum("falcon_read_seconds", "call"), "{{call}}"),),
        ),
    ),
)

_HTTP: Final = Section(
    "HTTP reads by route",
    (
        Panel(
            title="Requests",
            description="What do clients read?",
            unit=grafana.REQUESTS,
            queries=(Query(rate("falcon_http_requests_total", "route", _READS), "{{route}}"),),
            stacked=True,
            width=6,
        ),
        Panel(
            title="Requests failed",
            description="What share of the reads, and of all requests, is answered with a 5xx status?",
            unit=grafana.SHARE,
            queries=(
                Query(
                    failed(
                        rate("falcon_http_requests_total", where=f'{_READS},status="5xx"'),
                        rate("falcon_http_requests_total", where=_READS),
                    ),
                    "reads",
                ),
                Query(
                    failed(
                        rate("falcon_http_requests_total", where='status="5xx"'), rate("falcon_http_requests_total")
                    ),
                    "all",
                ),
            ),
            width=6,
        ),
        Panel(
            title="Requests in flight",
            description="How many requests are being answered, but for streams? It grows with the load, and with the "
            "time they take.",
            unit=grafana.COUNT,
            queries=(
                Query(
                    f"clamp_min({total('falcon_http_requests_in_flight', 'instance')}"
                    f" - {total('falcon_streams', 'instance')}, 0)",
                    "{{instance}}",
                ),
            ),
            width=6,
        ),
        Panel(
            title="Connections",
            description="How many connections are open, how many may be, and how many are refused or cut off? full: "
            "there were too many; address: of one address; too_large, malformed: a request broke a limit; timeout: it "
            "came too slowly; stalled: the client took nothing of its answer; held: there was too much in memory "
            "already. How many requests are past a limit of their account, room or address?",
            unit=grafana.COUNT,
            queries=(
                Query(total("falcon_connections", "instance, server"), "{{instance}} {{server}}"),
                Query(total("falcon_connections_max", "instance, server"), "{{instance}} {{server}} at most"),
                Query(increase("falcon_connections_cut_total", "instance, reason"), "{{instance}} {{reason}}"),
                Query(increase("falcon_rate_limited_total", "limit"), "past {{limit}}"),
                Query(total("falcon_unnamed_proxies", "instance"), "{{instance}} has a proxy that is not named"),
            ),
            width=6,
        ),
        Panel(
            title="Held for clients",
            description="How many bytes of bodies, and of answers that clients do not take, are in memory? A process "
            "holds 64 MiB at most, and 8 MiB for an account; past that requests are refused.",
            unit=grafana.BYTES,
            queries=(Query(total("falcon_http_held_bytes", "instance"), "{{instance}}"),),
            width=6,
        ),
        Panel(
            title="Junk, and refused for what is held",
            description="How many requests are none that a client of Falcon's makes, and how many are refused since "
            "too much is held for their account or the process?",
            unit=grafana.COUNT,
            queries=(
                Query(increase("falcon_http_junk_total", "instance, kind"), "{{instance}} {{kind}}"),
                Query(increase("falcon_http_held_refused_total", "instance, of"), "{{instance}} held {{of}}"),
            ),
            width=6,
        ),
        Panel(
            title="Time of a request, p50",
            description="How long does each route usually take?",
            unit=grafana.SECONDS,
            queries=(Query(quantile(0.5, "falcon_http_request_seconds", "route", _TIMED), "{{route}}"),),
            width=4,
        ),
        Panel(
            title="Time of a request, p99",
            description="How long does it take, but for one in a hundred?",
            unit=grafana.SECONDS,
            queries=(Query(quantile(0.99, "falcon_http_request_seconds", "route", _TIMED), "{{route}}"),),
            width=4,
        ),
        Panel(
            title="Time of a request, max",
            description="What did the slowest take?",
            unit=grafana.SECONDS,
            queries=(Query(maximum("falcon_http_request_seconds", "route", _TIMED), "{{route}}"),),
            width=4,
        ),
    ),
)

READ_SIDE: Final = Dashboard(
    uid="falcon-read",
    title="Falcon: read side",
    description="How far the read tables are behind the log, the projections, the read store, and HTTP reads.",
    sections=(_LAG, _PROJECTIONS, _STORE, _HTTP),
)
