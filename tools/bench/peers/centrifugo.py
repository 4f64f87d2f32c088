"""Centrifugo, which only fans out: the neighbour of Falcon's streams. Built from its Go module into a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import msgspec

from tools.harness.servers import ProcessServer

VERSION = "v6.9.1"
_MODULE = "github.com/centrifugal/centrifugo/v6"
_BUILD_SECONDS = 900
_START_SECONDS = 20
CHANNEL = "room"


class CentrifugoMissing(Exception):
    """Centrifugo cannot be installed here. The message says why."""


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


class CentrifugoServer(ProcessServer):
    """One process on one core, in its insecure mode: it asks for no account."""

    def __init__(self, core: int, folder: Path) -> None:
        super().__init__("centrifugo", core, folder / "centrifugo.log")
        self._folder = folder

    def start(self) -> None:
        settings = {
            "client": {"insecure": True, "allowed_origins": ["*"]},
            "http_api": {"insecure": True},
            "http_server": {"address": "127.0.0.1", "port": str(self._port)},
            "uni_sse": {"enabled": True},
            "log": {"level": "error"},
        }
        file = self._folder / "centrifugo.json"
        file.write_bytes(msgspec.json.encode(settings))
        self.launch([str(build()), "--config", str(file)], {**os.environ, "GOMAXPROCS": "1"})
        self.await_answer(lambda: self.publish(b"{}"), _START_SECONDS)

    def publish(self, data: bytes) -> None:
        body = b'{"channel":"%b","data":%b}' % (CHANNEL.encode(), data)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/api/publish", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            answer.read()
