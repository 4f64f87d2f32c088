"""What can be asked of the timeline."""

from typing import Protocol

from falcon.domain.ids import RoomId, Seq
from falcon.read.timeline.runs import ITEMS_BYTES_MAX, Run


class TimelineQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def page(
        self, room_id: RoomId, first: Seq, last: Seq, *, from_last: bool = False, bytes_max: int = ITEMS_BYTES_MAX
    ) -> Run:
        """The messages ``first`` to ``last``, both included, up to the first that is not there yet. Of these as many as
        fit into ``bytes_max``, but at least one: the first of them, or ``from_last`` the last.

        A message is not there yet while nothing behind it has been applied. Where something has, the message was
        passed over or its row was lost, and ``missing_message`` stands in its place.
        """

    async def message(self, room_id: RoomId, seq: Seq) -> bytes | None:
        """As a page of one; None where it is not there yet."""

    async def message_at(self, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
        """The message, and a revision of the room that it is not older than."""

    async def newest(self, room_id: RoomId, through: Seq) -> Seq:
        """The newest message up to ``through`` that the timeline has; 0 where it has none."""
