"""`falcon top`: the figures of the operator's page, in a terminal.

It reads /metrics and /readyz of operations ports, as falcon/web/ops does, and compares two readings.
"""

import asyncio
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import msgspec
import typer

from falcon.cli.calling import DEFAULT_DATA_DIR, DataDirOption, Outside, find_running, outside_of
from falcon.cli.display import visible
from falcon.cli.faults import Fault

if TYPE_CHECKING:
    import httpx

_CLUSTER: Final = Path("build/cluster.json")
_TIMEOUT_SECONDS: Final = 2.0  # a port that answers later is shown as not reachable
_NOTE_MAX: Final = 200  # characters

Labels: TypeAlias = tuple[tuple[str, str], ...]
Samples: TypeAlias = Mapping[str, Mapping[Labels, float]]
Where: TypeAlias = tuple[str, str]  # a label, and a pattern for all of its value
Found: TypeAlias = tuple[float, str] | None  # a value, and the labels and the address that it has if it is of one only


class Port(msgspec.Struct, frozen=True):
    """An address. ``note``: why the state is not "up"."""

    address: str
    state: str
    note: str = ""


class Figure(msgspec.Struct, frozen=True):
    """``value`` in ``unit``: "s", "/s", "bytes", "%" or "". ``severity``: at least 1 if the value is a problem."""

    part: str
    what: str
    value: float
    unit: str
    severity: float
    where: str = ""


class Reading(msgspec.Struct, frozen=True):
    """All that is shown at once. ``problems``: in words, the worst first."""

    at: datetime
    problems: list[str]
    addresses: list[Port]
    figures: list[Figure]


class ScrapeChanges:
    """The changes of all ports: by address, the seconds, the samples before, and those after."""

    def __init__(self, changes: Mapping[str, tuple[float, Samples, Samples]]) -> None:
        self._changes = changes
        self._several = len(changes) > 1

    def _series(self, name: str, where: Where | None = None) -> Iterator[tuple[str, Labels, float, float]]:
        """Address, labels, value and growth per second. A counter that has fallen restarted at 0."""
        for address, (seconds, before, after) in self._changes.items():
            for labels, value in after.get(name, {}).items():
                grown = value - before.get(name, {}).get(labels, 0.0)
                if where is None or re.fullmatch(where[1], dict(labels).get(where[0], "")):
                    yield address, labels, value, (grown if grown >= 0 else value) / seconds

    def _worst(self, values: Iterable[tuple[str, Labels, float]]) -> Found:
        address, labels, value = max(values, key=lambda each: each[2], default=("", (), -1.0))
        whose = ", ".join(text for _, text in labels) + (f" at {address}" if self._several else "")
        return None if value < 0 else (value, whose.strip())

    def sum(self, name: str, where: Where | None = None) -> Found:
        values = [value for _, _, value, _ in self._series(name, where)]
        return (sum(values), "") if values else None

    def rate(self, name: str, where: Where | None = None) -> Found:
        return sum(growth for *_, growth in self._series(name, where)), ""

    def largest(self, name: str, where: Where | None = None) -> Found:
        return self._worst((address, labels, value) for address, labels, value, _ in self._series(name, where))

    def fastest(self, name: str, where: Where | None = None) -> Found:
        return self._worst((address, labels, growth) for address, labels, _, growth in self._series(name, where))

    def mean(self, name: str, where: Where | None = None) -> Found:
        """None if nothing ended."""
        total, count = (sum(row[3] for row in self._series(f"{name}_{what}", where)) for what in ("sum", "count"))
        return (total / count, "") if count else None

    def not_owned(self, name: str, where: Where | None = None) -> Found:
        """A single port must own the partitions that were assigned to it; several must own all between them."""
        owned = self.sum(name, where)
        wanted = self.largest("falcon_partitions") if self._several else self.sum("falcon_partitions_assigned")
        return None if owned is None or wanted is None else (max(0.0, wanted[0] - owned[0]), "")


