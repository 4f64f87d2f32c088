"""A real Kafka on this machine: three nodes (or one), each broker and controller, on loopback."""

import base64
import json
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from tools.harness.ports import HOST, answers
from tools.servers.daemon import Daemon, Say, ServerFault, Start, Status, end_all, locked
from tools.servers.jars import JAVA, QUICK_START, jars, java

VERSION: Final = "4.1.2"
PORT: Final = 19092
_START_SECONDS: Final = 90.0  # a machine full of other work takes its time
_CONTROLLERS: Final = 10  # how far above a broker's port its controller listens
_NODES: Final = 20  # and where the other nodes reach it, if clients do so by a name
_BATCH_MAX: Final = 8 << 20  # bytes; what the largest command can become, in one batch
_LOG_CONFIGURATION: Final = f"-Dlog4j2.configurationFile=file:{JAVA / 'log4j2.properties'}"
# A lost broker or controller is noticed this soon. The price: four heartbeats a second from each broker, and elections
# whenever a JVM or its disk pauses for longer.
_SHORT_TIMEOUTS: Final = {
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "250",
    "controller.quorum.fetch.timeout.ms": "1000",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.election.backoff.max.ms": "250",
}
_JVM: Final = (
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",  # it would leave a file behind after a kill -9
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    _LOG_CONFIGURATION,
)


def settings(nodes: int) -> dict[str, str]:
    """The settings that are the same for every node, here and in deploy/compose."""
    replicas, in_sync = (3, 2) if nodes >= 3 else (1, 1)
    values: dict[str, object] = {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        # No acknowledged record is lost with any single node.
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "unclean.leader.election.enable": "false",
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # Falcon makes its topics: one that a client made by chance would have other settings.
        "auto.create.topics.enable": "false",
        "num.partitions": 8,
        "log.retention.ms": -1,
        "message.max.bytes": _BATCH_MAX,
        "replica.fetch.max.bytes": _BATCH_MAX,
        # A lost leader is noticed after six seconds; owners may ask for less.
        "broker.session.timeout.ms": 6_000,
        "broker.heartbeat.interval.ms": 1_000,
        "replica.lag.time.max.ms": 10_000,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 2_000,
        # A small machine. The cleaner stays on, as is the default: there are compacted topics.
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.num.partitions": 1,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
        "log.cleaner.threads": 1,
        "log.index.size.max.bytes": 1 << 20,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.replica.fetchers": 1,
        "background.threads": 4,
    }
    return {name: str(value) for name, value in values.items()}


