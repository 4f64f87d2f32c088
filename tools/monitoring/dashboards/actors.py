"""Actors and dispatchers: the queues in which work waits."""

from typing import Final

from tools.monitoring.dashboards import grafana
from tools.monitoring.dashboards.grafana import Dashboard, Panel, Query, Section, times_by
from tools.monitoring.dashboards.promql import (
    highest_rate,
    increase,
    maximum,
    observed,
    peak,
    quantile,
    rate,
    ratio,
    summed,
    total,
)

_ACTORS: Final = Section(
    "Actors",
    (
        Panel(
            title="Time in the mailbox",
            description="How long does work wait for an actor?",
            unit=grafana.SECONDS,
            queries=times_by("actor", "falcon_mailbox_seconds"),
        ),
        Panel(
            title="Processing time",
            description="How long does an actor work on a message? A batch of commands is one.",
            unit=grafana.SECONDS,
            queries=times_by("actor", "falcon_actor_processing_seconds"),
        ),
        Panel(
            title="Messages processed",
            description="How many messages do actors take up?",
            unit=grafana.PER_SECOND,
            queries=(Query(observed("falcon_actor_processing_seconds", "actor"), "{{actor}}"),),
        ),
        Panel(
            title="Actors at work",
            description="How many actors of each class are busy on average? As many as there are shards: add shards.",
            unit=grafana.COUNT,
            queries=(Query(summed("falcon_actor_processing_seconds", "actor"), "{{actor}}"),),
        ),
        Panel(
            title="Errors",
            description="Do actors fail? One that fails ends with its process, which the launcher starts again.",
            unit=grafana.COUNT,
            queries=(Query(increase("falcon_actor_errors_total", "actor"), "{{actor}} errors"),),
            width=16,
        ),
    ),
)

_THREADS: Final = Section(
    "Dispatchers: threads",
    (
        Panel(
            title="Threads at work, of the most",
            description="How much of a dispatcher is in use at this moment?",
            unit=grafana.SHARE,
            queries=(
                Query(
                    ratio(
                        total("falcon_dispatcher_threads_active", "dispatcher"),
                        total("falcon_dispatcher_threads_max", "dispatcher"),
                    ),
                    "{{dispatcher}}",
                ),
            ),
            top=1,
        ),
        Panel(
            title="All threads at work, share of the time",
            description="How long was no thread free? The worst instance; near 1 the dispatcher is the bottleneck.",
            unit=grafana.SHARE,
            queries=(
                Query(
                    highest_rate("falcon_dispatcher_all_active_seconds_total", "dispatcher"),
                    "{{dispatcher}}",
                ),
            ),
            top=1,
        ),
        Panel(
            title="Tasks done",
            description="How much does each do? Failed tasks are included.",
            unit=grafana.PER_SECOND,
            queries=(Query(observed("falcon_dispatcher_run_seconds", "dispatcher"), "{{dispatcher}}"),),
        ),
        Panel(
            title="Time on a thread",
            description="How long does a task take, p99 and max? What blocks the others shows here.",
            unit=grafana.SECONDS,
            queries=(
                Query(quantile(0.99, "falcon_dispatcher_run_seconds", "dispatcher"), "{{dispatcher}} p99"),
                Query(maximum("falcon_dispatcher_run_seconds", "dispatcher"), "{{dispatcher}} max"),
            ),
            width=24,
        ),
    ),
)

_QUEUES: Final = Section(
    "Dispatchers: queues",
    (
        Panel(
            title="Tasks that wait",
            description="How many tasks wait for a thread?",
            unit=grafana.COUNT,
            queries=(Query(total("falcon_dispatcher_queue_size", "dispatcher"), "{{dispatcher}}"),),
        ),
        Panel(
            title="Queue, of its bound",
            description="How near is a dispatcher to refusing?",
            unit=grafana.SHARE,
            queries=(
                Query(
                    ratio(
                        total("falcon_dispatcher_queue_size", "dispatcher"),
                        total("falcon_dispatcher_queue_bound", "dispatcher"),
                    ),
                    "{{dispatcher}}",
                ),
            ),
            top=1,
        ),
        Panel(
            title="Refused",
            description="Which dispatcher turns tasks away, because too many wait?",
            unit=grafana.PER_SECOND,
            queries=(Query(rate("falcon_dispatcher_rejections_total", "dispatcher"), "{{dispatcher}}"),),
        ),
        Panel(
            title="Time in the queue",
            description="How long did tasks wait that have got a thread, p99 and max?",
            unit=grafana.SECONDS,
            queries=(
                Query(quantile(0.99, "falcon_dispatcher_queue_seconds", "dispatcher"), "{{dispatcher}} p99"),
                Query(maximum("falcon_dispatcher_queue_seconds", "dispatcher"), "{{dispatcher}} max"),
            ),
            width=16,
        ),
        Panel(
            title="Oldest task that waits",
            description="How long has a task waited that has got no thread yet? It grows while all threads hang.",
            unit=grafana.SECONDS,
            queries=(Query(peak("falcon_dispatcher_oldest_seconds", "dispatcher"), "{{dispatcher}}"),),
        ),
    ),
)

ACTORS: Final = Dashboard(
    uid="falcon-actors",
    title="Falcon: actors and dispatchers",
    description="Where work waits, and for whom. /debug/dispatchers and /debug/mailboxes show one instance.",
    sections=(_ACTORS, _THREADS, _QUEUES),
)
