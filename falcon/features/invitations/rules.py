"""The open invitations of an organization, and how often each was used.

Making an account by an invitation is several steps in several partitions. The first is the truth: it numbers the use.
Who repeats the same request gets the same number, and so continues where it stopped.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from falcon.domain.aggregates import AggregateKind, id_of_text
from falcon.domain.answers import Done
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import AccountId, Millis, RoomId
from falcon.domain.rejections import Invalid, NotAllowed

USES_MAX: Final = 1_000  # of one invitation: a department joins by one link
OPEN_MAX: Final = 1_000  # each has some 300 bytes in one state
OPEN_USES_MAX: Final = 10_000  # of all open ones: each use that was made has 40 bytes until its invitation ends
ROOMS_MAX: Final = 50  # each is a command when the invitation is used

InvitedRole: TypeAlias = Literal["owner", "admin", "member", "guest"]

_ID: Final = id_of_text("invitations", "")


class _OfInvitations(msgspec.Struct, frozen=True):
    @property
    def invitations_id(self) -> int:
        return _ID


class OpenInvitation(msgspec.Struct, frozen=True, array_like=True):
    """``by``: the account that invites. ``uses``: how often it may be used. ``claimants``: who has used it, with the
    number of the use."""

    code_hash: str
    role: InvitedRole
    email: str | None
    rooms: tuple[RoomId, ...]
    uses: int
    expires_at: Millis
    by: AccountId
    created_at: Millis
    claimants: Mapping[str, int] = {}

    @property
    def uses_left(self) -> int:
        return self.uses - len(self.claimants)


class Invite(_OfInvitations, frozen=True, tag=True):
    """``code_hash`` is the hex SHA-256 of the secret. ``sealed``: the secret, readable to the edge alone, for the
    answer."""

    code_hash: str
    role: InvitedRole
    email: str | None
    rooms: tuple[RoomId, ...]
    uses: int
    expires_at: Millis
    by: AccountId
    sealed: str = ""


class RevokeInvitation(_OfInvitations, frozen=True, tag=True):
    """``by``: only an invitation of this account; None for any."""

    invitation_id: int
    by: AccountId | None = None


class UseInvitation(_OfInvitations, frozen=True, tag=True):
    """``claimant``: the same for the same request."""

    invitation_id: int
    code_hash: str
    claimant: str


class ReadInvitation(_OfInvitations, frozen=True, tag=True):
    """``claimant`` as in UseInvitation, or none."""

    invitation_id: int
    code_hash: str
    claimant: str = ""


class ListInvitations(_OfInvitations, frozen=True, tag=True):
    """Ask for the open ones. ``by``: of this account; None for all."""

    by: AccountId | None = None


class InvitationIssued(_OfInvitations, frozen=True):
    invitation_id: int
    invitation: OpenInvitation


class InvitationUsed(_OfInvitations, frozen=True):
    invitation_id: int
    use: int
    claimant: str


class InvitationEnded(_OfInvitations, frozen=True):
    """An invitation was revoked, or has expired."""

    invitation_id: int


class InvitationAnswer(msgspec.Struct, frozen=True, tag="invitation-answer"):
    """``use``: the number of the claimant's use; 0 if there is none. ``sealed`` as in Invite."""

    invitation_id: int
    invitation: OpenInvitation
    use: int = 0
    sealed: str = ""


class InvitationsAnswer(msgspec.Struct, frozen=True, tag="invitations-answer"):
    """``invitations``: by id, the newest last."""

    invitations: Mapping[int, OpenInvitation]


class Invitations(msgspec.Struct, frozen=True):
    """``issued``: how many there have been. ``open``: by id, the newest last; some may have expired."""

    issued: int = 0
    open: Mapping[int, OpenInvitation] = {}


NO_INVITATION: Final = NotAllowed("the invitation is used up, or has expired")
INVITATIONS: Final = AggregateKind("invitations", Invitations, "invitations_id", lambda _: Invitations())


