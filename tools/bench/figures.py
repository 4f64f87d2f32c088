"""What is measured, as values that can be kept in a file and read again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """The median of several runs, with the least and the most."""

    middle: float
    least: float
    most: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        return Spread(median(values), min(values), max(values))


class Sample(msgspec.Struct, frozen=True):
    """One run of one workload against one server."""

    rate: float  # answers a second
    p50: float  # ms
    p99: float  # ms
    cpu: float  # µs of all the server's processes, per answer
    per_flush: float | None  # answers per flush of the disk's cache; None where nothing was flushed
    refused: int  # answers that were no success
    broken: int  # connections and time-outs that failed
    generator: float  # share of its core that the load generator used
    others: float  # share of the server's core that went to anything but the server
    speed: float  # of the server's core just before, million steps of a fixed loop a second


class Throughput(msgspec.Struct, frozen=True):
    """Samples by server and workload, in the order of the rounds."""

    seconds: int
    rooms: int
    accounts: int
    text_bytes: int
    samples: dict[str, dict[str, list[Sample]]]
    page_bytes: dict[str, int]
    idle: dict[str, float]  # share of the server's core that each server takes while nobody asks it anything

    @property
    def workloads(self) -> list[str]:
        """Those that some server has samples of, in the order of their measurement."""
        return list(dict.fromkeys(name for each in self.samples.values() for name, samples in each.items() if samples))

    def with_earlier(self, earlier: Throughput) -> Throughput:
        """This, and of the earlier one the workloads that this has not measured anew."""
        new = set(self.workloads)
        samples = {
            server: {
                **{name: kept for name, kept in earlier.samples.get(server, {}).items() if name not in new},
                **self.samples.get(server, {}),
            }
            for server in {**earlier.samples, **self.samples}
        }
        return msgspec.structs.replace(self, samples=samples)


class ReadableRun(msgspec.Struct, frozen=True):
    """One run of probes beside a load of about half of what the server can do. Times in ms."""

    full_rate: float
    half_rate: float
    accepted_p50: float
    accepted_p99: float
    polled: int
    polled_p50: float
    polled_p99: float
    positioned: int
    positioned_p50: float
    positioned_p99: float
    unseen: int  # reads with the position of a write that did not show that write


class Import(msgspec.Struct, frozen=True):
    messages: int
    rooms: int
    rates: list[float]  # messages a second of `falcon import`


class Rebuild(msgspec.Struct, frozen=True):
    messages: int
    rates: list[float]  # messages a second of `falcon rebuild timeline`


class RecoveryRun(msgspec.Struct, frozen=True):
    """Seconds from the start of the process, after a kill -9 under load."""

    announced: float  # it printed its address
    accepted: float  # it accepted a first command
    everywhere: float  # it had accepted one in each partition that has rooms


class Recovery(msgspec.Struct, frozen=True):
    rooms: int
    runs: dict[int, list[RecoveryRun]]  # by messages in the journal


class ProcessMemory(msgspec.Struct, frozen=True):
    title: str
    rss: float  # MiB
    pss: float  # MiB


class MemoryUse(msgspec.Struct, frozen=True):
    """Of every process of the tree: after a start on that many rooms, and with some of them in use."""

    rooms: int
    used: int
    at_rest: dict[str, list[ProcessMemory]]
    in_use: dict[str, list[ProcessMemory]]
    fill_seconds: float
    empty: dict[str, list[ProcessMemory]] = {}  # after a start on no rooms at all


class Start(msgspec.Struct, frozen=True):
    """Seconds from the start of the process to the first accepted message, by server."""

    fresh: dict[str, list[float]]  # on no data: the journal is made, a room is made
    again: dict[str, list[float]]  # on the data of before


class FanOut(msgspec.Struct, frozen=True):
    """One run of deliveries to many who listen to one room. Times in ms, from the request to the arrival."""

    subscribers: int
    sent: int
    lost: int
    cpu: float  # µs of all the server's processes, per delivery; taking the messages in is part of it
    lone_cpu: float  # µs of a message that only one listens to, as many of them a second
    p50: float
    p99: float
    most: float

    @property
    def further_cpu(self) -> float:
        """µs, of a delivery to one who listens beside the first: without what the message itself costs."""
        return (self.cpu * self.subscribers - self.lone_cpu) / (self.subscribers - 1)


class IdleSubscribers(msgspec.Struct, frozen=True):
    """What connections that listen, and hear nothing, take of a server."""

    subscribers: int
    before: float  # MiB of PSS, of all the server's processes, without them
    during: float  # and with them
    share: float  # of the server's core, while nothing happens

    @property
    def kib_each(self) -> float:
        return (self.during - self.before) * 1024 / self.subscribers


class Returned(msgspec.Struct, frozen=True):
    """Clients that listened to a process that was killed: seconds from then until they were live again.

    ``refused``: how often one of them was answered otherwise than by a stream.
    """

    clients: int
    first: float
    p50: float
    p99: float
    last: float
    refused: int = 0


class Walks(msgspec.Struct, frozen=True):
    """Everything read, page after page, one request at a time; a sample's rate is in pages."""

    messages: int  # of the room that is read back to its first
    rooms: int  # in the list
    page: int  # at most so many of them an answer
    samples: dict[str, dict[str, list[Sample]]]  # by server and walk

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(name for each in self.samples.values() for name in each))

    def pages(self, name: str) -> int:
        """Requests that it takes to read all of it."""
        return -(-(self.rooms if name.startswith("list") else self.messages) // self.page)


# What is measured while messages or rooms grow: sends to the rooms in use, pages of these, sends to all others in turn.
SEND: Final = "send"
PAGE: Final = "page"
SPREAD: Final = "send, all rooms in turn"


class Grown(msgspec.Struct, frozen=True):
    """One size, and what work costs there; runs of the same place in the lists were made in the same round."""

    messages: int  # in the rooms that are asked for, before those that are sent to measure it
    rooms: int  # with those that nobody asks for
    samples: dict[str, list[Sample]]  # by workload


class Growth(msgspec.Struct, frozen=True):
    used_rooms: int
    points: list[Grown]  # the smallest first

    @property
    def by_messages(self) -> list[Grown]:
        return [point for point in self.points if point.rooms == self.points[0].rooms]

    @property
    def by_rooms(self) -> list[Grown]:
        return [point for point in self.points if point.messages == self.points[0].messages]


class Results(msgspec.Struct):
    """Everything that is known so far; a section that was not run is None."""

    machine: dict[str, str] = {}
    dates: dict[str, str] = {}
    throughput: Throughput | None = None
    readable: dict[str, list[ReadableRun]] | None = None
    imported: Import | None = None
    rebuild: Rebuild | None = None
    recovery: Recovery | None = None
    memory: MemoryUse | None = None
    start: Start | None = None
    streams: dict[str, list[FanOut]] | None = None
    unwanted: list[float] | None = None  # µs of CPU for an event that nobody here wants
    idle: dict[str, IdleSubscribers] | None = None
    returned: list[Returned] | None = None
    walks: Walks | None = None
    growth: Growth | None = None
    measuring: dict[str, list[list[float]]] | None = None  # of what it does with telemetry off, pair by pair


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, so that a machine that gets slower does so for both."""
    return [a / b for a, b in zip(ours, theirs, strict=False) if b > 0]


def total_pss(memory: Iterable[ProcessMemory]) -> float:
    """MiB."""
    return sum(each.pss for each in memory)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share (0 to 1) of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
