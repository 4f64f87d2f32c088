"""The neighbours of Falcon's embedded suite: a bare route, and a hand-written chat on PostgreSQL."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.bench.bench import Bench
from tools.bench.peers import crud
from tools.bench.peers.postgres import DatabaseServer
from tools.harness.calls import Caller
from tools.harness.servers import (
    ProcessServer,
    Server,
    ServerFailed,
    Targets,
    environment_for,
    pick_targets,
)


def _serve(server: ProcessServer, command: Sequence[str], **settings: str) -> None:
    """A program of ours that serves HTTP on PEER_PORT."""
    server.launch(command, environment_for(PEER_PORT=str(server.address.port), **settings))
    caller = Caller(server.address, "nobody")
    server.await_answer(lambda: caller.call("GET", "/v1/rooms/1/messages"))
    caller.close()


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"tools.bench.peers.{name}"]


class BareServer(ProcessServer):
    """The ceiling; `page` is a file whose bytes it sends for each read."""

    def __init__(self, core: int, folder: Path) -> None:
        super().__init__("bare", core, folder / "bare.log")
        self.page: Path | None = None

    def start(self) -> None:
        _serve(self, _module("bare"), **({"PEER_PAGE": str(self.page)} if self.page is not None else {}))

    def fill(self, rooms: int, accounts: int) -> Targets:
        tokens = [secrets.token_urlsafe(32) for _ in range(accounts)]
        return pick_targets(range(64, 64 * (rooms + 1), 64), tokens)


class CrudServer(DatabaseServer):
    """The neighbour: the hand-written chat and its PostgreSQL, both on the core."""

    def __init__(self, core: int, folder: Path) -> None:
        super().__init__("crud", core, folder / "crud.log", folder / "postgres")

    def start(self) -> None:
        self.start_database()
        _serve(self, _module("crud"), PEER_DSN=self.database.dsn)

    def fill(self, rooms: int, accounts: int) -> Targets:
        tokens, room_ids = asyncio.run(crud.fill(self.database.dsn, accounts, rooms))
        return pick_targets(room_ids, tokens)


def crud_server(bench: Bench, purpose: str) -> CrudServer:
    folder = bench.folder / f"{purpose}-crud"
    folder.mkdir(mode=0o711)  # PostgreSQL's user has to pass through
    server = CrudServer(bench.cores.server, folder)
    bench.facts["PostgreSQL"] = server.database.version
    return server


def prove(server: Server, targets: Targets) -> bytes:
    """Check that the server keeps what it acknowledges and recognises retries. Returns the page that it sent. Raises
    ServerFailed."""
    room, token = targets[0]
    caller = Caller(server.address, token)
    path = f"/v1/rooms/{room}/messages"
    headers = {"Idempotency-Key": f"prove-{secrets.token_hex(8)}"}
    body = {"text": f"proof {secrets.token_hex(8)}"}
    first = caller.must("POST", path, body, headers=headers).json()
    again = caller.must("POST", path, body, headers=headers).json()
    if first != again:
        raise ServerFailed(f"{server.name} answered a retry with another message: {first} and {again}")
    second = caller.must("POST", path, body)
    position = second.headers.get("Falcon-Position")
    page = caller.must("GET", f"{path}?limit=50", headers={"Falcon-Position": position} if position else None)
    messages = page.json()["messages"]
    seqs = [message["seq"] for message in messages]
    # Requests that a load left behind may still add messages in between, but never a gap.
    if second.json() not in messages or seqs != list(range(seqs[0], seqs[0] + len(seqs))):
        raise ServerFailed(f"{server.name} acknowledged {second.json()} and then showed the messages {seqs}")
    refused = Caller(server.address, "x" * 43).call("POST", path, body)
    if refused.status != 401:
        raise ServerFailed(f"{server.name} answered an unknown token with {refused.status}")
    caller.close()
    return page.body
