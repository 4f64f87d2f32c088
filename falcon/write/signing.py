"""Requests between the processes of a cluster are signed, so that no secret travels. They have no body.

A signature is an HMAC over the process that the request is for, the time, the method, the path and the hash of nothing.
It is good once: a process remembers an accepted signature for as long as its time would be accepted again, and it
accepts no signature for another process. So a recorded request does nothing a second time, not even at another owner,
or at the same one after a restart.

A sender signs its first request for no process; the answer says which process there is.
"""

import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from falcon.base.once import Once

# The clocks of two machines may differ by 20 s, and a request may be 10 s on its way.
AGE_SECONDS_MAX: Final = 30.0
HEADER: Final = "falcon-signature"
PROCESS_HEADER: Final = "falcon-process"
UNSIGNED: Final = 401

_NO_BODY: Final = sha256().hexdigest()
_SIGNATURE: Final = re.compile(rb"([0-9a-f]{0,32})\.([0-9]{1,20})\.%b\.([0-9a-f]{64})" % _NO_BODY.encode())

# The first one signs, and each of them verifies.
Keys: TypeAlias = Callable[[], Sequence[bytes]]


class Signer:
    """Signs the requests to one address."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._process = ""

    def headers(self, method: str, path: str) -> dict[str, str]:
        signed = f"{self._process}.{time.time_ns()}.{_NO_BODY}"
        return {HEADER: f"{signed}.{_mac(self._keys()[0], method, path, signed.encode())}"}

    def learns_from(self, status: int, headers: Mapping[str, str]) -> bool:
        """True if the request was refused because it was signed for another process than the one that answers.

        Such a request was not carried out; the next one is signed for the right process.
        """
        process = headers.get(PROCESS_HEADER, "")
        if status != UNSIGNED or not process or process == self._process:
            return False
        self._process = process
        return True


@dataclass(frozen=True, slots=True)
class NotSigned:
    """``process``: the one to sign for; only a sender with the key learns it."""

    reason: str
    process: str = ""


class Verifier:
    """Checks the signatures of the requests to this process."""

    def __init__(self, keys: Keys, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._process = secrets.token_hex(8)
        self._accepted = Once(2 * AGE_SECONDS_MAX, monotonic)

    def check(self, method: str, path: str, header: bytes) -> NotSigned | None:
        """Returns None if the signature is good."""
        found = _SIGNATURE.fullmatch(header)
        if found is None:
            return NotSigned("the request is not signed")
        process, nanos, mac = found.groups()
        signed = header[: -len(mac) - 1]
        macs = [_mac(key, method, path, signed).encode() for key in self._keys()]
        if not any(hmac.compare_digest(mac, each) for each in macs):
            return NotSigned("the signature is by another key, or of another request")
        if abs(time.time_ns() - int(nanos)) > AGE_SECONDS_MAX * 1_000_000_000:
            return NotSigned("the signature is too old, or the machines' clocks differ: they must be set (NTP)")
        if process.decode() != self._process:
            return NotSigned("the signature is for another process", self._process)
        if not self._accepted.is_first(mac):
            return NotSigned("the signature was used before")
        return None


def _mac(key: bytes, method: str, path: str, signed: bytes) -> str:
    text = b"falcon 1\n%b\n%b\n%b" % (method.encode(), path.encode(), signed)
    return hmac.digest(key, text, "sha256").hex()