def invite(invitations: Invitations, command: Invite, at: Millis) -> Decision:
    expired = [number for number, each in invitations.open.items() if each.expires_at <= at]
    left = [each for number, each in invitations.open.items() if number not in expired]
    if len(left) >= OPEN_MAX:
        return Invalid("uses", f"at most {OPEN_MAX} invitations are open; revoke one first")
    if sum(each.uses for each in left) + command.uses > OPEN_USES_MAX:
        return Invalid("uses", f"open invitations have at most {OPEN_USES_MAX} uses together; revoke one first")
    invitation = OpenInvitation(
        command.code_hash,
        command.role,
        command.email,
        command.rooms,
        command.uses,
        command.expires_at,
        command.by,
        at,
    )
    number = invitations.issued + 1
    ended: tuple[InvitationsEvent, ...] = tuple(map(InvitationEnded, expired))
    events = (*ended, InvitationIssued(number, invitation))
    return Decided(events, InvitationAnswer(number, invitation, sealed=command.sealed))


def revoke_invitation(invitations: Invitations, command: RevokeInvitation, at: Millis) -> Decision:
    invitation = invitations.open.get(command.invitation_id)
    if invitation is None or command.by not in (None, invitation.by):
        return NO_INVITATION
    return Decided((InvitationEnded(command.invitation_id),), Done())


def use_invitation(invitations: Invitations, command: UseInvitation, at: Millis) -> Decision:
    invitation = _with_code(invitations, command.invitation_id, command.code_hash, at)
    if invitation is None:
        return NO_INVITATION
    use = invitation.claimants.get(command.claimant)
    if use is not None:
        return Decided((), InvitationAnswer(command.invitation_id, invitation, use))
    if not invitation.uses_left:
        return NO_INVITATION
    use = len(invitation.claimants) + 1
    event = InvitationUsed(command.invitation_id, use, command.claimant)
    return Decided((event,), InvitationAnswer(command.invitation_id, invitation, use))


def read_invitation(invitations: Invitations, command: ReadInvitation, at: Millis) -> Decision:
    invitation = _with_code(invitations, command.invitation_id, command.code_hash, at)
    use = 0 if invitation is None else invitation.claimants.get(command.claimant, 0)
    if invitation is None or not (use or invitation.uses_left):
        return NO_INVITATION
    return Decided((), InvitationAnswer(command.invitation_id, _shown(invitation), use))


def list_invitations(invitations: Invitations, command: ListInvitations, at: Millis) -> Decision:
    shown = {
        number: _shown(each)
        for number, each in invitations.open.items()
        if each.expires_at > at and each.uses_left and command.by in (None, each.by)
    }
    return Decided((), InvitationsAnswer(shown))


def _with_code(invitations: Invitations, number: int, code_hash: str, at: Millis) -> OpenInvitation | None:
    invitation = invitations.open.get(number)
    good = invitation is not None and invitation.code_hash == code_hash and invitation.expires_at > at
    return invitation if good else None


def _shown(invitation: OpenInvitation) -> OpenInvitation:
    """Leaves out its code, and has as many uses as are left."""
    return replace(invitation, code_hash="", uses=invitation.uses_left, claimants={})


def _issued(invitations: Invitations | None, event: InvitationIssued) -> Invitations:
    before = invitations or Invitations()
    return Invitations(event.invitation_id, {**before.open, event.invitation_id: event.invitation})


def _used(invitations: Invitations, event: InvitationUsed) -> Invitations:
    invitation = invitations.open[event.invitation_id]
    used = replace(invitation, claimants={**invitation.claimants, event.claimant: event.use})
    return replace(invitations, open={**invitations.open, event.invitation_id: used})


def _ended(invitations: Invitations, event: InvitationEnded) -> Invitations:
    left = {number: each for number, each in invitations.open.items() if number != event.invitation_id}
    return replace(invitations, open=left)


RULES: Final = {
    Invite: invite,
    RevokeInvitation: revoke_invitation,
    UseInvitation: use_invitation,
    ReadInvitation: read_invitation,
    ListInvitations: list_invitations,
}
EVOLVES: Final = {InvitationIssued: _issued, InvitationUsed: _used, InvitationEnded: _ended}
InvitationsCommand: TypeAlias = Invite | RevokeInvitation | UseInvitation | ReadInvitation | ListInvitations
InvitationsEvent: TypeAlias = InvitationIssued | InvitationUsed | InvitationEnded
FREEING: Final = (RevokeInvitation, ReadInvitation, ListInvitations)  # taken while the disk is nearly full
