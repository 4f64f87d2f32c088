"""Problems by RFC 9457, with stable codes. Rejections and unavailability are translated here."""

from typing import Final

import msgspec

from falcon.domain import rejections
from falcon.domain.rejections import Rejection
from falcon.http.shapes import FieldError, ProblemBody
from falcon.read.store import BeingFilled, ReadStoreUnavailable
from falcon.write.protocol import Reason, Unavailable
from falcon.write.refusals import KEYS

_encode = msgspec.json.Encoder().encode

_FILLING_SECONDS: Final = 5  # a client is told to wait so long; filling a long log takes minutes

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


class Problem(Exception):
    """A response that names the error and the field. ``retry_after`` in seconds."""

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
    """Names the reason where it is not a fault: the read model is being filled."""
    if isinstance(error, BeingFilled):
        return Problem(503, "unavailable", str(error), retry_after=_FILLING_SECONDS)
    return Problem(503, "unavailable", "The read tables cannot be read.", retry_after=1)


def invalid(field: str, rule: str) -> Problem:
    return Problem(422, "invalid", f"{field}: {rule}", (FieldError(field, rule),))


def wrong_cursor(cursor: str) -> Problem:
    return invalid("cursor", "must be a next_cursor that was given")


def token_not_found(token_id: int | str) -> Problem:
    return Problem(404, "token_not_found", f"The account has no token {token_id}.")


def room_not_found(room_id: int | str) -> Problem:
    return Problem(404, "room_not_found", f"There is no room {room_id}, or you are no member of it.")


def message_not_found(seq: int | str) -> Problem:
    return Problem(404, "message_not_found", f"There is no message {seq} in this room.")


def account_not_found(account_id: int | str) -> Problem:
    return Problem(404, "account_not_found", f"There is no account {account_id}.")


def from_rejection(rejection: Rejection) -> Problem:
    match rejection:
        case rejections.RoomNotFound(room_id=room_id) | rejections.NotAMember(room_id=room_id):
            return room_not_found(room_id)
        case rejections.MessageNotFound(seq=seq):
            return message_not_found(seq)
        case rejections.AccountNotFound(account_id=account_id):
            return account_not_found(account_id)
        case rejections.MemberNotFound(account_id=account_id):
            return Problem(404, "account_not_found", f"Account {account_id} is no member of this room.")
        case rejections.TokenNotFound(token_id=token_id):
            return token_not_found(token_id)
        case rejections.MessageIsDeleted(seq=seq):
            return Problem(409, "message_deleted", f"Message {seq} has been deleted.")
        case rejections.NotTheAuthor(seq=seq):
            return Problem(403, "not_the_author", f"Message {seq} is somebody else's.")
        case rejections.ReadOnly():
            return Problem(403, "read_only", "Your role in this room is readonly.")
        case rejections.NotAllowed(rule=rule):
            return Problem(403, "not_allowed", f"Not allowed: {rule}.")
        case rejections.LastAdmin():
            return Problem(409, "last_admin", "A group room keeps at least one admin: make somebody else one first.")
        case rejections.LastToken():
            return Problem(409, "last_admin", "An admin keeps at least one token: issue another one first.")
        case rejections.Invalid(field=field, rule=rule):
            return invalid(field, rule)
        case rejections.KeyReused():
            return Problem(
                422,
                "idempotency_key_reused",
                "This Idempotency-Key was used for another request.",
                (FieldError("Idempotency-Key", "must be new for each request, and the same for its retries"),),
            )
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
    KEYS: "There is no room for another Idempotency-Key before some are forgotten. Nothing was done.",
}


def from_unavailable(unavailable: Unavailable) -> Problem:
    code, detail = _REASONS[unavailable.reason]
    detail = _FULL.get(unavailable.full, detail)
    return Problem(503, code, detail, retry_after=unavailable.retry_after)
