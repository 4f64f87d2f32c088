"""The rules of pins."""

from hypothesis import given as for_all
from hypothesis import strategies as st

from falcon.domain.answers import Done, ImportAnswer
from falcon.domain.decision import Decided
from falcon.domain.ids import ID_MAX
from falcon.domain.rejections import (
    Invalid,
    MessageIsDeleted,
    MessageNotFound,
    NotAllowed,
    NotAMember,
    NotYetReadable,
    ReadOnly,
)
from falcon.features.catalogue import Event
from falcon.features.messages.rules import DeleteMessage, Message
from falcon.features.pins.rules import PINS_MAX, STATE, AddPin, ImportPin, PinAdded, PinAnswer, PinRemoved, RemovePin
from falcon.features.rooms.rules import Room
from tests.support.builders import (
    ANN,
    BOB,
    CAT,
    DAN,
    DIRECT,
    LATER,
    NOW,
    ROOM,
    a_conversation,
    a_direct_room,
    a_group,
    a_message,
    an_account,
    an_imported_group,
    deleted,
    edited,
    posted,
    tried,
    without_text,
)
from tests.support.given import given

TEA: tuple[Event, ...] = (a_group(members=[BOB], readers=[DAN]), *a_conversation(PINS_MAX + 1))


def pin(by: int = BOB, seq: int = 1, *, message: Message | None = None, revision: int = 0) -> AddPin:
    return AddPin(by, ROOM, seq, message or a_message(seq), revision)


def pinned(seq: int = 1, number: int = 1, *, by: int = BOB, at: int = LATER) -> PinAdded:
    return PinAdded(ROOM, seq, by, at, number)


def test_a_member_pins_a_message() -> None:
    given(*TEA).when(pin(), at=LATER).then(pinned()).answered(PinAnswer(ROOM, 1, BOB, LATER))


def test_both_members_of_a_direct_room_pin_messages() -> None:
    history = an_account(ANN), a_direct_room(), posted(1, room_id=DIRECT), posted(2, room_id=DIRECT)
    for by in (ANN, BOB):
        command = AddPin(by, DIRECT, 1, a_message(1, room_id=DIRECT))
        given(*history).when(command, at=LATER).then(PinAdded(DIRECT, 1, by, LATER, 1))


def test_what_is_pinned_is_not_pinned_again() -> None:
    """Not by another member either, and however old the view is."""
    for by in (BOB, ANN):
        again = given(*TEA, pinned()).when(AddPin(by, ROOM, 1), at=LATER + 1)
        again.then_nothing_happened().answered(PinAnswer(ROOM, 1, BOB, LATER))


def test_a_message_is_unpinned_by_any_member_and_without_a_pin_nothing_happens() -> None:
    given(*TEA, pinned()).when(RemovePin(ANN, ROOM, 1)).then(PinRemoved(ROOM, 1, ANN)).answered(Done())
    given(*TEA).when(RemovePin(ANN, ROOM, 1)).then_nothing_happened().answered(Done())
    given(*TEA).when(RemovePin(ANN, ROOM, 999)).then_nothing_happened().answered(Done())


def test_deleting_a_message_removes_its_pin() -> None:
    delete = DeleteMessage(ANN, ROOM, 1, a_message())
    given(*TEA, pinned()).when(delete).then(deleted(a_message(), 1), PinRemoved(ROOM, 1, ANN)).answered(Done())
    given(*TEA, pinned(2)).when(delete).then(deleted(a_message(), 1))


def test_only_members_who_may_write_pin_and_unpin() -> None:
    for command in (pin(CAT), RemovePin(CAT, ROOM, 1)):
        given(*TEA, pinned()).when(command).then_rejected(NotAMember(ROOM, CAT))
    for command in (pin(DAN), RemovePin(DAN, ROOM, 1)):
        given(*TEA, pinned()).when(command).then_rejected(ReadOnly(ROOM))


