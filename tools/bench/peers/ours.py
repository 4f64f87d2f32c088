"""Falcon itself, as one of the peers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from tools.bench.peers.clients import Kind, Seat
from tools.bench.samples import FALCON
from tools.harness.calls import Caller
from tools.harness.servers import FalconServer


class FalconPeer(FalconServer):
    """`falcon up` with its defaults."""

    name = FALCON
    kind: Kind = "falcon"
    version = f"Falcon {metadata.version('falcon-chat')}"

    def seats(self, count: int) -> Sequence[Seat]:
        admin = Caller(self.address, self.announcement.admin_token)
        found: list[Seat] = []
        for number in range(count):
            made = admin.must("POST", "/v1/accounts", {"name": f"account {number}"}).json()
            caller = Caller(self.address, made["token"])
            room = caller.must("POST", "/v1/rooms", {"name": f"room {number}"}).json()["room_id"]
            caller.close()
            found.append(Seat(str(room), str(made["account_id"]), made["token"]))
        admin.close()
        return found
