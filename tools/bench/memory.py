"""The memory of servers with very many rooms, a few of them in use."""

from __future__ import annotations

from dataclasses import dataclass

from tools.bench.bench import Bench
from tools.bench.journals import fill
from tools.bench.report import Section, Table
from tools.bench.samples import FALCON, NAMES, ProcessMemory, total_pss
from tools.harness.calls import Caller
from tools.harness.machine import Cores
from tools.harness.processes import Tree
from tools.harness.progress import say
from tools.harness.running import running, wait_until_quiet
from tools.harness.servers import FalconServer


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """The memory of the whole tree, by server: after a start without rooms, after a start with that many rooms, and
    with some of them in use."""

    rooms: int
    used: int
    empty: dict[str, list[ProcessMemory]]
    at_rest: dict[str, list[ProcessMemory]]
    in_use: dict[str, list[ProcessMemory]]
    fill_seconds: float


def section(bench: Bench) -> Section:
    """Raises ServerFailed, CallRefused."""
    servers = [bench.falcon("memory", name) for name in bench.falcons]
    found = _measure(servers, bench.sizes["rooms"], bench.sizes["used_rooms"], bench.cores)
    return Section("memory", [_processes(found), *one_room(found)])


def _processes(found: MemoryUse) -> Table:
    rows: list[tuple[str, ...]] = []
    for server, in_use in found.in_use.items():
        rest = found.at_rest[server]
        for memory in in_use:
            before = next((each for each in rest if each.title == memory.title), None)
            rows.append((f"{NAMES[server]}: `{memory.title}`", *_mebibytes(before), *_mebibytes(memory)))
        sums = [ProcessMemory("", sum(each.rss for each in some), total_pss(some)) for some in (rest, in_use)]
        rows.append((f"{NAMES[server]}: all of its processes", *_mebibytes(sums[0]), *_mebibytes(sums[1])))
    columns = ("MiB", "after a start, RSS", "PSS", f"{found.used:,} in use, RSS", "PSS")
    note = (
        f"The rooms, of two members, were made through the import in {found.fill_seconds:,.0f} s. Those in use got two "
        "messages each, with keys, whose answers are kept for retries and count here."
    )
    return Table(f"Memory with {found.rooms:,} rooms", columns, rows, note)


def _mebibytes(memory: ProcessMemory | None) -> tuple[str, str]:
    return (f"{memory.rss:,.0f}", f"{memory.pss:,.0f}") if memory else ("–", "–")


def one_room(found: MemoryUse) -> list[Table]:
    """Memory for one room: the difference in PSS of all processes with and without the rooms."""
    if FALCON not in found.in_use:
        return []
    empty, rest, used = (total_pss(each[FALCON]) for each in (found.empty, found.at_rest, found.in_use))
    idle = max(0.0, (rest - empty) / found.rooms * 1024)  # less than the start differs from one to the next
    rows = [
        (f"a room that nobody uses, of {found.rooms:,}", f"{idle:.2f}"),
        (
            f"a room in use, of {found.used:,}, two answers kept for retries in it",
            f"{(used - rest) / found.used * 1024:.1f}",
        ),
    ]
    return [Table("What a room takes in memory", ("", "KiB"), rows, "From the PSS of all of Falcon's processes.")]


def _measure(servers: list[FalconServer], rooms: int, used: int, cores: Cores) -> MemoryUse:
    """Fill the first server's data, which all of them share, then start each and use some rooms."""
    empty: dict[str, list[ProcessMemory]] = {}
    at_rest: dict[str, list[ProcessMemory]] = {}
    in_use: dict[str, list[ProcessMemory]] = {}
    with running(servers[:1], cores):
        wait_until_quiet(servers[0], 30)
        empty[servers[0].name] = memory_of(servers[0].tree)
        filled = fill(servers[0], rooms, 0)
        wait_until_quiet(servers[0], 60)
    chosen = filled.room_ids[:: max(1, rooms // used)][:used]
    for server in servers:
        with running([server], cores):
            wait_until_quiet(server, 30)
            at_rest[server.name] = memory_of(server.tree)
            _use(server, chosen)
            in_use[server.name] = memory_of(server.tree)
            largest = in_use[server.name][0]
            say(f"{server.name}: {rooms:,} rooms, {len(chosen):,} in use: {largest.title} {largest.pss:.0f} MiB PSS")
    return MemoryUse(rooms, len(chosen), empty, at_rest, in_use, filled.seconds)


def _use(server: FalconServer, room_ids: list[int]) -> None:
    """Two messages in each room and no more: the answers that are kept for retries take memory as well."""
    caller = Caller(server.address, server.announcement.token)
    for turn in range(2):
        for room_id in room_ids:
            caller.until_accepted("POST", f"/v1/rooms/{room_id}/messages", {"text": f"in use {turn}"})
    caller.close()


def memory_of(tree: Tree) -> list[ProcessMemory]:
    return [ProcessMemory(title=_short(memory.title), rss=memory.rss, pss=memory.pss) for memory in tree.memory()]


def _short(title: str) -> str:
    """Without folders and actors' addresses, which differ from run to run."""
    words = [word.rpartition("/")[2] for word in title.split() if not word.startswith("ActorAddr-")]
    return " ".join(words[:5])
