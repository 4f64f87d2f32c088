"""The sockets that the launcher binds, so that connections wait for a server that is started again."""

import errno
import socket
import time
from ipaddress import ip_address
from typing import Final

from falcon.base.process import LISTEN_BACKLOG
from falcon.run.launcher.telling import CannotStart, say
from falcon.run.settings import Settings

# The processes of a launcher that was killed hold its sockets until the kernel has ended them. One that had only begun
# to start, with a low priority on a busy machine, has taken longer than the next launcher needs to come here.
_PREDECESSOR_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.05


def bind(host: str, port: int, setting: str) -> socket.socket:
    """``setting``: of the port. Waits for the processes of a killed predecessor to let the port go. Raises
    CannotStart."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        _bind_when_free(listening, host, port)
    except OSError as error:
        raise CannotStart(
            f"cannot listen on {host}:{port} ({error.strerror}); stop the program that uses it, or set {setting}"
        ) from error
    listening.listen(LISTEN_BACKLOG)
    return listening


def _bind_when_free(listening: socket.socket, host: str, port: int) -> None:
    """Raises OSError."""
    until = time.monotonic() + _PREDECESSOR_SECONDS
    while True:
        try:
            return listening.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= until:
                raise
        time.sleep(_LOOK_SECONDS)


def check_privacy(settings: Settings) -> None:
    """Others on the network must not read what clients send to the public port. Raises CannotStart."""
    if settings.tls_cert is not None and settings.tls_key is not None:
        from falcon.base.certificates import WrongCertificate
        from falcon.http.server.tls import Certificate

        try:
            Certificate(settings.tls_cert, settings.tls_key)
        except WrongCertificate as error:
            raise CannotStart(f"{error}; see FALCON_TLS_CERT in docs/settings.md") from error
    if not settings.is_read_on_the_way:
        return
    if settings.plaintext != "yes":
        raise CannotStart(
            f"traffic to FALCON_HOST={settings.host} would not be encrypted: set FALCON_TLS_CERT and FALCON_TLS_KEY; "
            "or FALCON_TRUSTED_PROXIES, if a proxy in front of it terminates TLS; or FALCON_PLAINTEXT=yes"
        )
    say(f"traffic to {settings.host} is not encrypted (FALCON_PLAINTEXT)")


def url(scheme: str, listening: socket.socket) -> str:
    """The address for programs of this machine. A socket on every address is also on loopback."""
    host, port = listening.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
