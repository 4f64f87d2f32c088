"""The tables are asked for the reactions of a page once, until an account reacts, and the cache is bounded."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar, cast

from falcon.domain.ids import RoomId, Seq
from falcon.features.reactions.pages import ReactionPages
from falcon.features.reactions.table import ShownReactions
from falcon.read.catalogue import ReadStore

T = TypeVar("T")
ROOM = 64


class Store:
    """``asked``: the pages that it was asked for."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self.asked: list[tuple[Seq, Seq]] = []

    async def shown_reactions(self, room_id: RoomId, first: Seq, last: Seq) -> ShownReactions:
        self.asked.append((first, last))
        return ShownReactions(len(self.asked), dict.fromkeys(range(first, last + 1), b"x" * self.size))


def pages_of(store: Store, kept_bytes_max: int = 1 << 20) -> ReactionPages:
    return ReactionPages(cast(ReadStore, store), kept_bytes_max)


def run(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)


def test_a_page_is_read_again_only_when_someone_has_reacted() -> None:
    store = Store()
    pages = pages_of(store)
    assert {run(pages.page(ROOM, 7, 1, 200)).version for _ in range(9)} == {1}
    assert run(pages.page(ROOM, 8, 1, 200)).version == 2
    assert run(pages.page(ROOM, 8, 1, 100)).version == 3


def test_a_page_whose_version_is_not_known_is_always_read() -> None:
    store = Store()
    pages = pages_of(store)
    assert [run(pages.page(ROOM, None, 1, 200)).version for _ in range(3)] == [1, 2, 3]


def test_what_is_kept_is_bounded_and_the_newest_stay() -> None:
    store = Store(size=1_000)
    pages = pages_of(store, kept_bytes_max=100_000)
    for number in range(50):
        run(pages.page(ROOM, 7, number + 1, number + 10))
    assert 80_000 < pages._kept_bytes <= 100_000
    asked = len(store.asked)
    run(pages.page(ROOM, 7, 50, 59))
    assert len(store.asked) == asked
    run(pages.page(ROOM, 7, 1, 200))  # too large to be kept
    run(pages.page(ROOM, 7, 50, 59))
    assert len(store.asked) == asked + 1
