"""The cluster under faults: Kafka, HBase and Falcon's pods. The second pod of each role has a network of its own."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.base.process import descendants
from tools.chaos.apart import Apart, NotPermitted
from tools.harness.ports import free_port
from tools.harness.waiting import NotInTime, eventually
from tools.people.audit import Audit, log_of
from tools.people.crowd import Crowd
from tools.people.folds import judge_export
from tools.people.listener import Log
from tools.servers.cluster import ROLES, Cluster, free_ports
from tools.servers.daemon import Daemon
from tools.servers.hbase import HBase
from tools.servers.kafka import Kafka
from tools.servers.opensearch import OpenSearch

PARTITIONS: Final = 8
_BASES: Final = range(26_000, 31_000, 500)
_KAFKA_HEAP_MIB, _HBASE_HEAP_MIB = 256, 256
_SECOND: Final = 2  # of each role lives apart
_PODS_MAX: Final = 3
_SMALL_DISK: Final = 3  # the broker whose data lie on a file system of their own
_DISK_SIZE: Final = "4g"
_HEAL_SECONDS: Final = 180.0

Say = Callable[[str], None]


class NotHealed(NotInTime):
    """A process or server has not come back after a fault."""


class ChaosCluster(Cluster):
    """In ``folder``, which is emptied first. Used within one event loop; what blocks goes to threads."""

    def __init__(self, folder: Path, settings: dict[str, str] | None = None, region_servers: int = 2) -> None:
        ports = free_ports(_BASES)
        super().__init__(
            folder,
            ports=ports,
            partitions=PARTITIONS,
            opensearch=OpenSearch(folder / "opensearch", free_port()),
            # As under Kubernetes: processes that start while Kafka is away wait for it.
            settings={"FALCON_LOG_LEVEL": "info", "FALCON_START_SECONDS": f"{_HEAL_SECONDS:.0f}", **(settings or {})},
        )
        self.kafka = Kafka(self.folder / "kafka", ports[0], heap_mib=_KAFKA_HEAP_MIB)
        self.hbase = HBase(self.folder / "hbase", ports[1], region_servers, gateways=2, heap_mib=_HBASE_HEAP_MIB)
        self.apart: dict[str, Apart] = {}
        self.has_small_disk = False
        self.counts = {**dict.fromkeys(ROLES, 2), "forward": 1}
        self.urls: list[str] = []
        self.admin_token = ""
        self.skipped: set[tuple[int, int]] = set()  # rooms and seqs
        self.exports = self.folder / "exports"

    # --- beginning and end --------------------------------------------------------------------------------------------

    async def begin(self, say: Say) -> dict[str, Any]:
        """Everything serves when this returns; gives what ``cluster.json`` says."""
        await asyncio.to_thread(self.end)  # what an earlier run has left, if it was killed
        self.folder.mkdir(parents=True)
        self.has_small_disk = _mount(self._small_disk)
        try:
            for role in ROLES:
                self.apart[role] = Apart()
                await self._lead(role)
        except NotPermitted as why:
            say(f"no pod will be cut off: {why}")
            self.apart = {}
        described = await asyncio.to_thread(self.up, say, self.counts)
        self.urls, self.admin_token = described["urls"], described["admin_token"]
        return described

    async def close(self) -> None:
        """Nothing is left when this returns, save what ``keep_logs`` has put aside."""
        await asyncio.to_thread(self.end)
        for apart in self.apart.values():
            await apart.close()

    def end(self) -> None:
        for role in self.roles:
            for number in range(1, 10):
                self._kill_tree(self.process(role, number))
        self.hbase.wipe()
        for node in range(1, self.kafka.nodes + 1):
            self.kafka.kill(node)
        while _is_mounted(self._small_disk):
            subprocess.run(["umount", "--lazy", str(self._small_disk)], check=True)
        self.wipe()

    def keep_logs(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        for part in ("falcon", "kafka", "hbase", "opensearch"):
            if (log := self.folder / part / "log").is_dir():
                shutil.copytree(log, folder / part)

    async def _lead(self, role: str) -> None:
        apart, own = self.apart[role], self.process(role, _SECOND).port
        others = [self.hbase.port + i for i in range(self.hbase.gateways)]
        if role == "api":
            assert self.opensearch is not None
            others.append(self.opensearch.port)
            others += [self.process("write", number).port for number in range(1, _PODS_MAX + 1)]
        await apart.lead_out([self.kafka.port + i for i in range(self.kafka.nodes)], can_be_shut=True)
        await apart.lead_out(others, can_be_shut=False)
        await apart.lead_in([own, own + 1])

    # --- pods ---------------------------------------------------------------------------------------------------------

    def start(self, role: str, number: int) -> Daemon:
        if number == _SECOND and role in self.apart:
            return self.apart[role].do(lambda: super(ChaosCluster, self).start(role, number))
        return super().start(role, number)

    async def start_and_wait(self, role: str, number: int) -> None:
        process = await asyncio.to_thread(self.start, role, number)
        await asyncio.to_thread(self.await_ready, process, _HEAL_SECONDS)

    async def scale_and_wait(self, role: str, count: int) -> None:
        await asyncio.to_thread(self.scale, role, count)
        self.counts[role] = count
        for process in self.processes(role):
            await asyncio.to_thread(self.await_ready, process, _HEAL_SECONDS)

    def serving_pid(self, role: str, number: int) -> int | None:
        """The process that does a pod's work, below its launcher; None when there is none just now."""
        pid = self.process(role, number).pid()
        below = descendants(pid) if pid else []
        return below[0] if below else None

    async def kill_serving(self, role: str, number: int) -> None:
        """Kill it, and wait until the launcher has brought up another."""
        pid = await self._serving(role, number)
        os.kill(pid, signal.SIGKILL)
        await eventually(
            lambda: self.serving_pid(role, number) not in (None, pid), f"{role} {number} is restarted", _HEAL_SECONDS
        )

    async def pause_serving(self, role: str, number: int, seconds: float) -> None:
        pid = await self._serving(role, number)
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    async def _serving(self, role: str, number: int) -> int:
        await eventually(lambda: self.serving_pid(role, number) is not None, f"{role} {number} runs", _HEAL_SECONDS)
        pid = self.serving_pid(role, number)
        if pid is None:
            raise NotHealed(f"{role} {number} has ended by itself")
        return pid

    def kill_pod(self, role: str, number: int) -> None:
        self._kill_tree(self.process(role, number))

    def _kill_tree(self, launcher: Daemon) -> None:
        pid = launcher.pid()
        below = descendants(pid) if pid else []
        launcher.kill()
        for each in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    # --- checks after the run -----------------------------------------------------------------------------------------

    async def audit(self, crowd: Crowd, log: Log) -> None:
        people = crowd.accounts, crowd.guests, crowd.history
        audit = Audit(self.urls, *people, log=log, is_searched=True, skipped=self.skipped)
        await audit.run(log_of(self.journal()))

    def verify(self) -> str:
        """Returns the output of ``falcon verify``. Raises ServerFault for a difference."""
        return self.falcon("verify")

    def judge_exports(self) -> Iterator[list[str]]:
        """The faults of each export."""
        for path in sorted(self.exports.glob("*.jsonl")):
            yield judge_export(path, log_of(self.journal()), self.skipped)

    # --- brokers ------------------------------------------------------------------------------------------------------

    def journal(self) -> KafkaCluster:
        return KafkaCluster(tuple(self.kafka.bootstrap.split(",")), self.partitions)

    async def leader(self, partition: int) -> int:
        """The node that leads the partition."""
        node: int = (await self._journal_partitions())[partition]["leader"]
        return node

    async def in_sync(self) -> None:
        """Wait until every node has all of the journal. Raises NotInTime."""

        async def is_so() -> bool:
            try:
                partitions = await self._journal_partitions()
            except (KafkaError, OSError, TimeoutError, KeyError):
                return False
            return bool(partitions) and all(len(each["isr"]) == self.kafka.nodes for each in partitions.values())

        await eventually(is_so, "the brokers have caught up with one another", _HEAL_SECONDS, every=0.2)

    async def _journal_partitions(self) -> dict[int, dict[str, Any]]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap, request_timeout_ms=5_000)
        try:
            async with asyncio.timeout(10):
                await admin.start()
                [topic] = await admin.describe_topics([self.journal().journal])
        finally:
            await admin.close()
        return {each["partition"]: each for each in topic["partitions"]}

    # --- the small disk -----------------------------------------------------------------------------------------------

    @property
    def _small_disk(self) -> Path:
        return self.folder / "kafka" / "data" / str(_SMALL_DISK)

    async def fill_disk(self, seconds: float) -> None:
        """A broker's disk is full for so long; then there is room again, and the broker, which gave up, restarts."""
        disk = self._small_disk
        usage = os.statvfs(disk)
        used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
        _mount(disk, f"remount,size={used + (1 << 20)}")
        filler = disk / "filler"
        try:
            await asyncio.to_thread(_fill, filler)
            await asyncio.sleep(seconds)
        finally:
            filler.unlink(missing_ok=True)
            _mount(disk, f"remount,size={_DISK_SIZE}")
        await asyncio.to_thread(self.kafka.kill, _SMALL_DISK)
        await asyncio.to_thread(self.kafka.up, _SMALL_DISK)


def _fill(filler: Path) -> None:
    """Write until not a byte is left."""
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
    except OSError:
        pass


def _mount(folder: Path, options: str = f"size={_DISK_SIZE},mode=0700") -> bool:
    """A file system in memory, of a size that can be changed. False where that is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    return done.returncode == 0


def _is_mounted(folder: Path) -> bool:
    return any(line.split()[1] == str(folder) for line in Path("/proc/mounts").read_text().splitlines())
