"""`falcon prepare` before the servers are up, and with wrong servers."""

import pytest
from typer.testing import CliRunner, Result

from falcon.adapters.kafka.topics import WrongTopics
from falcon.cli import app
from falcon.cli import cluster as commands
from falcon.journal.ports import JournalUnavailable
from falcon.run.bootstrap import cluster
from falcon.run.settings import Settings


class Servers:
    """Each attempt fails with the next of these errors; after the last one it succeeds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *faults: Exception) -> None:
        self.faults = list(faults)
        self.attempts = 0
        monkeypatch.setattr(cluster, "prepare", self.prepare)
        monkeypatch.setattr(commands, "_AGAIN_SECONDS", 0.0)
        monkeypatch.setenv("FALCON_KAFKA", "kafka:9092")
        monkeypatch.setenv("FALCON_HBASE", "thrift:9090")

    async def prepare(self, settings: Settings) -> str:
        self.attempts += 1
        if self.faults:
            raise self.faults.pop(0)
        return "080b913034eefe74"


def _prepare() -> Result:
    return CliRunner().invoke(app, ["prepare"])


def test_servers_that_come_late_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(monkeypatch, *(JournalUnavailable("no Kafka answers at kafka:9092") for _ in range(2)))
    monkeypatch.setenv("FALCON_START_SECONDS", "60")
    found = _prepare()
    assert found.exit_code == 0
    assert found.stderr.count("no Kafka answers at kafka:9092") == 2
    assert found.stdout == "The log 080b913034eefe74 and its tables are ready: 64 partitions.\n"
    assert servers.attempts == 3


def test_nobody_waits_unless_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(monkeypatch, JournalUnavailable("no Kafka answers at kafka:9092"))
    assert _prepare().exit_code == 1
    assert servers.attempts == 1


def test_what_time_does_not_mend_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(monkeypatch, WrongTopics("topic falcon.journal has 16 partitions, not 64"))
    monkeypatch.setenv("FALCON_START_SECONDS", "60")
    found = _prepare()
    assert found.exit_code == 1
    assert found.stderr == "topic falcon.journal has 16 partitions, not 64\n"
    assert servers.attempts == 1
