"""TLS from files. A context is made again when its files change, so that certificates are renewed without a restart."""

import logging
import math
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

log = logging.getLogger("falcon")

_LOOK_SECONDS: Final = 1.0  # a renewed certificate is used this soon; a look is one stat of the files


class WrongCertificate(Exception):
    """The message names the files, and never what is in them."""


class TlsFiles:
    """The files of a TLS context. Each new connection uses the files as they are at that time.

    ``certificate``: the one of the files with the certificate that this process shows.
    """

    def __init__(
        self, files: Sequence[Path], make: Callable[[], ssl.SSLContext], certificate: Path | None = None
    ) -> None:
        """``make`` raises WrongCertificate, and so does this."""
        self._files = files
        self._make = make
        self._certificate = certificate
        self._refused = ""  # why the present files are not used
        self._load(self._look())
        self._look_at = time.monotonic() + _LOOK_SECONDS

    def context(self) -> ssl.SSLContext:
        """The context for a connection that begins now."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._reload()
        return self._context

    def certificate_ends(self) -> float:
        """The end of the certificate that new connections show, in seconds since 1970; infinity without one."""
        self.context()
        return self._certificate_ends

    def authorities_end(self) -> float:
        """The time from which no authority in the files is valid, in seconds since 1970; infinity if they have none."""
        self.context()
        return self._authorities_end

    def _reload(self) -> None:
        """Keeps the present context while the files do not fit each other: one may be replaced before the other."""
        try:
            version = self._look()
            if version != self._version:
                self._load(version)
                log.info("%s: changed; connections that begin from now on use it", ", ".join(map(str, self._files)))
            self._refused = ""
        except WrongCertificate as error:
            if self._refused != str(error):
                log.error("the certificates stay as they were: %s", error)
            self._refused = str(error)

    def _load(self, version: tuple[int, ...]) -> None:
        """Raises WrongCertificate."""
        self._context = self._make()
        self._certificate_ends = math.inf if self._certificate is None else _end_of(self._certificate)
        known = self._context.get_ca_certs()
        self._authorities_end = max(
            (ssl.cert_time_to_seconds(str(each["notAfter"])) for each in known), default=math.inf
        )
        self._version = version

    def _look(self) -> tuple[int, ...]:
        """The version of the files. Raises WrongCertificate."""
        try:
            found = [path.stat() for path in self._files]
        except OSError as error:
            raise WrongCertificate(f"{error.filename} cannot be read ({error.strerror})") from error
        return tuple(part for each in found for part in (each.st_ino, each.st_mtime_ns, each.st_size))


def client_tls(authorities: Path | None, certificate: Path | None, key: Path | None) -> TlsFiles:
    """Context for connections to servers. A server needs a certificate for its host name, by one of the
    ``authorities``, or by the machine's own if none are given. A client with a ``certificate`` shows it.

    Raises WrongCertificate.
    """
    files = [path for path in (authorities, certificate, key) if path is not None]
    return TlsFiles(files, partial(_client_context, authorities, certificate, key), certificate)


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


def _end_of(certificate: Path) -> float:
    """The end of the first certificate in the file, in seconds since 1970. Raises WrongCertificate."""
    try:
        # ssl shows the dates of a peer's certificate only. This function of its tests reads those of a file.
        decoded = ssl._ssl._test_decode_cert(certificate)  # type: ignore[attr-defined]
    except (OSError, ValueError) as error:
        raise WrongCertificate(f"{certificate} cannot be read ({_reason(error)})") from error
    return float(ssl.cert_time_to_seconds(decoded["notAfter"]))


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
