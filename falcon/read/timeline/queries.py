"""Queries of the timeline."""

from collections.abc import Mapping
from typing import Protocol

from falcon.domain.ids import RoomId, Seq
from falcon.read.timeline.runs import ITEMS_BYTES_MAX, Run


class TimelineQueries(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled."""

    async def page(
        self, room_id: RoomId, first: Seq, last: Seq, *, from_last: bool = False, bytes_max: int = ITEMS_BYTES_MAX
    ) -> Run:
        """The messages ``first`` to ``last``, both included, up to the first that is not there yet. If they exceed
        ``bytes_max``: the first of them that fit, or with ``from_last`` the last, but at least one.

        A message is not there yet while nothing after it has been applied. Otherwise the message was passed over or
        its row was lost, and ``missing_message`` stands in its place.
        """

    async def message(self, room_id: RoomId, seq: Seq) -> bytes | None:
        """A page of one message. None if it is not there yet."""

    async def messages(self, seqs: Mapping[RoomId, Seq]) -> dict[RoomId, bytes]:
        """A message of each room, as :meth:`message` has it. The ones that are not there yet are left out."""

    async def message_at(self, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
        """The message, and a revision of the room. The message is not older than the revision."""

    async def newest(self, room_id: RoomId, through: Seq) -> Seq:
        """The newest message up to ``through`` in the timeline; 0 if there is none."""
