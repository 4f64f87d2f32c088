"""Pages of messages, joined to the bytes that go out, the popular ones kept."""

from collections import OrderedDict
from typing import Final, TypeAlias

import msgspec

from falcon.domain.ids import RoomId, Seq
from falcon.read.timeline.messages import MISSING
from falcon.read.timeline.queries import TimelineQueries
from falcon.read.timeline.runs import ITEMS_BYTES_MAX

_KEPT_BYTES_MAX: Final = 32 << 20
_PAGE_BYTES: Final = 500  # what a page takes beside its messages: its name, its entry, its objects

_Name: TypeAlias = tuple[RoomId, int, Seq, Seq, bool]


class TimelinePage(msgspec.Struct, frozen=True):
    """``count`` messages, ascending from ``first`` on, as JSON with commas between.

    ``lasting``: the page has all that was asked for, and nobody can bring back any of it that is missing, so that it
    stays as it is for as long as the room's version does. ``more``: messages that were asked for stand behind it, for
    which it has no room.
    """

    first: Seq
    count: int
    messages: bytes
    lasting: bool
    more: bool = False

    @property
    def last(self) -> Seq:
        return self.first + self.count - 1


class TimelinePages:
    """What messages ``first`` to ``last`` of a room say is fixed by the room's version, so that a page once read need
    not be read again until something there is edited: a room that is opened shows what others have just read.

    A page that is not lasting is not kept. ``kept_bytes_max`` bounds what is, whatever the size of its pages.
    """

    def __init__(self, store: TimelineQueries, kept_bytes_max: int = _KEPT_BYTES_MAX) -> None:
        self._store = store
        self._kept: OrderedDict[_Name, TimelinePage] = OrderedDict()
        self._kept_bytes_max = kept_bytes_max
        self._kept_bytes = 0

    async def page(
        self, room_id: RoomId, version: int, first: Seq, last: Seq, *, from_last: bool = False
    ) -> TimelinePage:
        """``version``: as read before; the page is not older. Of a page that would be too large it has the first
        messages, or ``from_last`` the last. Raises ReadStoreUnavailable."""
        if first > last:
            return TimelinePage(first, 0, b"", lasting=True)
        name = (room_id, version, first, last, from_last)
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            return kept
        run = await self._store.page(room_id, first, last, from_last=from_last)
        messages = b",".join(run.messages)
        lasting = len(run.messages) == last - first + 1 and MISSING not in messages
        page = TimelinePage(run.first, len(run.messages), messages, lasting, more=run.cut and not from_last)
        if page.lasting:
            self._keep(name, page)
        return page

    async def around(self, room_id: RoomId, version: int, first: Seq, middle: Seq, last: Seq) -> TimelinePage:
        """The same, but of a page that would be too large it has what stands around message ``middle``."""
        page = await self.page(room_id, version, first, last)
        if not page.more:
            return page
        half = ITEMS_BYTES_MAX // 2
        before = await self._store.page(room_id, first, middle - 1, from_last=True, bytes_max=half)
        if before.last < middle - 1:
            return TimelinePage(before.first, len(before.messages), b",".join(before.messages), lasting=False)
        after = await self._store.page(room_id, middle, last, bytes_max=half)
        rows = before.messages + after.messages
        return TimelinePage(before.first, len(rows), b",".join(rows), lasting=False, more=after.cut)

    def _keep(self, name: _Name, page: TimelinePage) -> None:
        if name not in self._kept and _size(page) <= self._kept_bytes_max // 16:
            self._kept[name] = page
            self._kept_bytes += _size(page)
        while self._kept_bytes > self._kept_bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= _size(oldest)


def _size(page: TimelinePage) -> int:
    return len(page.messages) + _PAGE_BYTES
