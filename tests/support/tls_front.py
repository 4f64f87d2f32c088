"""TLS in front of a server that has none: stunnel, or a relay of Python's own where it is not installed."""

import asyncio
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.certificates import Authority
from tools.harness.ports import HOST, answers

STUNNEL: Final = shutil.which("stunnel4") or shutil.which("stunnel")
FRONT: Final = "stunnel" if STUNNEL else "a relay in Python"  # for tests that say by which they were run


@contextmanager
def tls_in_front_of(port: int, at: int, authority: Authority, folder: Path) -> Iterator[str]:
    """Clients need a certificate of the ``authority``; its own is for ``localhost``. Gives its address, HOST:PORT."""
    folder.mkdir(parents=True, exist_ok=True)
    front = _stunnel(port, at, authority, folder) if STUNNEL else _relay(port, at, authority)
    with front:
        yield f"localhost:{at}"


@contextmanager
def _stunnel(port: int, at: int, authority: Authority, folder: Path) -> Iterator[None]:
    pair = authority.issue("gateway")
    configuration = folder / "stunnel.conf"
    lines = ["foreground = yes", "pid =", "[gateway]", f"accept = {HOST}:{at}", f"connect = {HOST}:{port}"]
    lines += [
        f"cert = {pair.certificate}",
        f"key = {pair.key}",
        f"CAfile = {authority.certificate}",
        "verifyChain = yes",
    ]
    configuration.write_text("\n".join(lines) + "\n")
    assert STUNNEL is not None
    with (folder / "stunnel.log").open("w") as log:
        process = subprocess.Popen([STUNNEL, str(configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while not answers(at):
            assert process.poll() is None, (folder / "stunnel.log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def _relay(port: int, at: int, authority: Authority) -> Iterator[None]:
    pair = authority.issue("gateway")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # one side has gone, and the other one is to learn it
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(HOST, port)
        await asyncio.gather(pass_on(reader, behind_writer), pass_on(behind_reader, writer))

    loop: Future[asyncio.AbstractEventLoop] = Future()
    ending = asyncio.Event()

    async def run() -> None:
        async with await asyncio.start_server(serve, HOST, at, ssl=context):
            loop.set_result(asyncio.get_running_loop())
            await ending.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    loop.result(60)
    try:
        yield
    finally:
        loop.result(60).call_soon_threadsafe(ending.set)
        thread.join(60)
