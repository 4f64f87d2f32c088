"""The measured figures on which the size of a site depends."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from tools.capacity.pages import BenchmarkPage

_CLUSTER: Final = "benchmarks-cluster.md"
_EMBEDDED: Final = "benchmarks.md"
_GROWTH: Final = "benchmarks-growth.md"
_SENDING: Final = "Sending a message, durable on two brokers when answered"
_ROW: Final = "{in_flight} in flight, actors in process (default)"
_READING: Final = "Reading the newest 50 messages"
_MEMORY: Final = "What one of them takes in memory"


class Figure(NamedTuple):
    """``source``: the page that has it."""

    value: float
    unit: str
    what: str
    source: str


class Figures(NamedTuple):
    """CPU is in µs, memory in bytes. HBase's calls are those of Falcon's client."""

    api_send: Figure
    write_command: Figure
    project_event: Figure
    kafka_message: Figure
    hbase_message: Figure
    hbase_calls_a_second: Figure
    event_unwanted: Figure
    mark_unwanted: Figure
    mark_of_another: Figure
    delivery_first: Figure
    delivery_more: Figure
    delivery_bytes: Figure
    calls_a_send: Figure
    calls_a_mark: Figure
    calls_a_page: Figure
    calls_a_hello: Figure
    opening_event: Figure
    presence_cpu: Figure
    presence_memory: Figure
    key_memory: Figure
    stream_memory: Figure
    log_bytes: Figure


def measured(docs: Path, in_flight: int, rooms: int) -> Figures:
    """``in_flight``: the row of sends that is taken, since CPU a message depends on the size of batches. ``rooms``: of
    an account.

    Raises NoFigure.
    """
    cluster, embedded, growth = (BenchmarkPage(docs / name) for name in (_CLUSTER, _EMBEDDED, _GROWTH))
    row = _ROW.format(in_flight=in_flight)

    def sending(column: str, what: str) -> Figure:
        return Figure(cluster.number(_SENDING, row, column), "µs", f"{what}, {in_flight} in flight", _CLUSTER)

    def grown(table: str, size: str, column: str, unit: str, what: str) -> Figure:
        return Figure(growth.number(table, size, column), unit, what, _GROWTH)

    def grows(table: str, sizes: tuple[str, str], column: str, by: float, unit: str, what: str) -> Figure:
        """How much a figure grows with each one more of the sizes' unit, of which the second has ``by`` more."""
        first, last = (growth.number(table, size, column) for size in sizes)
        return Figure(max(0.0, (last - first) / by), unit, what, _GROWTH)

    event = "An event in an api process"
    heard, unwanted = "µs a message that is heard", "µs a message that nobody here wants"
    feeds = ("1 streams in its room", "16 streams in its room")
    online = ("10,000 accounts online", "50,000 accounts online")
    first = growth.number(event, feeds[0], heard) - growth.number(event, feeds[0], unwanted)
    calls = grown("A read of one's own write", "1 ms that the tables are behind", "HBase calls of a read", "", "calls")
    pages = cluster.number(_READING, "4,000 rooms in turn, 16 at once", "pages a second")
    presence_ms = grows("Presence", online, "CPU of them, ms a minute", 40_000, "", "")
    presence_mib = grows("Presence", online, "MiB for accounts elsewhere", 40_000, "", "")
    opening = ("1,000 events of others", "20,000 events of others")
    opening_ms = grows("Opening a stream", opening, "CPU of that, ms", 19_000, "", "")
    sse = "Falcon: a subscriber by sse who hears nothing, of 10,000"
    return Figures(
        api_send=sending("api", "`api`, a command"),
        write_command=sending("write", "`write`, a command"),
        project_event=sending("project", "`project`, an event"),
        kafka_message=sending("Kafka", "all brokers, an event"),
        hbase_message=sending("HBase", "HBase with its gateways, an event that is applied"),
        hbase_calls_a_second=Figure(pages * calls.value, "", "calls a second of a core of HBase's", _CLUSTER),
        event_unwanted=grown(event, feeds[0], unwanted, "µs", "`api`, a message that no stream of the process wants"),
        mark_unwanted=grown(
            event,
            feeds[0],
            "µs a read mark that nobody here wants",
            "µs",
            "`api`, a read mark of a room without streams",
        ),
        mark_of_another=grown(
            event, feeds[0], "µs a read mark of another", "µs", "`api`, a read mark in a room with streams of others"
        ),
        delivery_first=Figure(first, "µs", "`api`, the first delivery of a message in a process", _GROWTH),
        delivery_more=grows(event, feeds, heard, 15, "µs", "`api`, each further delivery, without the network"),
        delivery_bytes=grown(event, feeds[0], "bytes a delivery", "bytes", "a delivery"),
        calls_a_send=grown("A send", "10,000 accounts", "HBase calls a send", "", "calls of HBase, a send"),
        calls_a_mark=grown("Read marks", "1 marks at once", "HBase calls a mark", "", "calls of HBase, a read mark"),
        calls_a_page=calls._replace(what="calls of HBase, a page of messages"),
        calls_a_hello=Figure(
            # Clients that come back come to any process.
            _between(growth, "A stream that begins", "HBase calls in a new process", rooms),
            "",
            f"calls of HBase, a stream that begins in a new process, with {rooms:,} rooms",
            _GROWTH,
        ),
        opening_event=Figure(
            opening_ms.value * 1_000, "µs", "`api`, a stream that begins, an event that the tables are behind", _GROWTH
        ),
        presence_cpu=Figure(
            presence_ms.value * 1_000 / 60, "µs", "`api`, an account online anywhere, each second", _GROWTH
        ),
        presence_memory=Figure(presence_mib.value * 2**20, "bytes", "`api`, an account online anywhere", _GROWTH),
        key_memory=grown("Remembered keys", "1,000,000 keys", "bytes a key", "bytes", "`write`, a remembered key"),
        stream_memory=Figure(embedded.number(_MEMORY, sse, "KiB each") * 1_024, "bytes", "`api`, a stream", _EMBEDDED),
        log_bytes=grown(
            "The log's bytes", "16 messages a batch", "bytes a message", "bytes", "an event in the log, a copy"
        ),
    )


def _between(page: BenchmarkPage, table: str, column: str, size: float) -> float:
    """The figure at this size, on the line between the measured sizes around it. Raises NoFigure."""
    found = {float(row.split()[0].replace(",", "")): page.number(table, row, column) for row in page.rows(table)}
    sizes = sorted(found)
    size = min(max(size, sizes[0]), sizes[-1])
    before = max(each for each in sizes if each <= size)
    behind = min(each for each in sizes if each >= size)
    share = (size - before) / (behind - before) if behind > before else 0.0
    return found[before] + share * (found[behind] - found[before])
