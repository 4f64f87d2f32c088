"""The checks of `falcon doctor`: what Falcon needs on this machine."""

import errno
import os
import re
import resource
import shutil
import socket
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from falcon.cli.calling import Running

if TYPE_CHECKING:
    from falcon.base.certificates import TlsFiles

PYTHON_MIN = (3, 11)  # asyncio.timeout and exception groups
OPENSEARCH_MIN = (2, 19)  # the line that the tests run on
RECORDS_BEHIND_MAX = 10_000  # which falcon forward reads in seconds
SQLITE_MIN = (3, 51, 3)  # the first version without a fault of the write-ahead log
FREE_BYTES_MIN = 1 << 30  # some million messages
OPEN_FILES_MIN = 4096  # one for each connection
# A cluster's pods often have a /16, or a /48. A wider network has machines that are no proxies.
_IPV4_PREFIX_MIN = 16
_IPV6_PREFIX_MIN = 48
_EXAMPLES = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")  # RFC 5737, RFC 3849
CLOCK_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
CERTIFICATE_SECONDS_MIN = 14 * 86_400  # time to renew it by hand
_CLOCK_TOLERANCE_SECONDS = 60  # clocks of machines between which a folder was copied differ by less


class FindingState(Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """``advice``: what to do; empty if there is nothing to do."""

    check: str
    state: FindingState
    found: str
    advice: str = ""


def variables(unknown: Sequence[str]) -> Finding:
    """``unknown``: a line for each variable that looks like a setting and is none."""
    if not unknown:
        return Finding("Variables", FindingState.OK, "every FALCON_ variable is a setting")
    return Finding("Variables", FindingState.WARN, "; ".join(unknown), "correct the name, or unset it")


def how_built(options: str | None = sysconfig.get_config_var("CONFIG_ARGS")) -> str:
    """``options``: with which the interpreter was configured. Those of Debian's, which is optimised, do not say it."""
    return f"built {'with' if '--enable-optimizations' in (options or '') else 'without'} --enable-optimizations"


def python_version(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    found = f"{'.'.join(map(str, version))}, {how_built()}"
    if version >= PYTHON_MIN:
        return Finding("Python", FindingState.OK, found)
    return Finding("Python", FindingState.FAIL, found, "Falcon needs 3.11 or later: make PYTHON=python3.12 run")


def sqlite(version: str) -> Finding:
    if tuple(int(part) for part in version.split(".")) >= SQLITE_MIN:
        return Finding("SQLite", FindingState.OK, version)
    wanted = ".".join(map(str, SQLITE_MIN))
    advice = f"before {wanted} two connections can corrupt a WAL: pip install --upgrade apsw"
    return Finding("SQLite", FindingState.FAIL, version, advice)


def data_directory(path: Path) -> Finding:
    """The folder is writable, or can be created."""
    there = _nearest_existing(path)
    shown = f"{path.absolute()}" + ("" if there == path else " (not created yet)")
    if not there.is_dir():
        return Finding("Data directory", FindingState.FAIL, f"{there} is not a directory", "see FALCON_DATA_DIR")
    if os.access(there, os.W_OK | os.X_OK):
        return Finding("Data directory", FindingState.OK, shown)
    advice = f"not writable: chown it to {os.getuid()}, or set FALCON_DATA_DIR"
    return Finding("Data directory", FindingState.FAIL, shown, advice)


def database(files: Sequence[Path], processes: int) -> Finding:
    """The files of the database are all there, and as many as ``processes``."""
    if missing := [file.name for file in files if not file.exists()]:
        found = f"{', '.join(missing)} of {len(files)} files missing"
        return Finding(
            "Database", FindingState.FAIL, found, "put it back beside the others, or restore a copy of the folder"
        )
    size = sum(file.stat().st_size for file in files)
    found = f"{len(files)} {'file' if len(files) == 1 else 'files'}, {size / 2**20:,.0f} MiB"
    if len(files) == processes:
        return Finding("Database", FindingState.OK, found)
    advice = (
        f"FALCON_PROCESSES is {processes} here: leave it out, or make a copy with falcon copy --processes {processes}"
    )
    return Finding("Database", FindingState.FAIL, found, advice)


def free_disk(path: Path, free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free) -> Finding:
    left = free(_nearest_existing(path))
    found = f"{left / 2**30:,.1f} GiB free"
    if left >= FREE_BYTES_MIN:
        return Finding("Disk", FindingState.OK, found)
    return Finding(
        "Disk",
        FindingState.FAIL,
        found,
        "free 1 GiB: with less Falcon may take nothing new, and on a full disk no command",
    )


def port(name: str, host: str, number: int, running: Running | None) -> Finding:
    """The port is free, or the Falcon of the data directory uses it. That one may use another: then it is named."""
    if running is not None and running.alive:
        used = urlsplit(running.url if name == "FALCON_HTTP_PORT" else running.ops_url).port
        if used is not None and used != number:
            return Finding(f"Port {used}", FindingState.OK, f"in use by this Falcon (process {running.pid})")
    check = f"Port {number}" if number else name
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as fault:
            if fault.errno == errno.EADDRINUSE:
                return _taken(check, name, number, running)
            advice = f"set FALCON_HOST to an address of this machine, and {name} to a port that you may use"
            return Finding(check, FindingState.FAIL, f"{host}: {fault.strerror}", advice)
    return Finding(check, FindingState.OK, "free" if number else "any free one")


def _taken(check: str, name: str, number: int, running: Running | None) -> Finding:
    if running and running.alive and number in (urlsplit(running.url).port, urlsplit(running.ops_url).port):
        return Finding(check, FindingState.OK, f"in use by this Falcon (process {running.pid})")
    advice = f"`ss -ltnp sport = :{number}` shows by whom; or set {name}"
    return Finding(check, FindingState.FAIL, "taken by another program", advice)


def open_files(hard: int | None = None) -> Finding:
    """Falcon raises its soft limit to the hard limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1] if hard is None else hard
    if hard in (resource.RLIM_INFINITY, -1):
        return Finding("Open files", FindingState.OK, "no limit")
    if hard >= OPEN_FILES_MIN:
        return Finding("Open files", FindingState.OK, f"{hard:,}")
    advice = (
        f"each connection is one: nofile {OPEN_FILES_MIN * 4} in /etc/security/limits.conf, or LimitNOFILE of systemd"
    )
    return Finding("Open files", FindingState.WARN, f"{hard:,}", advice)


def clock(data_dir: Path, now: float | None = None) -> Finding:
    """The clock is not before the release of Falcon, nor before the newest data."""
    now = time.time() if now is None else now
    found = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    advice = "set it, and keep it right with NTP: messages carry its time"
    if now < CLOCK_EARLIEST.timestamp():
        return Finding("Clock", FindingState.FAIL, found, advice)
    files = data_dir.iterdir() if data_dir.is_dir() else ()
    newest = max((file.stat().st_mtime for file in files), default=0.0)
    if newest > now + _CLOCK_TOLERANCE_SECONDS:
        return Finding("Clock", FindingState.WARN, f"{found}; the data is {newest - now:,.0f} s ahead of it", advice)
    return Finding("Clock", FindingState.OK, found)


def certificate(files: "TlsFiles", now: float | None = None) -> Finding:
    """The certificate of the public port is valid for a while."""
    ends = files.certificate_ends()
    left = ends - (time.time() if now is None else now)
    found = f"ends on {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M UTC}"
    if left >= CERTIFICATE_SECONDS_MIN:
        return Finding("Certificate", FindingState.OK, found)
    advice = "replace the files of FALCON_TLS_CERT and FALCON_TLS_KEY: new connections use them within a second"
    return Finding("Certificate", FindingState.WARN if left > 0 else FindingState.FAIL, found, advice)


def provider(name: str, issuer: str, fault: str) -> Finding:
    """A provider of sign-ins answers as one. ``fault``: empty if it does."""
    if not fault:
        return Finding(f"Provider {name}", FindingState.OK, f"{issuer} answers")
    advice = "people cannot sign in with it: compare the issuer in FALCON_OIDC_FILE, and look for a firewall"
    return Finding(f"Provider {name}", FindingState.FAIL, fault, advice)


def mail(host: str, fault: str) -> Finding:
    """The mail server takes mail from Falcon. ``fault``: empty if it does."""
    if not fault:
        return Finding("Mail", FindingState.OK, f"{host} takes mail")
    advice = "links are shown and not mailed: compare host, port, tls and user in FALCON_MAIL_FILE"
    return Finding("Mail", FindingState.FAIL, fault, advice)


def opensearch(version: str, behind: int | None, fault: str = "") -> Finding:
    """The index of messages can be asked, and is not far behind. ``fault``: empty if it could be looked at."""
    if fault or not version:
        advice = "searches answer 503: compare FALCON_OPENSEARCH_URL, and look for a firewall"
        return Finding("OpenSearch", FindingState.FAIL, fault or "it is another server", advice)
    if tuple(map(int, version.split(".")[:2])) < OPENSEARCH_MIN:
        wanted = ".".join(map(str, OPENSEARCH_MIN))
        return Finding("OpenSearch", FindingState.WARN, version, f"Falcon is tested with {wanted}")
    if behind is None:
        return Finding("OpenSearch", FindingState.WARN, f"{version}, being filled", "falcon forward fills it")
    found = f"{version}, {behind:,} records behind the log"
    if behind < RECORDS_BEHIND_MAX:
        return Finding("OpenSearch", FindingState.OK, found)
    return Finding("OpenSearch", FindingState.WARN, found, "does falcon forward run? its log says what it waits for")


def trusted_proxies(networks: Sequence[str]) -> Finding:
    """The networks whose clients may claim any address are some proxies', and not those of half the company."""
    found = ", ".join(networks)
    examples = [each for each in networks if any(_is_within(each, example) for example in _EXAMPLES)]
    wide = [each for each in networks if _is_wide(ip_network(each))]
    if not examples and not wide:
        return Finding("Trusted proxies", FindingState.OK, found)
    if examples:
        advice = f"{', '.join(examples)} is an example: set FALCON_TRUSTED_PROXIES to the network of your proxies"
    else:
        advice = f"everyone in {', '.join(wide)} can claim any address: name only the network of your proxies"
    return Finding("Trusted proxies", FindingState.FAIL, found, advice)


def unnamed_proxies(running: Running | None) -> list[Finding]:
    """A proxy has passed a request on to the running Falcon, whose settings do not name it. Empty if none has."""
    if running is None or not running.alive:
        return []
    import httpx

    try:
        measured = httpx.get(
            f"{running.ops_url}/metrics", headers={"accept": "text/plain"}, timeout=3.0, trust_env=False
        )
    except httpx.HTTPError:
        return []  # which ``server`` says
    if not re.search(r"^falcon_unnamed_proxies(\{.*\})? [1-9]", measured.text, re.MULTILINE):
        return []
    found = "a proxy that is not named passes requests on, and all its clients count as one address"
    return [
        Finding(
            "Proxies", FindingState.FAIL, found, "set FALCON_TRUSTED_PROXIES to its address, which Falcon has logged"
        )
    ]


def _is_wide(network: IPv4Network | IPv6Network) -> bool:
    return not network.is_loopback and network.prefixlen < (
        _IPV4_PREFIX_MIN if network.version == 4 else _IPV6_PREFIX_MIN
    )


def _is_within(network: str, example: str) -> bool:
    inner, outer = ip_network(network), ip_network(example)
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def server(running: Running | None) -> Finding:
    """The state that a running Falcon reports."""
    if running is None:
        return Finding("Server", FindingState.OK, "not running", "falcon up starts it")
    if not running.alive:
        found = f"process {running.pid} has crashed or was killed"
        return Finding("Server", FindingState.WARN, found, "falcon up starts it again; acknowledged messages are safe")
    import httpx

    try:
        answer = httpx.get(f"{running.ops_url}/readyz", timeout=3.0, trust_env=False)
    except httpx.HTTPError as fault:
        advice = f"see its output; if that does not help: kill {running.pid}, then falcon up"
        return Finding("Server", FindingState.FAIL, f"{running.ops_url} does not answer ({fault})", advice)
    if answer.is_success:
        return Finding("Server", FindingState.OK, f"ready at {running.url}")
    return Finding(
        "Server", FindingState.FAIL, f"not ready: {answer.text[:200]}", f"see its output, and {running.ops_url}"
    )


def cluster() -> Finding:
    """The doctor examines this machine only."""
    return Finding("Cluster", FindingState.OK, "FALCON_KAFKA names one; not examined", "falcon smoke URL tries it")


def _nearest_existing(path: Path) -> Path:
    while not path.exists():
        path = path.absolute().parent
    return path
