"""A real HBase on this machine: ZooKeeper, master, region servers and Thrift gateways, on loopback."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from tools.harness.ports import HOST, answers
from tools.servers import thrift
from tools.servers.daemon import POLL_SECONDS, Daemon, Say, ServerFault, Start, Status, end_all, locked
from tools.servers.jars import JAVA, QUICK_START, jars, java

VERSION: Final = "2.6.4-hadoop3"
THRIFT_VERSION: Final = "2.6.1"
PORT: Final = 20090
_START_SECONDS: Final = 120.0  # logs of a kill -9 are split first
_CHECK_SECONDS: Final = 10.0  # longer than the gateway's own patience
_ZOOKEEPER, _MASTER, _REGION_SERVERS = 5, 6, 10  # how far above the first gateway's port they listen
_GATEWAYS_MAX: Final = 4
_REGION_SERVERS_MAX: Final = 3

# Hadoop, Netty and ZooKeeper reach into Java's own modules.
_OPENED: Final = (
    "java.io",
    "java.lang",
    "java.lang.reflect",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "jdk.internal.ref",
    "jdk.internal.util.random",
    "sun.nio.ch",
    "sun.security.util",
    "sun.security.x509",
)
_EXPORTED: Final = (
    "java.base/jdk.internal.misc",
    "java.base/sun.net.dns",
    "java.base/sun.net.util",
    "java.security.jgss/sun.security.krb5",
)
_JVM: Final = (
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",  # it would leave a file behind after a kill -9
    "-XX:+ExitOnOutOfMemoryError",
    "-Xms64m",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    f"-Dlog4j2.configurationFile=file:{JAVA / 'log4j2.properties'}",
    "-Dorg.apache.hbase.thirdparty.io.netty.tryReflectionSetAccessible=true",
    "--add-modules=jdk.unsupported",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
    *(f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTED),
)


def settings() -> dict[str, str]:
    """The settings that are the same here and in deploy/compose. Times are in milliseconds."""
    values: dict[str, object] = {
        # A region server that is dead is noticed after six seconds. With less, one that was only paused may lose rows.
        "zookeeper.session.timeout": 6_000,
        "hbase.zookeeper.property.tickTime": 1_000,
        # The gateway is HBase's client. It must give up before its own callers do, or they would get nothing at all.
        "hbase.rpc.timeout": 3_000,
        "hbase.client.operation.timeout": 8_000,
        "hbase.client.meta.operation.timeout": 8_000,
        "hbase.client.scanner.timeout.period": 8_000,
        "hbase.client.pause": 50,
        "hbase.client.retries.number": 15,
        # A thread for each connection: one more than these is accepted, and hangs.
        "hbase.thrift.minWorkerThreads": 256,
        "hbase.thrift.maxWorkerThreads": 256,
        "hbase.thrift.server.socket.read.timeout": 600_000,
        # These let it start quickly.
        "hbase.master.wait.on.regionservers.timeout": 500,
        "hbase.master.wait.on.regionservers.interval": 100,
        "hbase.regionserver.msginterval": 300,
        # A small machine; no pages for people.
        "hbase.master.info.port": -1,
        "hbase.regionserver.info.port": -1,
        "hbase.regionserver.handler.count": 16,
        "hbase.regionserver.metahandler.count": 4,
        "hbase.regionserver.global.memstore.size": 0.35,
        "hfile.block.cache.size": 0.3,
        "hbase.hregion.memstore.flush.size": 64 << 20,
    }
    return {name: str(value) for name, value in values.items()}


class HBase:
    """A cluster in ``folder``; gateway K listens on ``port`` + K - 1.

    Its roles are ``zk``, ``master``, ``rs1`` …, ``thrift1`` …. Without ``region_servers``, the master's process is
    ZooKeeper and region server too. ``heap_mib``: of the master's process, and of each region server. ``listen``: the
    address of the gateways; everything else stays on loopback.
    """

    def __init__(
        self,
        folder: Path,
        port: int = PORT,
        region_servers: int = 0,
        gateways: int = 1,
        heap_mib: int = 384,
        listen: str = HOST,
    ) -> None:
        if not 0 <= region_servers <= _REGION_SERVERS_MAX:
            raise ServerFault(f"HBase runs with 0 to {_REGION_SERVERS_MAX} region servers here, not {region_servers}")
        if not 1 <= gateways <= _GATEWAYS_MAX:
            raise ServerFault(f"HBase runs with 1 to {_GATEWAYS_MAX} gateways here, not {gateways}")
        self.folder = folder.resolve()
        self.port = port
        self.region_servers = region_servers
        self.gateways = gateways
        self.heap_mib = heap_mib
        self.listen = listen
        self._jvm = (*_JVM, *QUICK_START)
        ports = {
            **({"zk": port + _ZOOKEEPER} if region_servers else {}),
            "master": port + _MASTER,
            **{f"rs{i}": port + _REGION_SERVERS + i for i in range(1, region_servers + 1)},
            **{f"thrift{i}": port + i - 1 for i in range(1, gateways + 1)},
        }
        self._daemons = {role: Daemon(role, port, self.folder) for role, port in ports.items()}

    @classmethod
    def open(cls, folder: Path) -> "HBase":
        """The cluster that was started in this folder. Raises ServerFault when there is none."""
        try:
            shape = json.loads((folder / "hbase.json").read_text())
            return cls(folder, **shape)
        except (OSError, ValueError, TypeError) as error:
            raise ServerFault(f"no HBase has been started in {folder}") from error

    @property
    def addresses(self) -> str:
        """``host:port,host:port,…`` of the gateways: what clients are given."""
        return ",".join(f"{HOST}:{self.port + i}" for i in range(self.gateways))

    @property
    def roles(self) -> list[str]:
        """In the order in which they are started."""
        return list(self._daemons)

    def ports(self) -> list[int]:
        """Every port that it listens on."""
        alone = [] if self.region_servers else [self.port + _ZOOKEEPER, self.port + _REGION_SERVERS + 1]
        return [daemon.port for daemon in self._daemons.values()] + alone

    def start(self, say: Say = lambda line: None) -> Start:
        """Start what does not run and wait until every gateway serves every region. Raises ServerFault."""
        program = java()
        library = fetch(say)
        with locked(self.folder / "lock"):
            began = time.monotonic()
            first = not (self.folder / "data").is_dir()
            self._note_shape()
            missing = [role for role, daemon in self._daemons.items() if not daemon.running()]
            if missing:
                self._configure()
            for role in missing:
                self._launch(role, program, library)
                self._wait_for_zookeeper(role)
            self.wait()
            return Start(seconds=time.monotonic() - began, first=first, launched=len(missing))

    def wait(self, seconds: float = _START_SECONDS) -> None:
        """Wait until every gateway serves every region. Raises ServerFault."""
        until = time.monotonic() + seconds
        for role in self._gateway_roles():
            self._wait_for(role, until)

    def check(self) -> None:
        """Raises ServerFault unless every gateway serves every region right now."""
        for role in self._gateway_roles():
            try:
                thrift.check(self._daemons[role].port, _CHECK_SECONDS)
            except thrift.NotServed as error:
                raise ServerFault(f"{role} does not serve: {error}") from error

    def stop(self) -> None:
        """Nothing of it runs when this returns; the data stay."""
        with locked(self.folder / "lock"):
            # Each ends before the servers that it needs: region servers hand their regions back to a running master.
            for kind in ("thrift", "rs", "master", "zk"):
                end_all(daemon for role, daemon in self._daemons.items() if role.startswith(kind))

    def wipe(self) -> None:
        """End it at once and forget everything: data, logs, configuration."""
        with locked(self.folder / "lock"):
            for daemon in self._daemons.values():
                daemon.kill()
        for name in ("data", "tmp", "log", "run", "conf"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / "hbase.json").unlink(missing_ok=True)

    def status(self) -> list[Status]:
        return [daemon.status() for daemon in self._daemons.values()]

    def pid(self, role: str) -> int | None:
        return self._daemon(role).pid()

    def running(self, role: str) -> bool:
        """True if its process exists, also if it is paused or does not serve yet."""
        return self._daemon(role).running()

    def kill(self, role: str) -> None:
        """kill -9 of one role; it is gone when this returns."""
        self._daemon(role).kill()

    def pause(self, role: str) -> None:
        self._daemon(role).pause()

    def resume(self, role: str) -> None:
        """A region server that was paused for longer than its ZooKeeper session (6 s) must be killed instead.

        On plain files nothing shuts it out, as HDFS would. Awake again it may still write over what others have taken
        over, HBase's own tables included, and then rows are lost, or HBase never comes up again.
        """
        self._daemon(role).resume()

    def up(self, role: str, *, wait: bool = True) -> None:
        """Start one role, and wait until it accepts connections; whether HBase serves, ``wait()`` tells."""
        daemon = self._daemon(role)
        if not daemon.running():
            self._launch(role, java(), fetch(lambda line: None))
        if wait:
            daemon.wait_for(lambda: answers(daemon.port), f"answered at port {daemon.port}", _START_SECONDS)

    def restart(self, role: str) -> None:
        self._daemon(role).end()
        self.up(role)

    def create_tables(self, lines: Iterable[str]) -> list[str]:
        """Tables as lines of ``NAME FAMILY REGIONS ATTRIBUTE=VALUE …``, attributes as HBase's shell knows them.

        Split evenly on the first byte of the key. Says of each ``NAME created`` or ``NAME exists``; one that exists is
        left as it is. Raises ServerFault, with one line, when a line is wrong (then nothing is made) or HBase is away.
        """
        wanted = [line.strip() for line in lines if line.strip()]
        for line in wanted:
            _check_line(line)
        self.check()
        command = [java(), "-Xmx128m", *_JVM, *QUICK_START, "-cp", self._class_path(fetch(lambda line: None))]
        done = subprocess.run(
            [*command, str(JAVA / "CreateTables.java")],
            input="\n".join(wanted),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServerFault(_reason(done.stderr))
        return [line for line in done.stdout.splitlines() if line.endswith((" created", " exists"))]  # no warnings

    # --- configuration ------------------------------------------------------------------------------------------------

    def _note_shape(self) -> None:
        """Raises ServerFault when it runs in another shape."""
        noted = self.folder / "hbase.json"
        shape = {name: getattr(self, name) for name in ("port", "region_servers", "gateways", "heap_mib", "listen")}
        if noted.exists() and json.loads(noted.read_text()) != shape:
            before = HBase.open(self.folder)
            if any(status.pid for status in before.status()):
                raise ServerFault(
                    f"the HBase in {self.folder} runs in another shape ({noted.read_text().strip()}); stop it"
                )
        beside = noted.with_suffix(".new")
        beside.write_text(json.dumps(shape) + "\n")
        beside.rename(noted)

    def _configure(self) -> None:
        conf = self.folder / "conf"
        conf.mkdir(exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        properties = self._own_settings() | settings()
        lines = (f"<property><name>{n}</name><value>{escape(v)}</value></property>" for n, v in properties.items())
        (conf / "hbase-site.xml").write_text("\n".join(["<configuration>", *lines, "</configuration>", ""]))
        zookeeper = {
            "clientPort": self.port + _ZOOKEEPER,
            "clientPortAddress": HOST,
            "dataDir": self.folder / "data" / "zk",
            "tickTime": 1_000,
            "minSessionTimeout": 2_000,
            "maxSessionTimeout": 90_000,
            "maxClientCnxns": 0,
            "admin.enableServer": "false",
        }
        (conf / "zoo.cfg").write_text("".join(f"{name}={value}\n" for name, value in zookeeper.items()))

    def _own_settings(self) -> dict[str, str]:
        values: dict[str, object] = {
            "hbase.cluster.distributed": str(self.region_servers > 0).lower(),
            "hbase.rootdir": (self.folder / "data" / "hbase").as_uri(),
            "hbase.tmp.dir": self.folder / "tmp",
            # Acknowledged means written to the kernel, so that it outlives a kill -9. The checksumming file system, the
            # default here, keeps writes in a buffer of its own; the raw one does not, and HBase is set to insist.
            "fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
            "hbase.unsafe.stream.capability.enforce": "true",
            "hbase.wal.provider": "filesystem",
            "hbase.zookeeper.quorum": HOST,
            "hbase.zookeeper.property.clientPort": self.port + _ZOOKEEPER,
            "hbase.zookeeper.property.dataDir": self.folder / "data" / "zk",
            "hbase.master.hostname": "localhost",
            "hbase.master.ipc.address": HOST,
            "hbase.master.port": self.port + _MASTER,
            "hbase.regionserver.hostname": "localhost",
            "hbase.regionserver.ipc.address": HOST,
            "hbase.regionserver.port": self.port + _REGION_SERVERS + 1,
            "hbase.localcluster.assign.random.ports": "false",
            "hbase.master.wait.on.regionservers.mintostart": max(1, self.region_servers),
        }
        if not self.region_servers:
            # When the one process ends, its ZooKeeper goes first; the rest is not to continue looking for it.
            values |= {"zookeeper.recovery.retry": 1, "zookeeper.recovery.retry.intervalmill": 200}
        return {name: str(value) for name, value in values.items()}

    # --- processes ----------------------------------------------------------------------------------------------------

    def _daemon(self, role: str) -> Daemon:
        if role not in self._daemons:
            raise ServerFault(f"there is no role {role}; the roles are {', '.join(self._daemons)}")
        return self._daemons[role]

    def _gateway_roles(self) -> list[str]:
        return [role for role in self._daemons if role.startswith("thrift")]

    def _class_path(self, library: Path) -> str:
        return f"{self.folder / 'conf'}:{library}/*"

    def _launch(self, role: str, program: str, library: Path) -> None:
        options = [*self._jvm, f"-Djava.io.tmpdir={self.folder / 'tmp'}", f"-Dhbase.log.dir={self.folder / 'log'}"]
        heap, main = self._command(role)
        command = [f"-Xmx{heap}m", *options, "-cp", self._class_path(library), *main]
        self._daemons[role].launch(program, command, {"MALLOC_ARENA_MAX": "4"})

    def _command(self, role: str) -> tuple[int, list[str]]:
        """Its heap in MiB, its class and arguments."""
        port = str(self._daemons[role].port)
        if role == "zk":
            configuration = str(self.folder / "conf" / "zoo.cfg")
            return 96, ["org.apache.zookeeper.server.ZooKeeperServerMain", configuration]
        if role == "master":
            return self.heap_mib, ["org.apache.hadoop.hbase.master.HMaster", "start"]
        if role.startswith("rs"):
            own = ["-D", f"hbase.regionserver.port={port}"]
            return self.heap_mib, ["org.apache.hadoop.hbase.regionserver.HRegionServer", *own, "start"]
        bind = ["-b", self.listen, "-p", port, "--infoport", "-1", "-threadpool"]
        return 192, ["org.apache.hadoop.hbase.thrift.ThriftServer", "start", *bind]

    def _wait_for_zookeeper(self, role: str) -> None:
        """The others look for it at once, and some do not look twice."""
        if role == ("zk" if self.region_servers else "master"):
            port = self.port + _ZOOKEEPER
            self._daemons[role].wait_for(lambda: answers(port), f"answered at port {port}", _START_SECONDS)

    def _wait_for(self, gateway: str, until: float) -> None:
        port = self._daemons[gateway].port
        while True:
            for daemon in self._daemons.values():
                if not daemon.running():
                    raise daemon.fault("has ended")
            try:
                return thrift.check(port, _CHECK_SECONDS)
            except thrift.NotServed as error:
                if time.monotonic() > until:
                    raise self._daemons["master"].fault(f"does not serve through {gateway} ({error})") from error
            time.sleep(POLL_SECONDS)


def fetch(say: Say) -> Path:
    """The folder of HBase's jars. Raises ServerFault."""
    versions = {"hbase.version": VERSION, "hbase.thrift.version": THRIFT_VERSION}
    return jars(f"hbase-{VERSION}", JAVA / "hbase-pom.xml", versions, say)


def default_folder() -> Path:
    """Below build/, which is not part of the project."""
    return Path(__file__).parents[2] / "build" / "cluster" / "hbase"


def _check_line(line: str) -> None:
    words = line.split()
    if len(words) < 3 or not words[2].isdecimal() or not all("=" in word for word in words[3:]):
        raise ServerFault(f"not a table: {line!r}; it is NAME FAMILY REGIONS ATTRIBUTE=VALUE ...")
    if not 1 <= int(words[2]) <= 256:
        raise ServerFault(f"{words[0]}: 1 to 256 regions, not {words[2]}")


def _reason(said: str) -> str:
    """One line out of what a Java program says on standard error, where the servers' libraries may warn as well."""
    if "jdk.compiler" in said:
        return "this Java cannot run programs in source: a whole JDK is needed, not only its runtime"
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "the tables could not be made, without a word why"
