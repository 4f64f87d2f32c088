"""Reactions to the messages of a page. Those of popular pages are cached."""

from collections import OrderedDict
from typing import Final

from falcon.domain.ids import RoomId, Seq
from falcon.features.reactions.table import ReactionQueries, ShownReactions

_KEPT_BYTES_MAX: Final = 16 << 20  # a page of 200 messages with 50 emoji each has 0.7 MB, and takes 10 ms to read
_PAGE_BYTES: Final = 500  # the memory that a page takes beside its reactions
_MESSAGE_BYTES: Final = 150  # likewise for each message with reactions


class ReactionPages:
    """A page that was read once is reused until the version of all reactions in its room changes. ``kept_bytes_max``
    bounds the cache."""

    def __init__(self, store: ReactionQueries, kept_bytes_max: int = _KEPT_BYTES_MAX) -> None:
        self._store = store
        self._kept: OrderedDict[tuple[RoomId, int, Seq, Seq], ShownReactions] = OrderedDict()
        self._kept_bytes_max = kept_bytes_max
        self._kept_bytes = 0

    async def page(
        self, room_id: RoomId, version: int | None, first: Seq, last: Seq, read: ShownReactions | None = None
    ) -> ShownReactions:
        """The reactions to the messages ``first`` to ``last``. ``version``: as read before, None if it is not known;
        the reactions are not older. ``read``: the reactions, if they were read with it. Raises ReadStoreUnavailable,
        BeingFilled."""
        if version is None:
            return await self._store.shown_reactions(room_id, first, last)
        name = (room_id, version, first, last)
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            return kept
        page = await self._store.shown_reactions(room_id, first, last) if read is None else read
        size = _size(page)
        if name not in self._kept and size <= self._kept_bytes_max // 8:
            self._kept[name] = page
            self._kept_bytes += size
        while self._kept_bytes > self._kept_bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= _size(oldest)
        return page


def _size(page: ShownReactions) -> int:
    return _PAGE_BYTES + sum(map(len, page.by_seq.values())) + _MESSAGE_BYTES * len(page.by_seq)
