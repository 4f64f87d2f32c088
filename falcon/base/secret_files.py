"""Secrets in files. A file is read again when it changes, so that a secret can be rotated without a restart."""

import logging
import stat
import time
from pathlib import Path
from typing import Final

from falcon.base.process import is_open_to_others

log = logging.getLogger("falcon")

_CHARACTERS_MIN: Final = 16  # 64 bits even if they are hexadecimal digits
_LOOK_SECONDS: Final = 1.0  # a changed secret is used this soon; a look is one stat of the file


class WrongSecret(Exception):
    """The file holds no secret. The message names the file and never what is in it."""


class SecretFile:
    """The secrets in a file, one a line. The first is used, and each of them is accepted."""

    def __init__(self, path: Path) -> None:
        """Raises WrongSecret."""
        self._path = path
        self._version = self._look()
        self._secrets = self._read()
        self._look_at = time.monotonic() + _LOOK_SECONDS

    def __call__(self) -> tuple[bytes, ...]:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._reread()
        return self._secrets

    def _reread(self) -> None:
        """Keeps the present secrets while the file holds none."""
        try:
            version = self._look()
            if version != self._version:
                self._secrets = self._read()
                self._version = version
                log.info("%s has changed and holds %d secrets", self._path, len(self._secrets))
        except WrongSecret as error:
            log.error("the secrets stay as they were: %s", error)

    def _look(self) -> tuple[int, int, int]:
        """The version of the file. Raises WrongSecret."""
        try:
            found = self._path.stat()
            is_open = is_open_to_others(self._path, stat.S_IROTH | stat.S_IWOTH)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        if is_open:
            raise WrongSecret(f"{self._path}: every user of this machine can read or change it; chmod o= {self._path}")
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> tuple[bytes, ...]:
        """Raises WrongSecret."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except OSError as error:
            raise _unreadable(self._path, error) from error
        secrets = tuple(line.strip() for line in lines if line.strip())
        if not secrets or min(map(len, secrets)) < _CHARACTERS_MIN:
            raise WrongSecret(f"{self._path}: a secret must be at least {_CHARACTERS_MIN} characters")
        return secrets


def _unreadable(path: Path, error: OSError) -> WrongSecret:
    return WrongSecret(f"{path} cannot be read ({error.strerror}): it must hold a secret; see docs/settings.md")
