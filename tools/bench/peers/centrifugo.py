"""Centrifugo, which only fans out: the neighbour of Falcon's streams. Built from its Go module into a cache."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import msgspec

from tools.bench.peers.installing import go, installed
from tools.harness.servers import ProcessServer

VERSION = "v6.9.1"
_MODULE = "github.com/centrifugal/centrifugo/v6"
_BUILD_SECONDS = 900.0
_START_SECONDS = 20
CHANNEL = "room"


def build() -> Path:
    """The program, built the first time. Raises PeerMissing."""

    def into(folder: Path) -> None:
        module = f"{_MODULE}@{VERSION}"
        go(["install", module], _BUILD_SECONDS, environment={"GOBIN": str(folder), "GOFLAGS": "-mod=mod"})

    return installed(f"centrifugo-{VERSION}", into) / "centrifugo"


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
