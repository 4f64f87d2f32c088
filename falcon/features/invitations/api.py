"""Invitations, and making an account by one: steps in several partitions, of which the first is the truth."""

import hmac
import logging
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from falcon.domain.ids import AccountId
from falcon.features.accounts.api import read_email, read_handle, taken
from falcon.features.accounts.rules import RANKS, SCOPES, AccountAnswer, ChangeAccount, CreateAccount, Space
from falcon.features.accounts.table import AccountRow
from falcon.features.accounts.wishes import change_profile
from falcon.features.invitations.rules import (
    ROOMS_MAX,
    USES_MAX,
    InvitationAnswer,
    InvitationsAnswer,
    Invite,
    InvitedRole,
    ListInvitations,
    OpenInvitation,
    ReadInvitation,
    RevokeInvitation,
    UseInvitation,
)
from falcon.features.rooms.joining import join_default_rooms
from falcon.features.rooms.rules import PutMember
from falcon.features.sign_in.api import SIGNED_IN, new_session, now_millis, signed_in
from falcon.features.sign_in.rules import PasswordAnswer, ReadPassword, SessionAnswer, SetPassword, SignIn
from falcon.http import bearer_tokens, shapes
from falcon.http.api import examples, permissions
from falcon.http.api.lines import reference
from falcon.http.api.operation import ApiOperation, Group, PathParameter, in_group
from falcon.http.edge import Edge
from falcon.http.passwords import NewPassword, check_new
from falcon.http.problems import Problem, check_scopes, item_not_found, not_allowed, room_not_found, token_unreadable
from falcon.http.requests import AuthedRequest, read_name
from falcon.http.responses import BytesResponse, json_response
from falcon.read.times import rfc3339

log = logging.getLogger("falcon.http")

_DAY_SECONDS: Final = 86_400  # a day
_EXPIRES_MAX: Final = 30 * _DAY_SECONDS  # who has not come within a month is invited again
_CLAIMANT_BYTES: Final = 16  # 128 bits, more than can be guessed
_SUBJECT: Final = "An invitation to Falcon / Falcon への招待"
_MAIL: Final = """\
{name} invites you to Falcon. This link is good until {until}.
{name} さんから Falcon への招待です。リンクは {until} まで使えます。

{url}
"""
_TAKEN: Final = ("handle_taken", "email_taken")


class NewInvitation(shapes.RequestShape, frozen=True):
    """``rooms``: whose admin the caller is. ``expires_in``: seconds."""

    role: InvitedRole = "member"
    email: shapes.Email | None = None
    rooms: Annotated[tuple[shapes.Id, ...], Meta(max_length=ROOMS_MAX)] = ()
    uses: Annotated[int, Meta(ge=1, le=USES_MAX)] = 1
    expires_in: Annotated[int, Meta(ge=1, le=_EXPIRES_MAX)] = 7 * _DAY_SECONDS


class Newcomer(shapes.RequestShape, frozen=True):
    """``email``: by default the one that was invited. People sign in with the handle or the e-mail."""

    name: shapes.Name
    password: NewPassword
    handle: shapes.Handle | None = None
    email: shapes.Email | None = None
    bearer: bool = False


class IssuedInvitation(msgspec.Struct, frozen=True):
    """The address is shown this once. ``mailed``: the mail server has taken it."""

    invitation_id: int
    url: str
    role: InvitedRole
    uses_left: int
    expires_at: shapes.Time
    mailed: bool


class InvitationShape(msgspec.Struct, frozen=True):
    """``by``: the account that invites."""

    invitation_id: int
    role: InvitedRole
    email: str | None
    rooms: tuple[shapes.Id, ...]
    uses_left: int
    expires_at: shapes.Time
    created_at: shapes.Time
    by: shapes.Id


class InvitationList(msgspec.Struct, frozen=True):
    invitations: list[InvitationShape]


class InvitationView(msgspec.Struct, frozen=True):
    """An invitation as a person sees it who has no account yet. ``rooms``: their names. ``by``: who invites."""

    role: InvitedRole
    rooms: list[str]
    by: str
    email: str | None


