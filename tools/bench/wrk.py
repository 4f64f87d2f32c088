"""The load generator: wrk with a script of ours, one thread, on the generator's core."""

from __future__ import annotations

import itertools
import secrets
import subprocess
from collections.abc import Iterable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import msgspec

from tools.harness.calls import Address
from tools.harness.processes import spawn

SCRIPTS = Path(__file__).parent / "scripts"
TEXT_BYTES = 100
_key_runs = itertools.count(1)
_session = secrets.token_hex(3)


class LoadFailed(Exception):
    """wrk did not give a result. The text is its output."""


class Load(msgspec.Struct, frozen=True):
    """wrk's findings: times in µs, `refused` answers were no success, `broken` are failed connections and time-outs."""

    requests: int
    micros: int
    p50: int
    p99: int
    max: int
    refused: int
    broken: int
    cpu: float = 0.0  # seconds that wrk itself used

    @property
    def rate(self) -> float:
        return (self.requests - self.refused) / self.micros * 1e6


def write_targets(file: Path, targets: Iterable[tuple[int | str, str]]) -> Path:
    """One line for each (room or path, token); the scripts go through them again and again."""
    file.write_text("".join(f"{what} {token}\n" for what, token in targets))
    return file


def start_sending(
    core: int, address: Address, targets: Path, connections: int, seconds: int, pause_ms: float = 0.0
) -> subprocess.Popen[bytes]:
    """Begin a load of sends that can be killed; each run has keys of its own."""
    key = f"{_session}{next(_key_runs):04x}"
    arguments = [str(targets), key, str(TEXT_BYTES), f"{pause_ms:.3f}"]
    return _start(core, address, "send.lua", arguments, connections, seconds)


def send(core: int, address: Address, targets: Path, connections: int, seconds: int, pause_ms: float = 0.0) -> Load:
    """Send messages as fast as they are answered, or with a pause before each. Raises LoadFailed."""
    before = _cpu_of_children()
    return _finish(start_sending(core, address, targets, connections, seconds, pause_ms), seconds, before)


def read(core: int, address: Address, targets: Path, connections: int, seconds: int) -> Load:
    """Read pages of the newest 50 as fast as they are answered. Raises LoadFailed."""
    return _get(core, address, [str(targets), "0", "/v1/rooms/%s/messages?limit=50"], connections, seconds)


def get(core: int, address: Address, paths: Path, connections: int, seconds: int, first: int = 0) -> Load:
    """Ask for the paths one after another, beginning with the ``first``, again and again. Raises LoadFailed."""
    return _get(core, address, [str(paths), str(first), "%s"], connections, seconds)


def _get(core: int, address: Address, arguments: list[str], connections: int, seconds: int) -> Load:
    before = _cpu_of_children()
    return _finish(_start(core, address, "get.lua", arguments, connections, seconds), seconds, before)


def finish(process: subprocess.Popen[bytes], seconds: int) -> Load:
    """Wait for a load that was started. Raises LoadFailed."""
    return _finish(process, seconds, _cpu_of_children())


def _start(
    core: int, address: Address, script: str, arguments: list[str], connections: int, seconds: int
) -> subprocess.Popen[bytes]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPTS / script)]
    return spawn([*command, address.url, "--", *arguments], core, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _finish(process: subprocess.Popen[bytes], seconds: int, cpu_before: float) -> Load:
    try:
        said, _ = process.communicate(timeout=seconds + 30)
    except subprocess.TimeoutExpired as late:
        process.kill()
        process.communicate()
        raise LoadFailed(f"wrk did not end within {seconds + 30} s") from late
    for line in said.splitlines():
        if line.startswith(b"RESULT "):
            load = msgspec.json.decode(line.removeprefix(b"RESULT "), type=Load)
            return msgspec.structs.replace(load, cpu=_cpu_of_children() - cpu_before)
    raise LoadFailed(said.decode(errors="replace")[-2000:])


def _cpu_of_children() -> float:
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