def test_a_message_that_is_not_there_or_was_deleted_is_not_pinned() -> None:
    given(*TEA).when(pin(seq=PINS_MAX + 2)).then_rejected(MessageNotFound(ROOM, PINS_MAX + 2))
    gone = (*TEA, deleted(a_message(), 1))
    given(*gone).when(pin(message=without_text(a_message()), revision=1)).then_rejected(MessageIsDeleted(ROOM, 1))
    given(*gone).when(pin()).then_rejected(NotYetReadable(ROOM, 1))


def test_an_edited_message_stays_pinned() -> None:
    given(*TEA, pinned(), edited(a_message(), 1)).when(pin()).then_nothing_happened()


def test_a_room_has_so_many_pins_at_most() -> None:
    full = (*TEA, *(pinned(seq, seq) for seq in range(1, PINS_MAX + 1)))
    rule = f"a room has at most {PINS_MAX} pinned messages"
    given(*full).when(pin(seq=PINS_MAX + 1)).then_rejected(Invalid("seq", rule))
    given(*full).when(pin(seq=PINS_MAX)).then_nothing_happened()
    emptier = given(*full, PinRemoved(ROOM, 7, ANN))
    emptier.when(pin(seq=PINS_MAX + 1), at=LATER).then(pinned(PINS_MAX + 1, PINS_MAX + 1))


def test_pins_are_imported_once_into_imported_rooms_only() -> None:
    old = (an_imported_group(members=[BOB]), posted(1))
    command = ImportPin(ROOM, 1, CAT, NOW, a_message())
    given(*old).when(command).then(pinned(number=NOW - ID_MAX, by=CAT, at=NOW)).answered(ImportAnswer(1, 0))
    given(*old, pinned()).when(command).then_nothing_happened().answered(ImportAnswer(0, 1))
    removed = ImportPin(ROOM, 1, CAT, NOW, without_text(a_message()), 1)
    given(*old, deleted(a_message(), 1)).when(removed).then_nothing_happened().answered(ImportAnswer(0, 1))
    rule = "pins can only be imported into a room that was imported"
    given(*TEA).when(command).then_rejected(NotAllowed(rule))


def test_pins_are_in_the_order_in_which_they_were_made_whatever_the_clock_says() -> None:
    given(*TEA, pinned(at=LATER)).when(pin(seq=2), at=NOW).then(pinned(2, 2, at=NOW))


def test_imported_pins_are_in_the_order_of_their_times_and_before_all_others() -> None:
    history: tuple[Event, ...] = (an_imported_group(members=[BOB]), *a_conversation(3))
    later = given(*history).when(ImportPin(ROOM, 1, CAT, LATER, a_message(1)))
    earlier = given(*history, pinned(1, LATER - ID_MAX)).when(ImportPin(ROOM, 2, CAT, NOW, a_message(2)))
    later.then(pinned(1, LATER - ID_MAX, by=CAT))
    earlier.then(pinned(2, NOW - ID_MAX, by=CAT, at=NOW))
    given(*history, pinned(1, LATER - ID_MAX)).when(pin(seq=3), at=NOW).then(pinned(3, 1, at=NOW))


@tried(120)
@for_all(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=40))
def test_in_any_order_a_room_knows_what_is_pinned(asked: list[tuple[bool, int]]) -> None:
    world = given(*TEA).world
    expected: list[int] = []
    for adds, seq in asked:
        decision = world.decide(pin(seq=seq) if adds else RemovePin(BOB, ROOM, seq), LATER)
        assert isinstance(decision, Decided)
        world = world.after(*decision.events)
        if adds and seq not in expected:
            expected.append(seq)
        elif not adds and seq in expected:
            expected.remove(seq)
    room: Room = world.rooms[ROOM]
    pins = STATE.of(room).pins
    assert [each.seq for each in pins] == expected
    assert sorted(pins, key=lambda each: each.number) == list(pins)
