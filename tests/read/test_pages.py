"""Pages are read from the tables once, while nothing on them can change, and what is kept of them is bounded."""

import asyncio
import tracemalloc
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

import msgspec
import pytest

from falcon.domain.ids import RoomId, Seq
from falcon.features.messages.bodies import StoredMessage, missing_message, row_of
from falcon.features.messages.pages import ROWS_BYTES_MAX, TimelinePage, TimelinePages
from falcon.features.messages.ranges import ITEMS_BYTES_MAX, MessageRange, fit_range, fit_range_back
from falcon.features.messages.rules import Message
from falcon.read.catalogue import ReadStore

T = TypeVar("T")
ROOM, OTHER = 64, 128
NOON = 1_764_072_000_000  # 2025-11-25T12:00:00Z


class Timeline:
    """The part of a read store that pages are read from. ``asked``: the pages that it was asked for."""

    def __init__(self, texts: int = 0, size: int = 1) -> None:
        self.rows = {seq: message(seq, "x" * size) for seq in range(1, texts + 1)}
        self.asked: list[tuple[RoomId, Seq, Seq]] = []

    async def page(
        self, room_id: RoomId, first: Seq, last: Seq, *, from_last: bool = False, bytes_max: int = ITEMS_BYTES_MAX
    ) -> MessageRange:
        self.asked.append((room_id, first, last))
        rows = [self.rows[seq] for seq in range(first, last + 1) if seq in self.rows]
        if from_last:
            return fit_range_back(first + len(rows) - 1, reversed(rows), bytes_max)
        return fit_range(first, rows, bytes_max)


def message(seq: Seq, text: str) -> bytes:
    return row_of(Message(ROOM, seq, 65, text, NOON))


def pages_of(timeline: Timeline, kept_bytes_max: int = 1 << 20) -> TimelinePages:
    return TimelinePages(cast(ReadStore, timeline), kept_bytes_max)


def run(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)


def test_a_page_is_its_messages_with_commas_between() -> None:
    timeline = Timeline(3)
    page = run(pages_of(timeline).page(ROOM, 0, 1, 3))
    assert (page.count, page.lasting) == (3, True)
    assert msgspec.json.decode(b"[" + page.messages + b"]", type=list[StoredMessage])[2].seq == 3


def seqs(page: TimelinePage) -> list[Seq]:
    return [each.seq for each in msgspec.json.decode(b"[" + page.messages + b"]", type=list[StoredMessage])]


