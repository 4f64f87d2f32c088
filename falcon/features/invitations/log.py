"""Events of invitations, and answers, as they stand in the log."""

from typing import Final, Literal

import msgspec

from falcon.features.invitations.rules import (
    InvitationAnswer,
    InvitationEnded,
    InvitationIssued,
    InvitationsAnswer,
    InvitationUsed,
    OpenInvitation,
)
from falcon.journal.shapes.shape import Shape, event


class InvitationV1(msgspec.Struct, frozen=True, omit_defaults=True):
    code_hash: str
    role: Literal["owner", "admin", "member", "guest"]
    email: str | None
    rooms: tuple[int, ...]
    uses: int
    expires_at: int
    by: int
    created_at: int
    claimants: dict[str, int] = {}


class InvitationIssuedV1(msgspec.Struct, frozen=True):
    invitation_id: int
    invitation: InvitationV1


class InvitationAnswerV1(msgspec.Struct, frozen=True, tag="invitation-answer.v1"):
    invitation_id: int
    invitation: InvitationV1
    use: int
    sealed: str


class InvitationsAnswerV1(msgspec.Struct, frozen=True, tag="invitations-answer.v1"):
    invitations: dict[int, InvitationV1]


def _stored(invitation: OpenInvitation) -> InvitationV1:
    return InvitationV1(*msgspec.structs.astuple(invitation))


def _restored(stored: InvitationV1) -> OpenInvitation:
    return OpenInvitation(*msgspec.structs.astuple(stored))


EVENTS: Final = (
    Shape(
        "invitation-issued",
        1,
        InvitationIssued,
        InvitationIssuedV1,
        lambda issued: InvitationIssuedV1(issued.invitation_id, _stored(issued.invitation)),
        lambda stored: InvitationIssued(stored.invitation_id, _restored(stored.invitation)),
    ),
    event("invitation-used", InvitationUsed, invitation_id=int, use=int, claimant=str),
    event("invitation-ended", InvitationEnded, invitation_id=int),
)
ANSWERS: Final = (
    Shape(
        "invitation-answer",
        1,
        InvitationAnswer,
        InvitationAnswerV1,
        lambda answer: InvitationAnswerV1(answer.invitation_id, _stored(answer.invitation), answer.use, answer.sealed),
        lambda stored: InvitationAnswer(stored.invitation_id, _restored(stored.invitation), stored.use, stored.sealed),
    ),
    Shape(
        "invitations-answer",
        1,
        InvitationsAnswer,
        InvitationsAnswerV1,
        lambda answer: InvitationsAnswerV1({n: _stored(each) for n, each in answer.invitations.items()}),
        lambda stored: InvitationsAnswer({n: _restored(each) for n, each in stored.invitations.items()}),
    ),
)
