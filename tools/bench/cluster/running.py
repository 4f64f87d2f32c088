"""The cluster that is measured: Falcon on one core, Kafka, HBase and the load generator on the other."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from falcon.adapters.hbase import schema
from falcon.adapters.kafka.cluster import CLIENT_ERRORS, KafkaCluster
from falcon.adapters.kafka.owners import Owners
from falcon.read.catalogue import READ_MODELS
from falcon.run.bootstrap.servers import kafka_cluster
from falcon.run.settings import Settings
from tools.harness.calls import Address, Caller
from tools.harness.machine import Cores
from tools.harness.processes import descendants, scan, spawn, thread_seconds
from tools.harness.progress import say
from tools.harness.scraped import Scraped, scrape
from tools.harness.servers import ServerFailed, Targets, pick_targets
from tools.harness.waiting import eventually_within, until
from tools.servers.cluster import Cluster, Ports

FALCON: Final = ("api", "write", "project")
SERVERS: Final = ("Kafka", "HBase")
_TICK: Final = os.sysconf("SC_CLK_TCK")
_PROJECTED: Final = "falcon_projected_events_total"
_COMPILER: Final = "Compiler"  # in the name of a JVM's thread that compiles
_COMPILED: Final = 0.1  # of a core: what compiling may still take when a server is warm


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes that are started within the block run on that core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Brokers(NamedTuple):
    """Their nodes: the one that leads, and the ones that have all of it."""

    leader: int
    in_sync: tuple[int, ...]


class RunningCluster:
    """One cluster with one of each of Falcon's roles. Errors: ServerFault, ToolMissing, ServerFailed."""

    name = "cluster"

    def __init__(self, folder: Path, cores: Cores, partitions: int, ports: Ports) -> None:
        self.cores = cores
        self.partitions = partitions
        self.cluster = Cluster(
            folder,
            ports=ports,
            partitions=partitions,
            region_servers=1,
            settings={"FALCON_LOG_LEVEL": "warning"},
            dedicated=True,
        )
        self._described: dict[str, Any] = {}

    # --- beginning and end --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start with empty data: end what an earlier run has left in the folder, and delete it."""
        self.cluster.wipe()
        with on_core(self.cores.generator):
            say(f"Kafka: {self.cluster.kafka.start(say)}")
            say(f"HBase: {self.cluster.hbase.start(say)}")
        with on_core(self.cores.server):
            self._described = self.cluster.up(say, dict.fromkeys(FALCON, 1))

    def end(self) -> None:
        """Nothing of it runs or is left when this returns."""
        self.cluster.wipe()

    # --- the edge -----------------------------------------------------------------------------------------------------

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.cluster.process("api", 1).port)

    @property
    def account_id(self) -> int:
        found: int = self._described["account_id"]
        return found

    @property
    def token(self) -> str:
        return str(self._described["token"])

    @property
    def admin_token(self) -> str:
        return str(self._described["admin_token"])

    def fill(self, rooms: int, accounts: int) -> Targets:
        """Make accounts and rooms with all of them as members; gives the rooms with tokens to send to them."""
        admin = Caller(self.address, self.admin_token)
        made = [admin.until_accepted("POST", "/v1/accounts", {"name": f"account {n}"}).json() for n in range(accounts)]
        for account in made:
            self._await_known(account["token"])
        owner = Caller(self.address, made[0]["token"])
        members = [{"account_id": account["account_id"], "role": "member"} for account in made[1:]]
        room_ids = [
            owner.until_accepted("POST", "/v1/rooms", {"name": f"room {n}", "members": members}).json()["room_id"]
            for n in range(rooms)
        ]
        admin.close()
        owner.close()
        return pick_targets(room_ids, [account["token"] for account in made])

    def _await_known(self, token: str) -> None:
        caller = Caller(self.address, token)
        until(lambda: caller.call("GET", "/v1/me").status == 200, "a new account's token was known")
        caller.close()

    # --- Falcon's processes -------------------------------------------------------------------------------------------

    def scale_write(self, count: int) -> None:
        """Run so many, and wait until each owns some partitions and together they own all."""
        cluster = self.cluster
        with on_core(self.cores.server):
            cluster.scale("write", count)
        ports = {process.port for process in cluster.processes("write")}
        for process in cluster.processes("write"):
            cluster.await_ready(process)
        until(lambda: {port_of(each) for each in self.owners().values()} == ports, f"{count} owned all partitions")
        self._prove_writable()

    def _prove_writable(self) -> None:
        """Send until the edge finds the new owners."""
        caller = Caller(self.address, self.admin_token)
        for _ in range(2):
            caller.until_accepted("POST", "/v1/accounts", {"name": "probe"})
        caller.close()

    def start_role(self, role: str) -> None:
        """One of it; returns when it says that it does its work."""
        with on_core(self.cores.server):
            process = self.cluster.start(role, 1)
        self.cluster.await_ready(process)

    def repair(self) -> None:
        """Run one of each role, as by default, after a section that failed."""
        for role in ("project", "api"):
            if not self.cluster.processes(role):
                self.start_role(role)
        self.stop("write")
        self.scale_write(1)

    def stop(self, role: str) -> None:
        for process in self.cluster.processes(role):
            process.end()

    def owners(self, kafka: KafkaCluster | None = None) -> dict[int, str]:
        """Partition → host:port/shard of its newest owner, as far as they have told."""
        return asyncio.run(_owners(kafka or self.kafka_cluster()))

    def brokers(self, kafka: KafkaCluster | None = None) -> dict[int, Brokers]:
        """By partition of the log; empty while the brokers cannot tell."""
        return asyncio.run(_brokers(kafka or self.kafka_cluster()))

    def kafka_cluster(self) -> KafkaCluster:
        return kafka_cluster(self.settings())

    def settings(self) -> Settings:
        return Settings.from_env(self.cluster.environment())

    def create_bare_table(self, name: str) -> None:
        """Create a table like the timeline's, for programs that are no Falcon."""
        (usual,) = schema.table_specs("bare", "timeline", 1, {})
        self.cluster.hbase.create_tables([usual._replace(name=name).line()])

    def falcon(self, *arguments: str) -> float:
        """Run a command on Falcon's core; gives the seconds that it took."""
        begun = time.perf_counter()
        with on_core(self.cores.server):
            self.cluster.falcon(*arguments)
        return time.perf_counter() - begun

    def run(self, module: str, *arguments: str, seconds: float = 900) -> Any:
        """Run one of our programs on Falcon's core; gives the JSON of its last line. Raises ServerFailed."""
        environment = {**os.environ, **self.cluster.environment()}
        command = [sys.executable, "-m", f"tools.bench.cluster.{module}", *arguments]
        process = spawn(command, self.cores.server, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            said, complaints = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as late:
            process.kill()
            raise ServerFailed(f"{module} did not end within {seconds:.0f} s") from late
        if process.returncode:
            raise ServerFailed(f"{module} {' '.join(arguments)} failed: {complaints.decode(errors='replace')[-2000:]}")
        return msgspec.json.decode(said.splitlines()[-1])

    # --- what they use ------------------------------------------------------------------------------------------------

    def work(self) -> dict[str, float]:
        """CPU seconds so far, by role, of what runs now. Between two of these nothing may start or end."""
        processes = scan()
        return {
            role: sum(processes[pid].ticks for pid in descendants(roots, processes)) / _TICK
            for role, roots in self._roots().items()
        }

    def _roots(self) -> dict[str, list[int]]:
        roots = {role: [pid for each in self.cluster.processes(role) if (pid := each.pid())] for role in FALCON}
        statuses = (self.cluster.kafka.status(), self.cluster.hbase.status())
        for name, found in zip(SERVERS, statuses, strict=True):
            roots[name] = [status.pid for status in found if status.pid]
        return roots

    def scrape(self, role: str) -> Scraped:
        """The metrics of the role's first process. Raises OSError."""
        return scrape(self.cluster.ops_url(self.cluster.process(role, 1)))

    def projected(self) -> dict[str, float]:
        """Events that the projector has applied since it was started."""
        scraped = self.scrape("project")
        return {name: scraped.total(_PROJECTED, projection=name) for name in READ_MODELS}

    def warm(self, load: Callable[[], object], seconds: float) -> None:
        """Have the servers work, until their JVMs have compiled what that takes, or for so long."""
        begun = time.monotonic()
        share = 1.0
        while share > _COMPILED and time.monotonic() - begun < seconds:
            compiled, since = self._compiling(), time.monotonic()
            load()
            share = (self._compiling() - compiled) / (time.monotonic() - since)
        say(f"warm after {time.monotonic() - begun:.0f} s: compilers take {share * 100:.0f} % of a core")

    def _compiling(self) -> float:
        return thread_seconds((pid for name in SERVERS for pid in self._roots()[name]), _COMPILER)

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until the projections have nothing more to apply, so that work done after the answers counts."""
        until = time.monotonic() + seconds
        before = self.projected()
        while time.monotonic() < until:
            time.sleep(0.4)
            now = self.projected()
            if now == before:
                return
            before = now
        raise ServerFailed(f"the projections were not done within {seconds:.0f} s")


def port_of(owner: str) -> int:
    """The port in host:port/shard."""
    return int(owner.partition("/")[0].rpartition(":")[2])


async def _owners(kafka: KafkaCluster) -> dict[int, str]:
    owners = Owners(kafka)
    owners.start()
    try:
        await eventually_within(lambda: owners.known >= kafka.partitions, 10, every=0.05)
        await asyncio.sleep(0.1)  # a newer address comes right behind
        return {p: address for p in range(kafka.partitions) if (address := owners.address(p)) is not None}
    finally:
        await owners.stop()


async def _brokers(kafka: KafkaCluster) -> dict[int, Brokers]:
    admin = kafka.admin()
    try:
        await admin.start()
        [topic] = await admin.describe_topics([kafka.journal])
    except CLIENT_ERRORS:
        return {}
    finally:
        await admin.close()
    return {each["partition"]: Brokers(each["leader"], tuple(each["isr"])) for each in topic["partitions"]}
