"""Every number that an alert depends on. ``rules`` says what is compared with them, docs/runbooks what to do then."""

from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias, TypeVar

Severity: TypeAlias = Literal["page", "ticket"]

T = TypeVar("T")

# A range with fewer than two scrapes in it has no rate. Faster thresholds need a scrape each second.
_SHORTEST: Final = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """``share``: of all there were, how many must be good. ``seconds``: the time by which they are, if it is a
    question of time; a bound of the histogram's buckets."""

    share: float
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnRate:
    """How many times faster than the objective allows the error budget of 30 days is used up.

    The rate must be exceeded over the ``long`` window, since one bad minute must not fire the alert, and over the
    ``short`` one, since it must end soon after the fault.
    """

    name: str
    times: float
    long: timedelta
    short: timedelta
    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """A ``timedelta`` is a time over which one looks, and all of them can be made shorter together. A number of
    seconds is a measured time, and stays what it is."""

    # --- objectives ---

    requests_not_5xx: Objective = Objective(share=0.999)
    commands_answered: Objective = Objective(share=0.99, seconds=0.25)
    messages_readable: Objective = Objective(share=0.99, seconds=1.0)
    burn_rates: tuple[BurnRate, ...] = (
        BurnRate(name="Fast", times=14.4, long=timedelta(hours=1), short=timedelta(minutes=5), severity="page"),
        BurnRate(name="Steady", times=6, long=timedelta(hours=6), short=timedelta(minutes=30), severity="page"),
        BurnRate(name="Slow", times=1, long=timedelta(days=3), short=timedelta(hours=6), severity="ticket"),
    )
    # Events that an objective needs in the long window. With fewer, one failure would be a large part of them.
    burn_per_second_min: float = 0.02

    # --- how long things take, how they end ---

    # For means and ratios: less traffic than this says nothing.
    window: timedelta = timedelta(minutes=5)
    per_second_min: float = 0.1
    # Requests that take as long as there are data, or as long as the client listens. Their time says nothing.
    bulk_routes: str = "/v1/(export|import|stream)"
    route_mean_seconds: float = 0.25
    route_max_seconds: float = 4.0
    command_mean_seconds: float = 0.2
    command_max_seconds: float = 2.0
    actor_max_seconds: float = 1.0
    mean_for: timedelta = timedelta(minutes=5)
    # Each of so many windows must have a value above the bound, which is one of the histogram's buckets.
    max_window: timedelta = timedelta(minutes=2)
    max_windows: int = 3
    max_for: timedelta = timedelta(minutes=2)
    error_share: float = 0.05
    error_for: timedelta = timedelta(minutes=2)

    # --- work that waits ---

    waiting_window: timedelta = timedelta(minutes=2)
    waiting_for: timedelta = timedelta(minutes=3)  # longer than the window, so that one burst will not do
    queue_share: float = 0.8  # of the bound, past which work is refused
    # A command is given up after FALCON_COMMAND_SECONDS, 5 by default, so no mailbox is older than that for long.
    mailbox_oldest_seconds: float = 1.0
    append_oldest_seconds: float = 2.0
    dispatcher_oldest_seconds: float = 1.0
    lag_events: int = 10_000
    lag_seconds: float = 30.0
    lag_for: timedelta = timedelta(minutes=5)
    all_active_share: float = 0.95  # of the time
    all_active_for: timedelta = timedelta(minutes=5)
    rejections_per_second: float = 0.1
    rejections_for: timedelta = timedelta(minutes=2)

    # --- the log and its partitions ---

    # A rolling restart moves partitions in seconds.
    owner_for: timedelta = timedelta(minutes=2)
    # How long the number of partitions is remembered once no process that knows it is left.
    partitions_remembered: timedelta = timedelta(hours=1)
    append_window: timedelta = timedelta(minutes=10)
    # Each handover may fence a few appends; what continues for so long is no handover.
    fenced_for: timedelta = timedelta(minutes=15)

    # The disk of one machine. Within its limits one account fills a volume of 10 GiB in an hour; a site takes months.
    disk_fast_window: timedelta = timedelta(hours=1)
    disk_fast_left: timedelta = timedelta(days=1)
    disk_fast_for: timedelta = timedelta(minutes=10)
    disk_slow_window: timedelta = timedelta(days=1)
    disk_slow_left: timedelta = timedelta(days=14)  # to order and to move to a larger disk
    disk_slow_for: timedelta = timedelta(hours=1)
    disk_full_for: timedelta = timedelta(minutes=1)

    # --- projections and the read tables ---

    stopped_for: timedelta = timedelta(minutes=1)
    # Longer than the window, or the first message after a quiet time would do.
    no_progress_for: timedelta = timedelta(minutes=10)
    read_failures_per_second: float = 0.1
    read_failures_for: timedelta = timedelta(minutes=2)

    # --- streams ---

    pushed_seconds: float = 1.0  # a bound of the histogram's buckets
    pushed_late_share: float = 0.05
    pushed_for: timedelta = timedelta(minutes=5)
    streams_slow_per_second: float = 0.1
    streams_slow_for: timedelta = timedelta(minutes=5)

    # --- processes ---

    restarts: int = 2  # more than these
    restarts_window: timedelta = timedelta(minutes=15)
    pod_restarts_window: timedelta = timedelta(minutes=30)  # Kubernetes waits longer before each restart
    gc_share: float = 0.1  # of the time
    gc_for: timedelta = timedelta(minutes=10)
    loop_delay_seconds: float = 0.5  # a bound of the histogram's buckets
    loop_stuck_window: timedelta = timedelta(minutes=2)
    loop_stuck_uptime: timedelta = timedelta(minutes=3)
    hung_seconds: float = 10.0  # each process measures itself every second, except during a long question
    hung_for: timedelta = timedelta(minutes=1)
    # A day, so that a morning is not taken for a leak; and none before caches are full.
    memory_window: timedelta = timedelta(days=1)
    memory_settled: timedelta = timedelta(hours=30)
    memory_horizon: timedelta = timedelta(days=3)
    memory_growth: float = 1.5  # times what it is now, by then
    memory_bytes_min: int = 256 << 20
    memory_for: timedelta = timedelta(hours=1)
    fds_share: float = 0.8  # of the limit
    fds_for: timedelta = timedelta(minutes=5)
    # A program that renews certificates by itself does so weeks before they end.
    certificate_seconds: float = 7 * 86_400
    certificate_for: timedelta = timedelta(minutes=10)
    events_window: timedelta = timedelta(minutes=10)  # for events that should never happen
    # How long a counter that cannot be scraped is remembered, so that it does not count as new when it is back.
    series_remembered: timedelta = timedelta(days=1)
    down_for: timedelta = timedelta(minutes=2)
    # How long a job is remembered to be Falcon's.
    targets_remembered: timedelta = timedelta(days=1)

    def faster(self, factor: float) -> "Thresholds":
        """The same, with every time over which one looks so many times shorter; for tests with a real Prometheus."""
        return _faster(self, factor)


def _faster(value: T, factor: float) -> T:
    shortened: dict[str, Any] = {}
    assert is_dataclass(value)
    for field in fields(value):
        inner = getattr(value, field.name)
        if isinstance(inner, timedelta):
            shortened[field.name] = max(inner / factor, _SHORTEST)
        elif isinstance(inner, tuple):
            shortened[field.name] = tuple(_faster(each, factor) for each in inner)
    return replace(value, **shortened)  # type: ignore[type-var]


def promql(duration: timedelta) -> str:
    """As Prometheus writes it, in the largest unit that fits: ``5m``."""
    milliseconds = round(duration / timedelta(milliseconds=1))
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"
