"""What is shown, as typed rows."""

from datetime import datetime

import msgspec

from falcon.cli.top.scraping import State


class Hurt(msgspec.Struct, frozen=True):
    """Something bad in words. ``severity``: it hurts from 1 on; 10 is a failure; from 100 on something is out."""

    severity: float
    what: str


class AddressRow(msgspec.Struct, frozen=True):
    address: str
    state: State
    note: str
    roles: list[str]
    version: str
    uptime_seconds: float | None
    partitions_owned: float | None


class Throughput(msgspec.Struct, frozen=True):
    """All a second, but for what is in flight. Events are projected once for each projection."""

    requests: dict[str, float]
    requests_in_flight: float
    commands: dict[str, float]
    events_durable: float
    events_projected: float


class Partitions(msgspec.Struct, frozen=True):
    """``owned`` and ``assigned``: None when none of the addresses owns any by its role."""

    all: float
    owned: float | None
    assigned: float | None


class LatencyRow(msgspec.Struct, frozen=True):
    """``max_seconds``: of the last minute. The others are of the interval; None when nothing happened in it."""

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
    """``all_active``: the share of the interval in which no thread was free."""

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
    """All addresses together. ``stopped_at``: those where it has stopped."""

    projection: str
    stopped_at: list[str]
    lag_events: float
    lag_seconds: float
    per_second: float


class ProcessRow(msgspec.Struct, frozen=True):
    """``cpu``: 1 is a whole core. ``gc``: the share of the interval in which it collected garbage."""

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
    hurts: list[Hurt]
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
