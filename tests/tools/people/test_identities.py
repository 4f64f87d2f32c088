"""The judge of identities finds what contradicts the log, and nothing in what Falcon does."""

import pytest

from falcon.features.accounts.rules import AccountChanged, AccountRole, Space
from falcon.features.catalogue import Event
from falcon.features.claims.rules import TextClaimed, TextReleased
from falcon.features.invitations.rules import InvitationIssued, InvitationUsed, OpenInvitation
from falcon.features.messages.rules import Message, MessagePosted
from falcon.features.rooms.rules import Membership, RoomCreated
from falcon.features.sign_in.rules import LinkUsed
from tools.people.identities import Identities

ANN, BEN = 65, 66
HANDLE: Space = "handle"
MEMBER: AccountRole = "member"


def shown(account_id: int, handle: str | None, wish: int) -> AccountChanged:
    return AccountChanged(
        account_id, "A", MEMBER, "", "", handle, None, False, False, wish, 0, 1, "A", MEMBER, None, ("handle",)
    )


def claimed(account_id: int, wish: int) -> TextClaimed:
    return TextClaimed(HANDLE, "tea", account_id, wish)


def released(account_id: int, wish: int) -> TextReleased:
    return TextReleased(HANDLE, "tea", account_id, wish)


INVITATION = OpenInvitation("hash", "member", None, (), 1, 1, ANN, 1)
ROOM = RoomCreated(9, "group", "Tea", "", 1, (Membership(ANN, "admin"),))
WRONG: dict[str, list[Event]] = {
    "shown without a claim": [claimed(ANN, 1), shown(ANN, "tea", 2)],
    "released for wish 2 while it is shown": [claimed(ANN, 2), shown(ANN, "tea", 2), released(ANN, 2)],
    "account 66 changes that": [claimed(ANN, 1), claimed(BEN, 1)],
    "is not in room 9, and speaks there": [ROOM, MessagePosted(Message(9, 1, BEN, "hello", 1))],
    "counts twice": [LinkUsed(ANN, "hash"), LinkUsed(ANN, "hash")],
    "used more often": [InvitationIssued(1, INVITATION), InvitationUsed(1, 1, "a"), InvitationUsed(1, 2, "b")],
}


@pytest.mark.parametrize("what", WRONG)
def test_what_contradicts_the_promises_is_found(what: str) -> None:
    found = judged(WRONG[what])
    assert len(found) == 1
    assert what in found[0]


def test_a_handle_may_change_hands_whichever_partition_is_read_first() -> None:
    accounts: list[Event] = [shown(ANN, "tea", 1), shown(ANN, None, 2), shown(BEN, "tea", 3)]
    claims: list[Event] = [claimed(ANN, 1), released(ANN, 1), claimed(BEN, 3)]
    assert judged([*accounts, *claims]) == judged([*claims, *accounts]) == []


def judged(events: list[Event]) -> list[str]:
    identities = Identities()
    for each in events:
        identities.take(each)
    return identities.settle()
