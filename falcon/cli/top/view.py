"""Makes the view from the changes of all addresses. The worst rows of a table come first."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec

from falcon.cli.top.change import Change, Distribution, Key
from falcon.cli.top.problems import problems
from falcon.cli.top.rows import (
    AddressRow,
    DispatcherRow,
    FailureRow,
    LatencyRow,
    MailboxRow,
    Partitions,
    ProcessRow,
    ProjectionRow,
    Throughput,
    View,
)
from falcon.cli.top.scraping import PortState

_STAGES: Final = ("durable", "readable", "pushed")
_SUPPORT: Final = ("launcher", "ops")  # processes that every address has, whatever its role

# Failures, with the labels that separate them, and their words.
_FAILURES: Final = (
    ("falcon_actor_errors", ("actor",), "actor {0} failed"),
    ("falcon_process_restarts", ("role",), "process {0} started again"),
    ("falcon_mailbox_rejections", ("shard",), "mailbox {0} is full: commands refused"),
    ("falcon_dispatcher_rejections", ("dispatcher",), "dispatcher {0} is full: tasks refused"),
    ("falcon_journal_append_failures", ("outcome",), "appends to the journal failed ({0})"),
    ("falcon_read_failures", ("call",), "calls of the read store failed ({0})"),
)
_LOGGED: Final = ("error", "critical")
_NORMAL_OUTCOMES: Final = ("accepted", "rejected")


class Reading(msgspec.Struct, frozen=True):
    """One address in this interval. ``name``: its short name. No change: there were no metrics."""

    name: str
    state: PortState
    note: str = ""
    change: Change | None = None


def view(readings: Sequence[Reading], at: datetime) -> View:
    figures = _figures(readings, at)
    return msgspec.structs.replace(figures, problems=problems(figures))


def short_names(urls: Sequence[str]) -> list[str]:
    """Only ports, if there are several addresses and all are on one host."""
    parts = [urlsplit(url) for url in urls]
    if len(parts) > 1 and len({each.hostname for each in parts}) == 1 and all(each.port for each in parts):
        return [f":{each.port}" for each in parts]
    return [each.netloc for each in parts]


def chosen(rows: Sequence[LatencyRow], count: int) -> list[LatencyRow]:
    """Half of the places for the worst rows, and half for the busiest, in the order of the rows."""
    busiest = sorted(rows, key=lambda row: -row.per_second)[: count // 2]
    worst = [row for row in rows if row not in busiest][: count - len(busiest)]
    return [row for row in rows if row in busiest or row in worst]


def _figures(readings: Sequence[Reading], at: datetime) -> View:
    changes = [(reading.name, reading.change) for reading in readings if reading.change is not None]
    together = [change for _, change in changes]
    return View(
        at=at,
        seconds=max((change.seconds for change in together), default=0.0),
        problems=[],
        addresses=[_address(reading) for reading in sorted(readings, key=lambda each: each.state is PortState.UP)],
        throughput=_throughput(together),
        partitions=_partitions(together),
        life=_life(together),
        requests=_requests(together),
        commands=_commands(together),
        mailboxes=_mailboxes(changes),
        dispatchers=_dispatchers(changes),
        projections=_projections(changes),
        processes=_processes(changes),
        failures=_failures(changes),
    )


# --- all addresses together -------------------------------------------------------------------------------------------


def _address(reading: Reading) -> AddressRow:
    change = reading.change
    if change is None:
        return AddressRow(reading.name, reading.state, reading.note, [], "", None, None)
    uptimes = change.now("falcon_process_uptime_seconds", "process")
    roles = {process.rpartition("-")[0] or process for (process,) in uptimes}
    return AddressRow(
        address=reading.name,
        state=reading.state,
        note=reading.note,
        roles=sorted(roles.difference(_SUPPORT)),
        version=next((version for (version,) in change.now("falcon_build_info", "version")), ""),
        uptime_seconds=max(uptimes.values(), default=None),
        partitions_owned=change.now("falcon_partitions_owned").get(()),
    )


def _throughput(changes: Sequence[Change]) -> Throughput:
    life = _merged(change.distributions("falcon_message_seconds", "stage") for change in changes)
    return Throughput(
        requests=_by_one(_summed(change.rates("falcon_http_requests", "status") for change in changes)),
        requests_in_flight=_summed(change.now("falcon_http_requests_in_flight") for change in changes).get((), 0.0),
        commands=_by_one(_summed(change.rates("falcon_commands", "outcome") for change in changes)),
        events_durable=life[("durable",)].per_second if ("durable",) in life else 0.0,
        events_projected=_summed(change.rates("falcon_projected_events") for change in changes).get((), 0.0),
    )


def _partitions(changes: Sequence[Change]) -> Partitions:
    known = [change.now("falcon_partitions", together=max).get((), 0.0) for change in changes]
    owned = _summed(change.now("falcon_partitions_owned") for change in changes)
    assigned = _summed(change.now("falcon_partitions_assigned") for change in changes)
    return Partitions(max(known, default=0.0), owned.get(()), assigned.get(()))


def _life(changes: Sequence[Change]) -> list[LatencyRow]:
    """In the order of a message, including stages without measurements in this interval."""
    found = _merged(change.distributions("falcon_message_seconds", "stage") for change in changes)
    return [_latency(stage, found[(stage,)]) for stage in _STAGES if (stage,) in found]


def _requests(changes: Sequence[Change]) -> list[LatencyRow]:
    found = _merged(change.distributions("falcon_http_request_seconds", "method", "route") for change in changes)
    return _worst_first(_latency(f"{method} {route}", one) for (method, route), one in found.items())


def _commands(changes: Sequence[Change]) -> list[LatencyRow]:
    found = _merged(change.distributions("falcon_command_seconds", "command") for change in changes)
    return _worst_first(_latency(command, one) for (command,), one in found.items())


def _worst_first(rows: Iterable[LatencyRow]) -> list[LatencyRow]:
    """Without events that have not happened in the last minute."""
    return sorted(
        (row for row in rows if row.per_second or row.max_seconds),
        key=lambda row: (row.p99_seconds or 0.0, row.max_seconds),
        reverse=True,
    )


def _latency(name: str, found: Distribution) -> LatencyRow:
    return LatencyRow(name, found.per_second, found.quantile(0.5), found.quantile(0.99), found.maximum)


def _projections(changes: Sequence[tuple[str, Change]]) -> list[ProjectionRow]:
    together = [change for _, change in changes]
    lag = _summed(change.now("falcon_projection_lag_events", "projection") for change in together)
    rates = _summed(change.rates("falcon_projected_events", "projection") for change in together)
    ages: dict[Key, float] = {}
    stopped: dict[Key, list[str]] = {}
    for address, change in changes:
        for key, age in change.now("falcon_projection_lag_seconds", "projection", together=max).items():
            ages[key] = max(ages.get(key, 0.0), age)
        for key, has_stopped in change.now("falcon_projection_stopped", "projection", together=max).items():
            stopped.setdefault(key, []).extend([address] if has_stopped else [])
    rows = [
        ProjectionRow(key[0], stopped.get(key, []), lag.get(key, 0.0), ages.get(key, 0.0), rates.get(key, 0.0))
        for key in sorted(lag.keys() | rates.keys() | stopped.keys())
    ]
    return sorted(rows, key=lambda row: (-len(row.stopped_at), -row.lag_seconds, -row.lag_events))


# --- address by address -----------------------------------------------------------------------------------------------


def _mailboxes(changes: Iterable[tuple[str, Change]]) -> list[MailboxRow]:
    rows: list[MailboxRow] = []
    for address, change in changes:
        bounds = change.now("falcon_mailbox_bound", "shard")
        sizes = change.now("falcon_mailbox_size", "shard")
        oldest = change.now("falcon_mailbox_oldest_seconds", "shard", together=max)
        appends = change.now("falcon_journal_oldest_append_seconds", "shard", together=max)
        rows += [
            MailboxRow(
                address=address,
                shard=key[0],
                size=sizes.get(key, 0.0),
                bound=bounds.get(key, 0.0),
                oldest_seconds=oldest.get(key, 0.0),
                oldest_append_seconds=appends.get(key, 0.0),
            )
            for key in sorted(sizes.keys() | appends.keys())
        ]
    return sorted(rows, key=lambda row: (-max(row.oldest_seconds, row.oldest_append_seconds), -row.size))


def _dispatchers(changes: Iterable[tuple[str, Change]]) -> list[DispatcherRow]:
    rows: list[DispatcherRow] = []
    for address, change in changes:
        active = change.now("falcon_dispatcher_threads_active", "dispatcher")
        all_active = change.rates("falcon_dispatcher_all_active_seconds", "dispatcher")
        queues = change.now("falcon_dispatcher_queue_size", "dispatcher")
        bounds = change.now("falcon_dispatcher_queue_bound", "dispatcher")
        oldest = change.now("falcon_dispatcher_oldest_seconds", "dispatcher", together=max)
        waits = change.distributions("falcon_dispatcher_queue_seconds", "dispatcher")
        done = change.rates("falcon_dispatcher_tasks_completed", "dispatcher")
        rows += [
            DispatcherRow(
                address=address,
                dispatcher=key[0],
                active=active.get(key, 0.0),
                threads_max=threads,
                # Counted about once a second for all processes together, so it can be too high for a moment.
                all_active=min(1.0, all_active.get(key, 0.0)),
                queue=queues.get(key, 0.0),
                queue_bound=bounds.get(key, 0.0),
                oldest_seconds=oldest.get(key, 0.0),
                wait_p99_seconds=waits[key].quantile(0.99) if key in waits else None,
                per_second=done.get(key, 0.0),
            )
            for key, threads in change.now("falcon_dispatcher_threads_max", "dispatcher").items()
        ]
    return sorted(rows, key=lambda row: (-row.oldest_seconds, -row.all_active, -row.queue, -row.per_second))


def _processes(changes: Iterable[tuple[str, Change]]) -> list[ProcessRow]:
    """The processes that live, the busiest first."""
    rows: list[ProcessRow] = []
    for address, change in changes:
        cpu = change.rates("falcon_process_cpu_seconds", "process")
        gc = change.rates("falcon_gc_pause_seconds", "process")
        delays = change.now("falcon_event_loop_delay_max_seconds", "process", together=max)
        gauges = {
            name: change.now(f"falcon_process_{name}", "process")
            for name in ("resident_bytes", "pss_bytes", "threads", "fds", "fds_max")
        }
        rows += [
            ProcessRow(
                address=address,
                process=key[0],
                cpu=cpu.get(key, 0.0),
                loop_delay_max_seconds=delays.get(key, 0.0),
                gc=gc.get(key, 0.0),
                **{name: values.get(key, 0.0) for name, values in gauges.items()},
            )
            for key in change.now("falcon_process_uptime_seconds", "process")
        ]
    return sorted(rows, key=lambda row: (-row.cpu, -row.pss_bytes))


def _failures(changes: Iterable[tuple[str, Change]]) -> list[FailureRow]:
    rows: list[FailureRow] = []
    for address, change in changes:
        for name, by, words in _FAILURES:
            rows += [FailureRow(address, words.format(*key), rate) for key, rate in change.rates(name, *by).items()]
        for (outcome,), rate in change.rates("falcon_commands", "outcome").items():
            if outcome not in _NORMAL_OUTCOMES:
                rows.append(FailureRow(address, f"commands not carried out ({outcome})", rate))
        for (status,), rate in change.rates("falcon_http_requests", "status").items():
            if status == "5xx":
                rows.append(FailureRow(address, "requests answered 5xx", rate))
        for (level,), rate in change.rates("falcon_log_lines", "level").items():
            if level in _LOGGED:
                rows.append(FailureRow(address, f"lines logged as {level}", rate))
    return sorted((row for row in rows if row.per_second > 0), key=lambda row: -row.per_second)


# --- putting together -------------------------------------------------------------------------------------------------


def _summed(found: Iterable[dict[Key, float]]) -> dict[Key, float]:
    sums: dict[Key, float] = {}
    for one in found:
        for key, value in one.items():
            sums[key] = sums.get(key, 0.0) + value
    return sums


def _merged(found: Iterable[dict[Key, Distribution]]) -> dict[Key, Distribution]:
    merged: dict[Key, Distribution] = {}
    for one in found:
        for key, value in one.items():
            merged[key] = merged[key] + value if key in merged else value
    return merged


def _by_one(values: dict[Key, float]) -> dict[str, float]:
    return {key[0]: value for key, value in sorted(values.items())}
