import pytest

from falcon.domain.rejections import AccountNotFound, Invalid
from falcon.features.accounts.rules import DirectRoomOpened
from falcon.features.rooms.rules import OpenDirect, RoomAnswer
from tests.support.builders import (
    ANN,
    BOB,
    CAT,
    DIRECT,
    NEW,
    NOW,
    a_conversation,
    a_direct_room,
    an_account,
)
from tests.support.given import given

BOTH = (an_account(ANN, "Ann"), an_account(BOB, "Bob"))
OPEN = (*BOTH, a_direct_room(ANN, BOB), DirectRoomOpened(ANN, BOB, DIRECT))


@pytest.mark.parametrize(("by", "peer"), [(ANN, BOB), (BOB, ANN)])
def test_either_of_two_opens_their_room(by: int, peer: int) -> None:
    given(*BOTH).when(OpenDirect(by, peer)).then(
        a_direct_room(ANN, BOB, room_id=NEW), DirectRoomOpened(ANN, BOB, NEW)
    ).answered(RoomAnswer(NEW, "direct", "", "", "member", 0, NOW, peer_id=peer, created=True))


@pytest.mark.parametrize(("by", "peer"), [(ANN, BOB), (BOB, ANN)])
def test_two_have_one_room_for_ever(by: int, peer: int) -> None:
    given(*OPEN, a_conversation(3, room_id=DIRECT)).when(OpenDirect(by, peer)).then_nothing_happened().answered(
        RoomAnswer(DIRECT, "direct", "", "", "member", 3, NOW, peer_id=peer, created=False)
    )


def test_each_pair_has_a_room_of_its_own() -> None:
    given(*OPEN, an_account(CAT, "Cat")).when(OpenDirect(CAT, ANN)).then(
        a_direct_room(ANN, CAT, room_id=NEW), DirectRoomOpened(ANN, CAT, NEW)
    )


def test_opening_and_opening_again_gives_the_same_room() -> None:
    opened = given(*BOTH).when(OpenDirect(ANN, BOB)).world
    assert dict(opened.accounts[ANN].directs) == {BOB: NEW}
    assert opened.rooms[NEW].peer_of(ANN) == BOB
    assert opened.rooms[NEW].peer_of(BOB) == ANN


def test_nobody_opens_a_room_with_an_account_that_is_not_there() -> None:
    given(an_account(BOB, "Bob")).when(OpenDirect(BOB, ANN)).then_rejected(AccountNotFound(ANN))


def test_nobody_opens_a_room_with_themselves() -> None:
    given(*BOTH).when(OpenDirect(ANN, ANN)).then_rejected(
        Invalid("account_id", "must be another account than your own")
    )