class Kafka:
    """A cluster in ``folder``; broker I listens on ``port`` + I - 1. Nodes are counted from 1.

    The number of nodes is fixed by the first start. ``heap_mib``: of each node. ``listen``: the address that clients
    reach, and ``advertise`` the name by which they do; its nodes talk to one another on loopback all the same.
    ``short_timeouts``: a broker or controller that is silent for 1.5 s counts as dead; without them, for 6 s.
    """

    def __init__(
        self,
        folder: Path,
        port: int = PORT,
        nodes: int = 3,
        heap_mib: int = 384,
        listen: str = HOST,
        advertise: str = "",
        *,
        short_timeouts: bool = False,
    ) -> None:
        if nodes not in (1, 3):
            raise ServerFault(f"Kafka runs with 1 node or 3, not {nodes}")
        if listen != HOST and not advertise:
            raise ServerFault(f"Kafka tells its clients where to find it: say by which name they reach {listen}")
        self.folder = folder.resolve()
        self.port = port
        self.nodes = nodes
        self.heap_mib = heap_mib
        self.listen = listen
        self.advertise = advertise
        self._timeouts = _SHORT_TIMEOUTS if short_timeouts else {}
        self._jvm = (*_JVM, *QUICK_START)
        self._daemons = {i: Daemon(f"kafka{i}", port + i - 1, self.folder) for i in range(1, nodes + 1)}

    @classmethod
    def open(cls, folder: Path) -> "Kafka":
        """The cluster that was started in this folder. Raises ServerFault when there is none."""
        try:
            shape = json.loads((folder / "kafka.json").read_text())
            listen, advertise = shape.get("listen", HOST), shape.get("advertise", "")
            return cls(folder, shape["port"], shape["nodes"], shape["heap_mib"], listen, advertise)
        except (OSError, ValueError, KeyError) as error:
            raise ServerFault(f"no Kafka has been started in {folder}") from error

    @property
    def bootstrap(self) -> str:
        """``host:port,host:port,…``: what clients are given."""
        return ",".join(f"{self.advertise or HOST}:{daemon.port}" for daemon in self._daemons.values())

    def ports(self) -> list[int]:
        """Every port that it listens on."""
        above = (0, _CONTROLLERS, _NODES) if self.advertise else (0, _CONTROLLERS)
        return [daemon.port + more for more in above for daemon in self._daemons.values()]

    def start(self, say: Say = lambda line: None) -> Start:
        """Start what does not run and wait until every node serves. Raises ServerFault."""
        program = java()
        library = fetch(say)
        with locked(self.folder / "lock"):
            began = time.monotonic()
            first = not (self.folder / "data").is_dir()
            self._check_shape()
            missing = [i for i in self._daemons if not self.running(i)]
            self._format(program, library)
            for i in missing:
                self._launch(i, program, library)
            for i in self._daemons:
                self._wait(i)
            return Start(seconds=time.monotonic() - began, first=first, launched=len(missing))

    def stop(self) -> None:
        """Nothing of it runs when this returns; the data stay."""
        with locked(self.folder / "lock"):
            end_all(self._daemons.values())

    def wipe(self) -> None:
        """End it at once and forget everything: data, logs, configuration."""
        with locked(self.folder / "lock"):
            for daemon in self._daemons.values():
                daemon.kill()
        for name in ("data", "log", "run", "conf"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / "kafka.json").unlink(missing_ok=True)

    def status(self) -> list[Status]:
        return [daemon.status() for daemon in self._daemons.values()]

    def check(self) -> None:
        """Raises ServerFault unless every node accepts connections right now."""
        for daemon in self._daemons.values():
            if not answers(daemon.port):
                raise ServerFault(f"{daemon.name} does not answer at port {daemon.port}")

    def pid(self, node: int) -> int | None:
        return self._node(node).pid()

    def kill(self, node: int) -> None:
        """kill -9 of one node; it is gone when this returns."""
        self._node(node).kill()

    def pause(self, node: int) -> None:
        self._node(node).pause()

    def resume(self, node: int) -> None:
        self._node(node).resume()

    def up(self, node: int, *, wait: bool = True) -> None:
        """Start one node. Waiting for it to serve needs the majority of the nodes."""
        self._node(node)
        if not self.running(node):
            self._launch(node, java(), fetch(lambda line: None))
        if wait:
            self._wait(node)

    def running(self, node: int) -> bool:
        """True if its process exists, also if it is paused or does not serve yet."""
        return self._node(node).running()

    def _node(self, node: int) -> Daemon:
        if node not in self._daemons:
            raise ServerFault(f"there is no node {node}; the nodes are 1 to {self.nodes}")
        return self._daemons[node]

    def _wait(self, node: int) -> None:
        daemon = self._daemons[node]
        try:
            daemon.wait_for(lambda: "Kafka Server started" in daemon.said(), "served", _START_SECONDS)
        except ServerFault as fault:  # its controller may be another node, and the cause be in that one's log
            others = (other for other in self._daemons.values() if other is not daemon)
            tails = (f"{other.status()}\n{other.tail()}" for other in others)
            raise ServerFault("\n".join((str(fault), *tails))) from fault

    # --- shape and configuration --------------------------------------------------------------------------------------

    def _check_shape(self) -> None:
        """The voters are fixed when the data are made, and a port cannot change under a node that runs."""
        if not (self.folder / "kafka.json").exists():
            self._note_shape("")
            return
        shape = json.loads((self.folder / "kafka.json").read_text())
        before = Kafka.open(self.folder)
        if before.nodes != self.nodes:
            raise ServerFault(
                f"the data in {self.folder} are of {before.nodes} node(s); wipe them, or use another folder"
            )
        same = (before.port, before.listen, before.advertise) == (self.port, self.listen, self.advertise)
        if not same and any(status.pid for status in before.status()):
            raise ServerFault(f"the Kafka in {self.folder} runs at {before.bootstrap}; stop it first")
        self._note_shape(shape["cluster"])

    def _note_shape(self, cluster: str) -> None:
        # Kafka wants 16 bytes in base64url for a cluster's id, not beginning with a hyphen.
        cluster = cluster or base64.urlsafe_b64encode(b"falcon" + secrets.token_bytes(10)).decode().rstrip("=")
        shape = {"port": self.port, "nodes": self.nodes, "heap_mib": self.heap_mib, "cluster": cluster}
        shape |= {"listen": self.listen, "advertise": self.advertise}
        noted = self.folder / "kafka.json"
        beside = noted.with_suffix(".new")
        beside.write_text(json.dumps(shape) + "\n")
        beside.rename(noted)

    def _configure(self, node: int) -> Path:
        voters = (f"{i}@{HOST}:{daemon.port + _CONTROLLERS}" for i, daemon in self._daemons.items())
        own = {
            "node.id": str(node),
            "controller.quorum.voters": ",".join(voters),
            "log.dirs": str(self.folder / "data" / str(node)),
        }
        path = self.folder / "conf" / f"{node}.properties"
        path.parent.mkdir(exist_ok=True)
        values = own | settings(self.nodes) | self._timeouts | self._listeners(self._daemons[node].port)
        path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        return path

    def _listeners(self, port: int) -> dict[str, str]:
        clients, controller = f"PLAINTEXT://{self.listen}:{port}", f"CONTROLLER://{HOST}:{port + _CONTROLLERS}"
        if not self.advertise:
            return {"listeners": f"{clients},{controller}"}
        # The name may lead here only once all of it serves, so the nodes must not need it to find one another.
        nodes = f"NODES://{HOST}:{port + _NODES}"
        return {
            "listeners": f"{clients},{nodes},{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.advertise}:{port},{nodes}",
            "inter.broker.listener.name": "NODES",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,NODES:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        }

    # --- processes ----------------------------------------------------------------------------------------------------

    def _format(self, program: str, library: Path) -> None:
        """Nodes without data get theirs, side by side."""
        cluster = json.loads((self.folder / "kafka.json").read_text())["cluster"]
        tool = [program, "-Xmx128m", *_JVM, *QUICK_START, "-cp", f"{library}/*", "kafka.tools.StorageTool"]
        running = {
            node: subprocess.Popen(
                [*tool, "format", "--cluster-id", cluster, "--config", str(self._configure(node)), *self._users()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for node in self._daemons
            if not (self.folder / "data" / str(node) / "meta.properties").exists()
        }
        said = {node: process.communicate()[0] for node, process in running.items()}
        for node, process in running.items():
            if process.returncode != 0:
                raise ServerFault(f"the data of node {node} could not be made:\n{said[node]}")

    def _users(self) -> list[str]:
        """Options of the format, for users that are there from the start."""
        return []

    def _launch(self, node: int, program: str, library: Path) -> None:
        heap = (f"-Xmx{self.heap_mib}m", f"-Xms{min(self.heap_mib, 64)}m", "-XX:MaxDirectMemorySize=128m")
        options = [*heap, *self._jvm, "-cp", f"{library}/*", "kafka.Kafka", str(self._configure(node))]
        self._daemons[node].launch(program, options, {"MALLOC_ARENA_MAX": "4"})


def fetch(say: Say) -> Path:
    """The folder of Kafka's jars. Raises ServerFault."""
    return jars(f"kafka-{VERSION}", JAVA / "kafka-pom.xml", {"kafka.version": VERSION}, say)


def default_folder() -> Path:
    """Below build/, which is not part of the project."""
    return Path(__file__).parents[2] / "build" / "cluster" / "kafka"
