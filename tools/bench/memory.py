"""What a server with very many rooms holds in memory when a few of them are in use."""

from __future__ import annotations

from tools.bench.calls import Caller
from tools.bench.figures import MemoryUse, ProcessMemory
from tools.bench.journals import fill
from tools.bench.running import running, wait_until_quiet
from tools.bench.servers import FalconServer
from tools.harness.machine import Cores
from tools.harness.processes import Tree
from tools.harness.progress import say


def measure(servers: list[FalconServer], rooms: int, used: int, cores: Cores) -> MemoryUse:
    """Fill the first server's data, which all of them share, then start each and use some rooms. Raises CallRefused."""
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
    return MemoryUse(
        rooms=rooms, used=len(chosen), at_rest=at_rest, in_use=in_use, fill_seconds=filled.seconds, empty=empty
    )


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
