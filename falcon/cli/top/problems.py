"""Problems in words, the worst first.

The severity is the figure divided by the limit at which it becomes a problem. A failure is worse than slowness, and a
part that is out of service is worse than a failure.
"""

from collections.abc import Iterator
from typing import Final

from falcon.cli.top.figures import count, rate, seconds, share
from falcon.cli.top.rows import LatencyRow, Partitions, TopProblem, View
from falcon.cli.top.scraping import PortState

LATENCY_SECONDS: Final = 1.0  # a request, a command, or the delivery of an event
OLDEST_SECONDS: Final = 1.0  # waiting in a mailbox or for the journal
DISPATCHER_OLDEST_SECONDS: Final = 0.5
ALL_ACTIVE: Final = 0.8
FILLED: Final = 0.5  # of the bound of a mailbox
LAG_SECONDS: Final = 5.0
CPU: Final = 0.9
LOOP_DELAY_SECONDS: Final = 0.25
GC: Final = 0.1
FDS: Final = 0.8

_FAILS: Final = 10.0
_OUT: Final = 100.0
_OUT_BY_STATE: Final = {PortState.NOT_REACHABLE: 4, PortState.NOT_OPERATIONS: 3, PortState.NOT_READY: 2}

# It runs with the lowest priority and serves no chat, so waiting for others does no harm.
_OPS: Final = "ops-"

# They last as long as there is something to send.
_LONG: Final = ("POST /v1/import", "GET /v1/export", "GET /v1/stream")


def problems(view: View) -> list[TopProblem]:
    several = len(view.addresses) > 1
    found = [*_out(view, several), *_failing(view, several), *_queues(view, several), *_latencies(view)]
    found += _processes(view, several)
    return sorted(found, key=lambda problem: -problem.severity)


def _out(view: View, several: bool) -> Iterator[TopProblem]:
    for address in view.addresses:
        if address.state is not PortState.UP:
            what = f"{address.address}: {address.state.value}" + (f" ({address.note})" if address.note else "")
            yield TopProblem(_OUT + _OUT_BY_STATE[address.state], what)
    for row in view.projections:
        if row.stopped_at:
            where = f" at {', '.join(row.stopped_at)}" if several else ""
            yield TopProblem(_OUT + 1, f"projection {row.projection} has stopped{where}")
    yield from _not_owned(view.partitions, several)


def _not_owned(partitions: Partitions, several: bool) -> Iterator[TopProblem]:
    """A single address must own the partitions that it was assigned, and not all."""
    wanted = partitions.all if several else partitions.assigned
    if wanted is not None and partitions.owned is not None and partitions.owned < wanted:
        whom = "by any of these" if several else "though assigned"
        what = f"{count(wanted - partitions.owned)} of {count(wanted)} partitions are not owned {whom}"
        yield TopProblem(_OUT, what)


def _failing(view: View, several: bool) -> Iterator[TopProblem]:
    for row in view.failures:
        what = f"{row.what}{_at(row.address, several)}: {rate(row.per_second)} a second"
        yield TopProblem(_FAILS + min(row.per_second, _OUT - _FAILS - 1), what)


def _queues(view: View, several: bool) -> Iterator[TopProblem]:
    for box in view.mailboxes:
        name = f"{box.shard}{_at(box.address, several)}"
        yield from _slow(box.oldest_seconds, OLDEST_SECONDS, f"mailbox {name}: oldest command")
        yield from _slow(box.oldest_append_seconds, OLDEST_SECONDS, f"journal of shard {name}: oldest append")
        if box.bound and box.size / box.bound >= FILLED:
            what = f"mailbox {name}: {count(box.size)} of at most {count(box.bound)} commands"
            yield TopProblem(box.size / box.bound / FILLED, what)
    for row in view.dispatchers:
        name = f"dispatcher {row.dispatcher}{_at(row.address, several)}"
        yield from _slow(row.oldest_seconds, DISPATCHER_OLDEST_SECONDS, f"{name}: oldest task has waited")
        if row.all_active >= ALL_ACTIVE:
            threads = f"all {count(row.threads_max)} threads" if row.threads_max != 1 else "its one thread"
            yield TopProblem(
                row.all_active / ALL_ACTIVE, f"{name}: {threads} active {share(row.all_active)} of the time"
            )
    for projection in view.projections:
        behind = f"projection {projection.projection}: {count(projection.lag_events)} events behind, the oldest"
        yield from _slow(projection.lag_seconds, LAG_SECONDS, behind)


def _latencies(view: View) -> Iterator[TopProblem]:
    for row in view.life:
        yield from _slow_in_general(row, f"an event takes to be {row.name}")
    for row in view.requests:
        if row.name not in _LONG:
            yield from _slow_in_general(row, row.name)
    for row in view.commands:
        yield from _slow_in_general(row, f"command {row.name}")


def _processes(view: View, several: bool) -> Iterator[TopProblem]:
    for row in view.processes:
        name = f"process {row.process}{_at(row.address, several)}"
        if not row.process.startswith(_OPS):
            yield from _slow(
                row.loop_delay_max_seconds, LOOP_DELAY_SECONDS, f"{name}: event loop held up in the last minute for"
            )
        if row.cpu >= CPU:
            yield TopProblem(row.cpu / CPU, f"{name}: {share(row.cpu)} of a core")
        if row.gc >= GC:
            yield TopProblem(row.gc / GC, f"{name}: {share(row.gc)} of the time in garbage collection")
        if row.fds_max and row.fds / row.fds_max >= FDS:
            what = f"{name}: {count(row.fds)} of at most {count(row.fds_max)} files are open"
            yield TopProblem(row.fds / row.fds_max / FDS, what)


def _slow(figure: float, limit: float, what: str) -> Iterator[TopProblem]:
    """Always below the severity of a part that is out of service."""
    if figure >= limit:
        yield TopProblem(min(figure / limit, _OUT - 1), f"{what} {seconds(figure)}")


def _slow_in_general(row: LatencyRow, what: str) -> Iterator[TopProblem]:
    yield from _slow(row.p99_seconds or 0.0, LATENCY_SECONDS, f"{what}: 99 % within")


def _at(address: str, several: bool) -> str:
    return f" at {address}" if several else ""
