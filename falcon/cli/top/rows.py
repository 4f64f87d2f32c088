"""The rows of the view."""

from datetime import datetime

import msgspec

from falcon.cli.top.scraping import PortState


class TopProblem(msgspec.Struct, frozen=True):
    """A problem in words. ``severity``: from 1 a problem, 10 a failure, from 100 a part is out of service."""

    severity: float
    what: str


class AddressRow(msgspec.Struct, frozen=True):
    address: str
    state: PortState
    note: str
    roles: list[str]
    version: str
    uptime_seconds: float | None
    partitions_owned: float | None


class Throughput(msgspec.Struct, frozen=True):
    """Rates per second, and requests in flight. Each projection applies every event once."""

    requests: dict[str, float]
    requests_in_flight: float
    commands: dict[str, float]
    events_durable: float
    events_projected: float


class Partitions(msgspec.Struct, frozen=True):
    """``owned`` and ``assigned``: None if no address has a role that owns partitions."""

    all: float
    owned: float | None
    assigned: float | None


class LatencyRow(msgspec.Struct, frozen=True):
    """``max_seconds``: of the last minute. The others: of the interval; None if nothing happened in it."""

    name: str
    per_second: float
    p50_seconds: float | None
    p99_seconds: float | None
    max_seconds: float


class FailureRow(msgspec.Struct, frozen=True):
    address: str
    what: str
    per_second: float


class MailboxRow(msgspec.Struct, frozen=True):
    address: str
    shard: str
    size: float
    bound: float
    oldest_seconds: float
    oldest_append_seconds: float


class DispatcherRow(msgspec.Struct, frozen=True):
    """``all_active``: the share of the interval during which no thread was free."""

    address: str
    dispatcher: str
    active: float
    threads_max: float
    all_active: float
    queue: float
    queue_bound: float
    oldest_seconds: float
    wait_p99_seconds: float | None
    per_second: float


class ProjectionRow(msgspec.Struct, frozen=True):
    """All addresses together. ``stopped_at``: the addresses where the projection has stopped."""

    projection: str
    stopped_at: list[str]
    lag_events: float
    lag_seconds: float
    per_second: float


class ProcessRow(msgspec.Struct, frozen=True):
    """``cpu``: 1 is a whole core. ``gc``: the share of the interval spent on garbage collection."""

    address: str
    process: str
    cpu: float
    resident_bytes: float
    pss_bytes: float
    threads: float
    fds: float
    fds_max: float
    loop_delay_max_seconds: float
    gc: float


class View(msgspec.Struct, frozen=True):
    """``seconds``: the longest interval of an address."""

    at: datetime
    seconds: float
    problems: list[TopProblem]
    addresses: list[AddressRow]
    throughput: Throughput
    partitions: Partitions
    life: list[LatencyRow]
    requests: list[LatencyRow]
    commands: list[LatencyRow]
    mailboxes: list[MailboxRow]
    dispatchers: list[DispatcherRow]
    projections: list[ProjectionRow]
    processes: list[ProcessRow]
    failures: list[FailureRow]
