"""Problems by RFC 9457, with stable codes. Rejections and unavailability are translated here."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from falcon.domain import rejections
from falcon.domain.rejections import Rejection
from falcon.features.accounts.rules import Scope
from falcon.features.accounts.table import TokenRow
from falcon.http.shapes import FieldError, ProblemBody
from falcon.read.store import BeingFilled, ReadStoreUnavailable
from falcon.write.protocol import Reason, Unavailable
from falcon.write.refusals import DISK, KEYS

_encode = msgspec.json.Encoder().encode

_PLACE: Final = re.compile(r"\(byte (\d+)\)")  # in msgspec's errors
_FILLING_SECONDS: Final = 5  # a client is asked to wait so long; filling a long log takes minutes

_TITLES: Final = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Too slow",
    409: "Conflict",
    413: "Too large",
    414: "Too large",
    415: "Unsupported media type",
    422: "Invalid",
    429: "Too many requests",
    431: "Too large",
    500: "Internal error",
    503: "Unavailable",
}


class Kind(NamedTuple):
    """Meaning of a problem's code, and the statuses that it comes with."""

    statuses: tuple[int, ...]
    meaning: str


KINDS: Final = {
    "malformed": Kind((400,), "the body is not JSON, or a position or event id is not one that this Falcon gave"),
    "unauthenticated": Kind((401,), "the token is missing, wrong or revoked"),
    "not_allowed": Kind(
        (403,), "only an admin of the room, or of Falcon, may do this; with a cookie, only pages of Falcon"
    ),
    "scope_missing": Kind((403,), "the token lacks the scope for this"),
    "read_only": Kind((403,), "your role in this room is `readonly`"),
    "not_the_author": Kind((403,), "the message is by another account"),
    "not_found": Kind((404,), "there is no such path"),
    "room_not_found": Kind((404,), "the room does not exist, or you are not a member"),
    "message_not_found": Kind((404,), "the room has no such message"),
    "handle_taken": Kind((409,), "another account has the handle"),
    "email_taken": Kind((409,), "another account has the e-mail"),
    "last_owner": Kind((409,), "the account is the last owner"),
    "account_not_found": Kind((404,), "the account does not exist, or is not a member"),
    "token_not_found": Kind((404,), "the account has no such token"),
    "item_not_found": Kind((404,), "there is no such thing; `errors` names it"),
    "method_not_allowed": Kind((405,), "the path has no such method"),
    "timeout": Kind((408,), "the request arrived too slowly"),
    "last_admin": Kind((409,), "a room needs one admin, and an admin needs one token"),
    "message_deleted": Kind((409,), "a deleted message cannot be edited, and takes no reactions"),
    "token_unreadable": Kind((409,), "the account or token exists, but this server cannot show the token again"),
    "too_large": Kind((413, 414, 431), "the body, the path or the headers are too large"),
    "unsupported_media_type": Kind((415,), "send JSON, or newline-delimited JSON to `/v1/import`"),
    "invalid": Kind((422,), "a field breaks a rule; `errors` names both"),
    "idempotency_key_reused": Kind((422,), "the key was used for another request"),
    "rate_limited": Kind((429,), "too many requests; wait for `Retry-After`"),
    "internal": Kind((500,), "a fault in Falcon, which it has logged"),
    "overloaded": Kind((503,), "too much is waiting; nothing was done; retry"),
    "unavailable": Kind((503,), "a part of Falcon is starting or down, or its disk is nearly full; retry"),
    "outcome_unknown": Kind((503,), "retry with the same key to learn the outcome"),
}


class Problem(Exception):
    """A response that names the error and the field. ``retry_after`` in seconds.

    ``delay_seconds``: how long the response to a client that continues in spite of refusals waits. ``behind_proxy``:
    the address of that client, if the connection is a proxy's.
    """

    delay_seconds = 0.0
    behind_proxy: bytes | None = None

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.headers = headers

    def body(self) -> bytes:
        title = _TITLES[self.status]
        return _encode(ProblemBody("about:blank", title, self.status, self.detail, self.code, self.errors))


