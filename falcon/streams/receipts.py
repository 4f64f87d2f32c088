"""Receipts: streams that name their rooms see how far others read there. A signal: it promises nothing.

Marks of a quarter of a second go together. Members who hide how far they read are left out, and so are rooms that are
large when the stream begins.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.accounts.table import AccountQueries
from falcon.features.read_marks.rules import ReadMoved
from falcon.features.read_marks.table import MembershipQueries
from falcon.read.store import ReadStoreUnavailable
from falcon.streams.feed import Feed
from falcon.streams.frames import Frame, encode
from falcon.streams.subscription import Subscription

log = logging.getLogger("falcon.streams")

MEMBERS_MAX: Final = 100  # of a room with receipts: each mark is sent to as many
_TURN_SECONDS: Final = 0.25  # as typing


class Receipt(msgspec.Struct, frozen=True):
    """How far the account has read the room."""

    room_id: RoomId
    account_id: AccountId
    read_seq: Seq


class Tables(AccountQueries, MembershipQueries, Protocol):
    """The queries that receipts need."""


class Receipts:
    """One instance per event loop."""

    def __init__(self, feed: Feed, store: Tables) -> None:
        self._feed = feed
        self._store = store
        self._listening: dict[RoomId, set[Subscription]] = {}
        self._due: dict[tuple[RoomId, AccountId], Seq] = {}
        self._showing: asyncio.Task[None] | None = None
        feed.marks_wanted = self._listening
        feed.mark_moved = self._moved

    async def large(self, rooms: Iterable[RoomId]) -> list[RoomId]:
        """The rooms with too many members. Raises ReadStoreUnavailable."""
        counts = {room_id: len(await self._store.members(room_id, 0, MEMBERS_MAX + 1)) for room_id in sorted(rooms)}
        return [room_id for room_id, count in counts.items() if count > MEMBERS_MAX]

    def came(self, subscription: Subscription, large: Iterable[RoomId]) -> None:
        """``large``: rooms of the stream without receipts."""
        if "receipts" in subscription.signals:
            for room_id in (subscription.only or frozenset()).difference(large):
                self._listening.setdefault(room_id, set()).add(subscription)

    def went(self, subscription: Subscription) -> None:
        if "receipts" in subscription.signals:
            for room_id in subscription.only or ():
                listening = self._listening.get(room_id, set())
                listening.discard(subscription)
                if not listening:
                    self._listening.pop(room_id, None)

    def _moved(self, event: ReadMoved) -> None:
        self._due[event.room_id, event.account_id] = event.read_seq
        if self._showing is None:
            self._showing = asyncio.get_running_loop().create_task(self._show())

    async def _show(self) -> None:
        await asyncio.sleep(_TURN_SECONDS)
        due, self._due = self._due, {}
        self._showing = None
        try:
            accounts = await self._store.accounts_of({account_id for _, account_id in due})
        except ReadStoreUnavailable as error:
            log.debug("receipts are left out: %s", error)
            return
        for (room_id, account_id), seq in due.items():
            if account_id in accounts and not accounts[account_id].hide_reads:
                self._push(Receipt(room_id, account_id, seq))

    def _push(self, receipt: Receipt) -> None:
        """A signal is not queued: a busy connection does without it."""
        frame = Frame(self._feed.token(), "receipts", encode(receipt))
        for each in self._listening.get(receipt.room_id, ()):
            if receipt.room_id in each.rooms and each.account_id != receipt.account_id and not each.busy:
                each.push(frame)
