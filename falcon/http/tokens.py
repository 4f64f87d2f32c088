"""Bearer tokens: ``falcon_ACCOUNT_SECRET``. Only the SHA-256 of the secret is stored.

The secret of a token that a keyed command asks for is derived from the key, so that the retry of a lost answer shows
the same token; nothing has to keep it.
"""

import base64
import hashlib
import hmac
import re
import secrets
from typing import Final

_FORM: Final = re.compile(r"falcon_([1-9][0-9]{0,15})_([A-Za-z0-9_-]{43})")


def new_secret(server_secret: bytes, account_id: int, key: str | None, fingerprint: int) -> str:
    """43 characters of base64url, 256 bits."""
    if key is None:
        return secrets.token_urlsafe(32)
    derived = hmac.digest(server_secret, f"token/{account_id}/{key}/{fingerprint}".encode(), "sha256")
    return base64.urlsafe_b64encode(derived).rstrip(b"=").decode()


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def token(account_id: int, secret: str) -> str:
    return f"falcon_{account_id}_{secret}"


def parse(text: str) -> tuple[int, str] | None:
    """The account and the secret of a token; None for what is none."""
    match = _FORM.fullmatch(text)
    return None if match is None else (int(match[1]), match[2])