def tables_away(error: ReadStoreUnavailable) -> Problem:
    """Names the reason if it is no fault: the read model is being filled."""
    if isinstance(error, BeingFilled):
        return Problem(503, "unavailable", str(error), retry_after=_FILLING_SECONDS)
    return Problem(503, "unavailable", "The read tables cannot be read.", retry_after=1)


def broken(field: str, rule: str) -> tuple[FieldError, ...]:
    """The ``errors`` of a problem: the part of the request, and the rule that it breaks."""
    return (FieldError(field, rule),)


def invalid(field: str, rule: str) -> Problem:
    return Problem(422, "invalid", f"{field}: {rule}", broken(field, rule))


def wrong_cursor(cursor: str) -> Problem:
    return invalid("cursor", "must be the next_cursor of an earlier page")


def not_json(field: str, error: Exception) -> Problem:
    place = _PLACE.search(str(error))
    at = f" (byte {place[1]})" if place else ""
    return Problem(400, "malformed", f"{field}: is not valid JSON{at}", broken(field, f"must be valid JSON{at}"))


def wrong_media_type(right: str) -> Problem:
    rule = broken("Content-Type", f"must be {right}")
    return Problem(415, "unsupported_media_type", f"Send the body as Content-Type: {right}.", rule)


def unauthenticated(
    detail: str, field: str = "Authorization", rule: str = "must be Bearer and a valid token"
) -> Problem:
    challenge = (b"www-authenticate", b'Bearer realm="falcon"')
    return Problem(401, "unauthenticated", detail, broken(field, rule), headers=(challenge,))


def not_allowed(field: str, rule: str) -> Problem:
    return Problem(403, "not_allowed", f"Not allowed: {rule}.", broken(field, rule))


def check_scopes(token: TokenRow | None, needed: Iterable[Scope]) -> None:
    """Refuse a token that lacks one of these scopes. Raises Problem 403."""
    if token is not None and token.scopes is not None:
        for scope in needed:
            if scope not in token.scopes:
                rule = broken("Authorization", f"must be a token with the scope {scope}")
                raise Problem(403, "scope_missing", f"This token lacks the scope {scope}.", rule)


def read_only() -> Problem:
    rule = broken("room_id", "must be a room in which your role is member or admin")
    return Problem(403, "read_only", "Your role in this room is readonly.", rule)


def not_joined() -> Problem:
    """The room is open: the caller may read it."""
    return not_allowed("room_id", "must be a room that you have joined")


def token_not_found(token_id: int | str) -> Problem:
    rule = broken("token_id", "must be a token of the account")
    return Problem(404, "token_not_found", f"The account has no token {token_id}.", rule)


def item_not_found(field: str, rule: str) -> Problem:
    """``rule``: what the item must be, such as a session of one's own."""
    return Problem(404, "item_not_found", f"There is none: it {rule}.", broken(field, rule))


def token_unreadable(what: str, account_id: int) -> Problem:
    """``what`` was made by the command."""
    detail = (
        f"{what} exists, but its token was sealed under another secret of this server. "
        f"An admin can issue another token for account {account_id}."
    )
    return Problem(409, "token_unreadable", detail, broken("Idempotency-Key", "must be of a token that can be shown"))


def room_not_found(room_id: int | str, field: str = "room_id") -> Problem:
    rule = broken(field, "must be a room of yours")
    return Problem(404, "room_not_found", f"Room {room_id} does not exist, or you are not a member.", rule)


def message_not_found(seq: int | str) -> Problem:
    rule = broken("seq", "must be a message of this room")
    return Problem(404, "message_not_found", f"This room has no message {seq}.", rule)


