"""The load of a site on each role, and the processes and servers that it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from tools.capacity.figures import Figures

_CORE: Final = 1e6  # µs a second
_API_MOST: Final = 20_000  # processes, beyond which no number helps
_SNAPSHOT_SHARE: Final = 1.3  # what checkpoints add to the log's bytes
_TABLES_BYTES: Final = 300  # of a message and its cells in HBase, compressed, a copy
_COPIES: Final = 3
_BROKERS_LEAST: Final = 3
_ROUTERS: Final = 2  # that would read each partition
_SECONDS_A_DAY: Final = 86_400
_KEPT_SECONDS: Final = 600  # of keys


class Assumptions(NamedTuple):
    """Figures that depend on people and machines, and were not measured. Each is an argument of the program."""

    recipients: float = 20.0
    marks: float = 1.0
    rooms: int = 20
    session_minutes: float = 10.0
    pages_a_minute: float = 1.0
    load: float = 0.7
    partitions: int = 64
    call_us: float = 150.0
    page_us: float = 200.0
    lag_seconds: float = 0.4
    peak: float = 3.0
    days: float = 365.0
    server_cores: int = 8
    server_terabytes: float = 8.0
    server_gigabits: float = 10.0
    streams_most: int = 10_000
    keys_megabytes: float = 512.0


ASSUMED: Final[Mapping[str, str]] = {
    "recipients": "accounts online that a message reaches",
    "marks": "read marks for each message",
    "rooms": "rooms of an account",
    "session_minutes": "length of a stream, in minutes",
    "pages_a_minute": "pages that an account online reads each minute",
    "load": "share of a core that is planned with",
    "partitions": "partitions of the log",
    "call_us": "CPU of a call of HBase in the calling process, in µs",
    "page_us": "CPU of a page in `api` beside its calls, in µs",
    "lag_seconds": "time that tables are behind the log, in seconds",
    "peak": "the peak, as a multiple of the mean",
    "days": "days that the log and the tables keep",
    "server_cores": "cores of a broker or region server",
    "server_terabytes": "disk of a broker or region server, in TB",
    "server_gigabits": "network of a broker, in Gbit/s",
    "streams_most": "streams of an `api` process (FALCON_STREAMS_MAX)",
    "keys_megabytes": "memory for keys of a `write` process, in MiB (FALCON_ANSWERS_BYTES)",
}


class Load(NamedTuple):
    """At the peak."""

    messages: int
    online: int


class Api(NamedTuple):
    """``processes``: None if no number suffices. ``shares``: of the CPU of all of them, by cause. ``memory``: bytes of
    one for its streams and presence."""

    processes: int | None
    shares: Mapping[str, float]
    memory: float


class Need(NamedTuple):
    """``routed``: ``api`` if routers gave each process only the events that its streams want. ``write_bound``,
    ``broker_bound``, ``region_bound``: what decides the number."""

    api: Api
    routed: Api
    write: int
    write_bound: str
    project: int
    brokers: int
    broker_bound: str
    region_servers: int
    region_bound: str


def needed(load: Load, figures: Figures, assumed: Assumptions) -> Need:
    api, routed = (_api(load, figures, assumed, are_routed=each) for each in (False, True))
    events = load.messages * (1 + assumed.marks)
    write, write_bound = _most(
        {
            "CPU": events * figures.write_command.value / _CORE / assumed.load,
            "keys": load.messages * _KEPT_SECONDS * figures.key_memory.value / (assumed.keys_megabytes * 2**20),
        }
    )
    if write > assumed.partitions:
        write_bound = "more than there are partitions"
    project, _ = _most({"CPU": events * figures.project_event.value / _CORE / assumed.load})
    stored = events / assumed.peak * assumed.days * _SECONDS_A_DAY
    disk = assumed.server_terabytes * 1e12 * assumed.load
    readers = (api.processes or _ROUTERS) + 1  # of each event; projectors share theirs
    read = readers * events * figures.log_bytes.value * 8
    brokers, broker_bound = _most(
        {
            "CPU": events * figures.kafka_message.value / _CORE / assumed.load / assumed.server_cores,
            "network": read / (assumed.server_gigabits * 1e9 * assumed.load),
            "disk": stored * figures.log_bytes.value * _SNAPSHOT_SHARE * _COPIES / disk,
        },
        _BROKERS_LEAST,
    )
    calls = _calls(load, figures, assumed)
    cores = events * figures.hbase_message.value / _CORE + calls / figures.hbase_calls_a_second.value
    region_servers, region_bound = _most(
        {
            "CPU": cores / assumed.load / assumed.server_cores,
            "disk": load.messages / events * stored * _TABLES_BYTES * _COPIES / disk,
        },
        _BROKERS_LEAST,
    )
    return Need(api, routed, write, write_bound, project, brokers, broker_bound, region_servers, region_bound)


def _most(needs: Mapping[str, float], least: int = 2) -> tuple[int, str]:
    """The largest number, and the cause that needs it. Two at least, so that one may fail."""
    bound = max(needs, key=lambda name: needs[name])
    return max(least, math.ceil(needs[bound])), bound if needs[bound] > least else "the least"


def _calls(load: Load, figures: Figures, assumed: Assumptions) -> float:
    """Calls of HBase a second, of all `api` processes."""
    return (
        load.messages * figures.calls_a_send.value
        + load.messages * assumed.marks * figures.calls_a_mark.value
        + load.online * assumed.pages_a_minute / 60 * figures.calls_a_page.value
        + load.online / (assumed.session_minutes * 60) * figures.calls_a_hello.value
    )


def _api(load: Load, figures: Figures, assumed: Assumptions, *, are_routed: bool) -> Api:
    """Looks for the least number of processes whose CPU is enough."""
    number = max(2, math.ceil(load.online / assumed.streams_most))
    while number < _API_MOST:
        cores = _api_cores(load, number, figures, assumed)
        if are_routed:
            cores.pop("events of others")
        if sum(cores.values()) <= number * assumed.load:
            return Api(number, _shares(cores), _api_memory(load, number, figures))
        number = number + max(1, number // 50)
    return Api(None, _shares(_api_cores(load, _API_MOST, figures, assumed)), _api_memory(load, _API_MOST, figures))


def _shares(cores: Mapping[str, float]) -> dict[str, float]:
    return {name: each / sum(cores.values()) for name, each in cores.items()}


def _api_memory(load: Load, number: int, figures: Figures) -> float:
    return load.online / number * figures.stream_memory.value + load.online * figures.presence_memory.value


def _api_cores(load: Load, number: int, figures: Figures, assumed: Assumptions) -> dict[str, float]:
    """Cores that all of so many processes are busy with, by cause."""
    messages, marks = load.messages, load.messages * assumed.marks
    recipients = min(assumed.recipients, load.online)
    reached = number * (1 - (1 - 1 / number) ** recipients)  # processes with a recipient of a message
    openings = load.online / (assumed.session_minutes * 60)
    behind = (messages + marks) * assumed.lag_seconds
    micros = {
        "commands": (messages + marks) * figures.api_send.value
        + (messages * figures.calls_a_send.value + marks * figures.calls_a_mark.value) * assumed.call_us,
        "pages": load.online
        * assumed.pages_a_minute
        / 60
        * (assumed.page_us + figures.calls_a_page.value * assumed.call_us),
        "openings": openings * (figures.calls_a_hello.value * assumed.call_us + behind * figures.opening_event.value),
        "deliveries": messages * (reached * figures.delivery_first.value + recipients * figures.delivery_more.value)
        + marks * reached * max(0.0, figures.mark_of_another.value - figures.mark_unwanted.value),
        "events of others": number * (messages * figures.event_unwanted.value + marks * figures.mark_unwanted.value),
        "presence": number * load.online * figures.presence_cpu.value,
    }
    return {name: each / _CORE for name, each in micros.items()}
