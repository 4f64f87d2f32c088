import pytest
from msgspec.structs import replace

from falcon.domain.answers import Done
from falcon.domain.ids import Millis
from falcon.domain.rejections import Invalid
from falcon.features.invitations.rules import (
    NO_INVITATION,
    OPEN_MAX,
    OPEN_USES_MAX,
    USES_MAX,
    InvitationAnswer,
    InvitationEnded,
    InvitationIssued,
    InvitationsAnswer,
    InvitationUsed,
    Invite,
    ListInvitations,
    OpenInvitation,
    ReadInvitation,
    RevokeInvitation,
    UseInvitation,
)
from tests.support.builders import ANN, BOB, LATER, NOW, ROOM
from tests.support.given import given

TWICE = OpenInvitation("11", "guest", "c@tea.test", (ROOM,), 2, LATER, ANN, NOW)
SHOWN = replace(TWICE, code_hash="")


def issued(number: int = 1, *, uses: int = 2, by: int = ANN, expires_at: Millis = LATER) -> InvitationIssued:
    return InvitationIssued(number, replace(TWICE, uses=uses, by=by, expires_at=expires_at))


def test_invitations_are_numbered() -> None:
    command = Invite("11", "guest", "c@tea.test", (ROOM,), 2, LATER, ANN, "sealed")
    given().when(command).then(issued(1)).answered(InvitationAnswer(1, TWICE, 0, "sealed"))
    given(issued(1)).when(command).then(issued(2))


def test_a_repeated_request_has_its_use_again_and_another_one_the_next() -> None:
    first = given(issued()).when(UseInvitation(1, "11", "carl"))
    first.then(InvitationUsed(1, 1, "carl")).answered(InvitationAnswer(1, TWICE, 1))
    used = (issued(), InvitationUsed(1, 1, "carl"))
    again = given(*used).when(UseInvitation(1, "11", "carl")).then_nothing_happened()
    assert again._decided().answer.use == 1  # type: ignore[union-attr]
    given(*used).when(UseInvitation(1, "11", "dora")).then(InvitationUsed(1, 2, "dora"))


def test_a_used_up_one_is_none_but_for_who_used_it() -> None:
    used_up = given(issued(uses=1), InvitationUsed(1, 1, "carl"))
    used_up.when(UseInvitation(1, "11", "dora")).then_rejected(NO_INVITATION)
    used_up.when(ReadInvitation(1, "11")).then_rejected(NO_INVITATION)
    used_up.when(ReadInvitation(1, "11", "carl")).answered(InvitationAnswer(1, replace(SHOWN, uses=0), 1))
    used_up.when(ListInvitations()).answered(InvitationsAnswer({}))


@pytest.mark.parametrize(("number", "code"), [(1, "22"), (2, "11"), (0, "")])
def test_a_wrong_code_is_no_invitation(number: int, code: str) -> None:
    given(issued()).when(UseInvitation(number, code, "carl")).then_rejected(NO_INVITATION)
    given(issued()).when(ReadInvitation(number, code)).then_rejected(NO_INVITATION)


def test_an_expired_one_is_none_and_makes_room_for_the_next() -> None:
    expired = given(issued(expires_at=NOW))
    expired.when(UseInvitation(1, "11", "carl")).then_rejected(NO_INVITATION)
    expired.when(ListInvitations()).answered(InvitationsAnswer({}))
    expired.when(Invite("11", "guest", "c@tea.test", (ROOM,), 2, LATER, ANN)).then(InvitationEnded(1), issued(2))


def test_who_invites_sees_and_ends_the_own_ones_and_an_administrator_all() -> None:
    both = given(issued(1), issued(2, by=BOB))
    both.when(ListInvitations()).answered(InvitationsAnswer({1: SHOWN, 2: replace(SHOWN, by=BOB)}))
    both.when(ListInvitations(BOB)).answered(InvitationsAnswer({2: replace(SHOWN, by=BOB)}))
    both.when(RevokeInvitation(1, BOB)).then_rejected(NO_INVITATION)
    both.when(RevokeInvitation(1)).then(InvitationEnded(1)).answered(Done())
    both.when(RevokeInvitation(2, BOB)).then(InvitationEnded(2))


def test_open_invitations_are_bounded_and_so_are_their_uses() -> None:
    many = [issued(number, uses=1) for number in range(1, OPEN_MAX + 1)]
    once_more = Invite("11", "guest", None, (), 1, LATER, ANN)
    given(*many).when(once_more).then_rejected(
        Invalid("uses", f"at most {OPEN_MAX} invitations are open; revoke one first")
    )
    large = [issued(number, uses=USES_MAX) for number in range(1, OPEN_USES_MAX // USES_MAX + 1)]
    given(*large).when(once_more).then_rejected(
        Invalid("uses", f"open invitations have at most {OPEN_USES_MAX} uses together; revoke one first")
    )
