"""Pages of messages, joined to the bytes that go out, the popular ones kept."""

from collections import OrderedDict
from typing import Final

import msgspec

from falcon.domain.ids import RoomId, Seq
from falcon.read.store import ReadStore

_KEPT_BYTES_MAX: Final = 32 << 20


class Page(msgspec.Struct, frozen=True):
    """``count`` messages, ascending, as JSON with commas between."""

    count: int
    messages: bytes


class Pages:
    """What messages ``first`` to ``last`` of a room say is fixed by the room's version, so that a page once read need
    not be read again until something there is edited: whoever opens a room reads what the others have just read.

    A page that is not whole, since the tables are behind, is not kept.
    """

    def __init__(self, store: ReadStore) -> None:
        self._store = store
        self._kept: OrderedDict[tuple[RoomId, int, Seq, Seq], Page] = OrderedDict()
        self._kept_bytes = 0

    async def page(self, room_id: RoomId, version: int, first: Seq, last: Seq) -> Page:
        """``version``: as read before; the page is not older. Raises ReadStoreUnavailable."""
        name = (room_id, version, first, last)
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            return kept
        rows = await self._store.page(room_id, first, last) if first <= last else []
        page = Page(len(rows), b",".join(rows))
        if page.count == last - first + 1:
            self._keep(name, page)
        return page

    def _keep(self, name: tuple[RoomId, int, Seq, Seq], page: Page) -> None:
        if name not in self._kept and len(page.messages) <= _KEPT_BYTES_MAX // 16:
            self._kept[name] = page
            self._kept_bytes += len(page.messages)
        while self._kept_bytes > _KEPT_BYTES_MAX:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.messages)
