"""Prosody, an XMPP server in Lua, unpacked from Debian's packages. Its rooms keep an archive."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from tools.bench.peers.clients import Kind, Seat
from tools.bench.peers.installing import PeerMissing, installed, run
from tools.bench.peers.xmpp import DOMAIN, ROOMS
from tools.harness.servers import ProcessServer

_PACKAGES = (
    *("prosody", "lua5.4", "lua-bitop", "lua-expat", "lua-filesystem", "lua-sec", "lua-socket"),
    *("lua-dbi-common", "lua-dbi-sqlite3"),
)
_FETCH_SECONDS = 180.0
_START_SECONDS = 30.0
_PASSWORD = "of-the-benchmark"
_ACCOUNTS = 64

_CONFIG = """
data_path = "{data}"
pidfile = "{data}/prosody.pid"
log = {{ warn = "{log}" }}
daemonize = false
run_as_root = true
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
network_settings = {{ nagle = false }}
modules_enabled = {{ "saslauth"; "disco" }}
modules_disabled = {{ "s2s"; "s2s_auth_certs" }}
authentication = "internal_plain"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
sql = {{ driver = "SQLite3"; database = "{data}/archive.sqlite" }}

VirtualHost "{domain}"

Component "{rooms}" "muc"
    modules_enabled = {{ "muc_mam" }}
    storage = {{ muc_log = "{storage}" }}
    muc_room_locking = false
    muc_room_default_persistent = true
    muc_log_by_default = true
    archive_expires_after = "never"
"""


def install() -> Path:
    """The folder that the packages are unpacked in. Raises PeerMissing."""

    def into(folder: Path) -> None:
        fetch = ["apt-get", "download", "-qq", *_PACKAGES]
        try:
            run(fetch, _FETCH_SECONDS, folder)
        except PeerMissing:
            run(["apt-get", "update", "-qq"], _FETCH_SECONDS)  # without an earlier update, apt knows no packages
            run(fetch, _FETCH_SECONDS, folder)
        for package in sorted(folder.glob("*.deb")):
            run(["dpkg-deb", "-x", package, folder / "root"], 60)
            if package.name.startswith("prosody_"):
                (folder / "version").write_text(run(["dpkg-deb", "-f", package, "Version"], 60).strip())
            package.unlink()
        program = folder / "root" / "usr" / "bin" / "prosody"
        # Prosody's build contains the paths where it looks for its own files.
        program.write_text(program.read_text().replace("/usr/lib/prosody", str(folder / "root/usr/lib/prosody")))

    return installed("prosody", into)


class ProsodyServer(ProcessServer):
    """One process. ``storage``: of the rooms' archive, "sql" for SQLite or "internal" for Prosody's own files."""

    kind: Kind = "xmpp"

    def __init__(self, name: str, core: int, folder: Path, storage: str) -> None:
        super().__init__(name, core, folder / f"{name}.log")
        self._home = install()
        self.version = f"Prosody {(self._home / 'version').read_text()}"
        self._data = folder / name
        self._configure(storage)

    def _configure(self, storage: str) -> None:
        accounts = self._data / DOMAIN / "accounts"
        accounts.mkdir(parents=True)
        for number in range(_ACCOUNTS):
            (accounts / f"account{number}.dat").write_text(f'return {{ ["password"] = "{_PASSWORD}"; }};\n')
        self._config = self._data / "prosody.cfg.lua"
        self._config.write_text(
            _CONFIG.format(data=self._data, log=self._log, port=self._port, domain=DOMAIN, rooms=ROOMS, storage=storage)
        )

    def start(self) -> None:
        root = self._home / "root" / "usr"
        command = [str(root / "bin" / "lua5.4"), str(root / "bin" / "prosody"), "-F", "--config", str(self._config)]
        self.launch(command, self._environment())
        self.await_answer(lambda: socket.create_connection(("127.0.0.1", self._port), 1).close(), _START_SECONDS)

    def _environment(self) -> dict[str, str]:
        root = self._home / "root" / "usr"
        libraries = next(root.glob("lib/*-linux-*"), root / "lib")
        return {
            **os.environ,
            "LUA_PATH_5_4": f"{root}/share/lua/5.4/?.lua;{root}/share/lua/5.4/?/init.lua;;",
            "LUA_CPATH_5_4": f"{libraries}/lua/5.4/?.so;;",
            "LD_LIBRARY_PATH": str(libraries),
        }

    def seats(self, count: int) -> Sequence[Seat]:
        """A room is made when the first member joins it."""
        if count > _ACCOUNTS:
            raise PeerMissing(f"{self.name} has {_ACCOUNTS} accounts, and {count} were asked for")
        return [Seat(f"room{number}", f"account{number}", _PASSWORD) for number in range(count)]
