"""The index of messages on a real OpenSearch."""

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing

import pytest

from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.opensearch.client import OpenSearchClient
from falcon.adapters.opensearch.index import OpenSearchIndex
from falcon.features.search.index import Hits, Key, SearchIndex, Wanted
from falcon.journal.envelope import Cursor
from falcon.read.write import Write
from tests.contracts.search_index import SearchIndexContract, Write_
from tools.servers.opensearch import OpenSearch

pytestmark = pytest.mark.processes

_names = (f"test-{n}" for n in itertools.count())


class OfAnyLoop:
    """An index for tests, which ask from many event loops."""

    def __init__(self, loop: LoopThread, index: OpenSearchIndex) -> None:
        self._loop = loop
        self._index = index

    def write(self, writes: Iterable[Write]) -> None:
        self._loop.call(self._index.write(writes))
        self._loop.call(self._index.refresh())

    async def newest(self, wanted: Wanted, below: Key | None, limit: int) -> Hits:
        return await asyncio.wrap_future(self._loop.start(self._index.newest(wanted, below, limit)))

    async def best(self, wanted: Wanted, limit: int) -> list[Key]:
        return await asyncio.wrap_future(self._loop.start(self._index.best(wanted, limit)))

    async def reached(self) -> Cursor:
        return {}


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    with closing(LoopThread("opensearch")) as loop:
        yield loop


@pytest.fixture
def whole(opensearch: OpenSearch, loop: LoopThread) -> Iterator[OpenSearchIndex]:
    client = OpenSearchClient(opensearch.url)
    index = OpenSearchIndex(client, next(_names))
    loop.call(index.prepare())
    loop.call(index.show())
    yield index
    loop.call(client.close())


class TestOpenSearchIndex(SearchIndexContract):
    @pytest.fixture
    def index(self, loop: LoopThread, whole: OpenSearchIndex) -> SearchIndex:
        return OfAnyLoop(loop, whole)

    @pytest.fixture
    def write(self, index: OfAnyLoop) -> Write_:
        return index.write
