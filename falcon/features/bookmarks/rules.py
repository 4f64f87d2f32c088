"""Bookmarks: messages that an account keeps for itself, each with a note. The account knows their places, so that it
can bound them; the notes are in the log and the tables."""

import struct
from typing import Final, Literal, TypeAlias

import msgspec

from falcon.domain.aggregates import FeatureState
from falcon.domain.answers import Done, ImportAnswer
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import AccountId, Millis, RoomId, Seq
from falcon.domain.rejections import Invalid, MessageIsDeleted, MessageNotFound, RoomNotFound
from falcon.features.accounts.rules import Account

BOOKMARKS_MAX: Final = 10_000  # of an account: 240 KB of its state, more than a person looks through


Found: TypeAlias = Literal["message", "deleted message", "no message", "no room"]


class SetBookmark(msgspec.Struct, frozen=True, tag=True):
    """``found``: what the tables show at this place. The account decides on it, so that its key remembers a refusal,
    and a retry of what was accepted is accepted, whatever became of the message."""

    account_id: AccountId
    room_id: RoomId
    seq: Seq
    note: str = ""
    found: Found = "message"


class RemoveBookmark(msgspec.Struct, frozen=True, tag=True):
    account_id: AccountId
    room_id: RoomId
    seq: Seq


class ImportBookmark(msgspec.Struct, frozen=True, tag=True):
    account_id: AccountId
    room_id: RoomId
    seq: Seq
    note: str
    created_at: Millis


class BookmarkSet(msgspec.Struct, frozen=True):
    """Another note for the same message keeps ``created_at``."""

    account_id: AccountId
    room_id: RoomId
    seq: Seq
    note: str
    created_at: Millis


class BookmarkRemoved(msgspec.Struct, frozen=True):
    """``created_at``: of the bookmark."""

    account_id: AccountId
    room_id: RoomId
    seq: Seq
    created_at: Millis


class BookmarkAnswer(msgspec.Struct, frozen=True, tag="bookmark-answer"):
    room_id: RoomId
    seq: Seq
    note: str
    created_at: Millis


_MESSAGE: Final = struct.Struct(">QQ")  # room and seq
_TIME: Final = struct.Struct(">Q")
_SIZE: Final = _MESSAGE.size + _TIME.size


class Bookmarks(msgspec.Struct, frozen=True, array_like=True):
    """``places``: 24 bytes for each bookmark: room, seq and time. Thousands of them are small, and searched in some
    microseconds."""

    places: bytes = b""

    def __len__(self) -> int:
        return len(self.places) // _SIZE

    def created_at(self, room_id: RoomId, seq: Seq) -> Millis | None:
        """The time of the bookmark; None if there is none."""
        at = self._find(room_id, seq)
        return None if at < 0 else int(_TIME.unpack_from(self.places, at + _MESSAGE.size)[0])

    def with_one(self, room_id: RoomId, seq: Seq, created_at: Millis) -> "Bookmarks":
        return Bookmarks(self.without(room_id, seq).places + _MESSAGE.pack(room_id, seq) + _TIME.pack(created_at))

    def without(self, room_id: RoomId, seq: Seq) -> "Bookmarks":
        at = self._find(room_id, seq)
        return self if at < 0 else Bookmarks(self.places[:at] + self.places[at + _SIZE :])

    def _find(self, room_id: RoomId, seq: Seq) -> int:
        message = _MESSAGE.pack(room_id, seq)
        at = self.places.find(message)
        while at % _SIZE and at >= 0:  # the bytes stand across two bookmarks
            at = self.places.find(message, at + 1)
        return at


STATE: Final = FeatureState("bookmarks", Bookmarks)


def set_bookmark(account: Account, command: SetBookmark, at: Millis) -> Decision:
    match command.found:
        case "no room":
            return RoomNotFound(command.room_id)
        case "no message":
            return MessageNotFound(command.room_id, command.seq)
        case "deleted message":
            return MessageIsDeleted(command.room_id, command.seq)
    created_at = STATE.of(account).created_at(command.room_id, command.seq)
    if created_at is None and len(STATE.of(account)) >= BOOKMARKS_MAX:
        return Invalid("seq", f"an account has at most {BOOKMARKS_MAX:,} bookmarks")
    kept = at if created_at is None else created_at
    event = BookmarkSet(account.account_id, command.room_id, command.seq, command.note, kept)
    return Decided((event,), BookmarkAnswer(event.room_id, event.seq, event.note, event.created_at))


def remove_bookmark(account: Account, command: RemoveBookmark, _: Millis) -> Decision:
    """Nothing happens if there is no bookmark."""
    created_at = STATE.of(account).created_at(command.room_id, command.seq)
    if created_at is None:
        return Decided((), Done())
    return Decided((BookmarkRemoved(account.account_id, command.room_id, command.seq, created_at),), Done())


def import_bookmark(account: Account, command: ImportBookmark, _: Millis) -> Decision:
    """A bookmark that is there stays as it is, and one too many is left out."""
    bookmarks = STATE.of(account)
    if bookmarks.created_at(command.room_id, command.seq) is not None or len(bookmarks) >= BOOKMARKS_MAX:
        return Decided((), ImportAnswer(0, 1))
    event = BookmarkSet(account.account_id, command.room_id, command.seq, command.note, command.created_at)
    return Decided((event,), ImportAnswer(1, 0))


def _with_bookmark(account: Account, event: BookmarkSet) -> Account:
    return STATE.put(account, STATE.of(account).with_one(event.room_id, event.seq, event.created_at))


def _without_bookmark(account: Account, event: BookmarkRemoved) -> Account:
    return STATE.put(account, STATE.of(account).without(event.room_id, event.seq))


RULES: Final = {SetBookmark: set_bookmark, RemoveBookmark: remove_bookmark, ImportBookmark: import_bookmark}
EVOLVES: Final = {BookmarkSet: _with_bookmark, BookmarkRemoved: _without_bookmark}
BookmarksCommand: TypeAlias = SetBookmark | RemoveBookmark | ImportBookmark
BookmarksEvent: TypeAlias = BookmarkSet | BookmarkRemoved
FREEING: Final = (RemoveBookmark,)  # taken while the disk is nearly full
