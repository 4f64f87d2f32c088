"""Signing in with an OpenID Connect provider: to it, and back with a code. The browser's address shows the outcome."""

import hmac
import logging
from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from falcon.domain import limits, names
from falcon.domain.ids import NOBODY, AccountId
from falcon.features.accounts.api import read_email
from falcon.features.accounts.rules import RANKS, AccountAnswer, AccountRole, ChangeAccount, CreateAccount, Space
from falcon.features.accounts.wishes import change_profile, holder_of
from falcon.features.rooms.joining import join_default_rooms
from falcon.features.sign_in.api import GROUP, SESSION_SECONDS, cookie_of, new_session
from falcon.features.sign_in.rules import SignIn
from falcon.http import bearer_tokens, shapes
from falcon.http.api import permissions
from falcon.http.api.lines import reference
from falcon.http.api.operation import ApiOperation, PathParameter, in_group
from falcon.http.edge import Edge
from falcon.http.problems import Problem, invalid, item_not_found
from falcon.http.providers import BEGUN_SECONDS, Begun, Person, Provider, ProviderAway, SignInRefused, sealed, unsealed
from falcon.http.requests import AuthedRequest
from falcon.http.responses import BytesResponse

log = logging.getLogger("falcon.http")

_COOKIE: Final = "falcon-sign-in"
_RETURN_CHARS_MAX: Final = 500  # it is in the cookie, and a cookie has 4,096
_REFUSED: Final = "refused"
_AWAY: Final = "unavailable"


class BeginQuery(shapes.RequestShape, frozen=True):
    return_to: Annotated[
        str, Meta(max_length=_RETURN_CHARS_MAX, description="A path of this Falcon to come back to")
    ] = "/"


class CallbackQuery(msgspec.Struct, frozen=True):
    """Providers add parameters of their own."""

    code: str = ""
    state: str = ""


