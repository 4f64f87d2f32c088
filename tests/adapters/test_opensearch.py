"""The index of messages on a real OpenSearch."""

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing

import pytest

from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.opensearch.client import OpenSearchClient
from falcon.adapters.opensearch.index import SEARCH, OpenSearchIndex
from falcon.adapters.opensearch.sink import OpenSearchSink
from falcon.features.search.index import ForgetMessage, Hits, IndexMessage, Key, SearchIndex, Wanted, mark_of
from falcon.features.search.terms import parse
from falcon.journal.envelope import Cursor, Position
from falcon.read.store import BeingFilled, Fill, ReadStoreUnavailable, Skip, StaleProjector, Stop
from falcon.read.write import Write
from tests.contracts.search_index import SearchIndexContract, Write_
from tools.harness.ports import free_port
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
def client(opensearch: OpenSearch, loop: LoopThread) -> Iterator[OpenSearchClient]:
    client = OpenSearchClient(opensearch.url)
    yield client
    loop.call(client.close())


@pytest.fixture
def name() -> str:
    return next(_names)


@pytest.fixture
def whole(client: OpenSearchClient, loop: LoopThread, name: str) -> OpenSearchIndex:
    index = OpenSearchIndex(client, name)
    loop.call(index.prepare())
    loop.call(index.show())
    return index


@pytest.fixture
def other(client: OpenSearchClient, loop: LoopThread, name: str) -> OpenSearchSink:
    """The sink of another process."""
    return OpenSearchSink(OpenSearchIndex(client, name), loop.call, 4)


@pytest.fixture
def sink(loop: LoopThread, whole: OpenSearchIndex) -> OpenSearchSink:
    return OpenSearchSink(whole, loop.call, 4)


def _tea(version: int, tokens: str = "tea") -> IndexMessage:
    return IndexMessage(64, 1, 1_000, mark_of("room", 64), tokens, version)


def test_a_late_write_of_an_earlier_owner_changes_nothing(loop: LoopThread, sink: OpenSearchSink) -> None:
    sink.apply(SEARCH, {}, {0: Position(9, 1, 8)}, [_tea(8, "coffee")])
    with pytest.raises(StaleProjector):
        sink.apply(SEARCH, {}, {0: Position(8, 1, 7)}, [_tea(7)])
    assert sink.cursor(SEARCH) == {0: Position(9, 1, 8), 1: Position(), 2: Position(), 3: Position()}


def test_a_deleted_message_is_not_found_though_its_text_comes_late(
    loop: LoopThread, whole: OpenSearchIndex, sink: OpenSearchSink
) -> None:
    sink.apply(SEARCH, {}, {0: Position(9)}, [ForgetMessage(64, 1, 8)])
    sink.apply(SEARCH, {}, {1: Position(3)}, [_tea(7)])
    loop.call(whole.refresh())
    assert loop.call(whole.newest(Wanted(parse("tea"), (64,)), None, 10)).keys == []


def test_an_index_that_was_deleted_is_filled_again_from_the_start(
    loop: LoopThread, whole: OpenSearchIndex, sink: OpenSearchSink, other: OpenSearchSink
) -> None:
    for each in (sink, other):
        each.cursor(SEARCH)
        assert each.is_there()
    sink.apply(SEARCH, {}, {0: Position(9)}, [_tea(8)])
    loop.call(whole.throw_away())
    with pytest.raises(StaleProjector):
        sink.apply(SEARCH, {0: Position(9)}, {0: Position(10)}, [_tea(9)])
    assert set(sink.cursor(SEARCH).values()) == {Position()}
    with pytest.raises(StaleProjector):  # it does not know that this is another index
        other.apply(SEARCH, {1: Position(5)}, {1: Position(6)}, [])
    assert not loop.call(other._index.is_there())
    assert set(other.cursor(SEARCH).values()) == {Position()}
    assert sink.fill(SEARCH) is Fill.FILLING
    with pytest.raises(BeingFilled):
        loop.call(whole.newest(Wanted(parse("tea"), (64,)), None, 10))
    sink.move_fill(SEARCH, Fill.COUNTED)
    assert sink.fill(SEARCH) is Fill.SHOWN
    assert loop.call(whole.newest(Wanted(parse("tea"), (64,)), None, 10)).keys == []


def test_stops_and_skips_are_kept_with_the_index(sink: OpenSearchSink) -> None:
    stop, skip = Stop(Position(5, 1, 4), "it is odd"), Skip(2, Position(5, 1, 4), "an operator says so")
    sink.stop(SEARCH, 2, stop)
    sink.skip(SEARCH, skip)
    assert (sink.stops(SEARCH), sink.skips(SEARCH)) == ({2: stop}, [skip])
    sink.go_on(SEARCH, 2)
    assert (sink.stops(SEARCH), sink.skips(SEARCH)) == ({}, [skip])


def test_an_address_at_which_nothing_answers_is_named_without_its_password(loop: LoopThread) -> None:
    client = OpenSearchClient(f"http://ann:secret@127.0.0.1:{free_port()}/")
    with pytest.raises(ReadStoreUnavailable, match=r"^OpenSearch at 127\.0\.0\.1:\d+ does not answer") as refused:
        loop.call(OpenSearchIndex(client, "any").reached())
    assert "secret" not in str(refused.value)
    loop.call(client.close())


class TestOpenSearchIndex(SearchIndexContract):
    @pytest.fixture
    def index(self, loop: LoopThread, whole: OpenSearchIndex) -> SearchIndex:
        return OfAnyLoop(loop, whole)

    @pytest.fixture
    def write(self, index: OfAnyLoop) -> Write_:
        return index.write
