"""What Falcon sets out to reach, and whether the figures say that it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import geometric_mean, median

from tools.bench.figures import PAGE, SEND, Grown, Growth, Results, Sample, Spread, ratios

FALCON = "falcon"
FALCON_TCP = "falcon-tcp"
NAMES = {
    "bare": "bare route",
    "crud": "CRUD chat",
    FALCON: "Falcon",
    FALCON_TCP: "Falcon, actors over TCP",
    "centrifugo": "Centrifugo",
}


_MEASURED_SHARE = 0.98
_FLAT = 1.25  # what the largest size may cost of the smallest
_PUSHED_MS = 10.0
_UNWANTED_MICROS = 3.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: what is compared, what is wanted, what was found with the defaults, and with actors over TCP."""

    what: str
    wanted: str
    found: str
    met: bool
    over_tcp: str


def ratio(results: Results, workload: str, server: str, other: str, figure: Callable[[Sample], float]) -> Spread | None:
    """A figure of one server as a multiple of another's, formed round by round; None when either was not measured."""
    if results.throughput is None:
        return None
    samples = results.throughput.samples
    ours = samples.get(server, {}).get(workload, [])
    theirs = samples.get(other, {}).get(workload, [])
    pairs = [(figure(a), figure(b)) for a, b in zip(ours, theirs, strict=False)]
    values = [a / b for a, b in pairs if b > 0]
    return Spread.of(values) if values else None


def rate(sample: Sample) -> float:
    return sample.rate


def cpu(sample: Sample) -> float:
    return sample.cpu


def p50(sample: Sample) -> float:
    return sample.p50


def p99(sample: Sample) -> float:
    return sample.p99


def verdicts(results: Results) -> list[Verdict]:
    return [
        *_against_neighbours(results),
        *_of_measuring(results),
        *_of_streams(results),
        *_of_growth(results.growth),
        *_on_its_own(results),
    ]


@dataclass(frozen=True, slots=True)
class _Comparison:
    what: str
    workload: str
    other: str
    figure: Callable[[Sample], float]
    bound: float
    at_least: bool
    percent: bool = False


def _comparisons() -> list[_Comparison]:
    found: list[_Comparison] = []
    for flight in (64, 256):
        workload = f"send, {flight} in flight"
        found.append(_Comparison(f"sends/s, {flight} in flight, of the CRUD chat's", workload, "crud", rate, 3, True))
        found.append(
            _Comparison(f"sends/s, {flight} in flight, of the bare route's", workload, "bare", rate, 0.25, True, True)
        )
        found.append(
            _Comparison(f"CPU a message, {flight} in flight, of the CRUD chat's", workload, "crud", cpu, 0.35, False)
        )
    found.append(
        _Comparison("p99 of a send, 16 in flight, of the CRUD chat's", "send, 16 in flight", "crud", p99, 1, False)
    )
    found.append(
        _Comparison("p50 of a send, 1 in flight, of the CRUD chat's", "send, 1 in flight", "crud", p50, 1.5, False)
    )
    reads = "latest 50, 64 in flight"
    found.append(_Comparison("pages/s, 64 in flight, of the CRUD chat's", reads, "crud", rate, 6, True))
    found.append(_Comparison("pages/s, 64 in flight, of the bare route's", reads, "bare", rate, 0.40, True, True))
    return found


def _against_neighbours(results: Results) -> list[Verdict]:
    found: list[Verdict] = []
    for item in _comparisons():
        ours = ratio(results, item.workload, FALCON, item.other, item.figure)
        if ours is None:
            continue
        tcp = ratio(results, item.workload, FALCON_TCP, item.other, item.figure)

        def show(value: float, item: _Comparison = item) -> str:
            return f"{value * 100:.0f} %" if item.percent else f"{value:.2f}×"

        found.append(
            Verdict(
                what=item.what,
                wanted=("≥ " if item.at_least else "≤ ") + show(item.bound),
                found=show(ours.middle)
                if ours.least == ours.most
                else f"{show(ours.middle)} ({show(ours.least)}–{show(ours.most)})",
                met=ours.middle >= item.bound if item.at_least else ours.middle <= item.bound,
                over_tcp=show(tcp.middle) if tcp else "–",
            )
        )
    batch = _per_flush(results, FALCON)
    if batch is not None:
        tcp_batch = _per_flush(results, FALCON_TCP)
        found.append(
            Verdict(
                "messages a flush of the disk, 64 in flight",
                "≥ 8",
                f"{batch:.1f}",
                batch >= 8,
                f"{tcp_batch:.1f}" if tcp_batch else "–",
            )
        )
    return found


def _of_measuring(results: Results) -> list[Verdict]:
    """The mean of the rounds, in which each of the two was in each place as often; with the least and the most."""
    found: list[Verdict] = []
    for what, rounds in (results.measuring or {}).items():
        middles = [median(each) for each in rounds]
        value, spread = geometric_mean(middles), Spread.of(middles)
        found.append(
            Verdict(
                f"{what}, 64 in flight, of its own with FALCON_TELEMETRY=off",
                "≥ 98 %",
                f"{value * 100:.1f} % ({spread.least * 100:.1f} %–{spread.most * 100:.1f} %)",
                value >= _MEASURED_SHARE,
                "–",
            )
        )
    return found


