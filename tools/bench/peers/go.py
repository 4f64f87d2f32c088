"""The hand-written chat in Go on SQLite, built from ``go_chat/``: the neighbour of sends, pages and streams."""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from tools.harness.calls import Caller
from tools.harness.servers import ProcessServer, ServerFailed, Targets, environment_for, pick_targets

_MODULE = Path(__file__).with_name("go_chat")
_BUILD_SECONDS = 600.0  # the first time: SQLite is compiled
_SCHEMA = """
CREATE TABLE tokens (hash BLOB PRIMARY KEY, account_id INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE members (room_id INTEGER, account_id INTEGER, PRIMARY KEY (room_id, account_id)) WITHOUT ROWID;
CREATE TABLE messages (
    room_id INTEGER, seq INTEGER, author_id INTEGER NOT NULL, text TEXT NOT NULL, posted_at TEXT NOT NULL,
    reply_to INTEGER, mentions TEXT NOT NULL, key TEXT, PRIMARY KEY (room_id, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX messages_key ON messages (author_id, key);
"""


class GoServer(ProcessServer):
    """One process with its database, which are in ``folder``."""

    def __init__(self, core: int, folder: Path) -> None:
        """Makes the folder. Raises ServerFailed if it cannot be built here."""
        folder.mkdir()
        super().__init__("go", core, folder / "go.log")
        self._database, self._program = folder / "go.db", folder / "go-chat"
        build = ["go", "build", "-buildvcs=false", "-o", str(self._program), "."]
        as_installed = {**os.environ, "GOTOOLCHAIN": "local"}
        try:
            subprocess.run(build, cwd=_MODULE, env=as_installed, check=True, timeout=_BUILD_SECONDS)
        except (OSError, subprocess.SubprocessError) as failure:
            raise ServerFailed(f"the chat in Go cannot be built here: {failure}") from failure
        with closing(sqlite3.connect(self._database)) as database:
            database.executescript(_SCHEMA)

    def start(self) -> None:
        self.launch([str(self._program)], environment_for(PEER_PORT=str(self._port), PEER_DATABASE=str(self._database)))
        caller = Caller(self.address, "nobody")
        self.await_answer(lambda: caller.call("GET", "/v1/rooms/1/messages"))
        caller.close()

    def fill(self, rooms: int, accounts: int) -> Targets:
        """It reads who is there when it starts, so it starts again."""
        tokens = [secrets.token_urlsafe(32) for _ in range(accounts)]
        hashes = [hashlib.sha256(token.encode()).digest() for token in tokens]
        members = [(room, account) for room in range(1, rooms + 1) for account in range(1, accounts + 1)]
        self.stop()
        with closing(sqlite3.connect(self._database)) as database:
            database.executemany("INSERT INTO tokens VALUES (?, ?)", zip(hashes, range(1, accounts + 1), strict=True))
            database.executemany("INSERT INTO members VALUES (?, ?)", members)
            database.commit()
        self.start()
        return pick_targets(range(1, rooms + 1), tokens)
