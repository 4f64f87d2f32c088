"""``python -m tools.servers.cluster up|down|status``: a whole Falcon cluster on this machine.

Kafka of three nodes, HBase, OpenSearch, and two of each of Falcon's roles, on loopback. ``build/cluster.json`` lists
the processes, and ``build/cluster.env`` has the settings for a shell.
"""

import argparse
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tools.harness.ports import HOST, is_free
from tools.harness.waiting import holds_within
from tools.servers.daemon import POLL_SECONDS, Daemon, Say, ServerFault, end_all
from tools.servers.hbase import HBase
from tools.servers.jars import ToolMissing
from tools.servers.kafka import Kafka
from tools.servers.opensearch import OpenSearch
from tools.servers.session import on_free_ports

ROOT: Final = Path(__file__).parents[2]
_NOTE: Final = ROOT / "build" / "cluster.json"
_ENVIRONMENT: Final = ROOT / "build" / "cluster.env"
ROLES: Final = ("write", "project", "api")  # in the order in which they are started
_FORWARD: Final = "forward"  # the role of a cluster with an OpenSearch
_PARTITIONS: Final = 16
_FALCON_PORT: Final = 8080
_APART: Final = 10  # between the ports of two processes of a role
_KINDS_APART: Final = 100  # between the roles
_EACH_MAX: Final = 9  # processes of a role
_READY_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0


Ports = tuple[int, int, int]  # the first of Kafka, of HBase, and of Falcon


def free_ports(bases: Iterable[int], servers: "tuple[Kafka, HBase] | None" = None) -> Ports:
    """Free ports for a new cluster, or for Falcon's processes on running servers. Raises ServerFault."""

    def of(base: int) -> Cluster:
        return Cluster(Path(), ports=(base, base + 100, base + 200), servers=servers)

    return on_free_ports(of, bases).first_ports