def account_not_found(account_id: int | str) -> Problem:
    rule = broken("account_id", "must be an account that exists")
    return Problem(404, "account_not_found", f"Account {account_id} does not exist.", rule)


def text_taken(field: str) -> Problem:
    """``field``: handle or email."""
    rule = broken(field, "must be one that no other account has")
    if field == "handle":
        return Problem(409, "handle_taken", "Another account has this handle.", rule)
    return Problem(409, "email_taken", "Another account has this e-mail.", rule)


def from_rejection(rejection: Rejection) -> Problem:
    match rejection:
        case rejections.RoomNotFound(room_id=room_id) | rejections.NotAMember(room_id=room_id):
            return room_not_found(room_id)
        case rejections.NotJoined():
            return not_joined()
        case rejections.MessageNotFound(seq=seq):
            return message_not_found(seq)
        case rejections.AccountNotFound(account_id=account_id):
            return account_not_found(account_id)
        case rejections.MemberNotFound(account_id=account_id):
            rule = broken("account_id", "must be a member of this room")
            return Problem(404, "account_not_found", f"Account {account_id} is not a member of this room.", rule)
        case rejections.TokenNotFound(token_id=token_id):
            return token_not_found(token_id)
        case rejections.MessageIsDeleted(seq=seq):
            rule = broken("seq", "must be a message that is not deleted")
            return Problem(409, "message_deleted", f"Message {seq} is deleted.", rule)
        case rejections.NotTheAuthor(seq=seq):
            rule = broken("seq", "must be a message of your own")
            return Problem(403, "not_the_author", f"Message {seq} is by another account.", rule)
        case rejections.ReadOnly():
            return read_only()
        case rejections.NotAllowed(rule=reason, field=field):
            return not_allowed(field, reason)
        case rejections.LastAdmin():
            rule = broken("account_id", "must not be the last admin of the room")
            return Problem(409, "last_admin", "A group room keeps at least one admin: make another member admin.", rule)
        case rejections.LastToken():
            rule = broken("token_id", "must not be the last token of an administrator")
            return Problem(409, "last_admin", "An administrator keeps at least one token: issue another first.", rule)
        case rejections.Invalid(field=field, rule=reason):
            return invalid(field, reason)
        case rejections.KeyReused():
            rule = broken("Idempotency-Key", "must be new for each request, and the same for its retries")
            return Problem(422, "idempotency_key_reused", "This Idempotency-Key was used for another request.", rule)
        case rejections.TextTaken(field=field):
            return text_taken(field)
        case rejections.LastOwner():
            rule = broken("account_id", "must not be the last owner")
            return Problem(409, "last_owner", "One owner remains: make another account owner first.", rule)
        case rejections.OutOfDate():
            return Problem(503, "unavailable", "The account is being changed by others: try again.", retry_after=1)
        case rejections.NotYetReadable(seq=seq):
            return Problem(503, "unavailable", f"Message {seq} has just changed and cannot be read yet.", retry_after=1)


_REASONS: Final[dict[Reason, tuple[str, str]]] = {
    "overloaded": ("overloaded", "Too many commands are waiting. Nothing was done."),
    "expired": ("overloaded", "The command waited too long. Nothing was done."),
    "unavailable": ("unavailable", "The room's owner is starting or cannot write. Nothing was done."),
    "not_mine": ("unavailable", "The room is moving to another owner. Nothing was done."),
    "outcome_unknown": ("outcome_unknown", "It is not known whether this was done: retry with the same key."),
}

_FULL: Final = {
    DISK: "The disk of this Falcon is nearly full: it takes nothing new, but reads and deletions. Nothing was done.",
    KEYS: "There is no room for another Idempotency-Key before some are forgotten. Nothing was done.",
}


def from_unavailable(unavailable: Unavailable) -> Problem:
    code, detail = _REASONS[unavailable.reason]
    detail = _FULL.get(unavailable.full, detail)
    return Problem(503, code, detail, retry_after=unavailable.retry_after)
