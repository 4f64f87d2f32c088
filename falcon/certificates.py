"""TLS from files. A context is made again when its files change, so that certificates are renewed without a restart."""

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

log = logging.getLogger("falcon")

_LOOK_SECONDS: Final = 1.0


class WrongCertificate(Exception):
    """The message names the files, and never what is in them."""


class TlsFiles:
    """The files of a TLS context. Each new connection uses the files as they are at that time."""

    def __init__(self, files: Sequence[Path], make: Callable[[], ssl.SSLContext]) -> None:
        """``make`` raises WrongCertificate, and so does this."""
        self._files = files
        self._make = make
        self._version = self._look()
        self._context = make()
        self._look_at = time.monotonic() + _LOOK_SECONDS

    def context(self) -> ssl.SSLContext:
        """The context for a connection that begins now."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._reload()
        return self._context

    def _reload(self) -> None:
        """Keeps the present context while the files do not fit each other: one may be replaced before the other."""
        try:
            version = self._look()
            if version != self._version:
                self._context = self._make()
                self._version = version
                log.info("%s: changed; connections that begin from now on use it", _listed(self._files))
        except WrongCertificate as error:
            log.error("the certificates stay as they were: %s", error)

    def _look(self) -> tuple[int, ...]:
        """The version of the files. Raises WrongCertificate."""
        try:
            found = [path.stat() for path in self._files]
        except OSError as error:
            raise WrongCertificate(f"{error.filename} cannot be read ({error.strerror})") from error
        return tuple(part for each in found for part in (each.st_ino, each.st_mtime_ns, each.st_size))


def client_tls(authorities: Path | None, certificate: Path | None, key: Path | None) -> TlsFiles:
    """For connections to servers. A server needs a certificate for its host name, by one of the ``authorities``, or by
    the machine's own if none are given. A client with a ``certificate`` shows it.

    Raises WrongCertificate.
    """
    files = [path for path in (authorities, certificate, key) if path is not None]
    return TlsFiles(files, partial(_client_context, authorities, certificate, key))


def _client_context(authorities: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Raises WrongCertificate."""
    try:
        # This checks certificates and host names. No setting turns that off.
        context = ssl.create_default_context(cafile=authorities)
    except (OSError, ValueError) as error:
        raise WrongCertificate(f"{authorities} holds no certificates in PEM ({_reason(error)})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None and key is not None:
        load_pair(context, certificate, key)
    return context


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Raises WrongCertificate."""
    try:
        # Without a password OpenSSL would ask for one at the terminal if the key is encrypted.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise WrongCertificate(
            f"{certificate} and {key} are no certificate and its key, in PEM and not encrypted ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)


def _listed(files: Sequence[Path]) -> str:
    return ", ".join(map(str, files))
