"""Pages of messages, joined to the bytes of the answer. Popular ones are cached."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from falcon.domain.ids import RoomId, Seq
from falcon.features.messages.bodies import MISSING
from falcon.features.messages.ranges import ITEMS_BYTES_MAX, fit, fit_range_back
from falcon.features.messages.table import TimelineQueries

_KEPT_BYTES_MAX: Final = 16 << 20  # a thousand pages of 50 messages of 100 characters
_PAGES_MIN: Final = 64  # so a room of large messages does not drive the pages of others out, nor fill the memory
_PAGE_BYTES: Final = 500  # the memory that a page takes beside its messages

# The quotes of a text are escaped, so neither is part of a text.
_DELETED: Final = b'"deleted":true'
_PLAIN: Final = b',"reactions":[],"thread":null}'
ROWS_BYTES_MAX: Final = ITEMS_BYTES_MAX - 200 * len(_PLAIN)  # a page has at most 200 messages

_Name: TypeAlias = tuple[RoomId, int, Seq, Seq, bool]


class TimelinePage(msgspec.Struct, frozen=True):
    """The messages ``first`` to ``last``, as JSON with commas between. Without any, ``first`` is greater.

    ``lasting``: the page has all that was asked for, and what is missing cannot come back, so that it stays the same
    for as long as the room's version does. ``more``: it has no room for further messages that were asked for.
    """

    first: Seq
    last: Seq
    messages: bytes
    lasting: bool
    more: bool = False

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    def with_more(self, reactions: Mapping[Seq, bytes], threads: Mapping[Seq, bytes], middle: Seq) -> "TimelinePage":
        """The page with the reactions to its messages and their threads. If that is too large it has the messages
        around ``middle``."""
        if not any(self.first <= seq <= self.last for seq in (*reactions, *threads)):
            return self
        rows = self.messages.split(_PLAIN)[:-1]
        messages = [
            _with_more(row.removeprefix(b","), reactions.get(seq), threads.get(seq))
            for seq, row in enumerate(rows, self.first)
        ]
        before = max(0, min(middle, self.last) - self.first)
        after, more = fit(messages[before:], ITEMS_BYTES_MAX // 2 if before else ITEMS_BYTES_MAX)
        left = ITEMS_BYTES_MAX - sum(len(message) + 1 for message in after)
        start = before
        while start and len(messages[start - 1]) < left:
            start -= 1
            left -= len(messages[start]) + 1
        messages = [*messages[start:before], *after]
        lasting = self.lasting and len(messages) == self.count
        first = self.first + start
        return TimelinePage(first, first + len(messages) - 1, b",".join(messages), lasting, more or self.more)


class TimelinePages:
    """The room's version fixes what its messages ``first`` to ``last`` say, so a page that was read once can be reused
    until a message is edited: members who open a room read what others have just read.

    A page that is not lasting is not cached. ``kept_bytes_max`` bounds the cache, whatever the size of its pages.
    """

    def __init__(self, store: TimelineQueries, kept_bytes_max: int = _KEPT_BYTES_MAX) -> None:
        self._store = store
        self._kept: OrderedDict[_Name, TimelinePage] = OrderedDict()
        self._kept_bytes_max = kept_bytes_max
        self._kept_bytes = 0

    async def page(
        self, room_id: RoomId, version: int, first: Seq, last: Seq, *, from_last: bool = False
    ) -> TimelinePage:
        """``version``: as read before; the page is not older. A page that would be too large has the first messages
        only, or with ``from_last`` the last. Raises ReadStoreUnavailable."""
        kept = self.kept(room_id, version, first, last, from_last=from_last)
        return await self.read(room_id, version, first, last, from_last=from_last) if kept is None else kept

    def kept(
        self, room_id: RoomId, version: int, first: Seq, last: Seq, *, from_last: bool = False
    ) -> TimelinePage | None:
        """Like :meth:`page`, if the page is cached. It then has all of these messages."""
        name = (room_id, version, first, last, from_last)
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
        return kept

    async def read(
        self,
        room_id: RoomId,
        version: int,
        first: Seq,
        last: Seq,
        *,
        from_last: bool = False,
        newest: list[bytes] | None = None,
    ) -> TimelinePage:
        """Like :meth:`page`, if the page is not cached. ``newest``: all of these messages, if they were read with the
        version, and the page is one from the last."""
        if first > last:
            return TimelinePage(first, first - 1, b"", lasting=True)
        if newest is None:
            run = await self._store.page(room_id, first, last, from_last=from_last, bytes_max=ROWS_BYTES_MAX)
        else:
            run = fit_range_back(last, reversed(newest), ROWS_BYTES_MAX)
        messages, count = _joined(run.messages), len(run.messages)
        lasting = count == last - first + 1 and MISSING not in messages
        page = TimelinePage(run.first, run.first + count - 1, messages, lasting, more=run.truncated and not from_last)
        if page.lasting:
            size = len(messages) + _PAGE_BYTES
            name = (room_id, version, first, last, from_last)
            if name not in self._kept and size <= self._kept_bytes_max // _PAGES_MIN:
                self._kept[name] = page
                self._kept_bytes += size
            while self._kept_bytes > self._kept_bytes_max:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= len(oldest.messages) + _PAGE_BYTES
        return page

    async def around(self, room_id: RoomId, version: int, first: Seq, middle: Seq, last: Seq) -> TimelinePage:
        """Like :meth:`page`, but a page that would be too large has the messages around ``middle``."""
        page = await self.page(room_id, version, first, last)
        if not page.more:
            return page
        half = ROWS_BYTES_MAX // 2
        before = await self._store.page(room_id, first, middle - 1, from_last=True, bytes_max=half)
        if before.last < middle - 1:
            return TimelinePage(before.first, before.last, _joined(before.messages), lasting=False)
        after = await self._store.page(room_id, middle, last, bytes_max=half)
        rows = _joined(before.messages + after.messages)
        return TimelinePage(before.first, after.last, rows, lasting=False, more=after.truncated)


def is_deleted(row: bytes) -> bool:
    return _DELETED in row


def with_more(row: bytes, reactions: bytes | None, thread: bytes | None) -> bytes:
    """The JSON of a message from its row, and from that of its reactions and its thread, if it has some."""
    return _with_more(row[:-1], reactions, thread)


def _with_more(row: bytes, reactions: bytes | None, thread: bytes | None) -> bytes:
    """``row``: without its last bracket. A deleted message shows no reactions."""
    shown = b"[]" if reactions is None or is_deleted(row) else reactions
    return b'%b,"reactions":%b,"thread":%b}' % (row, shown, thread or b"null")


def _joined(rows: Sequence[bytes]) -> bytes:
    """The JSON of messages without reactions and threads, with commas between."""
    return b",".join(row[:-1] + _PLAIN for row in rows)
