"""The processes: their CPU and memory, and what delays them."""

from typing import Final

from tools.monitoring.dashboards import grafana
from tools.monitoring.dashboards.grafana import Dashboard, Panel, Query, Section
from tools.monitoring.dashboards.promql import (
    highest_rate,
    increase,
    largest,
    maximum,
    peak,
    quantile,
    rate,
    ratio,
    select,
    total,
)

_EACH: Final = "instance, process"
_NAME: Final = "{{instance}} {{process}}"

_USE: Final = Section(
    "What each takes",
    (
        Panel(
            title="CPU",
            description="How many cores does each process use? One of Python's has little use for more than one.",
            unit=grafana.COUNT,
            queries=(Query(rate("falcon_process_cpu_seconds_total", _EACH), _NAME),),
        ),
        Panel(
            title="Memory, resident",
            description="How much RAM has each process mapped, shared pages counted in full?",
            unit=grafana.BYTES,
            queries=(Query(total("falcon_process_resident_bytes", _EACH), _NAME),),
        ),
        Panel(
            title="Memory, PSS",
            description="How much RAM is each process the cause of? It adds up to what the tree takes.",
            unit=grafana.BYTES,
            queries=(Query(total("falcon_process_pss_bytes", _EACH), _NAME),),
            stacked=True,
        ),
        Panel(
            title="Threads",
            description="Do threads pile up? Every pool of Falcon's is bounded.",
            unit=grafana.COUNT,
            queries=(Query(total("falcon_process_threads", _EACH), _NAME),),
        ),
        Panel(
            title="File descriptors, of the limit",
            description="How near is a process to having no file descriptor left?",
            unit=grafana.SHARE,
            queries=(Query(ratio(total("falcon_process_fds", _EACH), total("falcon_process_fds_max", _EACH)), _NAME),),
        ),
        Panel(
            title="Log lines",
            description="How much is logged at each level? Errors say what to look for in the logs.",
            unit=grafana.PER_SECOND,
            queries=(Query(rate("falcon_log_lines_total", "level"), "{{level}}"),),
        ),
    ),
)

_HELD_UP: Final = Section(
    "What holds them up",
    (
        Panel(
            title="Event-loop delay, p99",
            description="How late are event loops? Whatever they serve waits as long.",
            unit=grafana.SECONDS,
            queries=(Query(quantile(0.99, "falcon_event_loop_delay_seconds", _EACH), _NAME),),
        ),
        Panel(
            title="Event-loop delay, max",
            description="How long has a single callback held a loop up?",
            unit=grafana.SECONDS,
            queries=(
                Query(maximum("falcon_event_loop_delay_seconds", _EACH), _NAME),
                Query(largest("falcon_event_loop_delay_max_seconds", _EACH), f"{_NAME} just now"),
            ),
        ),
        Panel(
            title="Last sign of life",
            description="How long ago has each process measured itself, which it does each second? More than a few "
            "seconds: it is stopped, or all of its threads are held up.",
            unit=grafana.SECONDS,
            queries=(Query(peak("falcon_process_sampled_seconds", _EACH), _NAME),),
        ),
        Panel(
            title="Paused by the collector, share of the time",
            description="How much of the time does a process do nothing but collect garbage? By generation, the worst "
            "instance.",
            unit=grafana.SHARE,
            queries=(
                Query(
                    highest_rate("falcon_gc_pause_seconds_total", "process, generation"),
                    "{{process}} generation {{generation}}",
                ),
            ),
            width=24,
        ),
    ),
)

_LIVES: Final = Section(
    "Since when, and which",
    (
        Panel(
            title="Restarts",
            description="Which processes had ended and were started again?",
            unit=grafana.COUNT,
            width=6,
            queries=(Query(increase("falcon_process_restarts_total", "instance, role"), "{{instance}} {{role}}"),),
        ),
        Panel(
            title="Uptime",
            description="How long has each process run? The youngest is at the lower edge.",
            unit=grafana.SECONDS,
            width=6,
            queries=(Query(f"min by ({_EACH}) ({select('falcon_process_uptime_seconds')})", _NAME),),
        ),
        Panel(
            title="Versions",
            description="Which versions run, and in how many instances? More than one: an update is under way.",
            unit=grafana.COUNT,
            width=6,
            queries=(Query(f"count by (version, python) ({select('falcon_build_info')})", ""),),
            kind="table",
            value="instances",
        ),
        Panel(
            title="Certificates and copies",
            description="How long are the certificates valid, by setting, and how old is the last copy of a folder?",
            unit=grafana.SECONDS,
            width=6,
            queries=(
                Query(
                    f"min by (setting) ({select('falcon_certificate_end_timestamp_seconds')}) - time()", "{{setting}}"
                ),
                Query(f"time() - max({select('falcon_copied_timestamp_seconds')} > 0)", "age of the copy"),
            ),
        ),
    ),
)

PROCESS: Final = Dashboard(
    uid="falcon-process",
    title="Falcon: processes",
    description="What each process takes, what holds it up, since when it runs. An instance is a tree of processes.",
    sections=(_USE, _HELD_UP, _LIVES),
)