@pytest.mark.parametrize("size", [1, 6_000, 65_000])
def test_a_page_has_at_most_a_mebibyte_and_stands_where_it_was_asked_for(size: int) -> None:
    pages = pages_of(Timeline(200, size))
    fits = min(200, ROWS_BYTES_MAX // (len(message(100, "x" * size)) + 1))
    for last in (199, 200):
        page = run(pages.page(ROOM, 0, 1, last))
        assert seqs(page) == list(range(1, min(fits, last) + 1))
        assert page.more == (fits < last)
        page = run(pages.page(ROOM, 0, 1, last, from_last=True))
        assert seqs(page) == list(range(max(last - fits, 0) + 1, last + 1))
        assert not page.more
        for middle in (1, 2, 100, last - 1, last):
            page = run(pages.around(ROOM, 0, 1, middle, last))
            assert middle in seqs(page) and len(page.messages) <= ITEMS_BYTES_MAX
            assert seqs(page) == list(range(page.first, page.last + 1))
            assert page.more == (page.last < last)


def test_a_page_around_a_message_ends_where_the_timeline_does() -> None:
    timeline = Timeline(40, 65_000)
    page = run(pages_of(timeline).around(ROOM, 0, 1, 35, 60))
    assert page.last == 40 and not page.more


def test_a_page_around_a_message_that_is_not_there_yet_has_nothing_from_behind_the_hole() -> None:
    timeline = Timeline(30, 65_000)
    whole = timeline.page

    async def page(room_id: RoomId, first: Seq, last: Seq, **more: Any) -> MessageRange:
        return await whole(room_id, first, min(last, 20) if first <= 20 else last, **more)

    timeline.page = page  # type: ignore[method-assign]  # the tables have a part of a batch that ends behind message 20
    shown = run(pages_of(timeline).around(ROOM, 0, 1, 25, 30))
    assert shown.last == 20 and not shown.more


def test_the_tables_are_asked_once_for_a_page_that_many_read() -> None:
    timeline = Timeline(100)
    pages = pages_of(timeline)
    read = [run(pages.page(ROOM, 0, 1, 50)) for _ in range(5)]
    assert read == [read[0]] * 5
    assert timeline.asked == [(ROOM, 1, 50)]
    run(pages.page(ROOM, 0, 51, 100))
    run(pages.page(OTHER, 0, 1, 50))
    assert timeline.asked[1:] == [(ROOM, 51, 100), (OTHER, 1, 50)]


def test_a_page_is_read_again_when_the_room_has_another_version() -> None:
    timeline = Timeline(3)
    pages = pages_of(timeline)
    run(pages.page(ROOM, 0, 1, 3))
    timeline.rows[2] = message(2, "edited")
    assert b"edited" in run(pages.page(ROOM, 1, 1, 3)).messages


def test_a_part_of_a_page_is_not_taken_for_the_page_later() -> None:
    timeline = Timeline(2)
    pages = pages_of(timeline)
    part = run(pages.page(ROOM, 0, 1, 3))
    assert (part.count, part.lasting) == (2, False)
    timeline.rows[3] = message(3, "late")
    whole = run(pages.page(ROOM, 0, 1, 3))
    assert (whole.count, whole.lasting) == (3, True)
    assert run(pages.page(ROOM, 0, 1, 3)) == whole
    assert len(timeline.asked) == 2


def test_a_page_with_a_missing_message_is_not_taken_for_the_page_once_that_is_back() -> None:
    timeline = Timeline(3)
    pages = pages_of(timeline)
    timeline.rows[2] = missing_message(ROOM, 2)
    with_missing = run(pages.page(ROOM, 0, 1, 3))
    assert (with_missing.count, with_missing.lasting) == (3, False)
    timeline.rows[2] = message(2, "back")
    assert b"back" in run(pages.page(ROOM, 0, 1, 3)).messages


def test_who_asks_for_what_comes_next_and_finds_nothing_leaves_nothing_behind() -> None:
    timeline = Timeline()
    pages = pages_of(timeline)

    async def poll(last_seqs: range) -> set[tuple[int, bytes]]:
        read = [await pages.page(ROOM, 0, last_seq + 1, last_seq) for last_seq in last_seqs]
        return {(page.count, page.messages) for page in read}

    run(poll(range(100)))
    tracemalloc.start()
    try:
        assert run(poll(range(100, 5_000))) == {(0, b"")}
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()
    assert timeline.asked == []


@pytest.mark.parametrize("size", [1, 600])
def test_the_pages_that_were_read_last_are_kept_within_bounds(size: int) -> None:
    """However small they are: a page of few bytes takes some hundred beside them."""
    timeline = Timeline(200, size)
    pages = pages_of(timeline, 100_000)
    for seq in range(1, 201):
        run(pages.page(ROOM, 0, seq, seq))
        run(pages.page(ROOM, 0, 1, 1))  # popular all the while
    assert timeline.asked == [(ROOM, seq, seq) for seq in range(1, 201)]
    timeline.asked.clear()
    run(pages.page(ROOM, 0, 1, 1))
    for seq in range(200, 1, -1):
        run(pages.page(ROOM, 0, seq, seq))
    kept = 200 - len(timeline.asked)
    assert timeline.asked == [(ROOM, seq, seq) for seq in range(201 - kept, 1, -1)]
    page = len(run(pages.page(ROOM, 0, 200, 200)).messages) + 500
    assert 100_000 - page < kept * page and kept * (page - 2) <= 100_000  # some seqs have fewer digits


def test_a_page_that_would_drive_many_others_out_is_not_kept() -> None:
    timeline = Timeline(10, 1_000)
    pages = pages_of(timeline, 400_000)
    for _ in range(2):
        run(pages.page(ROOM, 0, 1, 10))
        run(pages.page(ROOM, 0, 1, 4))
    assert timeline.asked == [(ROOM, 1, 10), (ROOM, 1, 4), (ROOM, 1, 10)]
