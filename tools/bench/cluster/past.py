"""Rooms with a history, written straight through a shard while no other process owns the log."""

from __future__ import annotations

import msgspec

from tools.bench.cluster.history import Note
from tools.bench.cluster.plan import Plan
from tools.bench.cluster.running import RunningCluster
from tools.harness.calls import Caller
from tools.harness.progress import say


class FilledRooms(msgspec.Struct, frozen=True):
    events: int
    seconds: float


class ClusterPast:
    """The cluster's rooms; each has as many messages as were asked for last."""

    def __init__(self, running: RunningCluster, plan: Plan) -> None:
        self._site = running
        self._plan = plan
        self._note = plan.folder / "past.json"
        self.filled = 0
        self.page_bytes = 0

    def ensure(self) -> list[int]:
        """All of the plan's history, and readable. Gives the rooms."""
        if self.filled < self._plan.history_messages:
            self.grow(self._plan.history_messages)
        self._site.settle(300)
        rooms = msgspec.json.decode(self._note.read_bytes(), type=Note).rooms
        caller = Caller(self._site.address, self._site.token)
        self.page_bytes = len(caller.must("GET", f"/v1/rooms/{rooms[0]}/messages?limit=50").body)
        caller.close()
        return rooms

    def grow(self, to: int) -> FilledRooms:
        """Fill each room up to so many messages. ``falcon write`` is away meanwhile, and serves again afterwards."""
        running = self._site
        running.stop("write")
        try:
            options = (f"--note={self._note}", f"--rooms={self._plan.history_rooms}", f"--to={to}")
            found = running.run("history", *options, f"--author={running.account_id}")
        finally:
            running.scale_write(1)
        filled = msgspec.convert(found, FilledRooms)
        self.filled = to
        say(f"{filled.events:,} events put into the log in {filled.seconds:.1f} s")
        return filled