async def begin_provider_sign_in(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Sign in with a provider.

    For browsers: sends them to the provider, or to `/?sign_in=unavailable` if that is away.
    """
    provider = _provider(edge, request)
    return_to = request.query(BeginQuery).return_to
    if not return_to.startswith("/") or return_to.startswith("//") or any(c in return_to for c in "\\\r\n\t"):
        raise invalid("return_to", "must be a path of this Falcon, from / on")
    try:
        url, begun = await provider.begin(_redirect_uri(edge, request), return_to)
    except ProviderAway as away:
        return _away(provider, away)
    return _see_other(url, _begun_cookie(edge, request, sealed(begun, edge.secret), BEGUN_SECONDS))


async def end_provider_sign_in(edge: Edge, request: AuthedRequest) -> BytesResponse:
    """Come back from a provider.

    Sets the cookie, and sends the browser to `return_to`, or to `/?sign_in=refused`.
    """
    provider = _provider(edge, request)
    query = request.query(CallbackQuery)
    forget = _begun_cookie(edge, request, "", 0)
    try:
        begun = _begun(edge, request, provider, query.state)
        person = await provider.person(_redirect_uri(edge, request), begun, query.code)
        account_id = await _account(edge, request, provider, person)
        session, secret = new_session(edge, request)
        await edge.commands.dispatch(request, SignIn(account_id, session))
    except ProviderAway as away:
        return _away(provider, away, forget)
    except SignInRefused as refused:
        log.warning("nobody signs in with %s: %s", provider.settings.provider, refused)
        return _see_other(f"/?sign_in={_REFUSED}", forget)
    except Problem as problem:
        if problem.status >= 500:
            raise
        log.warning("nobody signs in with %s: %s", provider.settings.provider, problem.code)
        return _see_other(f"/?sign_in={_REFUSED}", forget)
    token = bearer_tokens.token(account_id, secret)
    return _see_other(begun.return_to, forget, cookie_of(edge, request, token, SESSION_SECONDS))


def _provider(edge: Edge, request: AuthedRequest) -> Provider:
    """Raises Problem 404."""
    provider = edge.providers.get(request.scope["path_params"]["provider"])
    if provider is None:
        raise item_not_found("provider", "must be a provider that GET /v1/sign-in lists")
    return provider


def _redirect_uri(edge: Edge, request: AuthedRequest) -> str:
    """Raises Problem 403."""
    path = request.scope["path"].removesuffix("/callback")
    return f"{edge.authenticator.origins.url(request.headers, request.scope)}{path}/callback"


def _begun(edge: Edge, request: AuthedRequest, provider: Provider, state: str) -> Begun:
    """The sign-in that this browser began. Raises SignInRefused for another browser's state, and for an old one."""
    cookies = request.headers.get(b"cookie", b"").decode("latin-1")
    values = dict(each.strip().partition("=")[::2] for each in cookies.split(";"))
    begun = unsealed(values.get(f"__Host-{_COOKIE}") or values.get(_COOKIE) or "", edge.secret)
    if begun is None or begun.provider != provider.settings.provider:
        raise SignInRefused("the browser has not begun this, or too long ago")
    if not hmac.compare_digest(begun.state.encode(), state.encode("utf-8", "surrogatepass")):
        raise SignInRefused("the state is another browser's")
    if not edge.streams.signals.is_first_use(begun.state.encode()):
        raise SignInRefused("the state was used before")
    return begun


async def _account(edge: Edge, request: AuthedRequest, provider: Provider, person: Person) -> AccountId:
    """The person's account, which the first sign-in makes if it may. Raises SignInRefused, Problem."""
    settings = provider.settings
    if settings.match_email and person.email is not None:
        holder = await holder_of(edge, request, "email", person.email)
        if holder != NOBODY:
            return holder
    made_by = reference("provider", person.issuer, person.subject)
    role = _role(provider, person)
    name = names.cleaned(person.name[: limits.NAME_CHARS_MAX])
    command = CreateAccount(name, role or "member", imported_as=made_by, existing=True)
    is_new = False
    try:
        answer = (await edge.commands.dispatch(request, command)).answer
    except Problem as problem:
        if problem.code != "account_not_found":
            raise
        domain = (person.email or "").rpartition("@")[2]
        if not settings.create_accounts or (settings.domains and domain not in settings.domains):
            raise SignInRefused("the provider's entry makes no account for this person") from None
        answer = (await edge.commands.dispatch(request, replace(command, existing=False))).answer
        is_new = True
    assert isinstance(answer, AccountAnswer)
    await _follow(edge, request, answer.account_id, person, role)
    if is_new and role != "guest":
        await join_default_rooms(edge, request, answer.account_id)
    return answer.account_id


def _role(provider: Provider, person: Person) -> AccountRole | None:
    """The highest role of the person's groups; None if the table names none of them."""
    roles = [role for group, role in provider.settings.roles.items() if group in person.groups]
    return max(roles, key=RANKS.__getitem__, default=None)


async def _follow(
    edge: Edge, request: AuthedRequest, account_id: AccountId, person: Person, role: AccountRole | None
) -> None:
    """Give the account the role of its groups, and the verified e-mail if it has none and no other account does."""
    row = (await edge.reads.newest(request, account_id, edge.store.accounts_of, [account_id])).get(account_id)
    if row is None or row.deactivated:
        return
    itself = AuthedRequest(request.scope, request.receive, request.headers, row, account_id)
    if role is not None and role != row.role:
        await _tried(edge, itself, ChangeAccount(account_id, role=role), {})
    if person.email is not None and row.email is None:
        await _tried(edge, itself, ChangeAccount(account_id), {"email": read_email(person.email)})


async def _tried(edge: Edge, request: AuthedRequest, command: ChangeAccount, texts: Mapping[Space, str | None]) -> None:
    """The last owner stays one, and an e-mail stays with the account that has it."""
    try:
        await change_profile(edge, request, command, texts, keyed=False)
    except Problem as problem:
        if problem.code not in ("last_owner", "email_taken"):
            raise


def _begun_cookie(edge: Edge, request: AuthedRequest, value: str, seconds: int) -> tuple[bytes, bytes]:
    return edge.authenticator.origins.cookie(value, seconds, request.headers, request.scope, _COOKIE)


def _away(provider: Provider, away: ProviderAway, *headers: tuple[bytes, bytes]) -> BytesResponse:
    name = provider.settings.provider
    log.warning("the provider %s is away: %s", name, away)
    return _see_other(f"/?{urlencode({'sign_in': _AWAY, 'provider': name})}", *headers)


def _see_other(url: str, *headers: tuple[bytes, bytes]) -> BytesResponse:
    return BytesResponse(303, b"", (b"location", quote(url, safe="/:?#[]@!$&'()*+,;=%-._~").encode()), *headers)


# --- operations -------------------------------------------------------------------------------------------------------

_PROVIDER: Final = PathParameter("The name of the provider", "keycloak", {"type": "string"})
OPERATIONS: Final = in_group(
    GROUP,
    ApiOperation(
        "GET",
        "/v1/sign-in/{provider}",
        begin_provider_sign_in,
        permissions.STRANGERS,
        {303: None},
        query=BeginQuery,
        parameters={"provider": _PROVIDER},
        problems=("item_not_found",),
    ),
    ApiOperation(
        "GET",
        "/v1/sign-in/{provider}/callback",
        end_provider_sign_in,
        permissions.STRANGERS,
        {303: None},
        parameters={"provider": _PROVIDER},
        problems=("item_not_found",),
    ),
)
