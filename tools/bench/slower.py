"""Where Falcon is the slower one, and why: sentences that follow from the figures."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from tools.bench.figures import PAGE, SEND, SPREAD, Results, Sample, Spread, Walks, ratios
from tools.bench.targets import FALCON, FALCON_TCP, cpu, p50, p99, rate, ratio, verdicts

# What is compared: its unit, the figure, whether more is better, how it is shown.
_CHECKS: tuple[tuple[str, Callable[[Sample], float], bool, str], ...] = (
    ("a second", rate, True, "{:,.0f}"),
    ("ms at the median", p50, False, "{:.2f}"),
    ("ms at the 99th percentile", p99, False, "{:.2f}"),
    ("µs of CPU each", cpu, False, "{:.0f}"),
)


def paragraphs(results: Results) -> list[str]:
    """Plain text, the most general first; what is missed of the targets at the end."""
    found = [
        _beside_the_ceiling(results),
        _beside_the_chat(results),
        _over_tcp(results),
        _beside_centrifugo(results),
        _in_cold_rooms(results),
        _far_back(results),
        _missed(results),
    ]
    return [text for text in found if text] or ["In nothing that was measured here."]


def _beside_the_ceiling(results: Results) -> str:
    sends = ratio(results, "send, 64 in flight", FALCON, "bare", rate)
    reads = ratio(results, "latest 50, 64 in flight", FALCON, "bare", rate)
    text = ""
    if sends is not None:
        text += (
            f"Falcon sends at {sends.middle * 100:.0f} % of the rate of a route that only parses and answers: the rest "
            "is spent on authorising, deciding and storing the message, in Python, and on waiting for the disk. "
        )
    if reads is not None:
        text += (
            f"Pages come at {reads.middle * 100:.0f} % of that route's rate: account, membership and the room's state "
            "are looked up for each, so that nobody reads what he may no longer read."
        )
    return text.strip()


def _beside_the_chat(results: Results) -> str:
    if results.throughput is None:
        return ""
    behind = [
        words
        for workload in results.throughput.workloads
        for words in _behind(
            workload,
            results.throughput.samples.get(FALCON, {}).get(workload, []),
            results.throughput.samples.get("crud", {}).get(workload, []),
        )
    ]
    if results.walks is not None:
        behind += _walks_behind(results.walks)
    if not behind:
        return ""
    text = f"Beside the hand-written chat on PostgreSQL Falcon is behind in: {'; '.join(behind)}. "
    if any("1 in flight" in words for words in behind):
        text += (
            "With one request in flight there is nothing to share: a message pays for its way through queue, actor and "
            "journal, and for a flush of the disk, alone. What Falcon gains it gains by doing these for many at once. "
        )
    if any(words.startswith("list") for words in behind):
        text += "Both sort all of an account's rooms for each page of them. "
    return text.strip()


def _behind(name: str, ours: list[Sample], theirs: list[Sample]) -> list[str]:
    found: list[str] = []
    for unit, figure, more_is_better, form in _CHECKS:
        times = ratios(list(map(figure, ours)), list(map(figure, theirs)))
        if not times or (median(times) >= 1 if more_is_better else median(times) <= 1):
            continue
        shown = [form.format(median(map(figure, samples))) for samples in (ours, theirs)]
        found.append(f"{name}: {shown[0]} {unit} to {shown[1]}, {median(times):.2f}×")
    return found


def _walks_behind(walks: Walks) -> list[str]:
    ours, theirs = walks.samples.get(FALCON, {}), walks.samples.get("crud", {})
    return [words for name in walks.names for words in _behind(name, ours.get(name, []), theirs.get(name, []))]


def _over_tcp(results: Results) -> str:
    if results.throughput is None:
        return ""
    shares = [
        (workload, share.middle)
        for workload in results.throughput.workloads
        if workload.startswith("send")
        and (share := ratio(results, workload, FALCON_TCP, FALCON, rate)) is not None
        and share.middle < 0.95
    ]
    if not shares:
        return ""
    words = ", ".join(f"{share:.2f}× with {workload.removeprefix('send, ')}" for workload, share in shares)
    return (
        f"With actors as processes over TCP Falcon sends at {words} of the rate with actors in process: every batch "
        "crosses to another process and back, which only many messages a batch make up for."
    )


def _beside_centrifugo(results: Results) -> str:
    behind: list[str] = []
    for name, runs in (results.streams or {}).items():
        server, _, way = name.partition("-")
        theirs = (results.streams or {}).get(f"centrifugo-{way}")
        if server != "falcon" or theirs is None:
            continue
        for what, form, ours, others in (
            ("µs of CPU a delivery", "{:.1f}", [run.cpu for run in runs], [run.cpu for run in theirs]),
            ("ms at the 99th percentile", "{:.1f}", [run.p99 for run in runs], [run.p99 for run in theirs]),
        ):
            times = ratios(ours, others)
            if times and median(times) > 1:
                shown = f"{form.format(median(ours))} {what} to {form.format(median(others))}"
                behind.append(f"{way} listeners: {shown}, {median(times):.2f}×")
    for kind, found in (results.idle or {}).items():
        server, _, way = kind.partition("-")
        theirs_idle = (results.idle or {}).get(f"centrifugo-{way}")
        if server == "falcon" and theirs_idle is not None and found.kib_each > theirs_idle.kib_each:
            behind.append(f"an idle subscriber by {way}: {found.kib_each:.1f} KiB to {theirs_idle.kib_each:.1f}")
    if not behind:
        return ""
    return (
        f"Beside Centrifugo, which is written in Go and keeps nothing, Falcon is behind in: {'; '.join(behind)}. "
        "Falcon takes each message in, makes it durable, reads it from the log and looks who may see it."
    )


def _in_cold_rooms(results: Results) -> str:
    growth = results.growth
    if growth is None or not growth.points:
        return ""
    largest = max(growth.points, key=lambda point: point.rooms)
    spread, sends = largest.samples.get(SPREAD), largest.samples.get(SEND)
    if not spread or not sends:
        return ""
    times = Spread.of(ratios(list(map(cpu, spread)), list(map(cpu, sends))))
    if times.middle <= 1.05:
        return ""
    return (
        f"A send to a room that nobody has used lately costs {times.middle:.1f}× the CPU of one to a room in use "
        f"({median(map(cpu, spread)):.0f} µs to {median(map(cpu, sends)):.0f}, with {largest.rooms:,} rooms): the room "
        "has to be brought into memory from its snapshot or its events, and another one has to leave."
    )


def _far_back(results: Results) -> str:
    growth = results.growth
    if growth is None or len(growth.by_messages) < 2:
        return ""
    least, most = growth.by_messages[0], growth.by_messages[-1]
    times = ratios(*(list(map(cpu, point.samples.get(PAGE, []))) for point in (most, least)))
    if not times or median(times) <= 1.1:
        return ""
    return (
        f"A page from anywhere in {most.messages:,} messages costs {median(times):.2f}× the CPU of one from anywhere "
        f"in {least.messages:,}: the look-ups are the same, but less of what they touch is in a cache."
    )


def _missed(results: Results) -> str:
    missed = [verdict for verdict in verdicts(results) if not verdict.met]
    if not missed:
        return ""
    return "Targets missed: " + "; ".join(f"{v.what}: {v.found}, wanted {v.wanted}" for v in missed) + "."
