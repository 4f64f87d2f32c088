"""Synapse, Matrix's reference server, on a PostgreSQL of its own, as its documentation advises for production."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from tools.bench.peers.clients import Kind, Seat
from tools.bench.peers.installing import installed, run
from tools.bench.peers.postgres import DatabaseServer
from tools.harness.calls import Caller
from tools.harness.servers import ServerFailed

VERSION = "1.163.2"
_DRIVER = "psycopg2-binary==2.9.13"
_INSTALL_SECONDS = 600.0
_PASSWORD = "of-the-benchmark"
_START_SECONDS = 90.0
_NO_LIMIT = {"per_second": 1e9, "burst_count": 1_000_000_000}


def install() -> Path:
    """Its Python, in a virtual environment of its own. Raises PeerMissing."""

    def into(folder: Path) -> None:
        run([sys.executable, "-m", "venv", folder / "venv"], 120)
        pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run([*pip, "install", "--only-binary", ":all:", f"matrix-synapse=={VERSION}", _DRIVER], _INSTALL_SECONDS)

    return installed(f"synapse-{VERSION}", into) / "venv" / "bin" / "python"


class SynapseServer(DatabaseServer):
    """One process without workers, and its database; limits of rates, presence and federation are off."""

    kind: Kind = "matrix"

    def __init__(self, core: int, folder: Path) -> None:
        self._python = install()
        super().__init__("synapse", core, folder / "synapse.log", folder / "synapse-postgres")
        self.version = f"Synapse {VERSION}"
        self._folder = folder / "synapse"
        self._folder.mkdir()
        self._is_made = False

    def start(self) -> None:
        self.start_database()
        if not self._is_made:
            asyncio.run(_make_database(self.database.dsn))
            self._configure()
            self._is_made = True
        self.launch(self._command(), _environment())
        caller = Caller(self.address, None)
        self.await_answer(lambda: caller.call("GET", "/_matrix/client/versions"), _START_SECONDS)
        caller.close()

    def _command(self, *more: str) -> list[str]:
        config = str(self._folder / "homeserver.yaml")
        return [str(self._python), "-m", "synapse.app.homeserver", "--config-path", config, *more]

    def _configure(self) -> None:
        # JSON is YAML.
        (self._folder / "homeserver.yaml").write_bytes(msgspec.json.encode(self._settings()))
        (self._folder / "log.yaml").write_bytes(msgspec.json.encode(_LOGGING))
        made = subprocess.run(
            self._command("--generate-keys"), cwd=self._folder, env=_environment(), capture_output=True, check=False
        )
        if made.returncode != 0:
            raise ServerFailed(f"synapse could not make its keys: {made.stderr.decode(errors='replace')[-500:]}")

    def _settings(self) -> dict[str, Any]:
        login = {"address": _NO_LIMIT, "account": _NO_LIMIT, "failed_attempts": _NO_LIMIT}
        return {
            "server_name": "localhost",
            "pid_file": str(self._folder / "homeserver.pid"),
            "signing_key_path": str(self._folder / "signing.key"),
            "log_config": str(self._folder / "log.yaml"),
            "media_store_path": str(self._folder / "media"),
            "macaroon_secret_key": "of-the-benchmark",
            "form_secret": "of-the-benchmark",
            "report_stats": False,
            "trusted_key_servers": [],
            "listeners": [
                {
                    "port": self._port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "tls": False,
                    "resources": [{"names": ["client"], "compress": False}],
                }
            ],
            "database": {
                "name": "psycopg2",
                "args": {
                    "user": "chat",
                    "dbname": "synapse",
                    "host": "127.0.0.1",
                    "port": self.database.port,
                    "cp_min": 5,
                    "cp_max": 10,
                },
            },
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "presence": {"enabled": False},
            "rc_message": _NO_LIMIT,
            "rc_registration": _NO_LIMIT,
            "rc_login": login,
            "rc_joins": {"local": _NO_LIMIT, "remote": _NO_LIMIT},
        }

    def seats(self, count: int) -> Sequence[Seat]:
        nobody = Caller(self.address, None)
        found: list[Seat] = []
        for number in range(count):
            account = {
                "username": f"account{number}",
                "password": _PASSWORD,
                "auth": {"type": "m.login.dummy"},
            }
            made = nobody.must("POST", "/_matrix/client/v3/register", account).json()
            caller = Caller(self.address, made["access_token"])
            room = caller.must("POST", "/_matrix/client/v3/createRoom", {"name": f"room {number}"}).json()["room_id"]
            caller.close()
            found.append(Seat(room, made["user_id"], made["access_token"]))
        nobody.close()
        return found


_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
}


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("FALCON_", "PYTHON"))}


async def _make_database(dsn: str) -> None:
    """Synapse requires a database that sorts by bytes."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "CREATE DATABASE synapse ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    finally:
        await connection.close()