_new_invitation: Final = msgspec.json.Decoder(NewInvitation)
_newcomer: Final = msgspec.json.Decoder(Newcomer)


# --- for who invites --------------------------------------------------------------------------------------------------


async def create_invitation(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Invite people.

    Each person with the link makes an account, at most `uses` times. The link is shown only once. An administrator's
    goes to the `email`, too, if Falcon has a mail server.
    """
    new: NewInvitation = await request.json(_new_invitation)
    await _check_may_invite(edge, request, new)
    url = edge.authenticator.origins.url(request.headers, request.scope)
    secret = bearer_tokens.new_secret(edge.secret)
    command = Invite(
        bearer_tokens.hash_of(secret),
        new.role,
        None if new.email is None else read_email(new.email),
        tuple(dict.fromkeys(new.rooms)),
        new.uses,
        now_millis() + new.expires_in * 1_000,
        request.account_id,
        bearer_tokens.seal(edge.secret, secret),
    )
    result = await edge.commands.dispatch(request, command)
    answer = result.answer
    assert isinstance(answer, InvitationAnswer)
    unsealed = bearer_tokens.unseal(edge.secret, answer.sealed)
    if unsealed is None:
        raise token_unreadable("An invitation", request.account_id)
    number, issued = answer.invitation_id, answer.invitation
    link = f"{url}/#invitation={number}_{unsealed}"
    until = rfc3339(issued.expires_at)
    mailed = False
    # A member, who may invite guests, does not make Falcon write to strangers.
    if edge.mail is not None and issued.email is not None and request.is_admin:
        text = _MAIL.format(name=request.account.name, url=link, until=until)
        mailed = await edge.mail.send(issued.email, _SUBJECT, text)
    shown = IssuedInvitation(number, link, issued.role, issued.uses_left, until, mailed)
    return json_response(201, shown, *result.headers)


async def _check_may_invite(edge: Edge, request: AuthedRequest, new: NewInvitation) -> None:
    """Raises Problem 403, 404, 503, ReadStoreUnavailable."""
    account = request.account
    if not request.is_admin and not (new.role == "guest" and new.rooms):
        raise not_allowed("role", "only administrators invite others than guests of rooms that they administer")
    if RANKS[new.role] > RANKS[account.role]:
        raise not_allowed("role", "must not be above your own")
    if new.role in ("owner", "admin"):
        check_scopes(account.token, SCOPES)  # sessions have all scopes
    for room_id in new.rooms:
        access = await edge.reads.newest(request, room_id, edge.store.access, room_id, account.account_id)
        if access is None:
            raise room_not_found(room_id, "rooms")
        if access.role != "admin":
            raise not_allowed("rooms", "must be rooms of which you are an admin")


async def list_invitations(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """List the open invitations.

    The newest comes first.
    """
    by = None if request.is_admin else request.account_id
    answer = (await edge.commands.dispatch(request, ListInvitations(by))).answer
    assert isinstance(answer, InvitationsAnswer)
    found = [
        InvitationShape(
            number,
            each.role,
            each.email,
            each.rooms,
            each.uses_left,
            rfc3339(each.expires_at),
            rfc3339(each.created_at),
            each.by,
        )
        for number, each in reversed([*answer.invitations.items()])
    ]
    return json_response(200, InvitationList(found))


async def delete_invitation(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """End an invitation.

    Accounts that were made by it stay.
    """
    number = request.path_id("invitation_id", lambda text: _no_invitation("invitation_id"))
    await request.no_body()
    command = RevokeInvitation(number, None if request.is_admin else request.account_id)
    try:
        result = await edge.commands.dispatch(request, command)
    except Problem as problem:
        raise (_no_invitation("invitation_id") if problem.code == "not_allowed" else problem) from None
    return BytesResponse(204, b"", *result.headers)


# --- for who is invited -----------------------------------------------------------------------------------------------


async def read_invitation(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """See an invitation.

    The invitation stays as good as it was.
    """
    _, invitation, inviter = await _invitation(edge, request, "")
    rooms = await edge.store.member_rooms_among(invitation.by, invitation.rooms) if invitation.rooms else []
    shown = InvitationView(invitation.role, [each.room.name for each in rooms], inviter.name, invitation.email)
    return json_response(200, shown)


async def accept_invitation(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Make an account by an invitation, and sign in.

    The account is a member of the invitation's rooms. The same request again continues where the first one stopped.
    The answer is that of signing in.
    """
    newcomer: Newcomer = await request.json(_newcomer)
    name = read_name(newcomer.name)
    check_new(newcomer.password)
    claimant = hmac.digest(edge.secret, b"invitation" + request.body, "sha256")[:_CLAIMANT_BYTES].hex()
    answer, invitation, inviter = await _invitation(edge, request, claimant)
    email = newcomer.email or invitation.email
    texts: dict[Space, str] = {}
    if newcomer.handle is not None:
        texts["handle"] = read_handle(newcomer.handle)
    if email is not None:
        texts["email"] = read_email(email)
    if not answer.use and (refusal := await taken(edge, request, texts)) is not None:
        raise refusal
    number, code_hash = _code(request)
    used = await _asked(edge, request, UseInvitation(number, code_hash, claimant))
    account_id = await _account(edge, request, name, invitation, reference("invitation", str(number), str(used.use)))
    member = _as(request, AccountRow(account_id, name, invitation.role, ""))
    if texts:
        try:
            await change_profile(edge, member, ChangeAccount(account_id), texts, keyed=False)
        except Problem as problem:
            if problem.code not in _TAKEN:  # in the last moment: the newcomer chooses another one later
                raise
    await _join(edge, _as(request, inviter), account_id, invitation)
    if invitation.role not in ("guest", "bot"):
        await join_default_rooms(edge, member, account_id)
    number = await _password(edge, member, newcomer.password)
    session, secret = new_session(edge, request)
    signed = (await edge.commands.dispatch(member, SignIn(account_id, session, number))).answer
    assert isinstance(signed, SessionAnswer)
    return signed_in(edge, request, signed, session, secret, bearer=newcomer.bearer)


async def _invitation(
    edge: Edge, request: AuthedRequest, claimant: str
) -> tuple[InvitationAnswer, OpenInvitation, AccountRow]:
    """The invitation of the path's code, and who invites. Raises Problem 404 also if the inviter may not invite any
    more."""
    number, code_hash = _code(request)
    answer = await _asked(edge, request, ReadInvitation(number, code_hash, claimant))
    by = answer.invitation.by
    inviter = (await edge.store.accounts_of([by])).get(by)
    if inviter is None or inviter.deactivated or RANKS[inviter.role] < RANKS[answer.invitation.role]:
        raise _no_invitation("code")
    return answer, answer.invitation, inviter


async def _asked(edge: Edge, request: AuthedRequest, command: ReadInvitation | UseInvitation) -> InvitationAnswer:
    """Raises Problem 404 for an invitation that is used up, expired or unknown."""
    try:
        answer = (await edge.commands.dispatch(request, command)).answer
    except Problem as problem:
        raise (_no_invitation("code") if problem.code == "not_allowed" else problem) from None
    assert isinstance(answer, InvitationAnswer)
    return answer


async def _account(
    edge: Edge, request: AuthedRequest, name: str, invitation: OpenInvitation, made_by: str
) -> AccountId:
    """The account of a use. Asked again, it is the same."""
    command = CreateAccount(name, invitation.role, imported_as=made_by)
    answer = (await edge.commands.dispatch(request, command)).answer
    assert isinstance(answer, AccountAnswer)
    return answer.account_id


async def _join(edge: Edge, inviter: AuthedRequest, account_id: AccountId, invitation: OpenInvitation) -> None:
    """A room that is gone, full, or not the inviter's any more is passed over."""
    for room_id in invitation.rooms:
        try:
            await edge.commands.dispatch(inviter, PutMember(invitation.by, room_id, account_id, "member"))
        except Problem as problem:
            if problem.status >= 500:
                raise
            log.info("account %s does not join room %s: %s", account_id, room_id, problem.code)


async def _password(edge: Edge, member: AuthedRequest, password: str) -> int:
    """The number of the newcomer's password. A repeated request has set it already, or does so beside this one."""
    found = await _read_password(edge, member)
    if not found.number:
        command = SetPassword(member.account_id, await edge.passwords.hash(password), 0)
        try:
            await edge.commands.dispatch(member, command)
        except Problem as problem:
            if problem.code != "not_allowed":
                raise
            found = await _read_password(edge, member)
        else:
            return 1
    if not await edge.passwords.matches(found.password_hash, password):
        raise _no_invitation("code")  # it was changed since then
    return found.number


async def _read_password(edge: Edge, member: AuthedRequest) -> PasswordAnswer:
    found = (await edge.commands.dispatch(member, ReadPassword(member.account_id))).answer
    assert isinstance(found, PasswordAnswer)
    return found


def _as(request: AuthedRequest, account: AccountRow) -> AuthedRequest:
    """A step of the request for which another account asks, without a key."""
    return AuthedRequest(request.scope, request.receive, request.headers, account, account.account_id)


def _code(request: AuthedRequest) -> tuple[int, str]:
    """The number of the invitation, and the hash of its secret. Raises Problem 404."""
    parsed = bearer_tokens.parse(f"falcon_{request.scope['path_params']['code']}")
    if parsed is None:
        raise _no_invitation("code")
    return parsed[0], bearer_tokens.hash_of(parsed[1])


def _no_invitation(field: str) -> Problem:
    return item_not_found(field, "must be an invitation that is neither used up nor expired")


# --- operations -------------------------------------------------------------------------------------------------------

GROUP: Final = Group("Invitations", "Links by which people make accounts of their own.", learned=7)
_CODE: Final = PathParameter("The code of the invitation", "7_Y29kZQ", {"type": "string"})
_INVITATION: Final = PathParameter("The id of the invitation", 7)
_EXPIRES: Final = "2026-12-02T09:30:00.000Z"
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "POST",
        "/v1/invitations",
        create_invitation,
        permissions.Permission("member", more="members invite guests of rooms that they administer"),
        {201: IssuedInvitation(7, "https://chat.example/#invitation=7_Y29kZQ", "member", 1, _EXPIRES, mailed=False)},
        NewInvitation(rooms=(examples.ROOM,)),
        problems=("not_allowed", "room_not_found", "token_unreadable"),
    ),
    ApiOperation(
        "GET",
        "/v1/invitations",
        list_invitations,
        permissions.Permission("member", more="members see their own"),
        {
            200: InvitationList(
                [InvitationShape(7, "member", None, (examples.ROOM,), 1, _EXPIRES, examples.MADE, examples.ALICE)]
            )
        },
        problems=("outcome_unknown",),
    ),
    ApiOperation(
        "DELETE",
        "/v1/invitations/{invitation_id}",
        delete_invitation,
        permissions.Permission("member", more="members end their own"),
        {204: None},
        parameters={"invitation_id": _INVITATION},
        problems=("item_not_found",),
    ),
    ApiOperation(
        "GET",
        "/v1/invitations/by-code/{code}",
        read_invitation,
        permissions.STRANGERS,
        {200: InvitationView("member", ["Tea kitchen"], "Alice", None)},
        parameters={"code": _CODE},
        problems=("item_not_found",),
    ),
    ApiOperation(
        "POST",
        "/v1/invitations/by-code/{code}",
        accept_invitation,
        permissions.STRANGERS,
        {201: SIGNED_IN},
        Newcomer("Ben", "tea at four o'clock", "ben"),
        parameters={"code": _CODE},
        problems=("email_taken", "handle_taken", "item_not_found"),
    ),
)
