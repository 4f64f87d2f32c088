"""The log and the index in memory keep their contracts."""

from collections.abc import Callable, Iterable, Iterator

import pytest

from falcon.journal.ports import AppendOutcome, Journal, Wake
from falcon.read.write import Write
from tests.contracts.journal import PARTITIONS, JournalContract, Log, Writer, read_all, texts
from tests.contracts.search_index import SearchIndexContract
from tools.harness.memory.journal import Fate, MemoryJournal
from tools.harness.memory.log import MemoryLog
from tools.harness.memory.search import MemoryIndex


class _Log:
    def __init__(self) -> None:
        self._log = MemoryLog(PARTITIONS)

    def journal(self, wake: Wake) -> Journal:
        return MemoryJournal(self._log, wake)

    def source(self) -> MemoryLog:
        return self._log

    snapshots = source


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def log(self) -> Iterator[Log]:
        yield _Log()


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


class TestMemoryIndex(SearchIndexContract):
    @pytest.fixture
    def index(self) -> MemoryIndex:
        return MemoryIndex()

    @pytest.fixture
    def write(self, index: MemoryIndex) -> Callable[[Iterable[Write]], None]:
        return index.write
