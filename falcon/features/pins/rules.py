"""Pins: the messages that a room keeps in sight. The room knows its pins, so that it can bound them."""

from typing import Final, TypeAlias

import msgspec

from falcon.domain import ids
from falcon.domain.aggregates import FeatureState
from falcon.domain.answers import Done, ImportAnswer
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import AccountId, Millis, RoomId, Seq
from falcon.domain.rejections import Invalid, MessageIsDeleted, NotAllowed, NotAMember, NotJoined, ReadOnly
from falcon.features.messages.rules import DeleteMessage, Message, current_message
from falcon.features.rooms.rules import Room, not_a_member

PINS_MAX = 100  # of a room: as many as one answer lists, and a reader looks through


class AddPin(msgspec.Struct, frozen=True, tag=True):
    """``known``, ``known_revision`` as in EditMessage."""

    by: AccountId
    room_id: RoomId
    seq: Seq
    known: Message | None = None
    known_revision: int = 0


class RemovePin(msgspec.Struct, frozen=True, tag=True):
    by: AccountId
    room_id: RoomId
    seq: Seq


class ImportPin(msgspec.Struct, frozen=True, tag=True):
    """A pin of an imported room. The other fields are as in AddPin."""

    room_id: RoomId
    seq: Seq
    account_id: AccountId
    pinned_at: Millis
    known: Message | None = None
    known_revision: int = 0


class PinAdded(msgspec.Struct, frozen=True):
    """``number`` orders the pins of the room, whatever clocks say. Imported pins have negative ones, by their times."""

    room_id: RoomId
    seq: Seq
    account_id: AccountId
    pinned_at: Millis
    number: int


class PinRemoved(msgspec.Struct, frozen=True):
    """``account_id``: who has unpinned the message, or deleted it."""

    room_id: RoomId
    seq: Seq
    account_id: AccountId


class PinAnswer(msgspec.Struct, frozen=True, tag="pin-answer"):
    room_id: RoomId
    seq: Seq
    pinned_by: AccountId
    pinned_at: Millis


class RoomPins(msgspec.Struct, frozen=True, array_like=True):
    """Oldest first, but for imported ones."""

    pins: tuple[PinAdded, ...] = ()

    def of(self, seq: Seq) -> PinAdded | None:
        return next((pin for pin in self.pins if pin.seq == seq), None)


STATE: Final = FeatureState("pins", RoomPins)


def add_pin(room: Room, command: AddPin, at: Millis) -> Decision:
    refusal = _refusal(room, command.by)
    if refusal is not None:
        return refusal
    pin = STATE.of(room).of(command.seq)
    if pin is not None:
        return Decided((), _answer(pin))
    number = max((0, *(each.number for each in STATE.of(room).pins))) + 1
    pinned = _pinned(room, command, command.by, at, number)
    return Decided((pinned,), _answer(pinned)) if isinstance(pinned, PinAdded) else pinned


def remove_pin(room: Room, command: RemovePin, _: Millis) -> Decision:
    """Nothing happens if the message is not pinned."""
    return _refusal(room, command.by) or Decided(_unpinned(room, command), Done())


def import_pin(room: Room, command: ImportPin, _: Millis) -> Decision:
    """The account need not be a member (any more). A deleted message is not pinned."""
    if not room.imported:
        return NotAllowed("pins can only be imported into a room that was imported")
    if STATE.of(room).of(command.seq) is not None:
        return Decided((), ImportAnswer(0, 1))
    number = command.pinned_at - ids.ID_MAX  # times are smaller
    pinned = _pinned(room, command, command.account_id, command.pinned_at, number)
    if isinstance(pinned, MessageIsDeleted):
        return Decided((), ImportAnswer(0, 1))
    return Decided((pinned,), ImportAnswer(1, 0)) if isinstance(pinned, PinAdded) else pinned


def _refusal(room: Room, account_id: AccountId) -> NotAMember | NotJoined | ReadOnly | None:
    member = room.members.get(account_id)
    if member is None:
        return not_a_member(room, account_id)
    return ReadOnly(room.room_id) if member.role == "readonly" else None


def _pinned(room: Room, command: AddPin | ImportPin, by: AccountId, at: Millis, number: int) -> PinAdded | Decision:
    message = current_message(room, command)
    if not isinstance(message, Message):
        return message
    if message.deleted:
        return MessageIsDeleted(room.room_id, command.seq)
    if len(STATE.of(room).pins) >= PINS_MAX:
        return Invalid("seq", f"a room has at most {PINS_MAX} pinned messages")
    return PinAdded(room.room_id, command.seq, by, at, number)


def _unpinned(room: Room, command: RemovePin | DeleteMessage) -> tuple[PinRemoved, ...]:
    pin = STATE.of(room).of(command.seq)
    return () if pin is None else (PinRemoved(room.room_id, command.seq, command.by),)


def _answer(pin: PinAdded) -> PinAnswer:
    return PinAnswer(pin.room_id, pin.seq, pin.account_id, pin.pinned_at)


def _with_pin(room: Room, event: PinAdded) -> Room:
    return STATE.put(room, RoomPins((*STATE.of(room).pins, event)))


def _without_pin(room: Room, event: PinRemoved) -> Room:
    return STATE.put(room, RoomPins(tuple(pin for pin in STATE.of(room).pins if pin.seq != event.seq)))


RULES: Final = {AddPin: add_pin, RemovePin: remove_pin, ImportPin: import_pin}
FOLLOWS: Final = {DeleteMessage: _unpinned}
EVOLVES: Final = {PinAdded: _with_pin, PinRemoved: _without_pin}
PinsCommand: TypeAlias = AddPin | RemovePin | ImportPin
PinsEvent: TypeAlias = PinAdded | PinRemoved
FREEING: Final = (RemovePin,)  # taken while the disk is nearly full
