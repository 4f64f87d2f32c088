"""Streams: the clients, how soon events reach them, and the cost."""

from typing import Final

from tools.monitoring.dashboards import grafana
from tools.monitoring.dashboards.grafana import Dashboard, Panel, Query, Section, times
from tools.monitoring.dashboards.promql import increase, largest, quantile, rate, ratio, total

_PUSHED: Final = 'stage="pushed"'

_LISTENERS: Final = Section(
    "Who listens",
    (
        Panel(
            title="Connections",
            description="How many listen, and how?",
            unit=grafana.COUNT,
            queries=(Query(total("falcon_streams", "transport"), "{{transport}}"),),
            width=6,
            stacked=True,
        ),
        Panel(
            title="Connections by instance",
            description="Do the instances share them evenly? Each process takes 10,000 of them.",
            unit=grafana.COUNT,
            queries=(
                Query(total("falcon_streams", "instance"), "{{instance}}"),
                Query(total("falcon_streams_max", "instance"), "{{instance}} at most"),
                Query(increase("falcon_streams_refused_total", "instance"), "{{instance}} refused"),
            ),
            width=6,
        ),
        Panel(
            title="Opened",
            description="Do many come at once, and how do they begin? hello: new; replay: back again, with all that "
            "was missed; catch_up: back too late for that, so they read by page (FALCON_STREAM_EVENTS).",
            unit=grafana.PER_SECOND,
            queries=(Query(rate("falcon_streams_opened_total", "start"), "{{start}}"),),
            width=6,
        ),
        Panel(
            title="Ended by Falcon",
            description="How many were sent away, and why? slow: more waited than FALCON_STREAM_BUFFER; draining: the "
            "process ends, or something could not be read. Those who left by themselves are not counted.",
            unit=grafana.COUNT,
            queries=(Query(increase("falcon_streams_ended_total", "reason"), "{{reason}}"),),
            width=6,
        ),
    ),
)

_SOON: Final = Section(
    "How soon they hear",
    (
        Panel(
            title="From decided to pushed",
            description="How long after its shard decided it is an event handed to a listener's connection?",
            unit=grafana.SECONDS,
            queries=times("falcon_message_seconds", _PUSHED),
            width=6,
        ),
        Panel(
            title="From decided to pushed, by instance, p99",
            description="Is it one instance that is late, or all of them? One: its event loop; all: the log.",
            unit=grafana.SECONDS,
            queries=(Query(quantile(0.99, "falcon_message_seconds", "instance", _PUSHED), "{{instance}}"),),
            width=6,
        ),
        Panel(
            title="Not read for",
            description="Does a process still read the log for its listeners? If this grows they are told nothing.",
            unit=grafana.SECONDS,
            queries=(Query(largest("falcon_streams_stalled_seconds", "instance"), "{{instance}}"),),
            width=6,
        ),
        Panel(
            title="Waiting for slow readers",
            description="How much waits for connections that do not take it? It grows until they are ended as slow.",
            unit=grafana.BYTES,
            queries=(Query(total("falcon_streams_queued_bytes", "instance"), "{{instance}}"),),
            width=6,
        ),
    ),
)

_WORK: Final = Section(
    "What it takes",
    (
        Panel(
            title="Events of the log",
            description="Do the streams follow the log, and how much of it does no stream of the process want? "
            "Without a stream nothing is read.",
            unit=grafana.PER_SECOND,
            queries=(Query(rate("falcon_stream_events_total", "wanted"), "wanted: {{wanted}}"),),
            stacked=True,
            width=6,
        ),
        Panel(
            title="Deliveries",
            description="How much is sent, each event to each of its listeners?",
            unit=grafana.PER_SECOND,
            queries=(Query(rate("falcon_stream_deliveries_total", "instance"), "{{instance}}"),),
            stacked=True,
            width=6,
        ),
        Panel(
            title="Listeners an event",
            description="How many connections of a process share the decoding of an event? Those who are shown what "
            "they missed count as well.",
            unit=grafana.COUNT,
            queries=(
                Query(
                    ratio(
                        rate("falcon_stream_deliveries_total"),
                        rate("falcon_stream_events_total", where='wanted="yes"'),
                    ),
                    "listeners",
                ),
            ),
            width=6,
        ),
        Panel(
            title="Signals beside the log",
            description="Who types, and changes in who is online and who watches: how many are told to the processes "
            "that asked? lost: they could not be passed on at once, and are not promised. repaired: what was lost was "
            "told again.",
            unit=grafana.PER_SECOND,
            queries=(
                Query(rate("falcon_signals_total", "kind"), "{{kind}}"),
                Query(rate("falcon_signals_lost_total"), "lost"),
                Query(rate("falcon_presence_repairs_total"), "repaired"),
            ),
            width=6,
        ),
        Panel(
            title="Resume tokens",
            description="Do resume tokens stay short? long: events whose resume token has more than 64 characters. "
            "written, failed: cuts, which make tokens short. missing: cuts that clients' tokens name and that are not "
            "kept, so that these clients begin again.",
            unit=grafana.PER_SECOND,
            queries=(
                Query(rate("falcon_stream_tokens_long_total"), "long"),
                Query(rate("falcon_stream_cuts_total", "outcome"), "cuts {{outcome}}"),
                Query(rate("falcon_stream_cuts_read_total", where='outcome="missing"'), "cuts missing"),
            ),
            width=24,
        ),
    ),
)

STREAMS: Final = Dashboard(
    uid="falcon-streams",
    title="Falcon: streams",
    description="Who listens, how soon they hear, and what that takes.",
    sections=(_LISTENERS, _SOON, _WORK),
)
