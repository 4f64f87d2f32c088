"""Renders a view on a terminal of any size."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from falcon.cli.display import counted, visible
from falcon.cli.top import problems
from falcon.cli.top.figures import count, rate, seconds, share, size
from falcon.cli.top.rows import LatencyRow, View
from falcon.cli.top.scraping import PortState
from falcon.cli.top.view import chosen

_PROBLEMS_MIN: Final = 3
_LATENCIES_MAX: Final = 12  # if the height sets no limit
_NAME_WIDTH_MIN: Final = 14
_HEADING: Final = "bold cyan"
_BAD: Final = "bold red"
_LATENCY_TITLES: Final = ("/s", "p50", "p99", "max 1 min")


class _Cell(NamedTuple):
    text: str
    bad: bool = False


_Row = list[_Cell]


class _Section(NamedTuple):
    """A table. The first title is the title of the section."""

    titles: Sequence[str]
    rows: list[_Row]


class Screenful:
    """The whole view; or, if it must fit a terminal, as many rows of each table as fit."""

    def __init__(self, view: View, *, fit: bool = False) -> None:
        self._view = view
        self._fit = fit

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = console.size.height if self._fit else None
        lines = [_title(self._view), *_problems(self._view, height), *_throughput(self._view)]
        yield from lines
        sections = _sections(self._view, _LATENCIES_MAX if height is None else max(1, height // 4))
        wanted = [len(section.rows) for section in sections]
        given = wanted if height is None else allotted(wanted, height - len(lines))
        for section, rows in zip(sections, given, strict=True):
            if rows:
                yield _table(section, rows, options.max_width)


def allotted(wanted: Sequence[int], room: int) -> list[int]:
    """How many rows each table gets: they take turns. The first row of a table also costs a heading."""
    given = [0] * len(wanted)
    taken = True
    while taken:
        taken = False
        for i, rows in enumerate(wanted):
            cost = 1 if given[i] else 2
            if given[i] < rows and cost <= room:
                given[i] += 1
                room -= cost
                taken = True
    return given


# --- lines ------------------------------------------------------------------------------------------------------------


def _title(view: View) -> Text:
    states = [row.state for row in view.addresses]
    up = f"{states.count(PortState.UP)} of {counted(len(states), 'address', 'addresses')} up"
    only = view.addresses[0]
    where = f"{only.address} {only.state.value}" if len(states) == 1 else up
    running = "" if only.uptime_seconds is None or len(states) > 1 else f" for {seconds(only.uptime_seconds)}"
    line = f"falcon top  {view.at:%H:%M:%S}  over {seconds(view.seconds)}  {where}{running}"
    return _line(line, "bold")


def _problems(view: View, height: int | None) -> list[Text]:
    if not view.problems:
        return [_line("No problems.", "green")]
    shown = view.problems if height is None else view.problems[: max(_PROBLEMS_MIN, height // 5)]
    more = len(view.problems) - len(shown)
    heading = "Problems" + (f" (the worst {len(shown)} of {len(view.problems)})" if more else "")
    return [
        _line(heading, _BAD),
        *(_line(f"  {problem.what}", "red" if problem.severity >= 10 else "") for problem in shown),
    ]


def _throughput(view: View) -> list[Text]:
    if not view.seconds:
        return [_line("No figures of this interval.")]
    through = view.throughput
    parts = view.partitions
    owned = "" if parts.owned is None else f"; partitions owned: {count(parts.owned)} of {count(parts.all)}"
    return [
        _line(f"Requests {_by_kind(through.requests)}; {count(through.requests_in_flight)} in flight"),
        _line(f"Commands {_by_kind(through.commands)}"),
        _line(
            f"Events   {rate(through.events_durable)}/s durable, {rate(through.events_projected)}/s projected{owned}"
        ),
    ]


def _by_kind(rates: dict[str, float]) -> str:
    parts = ", ".join(f"{kind} {rate(value)}" for kind, value in rates.items() if value)
    return f"{rate(sum(rates.values()))}/s" + (f": {parts}" if parts else "")


def _line(text: str, style: str = "") -> Text:
    """Exactly one line: a longer text ends with an ellipsis."""
    return Text(visible(text), style=style, no_wrap=True, overflow="ellipsis")


# --- tables -----------------------------------------------------------------------------------------------------------


def _sections(view: View, latencies_max: int) -> list[_Section]:
    """If there are several addresses, each is a row, and other names have their address before them."""
    several = len(view.addresses) > 1
    return [
        *([_addresses(view)] if several else []),
        _latencies("Life of an event", view.life),
        _latencies("Requests", chosen(view.requests, latencies_max)),
        _latencies("Commands", chosen(view.commands, latencies_max)),
        _mailboxes(view, several),
        _dispatchers(view, several),
        _projections(view),
        _processes(view, several),
    ]


def _latencies(title: str, rows: Iterable[LatencyRow]) -> _Section:
    limit = problems.LATENCY_SECONDS
    return _Section(
        (title, *_LATENCY_TITLES),
        [
            [
                _Cell(row.name),
                _Cell(rate(row.per_second)),
                _Cell(seconds(row.p50_seconds), (row.p50_seconds or 0) >= limit),
                _Cell(seconds(row.p99_seconds), (row.p99_seconds or 0) >= limit),
                _Cell(seconds(row.max_seconds)),
            ]
            for row in rows
        ],
    )


def _addresses(view: View) -> _Section:
    return _Section(
        ("Addresses", "state", "runs", "version", "for", "partitions"),
        [
            [
                _Cell(row.address),
                _Cell(row.state.value, row.state is not PortState.UP),
                _Cell(" ".join(row.roles)),
                _Cell(row.version),
                _Cell(seconds(row.uptime_seconds)),
                _Cell("–" if row.partitions_owned is None else count(row.partitions_owned)),
            ]
            for row in view.addresses
        ],
    )


def _mailboxes(view: View, several: bool) -> _Section:
    return _Section(
        ("Mailboxes", "size", "bound", "oldest", "oldest append"),
        [
            [
                _Cell(_named(row.shard, row.address, several)),
                _Cell(count(row.size), bool(row.bound) and row.size / row.bound >= problems.FILLED),
                _Cell(count(row.bound) if row.bound else "–"),
                _Cell(seconds(row.oldest_seconds), row.oldest_seconds >= problems.OLDEST_SECONDS),
                _Cell(seconds(row.oldest_append_seconds), row.oldest_append_seconds >= problems.OLDEST_SECONDS),
            ]
            for row in view.mailboxes
        ],
    )


def _dispatchers(view: View, several: bool) -> _Section:
    return _Section(
        ("Dispatchers", "active", "all active", "queue", "oldest", "p99 wait", "tasks/s"),
        [
            [
                _Cell(_named(row.dispatcher, row.address, several)),
                _Cell(f"{count(row.active)}/{count(row.threads_max)}"),
                _Cell(share(row.all_active), row.all_active >= problems.ALL_ACTIVE),
                _Cell(f"{count(row.queue)}/{count(row.queue_bound)}"),
                _Cell(seconds(row.oldest_seconds), row.oldest_seconds >= problems.DISPATCHER_OLDEST_SECONDS),
                _Cell(seconds(row.wait_p99_seconds)),
                _Cell(rate(row.per_second)),
            ]
            for row in view.dispatchers
        ],
    )


def _projections(view: View) -> _Section:
    return _Section(
        ("Projections", "state", "events/s", "lag, events", "lag, time"),
        [
            [
                _Cell(row.projection),
                _Cell("stopped" if row.stopped_at else "runs", bool(row.stopped_at)),
                _Cell(rate(row.per_second)),
                _Cell(count(row.lag_events)),
                _Cell(seconds(row.lag_seconds), row.lag_seconds >= problems.LAG_SECONDS),
            ]
            for row in view.projections
        ],
    )


def _processes(view: View, several: bool) -> _Section:
    return _Section(
        ("Processes", "CPU", "RSS", "PSS", "threads", "files", "loop max", "GC"),
        [
            [
                _Cell(_named(row.process, row.address, several)),
                _Cell(share(row.cpu), row.cpu >= problems.CPU),
                _Cell(size(row.resident_bytes)),
                _Cell(size(row.pss_bytes)),
                _Cell(count(row.threads)),
                _Cell(count(row.fds), bool(row.fds_max) and row.fds / row.fds_max >= problems.FDS),
                _Cell(seconds(row.loop_delay_max_seconds), row.loop_delay_max_seconds >= problems.LOOP_DELAY_SECONDS),
                _Cell(share(row.gc), row.gc >= problems.GC),
            ]
            for row in view.processes
        ],
    )


def _named(name: str, address: str, several: bool) -> str:
    return f"{name} {address}" if several else name


def _table(section: _Section, rows: int, width: int) -> Table:
    """Each row is one line. The title says how many rows are left out. A narrow terminal drops the last columns."""
    left_out = len(section.rows) - rows
    shown = section.rows[:rows]
    table = Table(box=None, pad_edge=False, expand=True, header_style=_HEADING)
    title = section.titles[0] + (f" (+{left_out})" if left_out else "")
    table.add_column(title, no_wrap=True, overflow="ellipsis", ratio=1)
    columns = _columns_that_fit(section.titles, shown, width)
    for other in section.titles[1:columns]:
        table.add_column(other, justify="right", no_wrap=True, overflow="ellipsis")
    for row in shown:
        table.add_row(*(Text(visible(cell.text), style=_BAD if cell.bad else "") for cell in row[:columns]))
    return table


def _columns_that_fit(titles: Sequence[str], rows: Sequence[_Row], width: int) -> int:
    """As many columns as leave the first one room for a name."""
    left = width - _NAME_WIDTH_MIN
    for i in range(1, len(titles)):
        left -= 2 + max(len(titles[i]), *(len(row[i].text) for row in rows))
        if left < 0:
            return i
    return len(titles)
