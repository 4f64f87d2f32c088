"""Accounts that may take more, or less, than others. The file is read again when it changes."""

import logging
import math
import re
import time
from pathlib import Path
from typing import Final

log = logging.getLogger("falcon")

_LOOK_SECONDS: Final = 1.0  # an operator's change holds this soon; a look is one stat of the file
_LINE: Final = re.compile(r"(\d{1,16})\s+(none|\d{1,4}(?:\.\d{1,3})?)")
_NO_LIMITS: Final = "none"


class AccountFactors:
    """Each line of the file has an account's number and a factor: how many times each limit of an account it may take.
    ``none`` stands for no limits. For accounts that are not in it the factor is 1.

    A file that is wrong or missing changes nothing, and is logged as an error once. Threads may share it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._factors: dict[int, float] = {}
        self._version: object = None
        self._look_at = 0.0

    def factor_of(self, account_id: int) -> float:
        """Infinite for an account without limits."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._look(self._path)
        return self._factors.get(account_id, 1.0)

    def _look(self, path: Path) -> None:
        version: object = None
        try:
            found = path.stat()
            version = (found.st_ino, found.st_mtime_ns, found.st_size)
            if version == self._version:
                return
            self._factors = _read(path)
            log.info("%s has other limits for %d accounts", path, len(self._factors))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            version = version or str(reason)
            if version != self._version:
                log.error("FALCON_ACCOUNT_LIMITS_FILE: the limits of accounts stay as they were: %s: %s", path, reason)
        self._version = version


def _read(path: Path) -> dict[int, float]:
    """Raises OSError, ValueError."""
    factors: dict[int, float] = {}
    for number, text in enumerate(path.read_text().splitlines(), 1):
        line = text.partition("#")[0].strip()
        if not line:
            continue
        found = _LINE.fullmatch(line)
        factor = 0.0 if found is None else math.inf if found[2] == _NO_LIMITS else float(found[2])
        if found is None or factor <= 0:
            raise ValueError(
                f"line {number} must be an account's number and a factor such as 10 or 0.5, or {_NO_LIMITS}"
            )
        factors[int(found[1])] = factor
    return factors
