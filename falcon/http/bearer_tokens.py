"""Bearer tokens: ``falcon_ACCOUNT_SECRET``. Only the SHA-256 of the secret is stored.

Only the tables say whether a token is good. Its secret also shows whether this deployment has issued it: one half of
the secret is random, the other half is a signature of it. The secrets of the first accounts are derived from the
server's secret. A token that was issued but is not in the tables may be newer than they are, so the edge waits for the
tables; every other unknown token is refused at once.

The retry of a keyed command must return the same token, so the command's answer in the log holds the secret sealed: a
random nonce, and the secret under a pad made from the nonce and the server's secret, which is not in the log.

If the server's secret changes, tokens stay good, since the tables have their hashes. But tokens from before are no
longer known as issued: until the tables show such a token it is refused. And a retry cannot return its token.
"""

import base64
import hashlib
import hmac
import re
import secrets
import struct
import time
from functools import cache
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

Purpose: TypeAlias = Literal["first admin's token", "first account's token"]

_FORM: Final = re.compile(r"falcon_([1-9][0-9]{0,15})_([A-Za-z0-9_-]{43})")
_BYTES: Final = 32  # of SHA-256: the pad is as long as a token
_RANDOM_BYTES: Final = 16  # 128 bits, more than can be guessed
_TICKET: Final = struct.Struct(">QQ8s")
TICKET_SECONDS: Final = 60  # a browser opens a stream at once; what a proxy logs is worth nothing a minute later
_TICKET_TEXT_MAX: Final = 200  # a ticket has about 100 characters; a longer text is not even decoded
_SIGNATURE_BYTES: Final = 16  # 128 bits, more than can be guessed


def new_secret(server_secret: bytes) -> str:
    """43 characters of base64url: 128 random bits and their signature."""
    return _signed(server_secret, secrets.token_bytes(_RANDOM_BYTES))


@cache
def derived_secret(server_secret: bytes, purpose: Purpose) -> str:
    """Always the same for a purpose, so that every process derives the same one."""
    return _text(hmac.digest(server_secret, purpose.encode(), "sha256"))


def is_issued(server_secret: bytes, secret: str) -> bool:
    """True if :func:`new_secret` or :func:`derived_secret` of this deployment has made it.

    The account is not signed, since an account gets its id after its first token is made.
    """
    signed = _signed(server_secret, _bytes(secret)[:_RANDOM_BYTES])
    known = (signed, *(derived_secret(server_secret, purpose) for purpose in get_args(Purpose)))
    return any(hmac.compare_digest(each, secret) for each in known)


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def seal(server_secret: bytes, secret: str) -> str:
    nonce = secrets.token_bytes(_BYTES)
    return _text(nonce + _under_pad(server_secret, nonce, _bytes(secret)))


def unseal(server_secret: bytes, sealed: str) -> str | None:
    """The inverse of :func:`seal`. None if it was sealed under another secret of the server."""
    data = _bytes(sealed)
    secret = _text(_under_pad(server_secret, data[:_BYTES], data[_BYTES:]))
    return secret if is_issued(server_secret, secret) else None


def token(account_id: int, secret: str) -> str:
    return f"falcon_{account_id}_{secret}"


def parse(text: str) -> tuple[int, str] | None:
    """The account and the secret of a token; None for any other text."""
    match = _FORM.fullmatch(text)
    return None if match is None else (int(match[1]), match[2])


def ticket(server_secret: bytes, account_id: int, token_hash: str, now: float | None = None) -> str:
    """Stands for the token with this hash for a minute, in addresses, in which the token itself must not appear."""
    until = round((time.time() if now is None else now) + TICKET_SECONDS)
    body = _TICKET.pack(account_id, until, secrets.token_bytes(8)) + bytes.fromhex(token_hash)
    return _text(body + _sign(server_secret, body))


class TicketClaims(NamedTuple):
    """``signature`` is unique for each ticket."""

    account_id: int
    token_hash: str
    signature: bytes


def read_ticket(server_secret: bytes, text: str, now: float | None = None) -> TicketClaims | None:
    """None for a text that is no ticket, or an expired one. The caller checks whether it has been used."""
    if len(text) > _TICKET_TEXT_MAX or not text.isascii():
        return None
    try:
        data = _bytes(text)
    except ValueError:
        return None
    if _text(data) != text:  # base64 has several texts for the same bytes
        return None
    body, signature = data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]
    if len(body) != _TICKET.size + _BYTES or not hmac.compare_digest(_sign(server_secret, body), signature):
        return None
    account_id, until, _ = _TICKET.unpack_from(body)
    if until < (time.time() if now is None else now):
        return None
    return TicketClaims(account_id, body[_TICKET.size :].hex(), signature)


def _sign(server_secret: bytes, body: bytes) -> bytes:
    return hmac.digest(server_secret, b"ticket" + body, "sha256")[:_SIGNATURE_BYTES]


def _signed(server_secret: bytes, random: bytes) -> str:
    return _text(random + hmac.digest(server_secret, b"issued" + random, "sha256")[: _BYTES - _RANDOM_BYTES])


def _under_pad(server_secret: bytes, nonce: bytes, data: bytes) -> bytes:
    """No nonce is used twice, so no pad is."""
    pad = hmac.digest(server_secret, b"token" + nonce, "sha256")
    return bytes(a ^ b for a, b in zip(pad, data, strict=True))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
