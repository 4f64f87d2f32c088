"""Pages of messages, joined to the bytes that go out, the popular ones kept."""

from collections import OrderedDict
from typing import Final, TypeAlias

import msgspec

from falcon.domain.ids import RoomId, Seq
from falcon.read.messages import MISSING
from falcon.read.store import ReadStore

_KEPT_BYTES_MAX: Final = 32 << 20
_PAGE_BYTES: Final = 500  # what a page takes beside its messages: its name, its entry, its objects

_Name: TypeAlias = tuple[RoomId, int, Seq, Seq]


class Page(msgspec.Struct, frozen=True):
    """``count`` messages, ascending, as JSON with commas between.

    ``lasting``: the page has all that was asked for, and nobody can bring back any of it that is missing, so that it
    stays as it is for as long as the room's version does.
    """

    count: int
    messages: bytes
    lasting: bool


_EMPTY: Final = Page(0, b"", lasting=True)


class Pages:
    """What messages ``first`` to ``last`` of a room say is fixed by the room's version, so that a page once read need
    not be read again until something there is edited: whoever opens a room reads what the others have just read.

    A page that is not lasting is not kept. ``kept_bytes_max`` bounds what is, whatever the size of its pages.
    """

    def __init__(self, store: ReadStore, kept_bytes_max: int = _KEPT_BYTES_MAX) -> None:
        self._store = store
        self._kept: OrderedDict[_Name, Page] = OrderedDict()
        self._kept_bytes_max = kept_bytes_max
        self._kept_bytes = 0

    async def page(self, room_id: RoomId, version: int, first: Seq, last: Seq) -> Page:
        """``version``: as read before; the page is not older. Raises ReadStoreUnavailable."""
        if first > last:
            return _EMPTY
        name = (room_id, version, first, last)
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            return kept
        rows = await self._store.page(room_id, first, last)
        messages = b",".join(rows)
        page = Page(len(rows), messages, len(rows) == last - first + 1 and MISSING not in messages)
        if page.lasting:
            self._keep(name, page)
        return page

    def _keep(self, name: _Name, page: Page) -> None:
        if name not in self._kept and _size(page) <= self._kept_bytes_max // 16:
            self._kept[name] = page
            self._kept_bytes += _size(page)
        while self._kept_bytes > self._kept_bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= _size(oldest)


def _size(page: Page) -> int:
    return len(page.messages) + _PAGE_BYTES
