"""``python -m tools.bench.cold_loads``: sixty browsers at one address load the page, each for the first time and all at
once, while limits are on as by default; over TLS with ``--tls``.

Each opens six connections, as browsers do, asks for the page and all files that it names, then for the account, its
rooms, the newest page of one, and a stream. It prints how long all of them took, and exits 1 if any answer was another
than 200.
"""

import argparse
import asyncio
import re
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import uvloop

from tools.harness.falcon import Falcon
from tools.harness.reports import percentile

_BROWSERS: Final = 60
_CONNECTIONS: Final = 6
_FILES: Final = re.compile(rb'(?:href|src)="(/web/[^"]+)"')
_SUBJECT: Final = ("-subj", "/CN=localhost", "-days", "1")
_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")  # as docs/one-machine.md advises


class Answer(NamedTuple):
    status: int
    body: bytes


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self, path: str, *fields: str) -> Answer:
        """A stream's body is its first event."""
        lines = (f"GET {path} HTTP/1.1", "Host: localhost", "Accept: text/html, */*", "Accept-Encoding: gzip", *fields)
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status, length = int(head.split()[1]), re.search(rb"content-length: (\d+)", head)
        if length is not None:
            return Answer(status, await self._reader.readexactly(int(length[1])))
        return Answer(status, await self._reader.readuntil(b"event: hello"))

    def close(self) -> None:
        self._writer.transport.abort()


class Office:
    """``statuses``: of all answers."""

    def __init__(self, port: int, files: Sequence[str], tls: ssl.SSLContext | None) -> None:
        self.statuses: list[int] = []
        self._port = port
        self._files = files
        self._tls = tls

    async def load(self, token: str, room: int) -> float:
        """Seconds that one browser took."""
        begun = time.perf_counter()
        connections = [await self._connect()]
        try:
            await self._get(connections[0], "/")
            connections += await asyncio.gather(*(self._connect() for _ in range(_CONNECTIONS - 1)))
            waiting = list(self._files)
            await asyncio.gather(*(self._empty(waiting, each) for each in connections))
            bearer = f"Authorization: Bearer {token}"
            asked = ("/v1/me", "/v1/rooms", f"/v1/rooms/{room}/messages", "/v1/stream")
            gets = (self._get(each, path, bearer) for each, path in zip(connections, asked, strict=False))
            await asyncio.gather(*gets)
            return time.perf_counter() - begun
        finally:
            for each in connections:
                each.close()

    async def _empty(self, waiting: list[str], connection: Connection) -> None:
        while waiting:
            await self._get(connection, waiting.pop())

    async def _connect(self) -> Connection:
        return Connection(*await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls, limit=1 << 20))

    async def _get(self, connection: Connection, path: str, *fields: str) -> None:
        self.statuses.append((await connection.get(path, *fields)).status)


def _certificate(folder: Path) -> dict[str, Any]:
    made = {"tls_cert": folder / "cert.pem", "tls_key": folder / "key.pem"}
    out = ("-keyout", made["tls_key"], "-out", made["tls_cert"])
    subprocess.run(["openssl", "req", "-x509", *_KEY, *_SUBJECT, *out], check=True, capture_output=True)
    return made


async def _measure(folder: Path, *, tls: bool) -> bool:
    context = ssl._create_unverified_context() if tls else None  # noqa: S323  it is this machine's own
    falcon = Falcon(folder / "data", {"limits": "on", **(_certificate(folder) if tls else {})}).start()
    try:
        admin = {"Authorization": f"Bearer {falcon.info['admin_token']}"}
        async with httpx.AsyncClient(base_url=falcon.info["url"], verify=False, headers=admin) as http:  # noqa: S501
            people = [(await http.post("/v1/accounts", json={"name": f"P {n}"})).json() for n in range(_BROWSERS)]
            members = [{"account_id": each["account_id"]} for each in people]
            room = (await http.post("/v1/rooms", json={"name": "All", "members": members})).json()["room_id"]
            page = (await http.get("/", headers={"Accept": "text/html"})).content
        files = sorted({match.decode() for match in _FILES.findall(page)})
        office = Office(falcon.settings["http_port"], files, context)
        begun = time.perf_counter()
        each = await asyncio.gather(*(office.load(person["token"], room) for person in people))
        took = time.perf_counter() - begun
        good = sum(status == 200 for status in office.statuses)
        print(
            f"{_BROWSERS} browsers, {_BROWSERS * _CONNECTIONS} new connections{' over TLS' if tls else ''}, "
            f"{len(files) + 5} requests each: all in {took:.2f} s, the median in {percentile(each, 0.5):.2f} s; "
            f"{good:,} of {len(office.statuses):,} answers 200"
        )
        return good == len(office.statuses)
    finally:
        falcon.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.bench.cold_loads", description=__doc__)
    parser.add_argument("--tls", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="falcon-loads-") as folder:
        return 0 if uvloop.run(_measure(Path(folder), tls=arguments.tls)) else 1


if __name__ == "__main__":
    sys.exit(main())
