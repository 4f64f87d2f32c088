"""The memory adapters keep the contracts."""

from collections.abc import Iterator

import pytest

from falcon.journal.envelope import Cursor, Position
from falcon.journal.ports import AppendOutcome, Journal, Wake
from falcon.read.catalogue import READ_MODELS
from tests.contracts.journal import PARTITIONS, JournalContract, Log, Writer, read_all, texts
from tests.contracts.read_store import Store, StreamReadStoreContract
from tools.harness.memory.journal import Fate, MemoryJournal
from tools.harness.memory.log import MemoryLog
from tools.harness.memory.tables import MemoryTables


class _Log:
    def __init__(self) -> None:
        self._log = MemoryLog(PARTITIONS)

    def journal(self, wake: Wake) -> Journal:
        return MemoryJournal(self._log, wake)

    def source(self) -> MemoryLog:
        return self._log

    snapshots = source


class _Store:
    def __init__(self) -> None:
        self.tables = self.reads = MemoryTables(PARTITIONS, list(READ_MODELS))

    def cursor(self, offset: int) -> Cursor:
        return dict.fromkeys(range(PARTITIONS), Position(offset))


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def log(self) -> Iterator[Log]:
        yield _Log()


class TestMemoryReadStore(StreamReadStoreContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        yield _Store()


@pytest.mark.parametrize(("fate", "written"), [(Fate.LOST, []), (Fate.UNANSWERED, ["hello"])])
def test_an_unknown_outcome_may_mean_either_and_ends_the_epoch(fate: Fate, written: list[str]) -> None:
    log = MemoryLog(PARTITIONS)
    ann = Writer(_Log())
    ann.journal = journal = MemoryJournal(log, lambda: None, held=True)
    ann.takeover(0)
    hello, behind = ann.prepare(0, "hello"), ann.prepare(0, "behind")
    journal.submit([hello, behind])
    journal.settle(fate)
    journal.settle(Fate.WRITTEN)
    assert [s.outcome for s in journal.collect()] == [AppendOutcome.UNKNOWN, AppendOutcome.UNKNOWN]
    assert texts(read_all(log, 0)) == written