# These last as long as there is something to send.
_ENDING: Final = ("route", "(?!/v1/(import|export|stream)$).*")
# The process of the operations port has the lowest priority and serves no chat.
_SERVING: Final = ("process", "(?!ops-).*")
_ANY: Final = 1e-9  # the limit of figures that must be 0
# Part, name, unit, the value at which it is a problem (None: never), and how it is measured.
_FIGURES: Final[tuple[tuple[str, str, str, float | None, Callable[..., Found], str, Where | None], ...]] = (
    ("HTTP", "requests", "/s", None, ScrapeChanges.rate, "falcon_http_requests_total", None),
    ("HTTP", "in flight", "", None, ScrapeChanges.sum, "falcon_http_requests_in_flight", None),
    ("HTTP", "mean time", "s", 1, ScrapeChanges.mean, "falcon_http_request_seconds", _ENDING),
    ("HTTP", "answered 5xx", "/s", _ANY, ScrapeChanges.rate, "falcon_http_requests_total", ("status", "5xx")),
    ("HTTP", "commands accepted", "/s", None, ScrapeChanges.rate, "falcon_commands_total", ("outcome", "accepted")),
    ("Messages", "durable", "s", 1, ScrapeChanges.mean, "falcon_message_seconds", ("stage", "durable")),
    ("Messages", "readable", "s", 1, ScrapeChanges.mean, "falcon_message_seconds", ("stage", "readable")),
    ("Messages", "pushed", "s", 1, ScrapeChanges.mean, "falcon_message_seconds", ("stage", "pushed")),
    ("Mailboxes", "waiting", "", None, ScrapeChanges.sum, "falcon_mailbox_size", None),
    ("Mailboxes", "oldest", "s", 1, ScrapeChanges.largest, "falcon_mailbox_oldest_seconds", None),
    ("Mailboxes", "refused", "/s", _ANY, ScrapeChanges.fastest, "falcon_mailbox_rejections_total", None),
    ("Shards", "partitions", "", None, ScrapeChanges.sum, "falcon_partitions_owned", None),
    ("Shards", "partitions not owned", "", _ANY, ScrapeChanges.not_owned, "falcon_partitions_owned", None),
    ("Shards", "errors", "/s", _ANY, ScrapeChanges.fastest, "falcon_actor_errors_total", None),
    ("Journal", "append", "s", 1, ScrapeChanges.mean, "falcon_journal_commit_seconds", None),
    ("Journal", "oldest append", "s", 1, ScrapeChanges.largest, "falcon_journal_oldest_append_seconds", None),
    ("Journal", "failed", "/s", _ANY, ScrapeChanges.fastest, "falcon_journal_append_failures_total", None),
    ("Projections", "applied", "/s", None, ScrapeChanges.rate, "falcon_projected_events_total", None),
    ("Projections", "behind", "", None, ScrapeChanges.sum, "falcon_projection_lag_events", None),
    ("Projections", "oldest of them", "s", 5, ScrapeChanges.largest, "falcon_projection_lag_seconds", None),
    ("Projections", "stopped", "", _ANY, ScrapeChanges.largest, "falcon_projection_stopped", None),
    ("Read tables", "mean time", "s", 1, ScrapeChanges.mean, "falcon_read_seconds", None),
    ("Read tables", "failed", "/s", _ANY, ScrapeChanges.fastest, "falcon_read_failures_total", None),
    ("Streams", "open", "", None, ScrapeChanges.sum, "falcon_streams", None),
    ("Streams", "log not read for", "s", 1, ScrapeChanges.largest, "falcon_streams_stalled_seconds", None),
    ("Threads", "oldest task", "s", 0.5, ScrapeChanges.largest, "falcon_dispatcher_oldest_seconds", None),
    ("Processes", "busiest", "%", 0.9, ScrapeChanges.fastest, "falcon_process_cpu_seconds_total", None),
    ("Processes", "memory", "bytes", None, ScrapeChanges.sum, "falcon_process_pss_bytes", None),
    ("Processes", "loop held up", "s", 0.25, ScrapeChanges.largest, "falcon_event_loop_delay_max_seconds", _SERVING),
    ("Processes", "restarts", "/s", _ANY, ScrapeChanges.fastest, "falcon_process_restarts_total", None),
    ("Log", "error lines", "/s", _ANY, ScrapeChanges.rate, "falcon_log_lines_total", ("level", "error|critical")),
)


