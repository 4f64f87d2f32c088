"""One example of each refusal there is, so that a new one does not come without."""

from collections.abc import Sequence
from typing import Final, get_args

import pytest

from falcon.domain.rejections import (
    AccountNotFound,
    Invalid,
    KeyReused,
    LastAdmin,
    LastOwner,
    LastToken,
    MemberNotFound,
    MessageIsDeleted,
    MessageNotFound,
    NotAllowed,
    NotAMember,
    NotJoined,
    NotTheAuthor,
    NotYetReadable,
    OutOfDate,
    ReadOnly,
    Rejection,
    RoomNotFound,
    TextTaken,
    TokenNotFound,
    UnknownAccount,
)
from falcon.features.accounts.rules import ChangeAccount, RevokeToken, TokenIssued
from falcon.features.catalogue import Command, Event
from falcon.features.claims.rules import ClaimText, TextClaimed
from falcon.features.messages.rules import DeleteMessage, EditMessage, PostMessage
from falcon.features.owners.rules import StepDown
from falcon.features.read_marks.rules import MoveRead
from falcon.features.rooms.rules import OpenDirect, PutMember, RemoveMember
from tests.support.builders import (
    ANN,
    BOB,
    CAT,
    DAN,
    NOW,
    ROOM,
    a_group,
    a_message,
    an_account,
    deleted,
    posted,
    without_text,
)
from tests.support.given import given, plain

ROOM_OF_THREE: Final = a_group(members=[BOB], readers=[CAT])
HELLO: Final = a_message(1)

EXAMPLES: Final[list[tuple[Sequence[Event], Command, Rejection]]] = [
    ([], PostMessage(ANN, ROOM, "Hi"), RoomNotFound(ROOM)),
    ([ROOM_OF_THREE], PostMessage(DAN, ROOM, "Hi"), NotAMember(ROOM, DAN)),
    ([a_group(is_open=True)], PostMessage(DAN, ROOM, "Hi"), NotJoined(ROOM, DAN)),
    ([ROOM_OF_THREE], RemoveMember(ANN, ROOM, DAN), MemberNotFound(ROOM, DAN)),
    ([an_account(BOB)], OpenDirect(BOB, ANN), AccountNotFound(ANN)),
    ([an_account(ANN)], RevokeToken(ANN, 1), TokenNotFound(ANN, 1)),
    ([ROOM_OF_THREE], DeleteMessage(ANN, ROOM, 1), MessageNotFound(ROOM, 1)),
    (
        [ROOM_OF_THREE, posted(1), deleted(HELLO, 1)],
        EditMessage(ANN, ROOM, 1, "Hi", None, without_text(HELLO), 1),
        MessageIsDeleted(ROOM, 1),
    ),
    ([ROOM_OF_THREE, posted(1)], EditMessage(BOB, ROOM, 1, "Hi", None, HELLO), NotTheAuthor(ROOM, 1)),
    ([ROOM_OF_THREE], PostMessage(CAT, ROOM, "Hi"), ReadOnly(ROOM)),
    (
        [ROOM_OF_THREE],
        RemoveMember(BOB, ROOM, CAT),
        NotAllowed("only an admin of the room may remove members"),
    ),
    ([ROOM_OF_THREE], RemoveMember(ANN, ROOM, ANN), LastAdmin(ROOM)),
    (
        [an_account(ANN, is_admin=True), TokenIssued(ANN, 1, "c0ffee", NOW)],
        RevokeToken(ANN, 1),
        LastToken(ANN),
    ),
    ([ROOM_OF_THREE], MoveRead(ANN, ROOM, 1), Invalid("seq", "must be at most 0, the room's newest message")),
    ([ROOM_OF_THREE, posted(1)], EditMessage(ANN, ROOM, 1, "Hi"), NotYetReadable(ROOM, 1)),
    ([ROOM_OF_THREE], PutMember(ANN, ROOM, DAN, "member", account_exists=False), UnknownAccount(DAN)),
    ([an_account(ANN)], ChangeAccount(ANN, texts={"handle": "ann"}, wish=1), OutOfDate(ANN)),
    ([TextClaimed("handle", "ann", BOB, 1)], ClaimText("handle", "ann", ANN, 1), TextTaken("handle")),
    ([], StepDown(ANN, {ANN: 0}), LastOwner(ANN)),
]


@pytest.mark.parametrize(
    ("history", "command", "refusal"), EXAMPLES, ids=[str(type(e[2]).__struct_config__.tag) for e in EXAMPLES]
)
def test_a_refusal_says_why_and_changes_nothing(history: Sequence[Event], command: Command, refusal: Rejection) -> None:
    told = given(history)
    before = [plain(state) for state in (*told.world.rooms.values(), *told.world.accounts.values())]
    told.when(command).then_rejected(refusal)
    assert [plain(state) for state in (*told.world.rooms.values(), *told.world.accounts.values())] == before


def test_there_is_an_example_of_every_refusal() -> None:
    # The owner of the log says if a key was used before: a room does not know.
    assert {type(refusal) for _, _, refusal in EXAMPLES} | {KeyReused} == {*get_args(Rejection), UnknownAccount}
