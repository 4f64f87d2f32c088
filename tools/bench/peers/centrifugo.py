"""Centrifugo, which only fans out: the neighbour of Falcon's streams. Built from its Go module into a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import msgspec

from tools.bench.peers.postgres import free_port
from tools.bench.servers import ServerFailed
from tools.bench.wrk import Address
from tools.harness.processes import Tree, spawn, terminate

VERSION = "v6.9.1"
_MODULE = "github.com/centrifugal/centrifugo/v6"
_BUILD_SECONDS = 900
_START_SECONDS = 20
CHANNEL = "room"


class CentrifugoMissing(Exception):
    """It cannot be had here; the message says why."""


def build() -> Path:
    """The program, built the first time. Raises CentrifugoMissing."""
    folder = Path.home() / ".cache" / "falcon" / f"centrifugo-{VERSION}"
    program = folder / "centrifugo"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise CentrifugoMissing("there is no Go here to build it with")
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
    try:
        built = subprocess.run(
            [go, "install", f"{_MODULE}@{VERSION}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise CentrifugoMissing(f"it was not built within {_BUILD_SECONDS} s") from late
    if built.returncode != 0:
        raise CentrifugoMissing(f"it could not be built: {built.stderr.strip()[-300:]}")
    return program


class CentrifugoServer:
    """One process on one core, in its insecure mode: nobody is asked who he is."""

    name = "centrifugo"

    def __init__(self, core: int, folder: Path) -> None:
        self.tree = Tree()
        self._core = core
        self._folder = folder
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "centrifugo.log"

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self._port)

    def start(self) -> None:
        self._port = free_port()
        settings = {
            "client": {"insecure": True, "allowed_origins": ["*"]},
            "http_api": {"insecure": True},
            "http_server": {"address": "127.0.0.1", "port": str(self._port)},
            "uni_sse": {"enabled": True},
            "log": {"level": "error"},
        }
        file = self._folder / "centrifugo.json"
        file.write_bytes(msgspec.json.encode(settings))
        environment = {**os.environ, "GOMAXPROCS": "1"}
        with self._log.open("ab") as log:
            command = [str(build()), "--config", str(file)]
            self._process = spawn(command, self._core, env=environment, stdout=log, stderr=log)
        self.tree.add(self._process.pid)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            try:
                self.publish(b"{}")
                return
            except OSError:
                time.sleep(0.05)
        raise ServerFailed(f"centrifugo did not start: {self.last_words()}")

    def publish(self, data: bytes) -> None:
        body = b'{"channel":"%b","data":%b}' % (CHANNEL.encode(), data)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/api/publish", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            answer.read()

    def stop(self) -> None:
        if self._process is not None:
            terminate(self._process, 10)
            self.tree.kill()
            self._process = None

    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-500:]