def top(
    ctx: typer.Context,
    addresses: Annotated[list[str] | None, typer.Argument(metavar="OPS_URL", help="Operations ports.")] = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.2, help="Between two readings.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one reading after one interval, and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one reading as JSON, for programs.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show live load and problems, until Ctrl-C.

    Rates and times are of the last interval, the time that an event loop was held up is of the last minute. Problems come first, the worst on top. Without addresses it shows the `falcon up` on the data directory, else the processes of `make cluster`.

    \b
    Examples:
      falcon top
      falcon top http://10.0.0.7:8081 http://10.0.0.8:8081 --interval 5
      falcon top --json | jq .problems
    """  # noqa: E501
    from falcon_chat.addresses import Addresses

    try:
        urls = Addresses(list(dict.fromkeys(url.rstrip("/") for url in addresses or _default_addresses(data_dir)))).urls
    except ValueError as fault:
        raise Fault(str(fault)) from fault
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(urls, interval, once or as_json, as_json, outside_of(ctx)))


def _default_addresses(data_dir: Path) -> list[str]:
    """Raises Fault if no running Falcon is known."""
    running = find_running(data_dir)
    if running is not None and running.alive:
        return [running.ops_url]
    with suppress(OSError, ValueError, KeyError):
        found: list[str] = msgspec.json.decode(_CLUSTER.read_bytes())["ops_urls"]
        return found
    raise Fault(f"no Falcon runs on {data_dir}/: start one with `falcon up`, or name addresses of operations ports")


async def _watch(urls: Sequence[str], interval: float, once: bool, as_json: bool, outside: Outside) -> None:
    """Figures after a missed scrape cover a longer time. Raises Fault if no port can be read at the start."""
    import httpx

    from falcon_chat import Clock

    clock = outside.clock or Clock()
    last: dict[str, tuple[float, Samples]] = {}
    async with httpx.AsyncClient(transport=outside.transport, timeout=_TIMEOUT_SECONDS, trust_env=False) as http:
        while True:
            answers = await asyncio.gather(*(_ask(http, url) for url in urls))
            ports, now = [port for port, _ in answers], clock.now()
            found = {port.address: samples for port, samples in answers if samples}
            if last:
                changes = {url: (now - at, last[url][1], found[url]) for url, (at, _) in last.items() if url in found}
                reading = _reading(ports, ScrapeChanges(changes))
                typer.echo(msgspec.json.encode(reading)) if as_json else _show(reading, once)
                if once:
                    return
            elif not found:
                raise Fault("; ".join(f"{port.address} is {port.state} ({port.note})" for port in ports))
            last |= {url: (now, samples) for url, samples in found.items()}
            await clock.sleep(interval)


async def _ask(http: "httpx.AsyncClient", url: str) -> tuple[Port, Samples]:
    """Does not raise for any fault of the server."""
    import httpx
    from prometheus_client.parser import text_string_to_metric_families

    try:
        answer = await http.get(f"{url}/metrics", headers={"accept": "text/plain"})
        ready = await http.get(f"{url}/readyz")
    except httpx.HTTPError as fault:
        return Port(url, "not reachable", str(fault) or type(fault).__name__), {}
    samples: dict[str, dict[Labels, float]] = {}
    with suppress(ValueError):  # text that is none of metrics
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    if "falcon_build_info" not in samples:
        what = f"/metrics answers {answer.status_code} without metrics of Falcon; see FALCON_OPS_PORT"
        return Port(url, "no operations port", what), {}
    return Port(url, "up") if ready.is_success else Port(url, "not ready", ready.text[:_NOTE_MAX]), samples


def _reading(ports: list[Port], measured: ScrapeChanges) -> Reading:
    figures = []
    for part, what, unit, limit, measure, name, where in _FIGURES:
        value, whose = measure(measured, name, where) or (math.nan, "")
        if not math.isnan(value):
            figures.append(Figure(part, what, value, unit, value / limit if limit else 0.0, whose))
    worst = sorted((figure for figure in figures if figure.severity >= 1), key=lambda figure: -figure.severity)
    problems = [f"{port.address} is {port.state} ({port.note})" for port in ports if port.state != "up"]
    problems += [f"{each.part}: {each.what} {_text(each)} {each.where and f'({each.where})'}".strip() for each in worst]
    return Reading(datetime.now().astimezone(), problems, ports, figures)


def _text(figure: Figure) -> str:
    value = figure.value
    if figure.unit == "s":
        return f"{value:,.1f} s" if value >= 1 else f"{value * 1e3:.3g} ms"
    if figure.unit == "bytes":
        return f"{value / 2**20:,.0f} MiB"
    if figure.unit == "%":
        return f"{value:.0%}"
    return (f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}") + figure.unit


def _show(reading: Reading, once: bool) -> None:
    """Each reading replaces the last on a terminal; elsewhere they follow one another."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not once:
        console.clear()
    up = sum(port.state == "up" for port in reading.addresses)
    console.print(f"falcon top  {reading.at:%H:%M:%S}  {up} of {len(reading.addresses)} addresses up", style="bold")
    for problem in reading.problems or ["No problems."]:
        console.print(Text(visible(problem), "red" if reading.problems else "green"))
    for part in dict.fromkeys(figure.part for figure in reading.figures):
        shown = [figure for figure in reading.figures if figure.part == part]
        texts = [
            Text.assemble(f"{each.what} ", (_text(each), "red" if each.severity >= 1 else "bold")) for each in shown
        ]
        console.print(Text(f"{part:<12}") + Text(", ").join(texts))