class Cluster:
    """A cluster in ``folder``. ``settings``: more environment variables for Falcon's processes.

    ``ports``: the first of Kafka, of HBase, and of Falcon. ``servers``: a Kafka and an HBase that run already; ``down``
    and ``wipe`` leave all servers alone then. ``settings_of``: more variables, by role and command. ``opensearch``: the
    cluster has the role ``forward``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Ports | None = None,
        partitions: int = _PARTITIONS,
        region_servers: int = 2,
        settings: Mapping[str, str] | None = None,
        servers: tuple[Kafka, HBase] | None = None,
        settings_of: Mapping[str, Mapping[str, str]] | None = None,
        opensearch: OpenSearch | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.first_ports = ports or (19092, 20090, _FALCON_PORT)
        kafka, hbase, self._port = self.first_ports
        self._owns_servers = servers is None
        self.kafka, self.hbase = servers or (
            Kafka(self.folder / "kafka", kafka, short_timeouts=True),
            HBase(self.folder / "hbase", hbase, region_servers, gateways=2),
        )
        self.opensearch = opensearch
        self.roles = ROLES if opensearch is None else (*ROLES, _FORWARD)
        self.partitions = partitions
        self._settings = dict(settings or {})
        self._settings_of = dict(settings_of or {})

    # --- all of it ----------------------------------------------------------------------------------------------------

    def up(self, say: Say = print, counts: Mapping[str, int] | None = None) -> dict[str, Any]:
        """Start what does not run; gives what ``cluster.json`` says. Raises ServerFault, ToolMissing."""
        began = time.monotonic()
        say(f"Kafka: {self.kafka.start(say)}")
        say(f"HBase: {self.hbase.start(say)}")
        if self.opensearch is not None:
            say(f"OpenSearch: {self.opensearch.start(say)}")
        self._make_secrets()
        say(self.falcon("prepare"))
        for role in self.roles:
            self.scale(role, (counts or {}).get(role, 2))
        for role in self.roles:
            for process in self.processes(role):
                self.await_ready(process)
        described = self.describe()
        say(f"Falcon serves at {', '.join(described['urls'])}; all of it took {time.monotonic() - began:.1f} s")
        return described

    def down(self) -> None:
        """End all of it, the edge first; the data stay."""
        for role in reversed(self.roles):
            end_all(self.processes(role))
        if self._owns_servers and self.opensearch is not None and self.opensearch.folder.exists():
            self.opensearch.stop()
        if self._owns_servers and (self.folder / "hbase" / "hbase.json").exists():
            self.hbase.stop()
        if self._owns_servers and (self.folder / "kafka" / "kafka.json").exists():
            self.kafka.stop()

    def wipe(self) -> None:
        """End all of it at once, and delete its data."""
        for role in reversed(self.roles):
            for process in self.processes(role):
                process.kill()
        if self._owns_servers:
            if self.opensearch is not None:
                self.opensearch.wipe()
            self.hbase.wipe()
            self.kafka.wipe()
        shutil.rmtree(self.folder, ignore_errors=True)

    def describe(self, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The shape of ``cluster.json``. The first accounts are made when there are none. ``known``: an earlier
        description, whose accounts are still the first ones: to look them up takes all roles."""
        made = known or json.loads(self.falcon("credentials"))
        apis = self.processes("api")
        servers = [("kafka", status) for status in self.kafka.status()]
        servers += [("hbase", status) for status in self.hbase.status()]
        if self.opensearch is not None:
            servers += [("opensearch", status) for status in self.opensearch.status()]
        processes = [
            {"role": role, "pid": status.pid, "port": status.port} for role, status in servers if status.pid is not None
        ]
        for role in self.roles:
            processes += [{"role": role, "pid": each.pid(), "port": each.port} for each in self.processes(role)]
        return {
            "urls": [f"http://{HOST}:{each.port}" for each in apis],
            "ops_urls": [self.ops_url(each) for role in self.roles for each in self.processes(role)],
            "account_id": made["account_id"],
            "token": made["token"],
            "admin_token": made["admin_token"],
            "processes": processes,
        }

    def ports(self) -> list[int]:
        """The ports that the cluster may take: of servers that it starts, and of Falcon's processes."""
        servers = [*self.kafka.ports(), *self.hbase.ports()] if self._owns_servers else []
        processes = (self.process(role, number) for role in self.roles for number in range(1, _EACH_MAX + 1))
        return [*servers, *(port for process in processes for port in (process.port, process.port + 1))]

    # --- Falcon's processes -------------------------------------------------------------------------------------------

    def processes(self, role: str) -> list[Daemon]:
        """The processes that run."""
        return [each for number in range(1, _EACH_MAX + 1) if (each := self.process(role, number)).running()]

    def process(self, role: str, number: int) -> Daemon:
        """Counted from 1."""
        kind = ("api", "write", "project", _FORWARD).index(role)
        port = self._port + kind * _KINDS_APART + (number - 1) * _APART
        return Daemon(f"{role}-{number}", port, self.folder / "falcon", "-X")

    def scale(self, role: str, count: int) -> None:
        """Run so many. The ones that are too many have ended when this returns."""
        for number in range(1, count + 1):
            self.start(role, number)
        end_all(each for number in range(count + 1, _EACH_MAX + 1) if (each := self.process(role, number)).running())

    def start(self, role: str, number: int) -> Daemon:
        process = self.process(role, number)
        if not process.running():
            data = self.folder / "falcon" / "data" / process.name
            own = {
                "FALCON_DATA_DIR": str(data),
                "FALCON_HTTP_PORT": str(process.port),
                "FALCON_INTERNAL_PORT": str(process.port),
                "FALCON_OPS_PORT": str(process.port + 1),
            }
            self._await_end(process)
            process.launch(sys.executable, ["-m", "falcon", role, "--json"], {**self.environment(role), **own})
        return process

    def _await_end(self, process: Daemon) -> None:
        """Wait for the children of a killed launcher. They end a moment after it."""
        holds_within(lambda: is_free(process.port) and is_free(process.port + 1), _END_SECONDS, POLL_SECONDS)

    def ops_url(self, process: Daemon) -> str:
        return f"http://{HOST}:{process.port + 1}"

    def await_ready(self, process: Daemon, seconds: float = _READY_SECONDS) -> None:
        """Wait until the process has announced that it serves. Raises ServerFault."""
        process.wait_for(lambda: '"ops_url"' in process.said(), "was ready", seconds)

    def falcon(self, *arguments: str) -> str:
        """Run a Falcon command. Returns its output. Raises ServerFault."""
        return self.falcon_with({}, *arguments)

    def falcon_with(self, settings: Mapping[str, str], *arguments: str) -> str:
        """The same with other settings."""
        done = subprocess.run(
            [sys.executable, "-m", "falcon", *arguments],
            env={**os.environ, **self.environment(arguments[0]), **settings},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ServerFault(f"falcon {' '.join(arguments)} failed: {done.stdout.strip()} {done.stderr.strip()}")
        return done.stdout.strip()

    def environment(self, command: str = "") -> dict[str, str]:
        tables = [sys.executable, "-m", "tools.servers.tables", "--hbase", str(self.hbase.folder)]
        return {
            "PYTHONPATH": str(ROOT),
            "FALCON_KAFKA": self.kafka.bootstrap,
            "FALCON_HBASE": self.hbase.addresses,
            "FALCON_HBASE_CREATE_COMMAND": " ".join(tables),
            "FALCON_HBASE_COMPRESSION": "SNAPPY",  # this HBase has no zstd, and would be asked for it each time
            "FALCON_PARTITIONS": str(self.partitions),
            "FALCON_SECRET_FILE": str(self.folder / "secret"),
            "FALCON_INTERNAL_TOKEN_FILE": str(self.folder / "internal-token"),
            **({} if self.opensearch is None else {"FALCON_OPENSEARCH_URL": self.opensearch.url}),
            **self._settings,
            **self._settings_of.get(command, {}),
        }

    def _make_secrets(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("secret", "internal-token"):
            path = self.folder / name
            if not path.exists():
                path.touch(0o600)
                path.write_text(secrets.token_urlsafe(32))


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.servers.cluster", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("action", choices=("up", "down", "status", "wipe", "scale"))
    parser.add_argument("role", nargs="?", choices=(*ROLES, _FORWARD), help="to scale")
    parser.add_argument("count", nargs="?", type=int, help="how many of it")
    chosen = parser.parse_args(arguments)
    own = {name: value for name, value in os.environ.items() if name.startswith("FALCON_")}
    partitions = int(own.get("FALCON_PARTITIONS", _PARTITIONS))
    folder = ROOT / "build" / "cluster"
    opensearch = OpenSearch(folder / "opensearch")
    cluster = Cluster(folder, partitions=partitions, settings=own, opensearch=opensearch)
    try:
        return _run(cluster, opensearch, chosen)
    except (ServerFault, ToolMissing) as fault:
        print(f"cluster: {fault}", file=sys.stderr)
        return 1


def _write_down(cluster: Cluster, described: dict[str, Any]) -> None:
    """For programs, and for a shell: the command line then finds this cluster. Both files have tokens."""
    settings = cluster.environment() | {
        "FALCON_URL": ",".join(described["urls"]),
        "FALCON_TOKEN": described["token"],
        "FALCON_ADMIN_TOKEN": described["admin_token"],
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in settings.items() if name.startswith("FALCON_")]
    for path, text in ((_NOTE, json.dumps(described, indent=1) + "\n"), (_ENVIRONMENT, "".join(lines))):
        path.touch(0o600)
        path.write_text(text)


def _known() -> dict[str, Any] | None:
    return json.loads(_NOTE.read_text()) if _NOTE.exists() else None


def _forget() -> None:
    for path in (_NOTE, _ENVIRONMENT):
        path.unlink(missing_ok=True)


def _run(cluster: Cluster, opensearch: OpenSearch, chosen: argparse.Namespace) -> int:
    match chosen.action:
        case "up":
            _write_down(cluster, cluster.up())
            print(f"what runs: {_NOTE.relative_to(ROOT)}; for the command line: . {_ENVIRONMENT.relative_to(ROOT)}")
            print("end it with make cluster-down")
        case "down":
            cluster.down()
            _forget()
        case "wipe":
            cluster.wipe()
            _forget()
        case "scale":
            if chosen.role is None or chosen.count is None:
                raise ServerFault("scale what, and to how many?")
            cluster.scale(chosen.role, chosen.count)
            for process in cluster.processes(chosen.role):
                cluster.await_ready(process)
                print(process.status())
            _write_down(cluster, cluster.describe(_known()))
        case "status":
            lines = [*cluster.kafka.status(), *cluster.hbase.status(), *opensearch.status()]
            lines += [each.status() for role in cluster.roles for each in cluster.processes(role)]
            for line in lines:
                print(line)
            return 0 if all(line.pid for line in lines) and cluster.processes("api") else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