def _of_streams(results: Results) -> list[Verdict]:
    """Beside Centrifugo, where that was there."""
    found: list[Verdict] = []
    runs = results.streams or {}
    for count in (200, 1000):
        for kind, bound in (("sse", 0.6), ("websocket", 1.0)):
            ours, theirs = runs.get(f"falcon-{kind}, {count}", []), runs.get(f"centrifugo-{kind}, {count}", [])
            pairs = list(zip(ours, theirs, strict=False))
            for what, limit, values in (
                ("CPU of a delivery", bound, [a.cpu / b.cpu for a, b in pairs if b.cpu > 0]),
                (
                    "CPU of each delivery but the first",
                    bound,
                    [a.further_cpu / b.further_cpu for a, b in pairs if b.further_cpu > 0],
                ),
                ("p99 of a delivery", 1.0, [a.p99 / b.p99 for a, b in pairs if b.p99 > 0]),
            ):
                if values:
                    name = f"{what} by {kind}, {count} listen, of Centrifugo's"
                    found.append(Verdict(name, f"≤ {limit:g}×", f"{median(values):.2f}×", median(values) <= limit, "–"))
            if ours:
                lost = sum(run.lost for run in ours)
                found.append(Verdict(f"lost by {kind}, {count} listen", "0", str(lost), lost == 0, "–"))
                pushed = median(run.p50 for run in ours)
                name = f"request → pushed by {kind}, p50, {count} listen"
                found.append(Verdict(name, f"≤ {_PUSHED_MS:g} ms", f"{pushed:.1f} ms", pushed <= _PUSHED_MS, "–"))
    if results.unwanted:
        micros = median(results.unwanted)
        name = "CPU of an event that nobody here wants"
        found.append(Verdict(name, f"≤ {_UNWANTED_MICROS:g} µs", f"{micros:.1f} µs", micros <= _UNWANTED_MICROS, "–"))
    return found


def _of_growth(growth: Growth | None) -> list[Verdict]:
    """Whether it stays flat: the largest size beside the smallest."""
    if growth is None or not growth.points:
        return []
    first, found = growth.points[0], []
    for point, size in (
        (growth.by_messages[-1], f"{growth.by_messages[-1].messages:,} messages"),
        (growth.by_rooms[-1], f"{growth.by_rooms[-1].rooms:,} rooms"),
    ):
        for workload in (SEND, PAGE):
            times = ratios(*(list(map(cpu, each.samples.get(workload, []))) for each in (point, first)))
            if times and point is not first:
                spread = Spread.of(times)
                found.append(
                    Verdict(
                        f"CPU a {workload} with {size}, of that with {_least(first, point)}",
                        f"≤ {_FLAT:.2f}×",
                        f"{spread.middle:.2f}× ({spread.least:.2f}×–{spread.most:.2f}×)",
                        spread.middle <= _FLAT,
                        "–",
                    )
                )
    return found


def _least(first: Grown, point: Grown) -> str:
    return f"{first.rooms:,}" if point.rooms > first.rooms else f"{first.messages:,}"


def _per_flush(results: Results, server: str) -> float | None:
    if results.throughput is None:
        return None
    samples = results.throughput.samples.get(server, {}).get("send, 64 in flight", [])
    values = [sample.per_flush for sample in samples if sample.per_flush is not None]
    return median(values) if values else None


def _on_its_own(results: Results) -> list[Verdict]:
    found: list[Verdict] = []
    if results.readable and results.readable.get(FALCON):
        runs = results.readable[FALCON]
        tcp_runs = results.readable.get(FALCON_TCP)
        for name, bound, figure in (
            ("p50", 10.0, lambda run: run.polled_p50),
            ("p99", 50.0, lambda run: run.polled_p99),
        ):
            value = median(map(figure, runs))
            tcp = f"{median(map(figure, tcp_runs)):.1f} ms" if tcp_runs else "–"
            found.append(
                Verdict(
                    f"accepted → readable at half load, {name}",
                    f"≤ {bound:.0f} ms",
                    f"{value:.1f} ms",
                    value <= bound,
                    tcp,
                )
            )
    if results.rebuild is not None:
        value = median(results.rebuild.rates)
        found.append(Verdict("falcon rebuild, messages/s", "≥ 50,000", f"{value:,.0f}", value >= 50_000, "–"))
    if results.imported is not None:
        value = median(results.imported.rates)
        found.append(Verdict("falcon import, messages/s", "≥ 20,000", f"{value:,.0f}", value >= 20_000, "–"))
    if results.recovery is not None:
        by_size = {size: median(run.accepted for run in runs) for size, runs in results.recovery.runs.items()}
        large, small = max(by_size), min(by_size)
        found.append(
            Verdict(
                f"kill -9 → first command, {large:,} messages",
                "< 5 s",
                f"{by_size[large]:.2f} s",
                by_size[large] < 5,
                "–",
            )
        )
        if small != large:
            more = by_size[large] - by_size[small]
            # Starting the processes takes most of it and varies by tenths of a second from run to run.
            found.append(
                Verdict(
                    f"the same, more than with {small:,} messages",
                    "≤ 0.3 s",
                    f"{more:+.2f} s",
                    more <= 0.3,
                    "–",
                )
            )
    if results.start is not None and FALCON in results.start.fresh:
        value = median(results.start.fresh[FALCON])
        tcp_starts = results.start.fresh.get(FALCON_TCP)
        found.append(
            Verdict(
                "cold start → first accepted message",
                "< 1.5 s",
                f"{value:.2f} s",
                value < 1.5,
                f"{median(tcp_starts):.2f} s" if tcp_starts else "–",
            )
        )
    return found
