"""The certificate of the public port."""

import ssl
import stat
from functools import partial
from pathlib import Path

from falcon.base.certificates import TlsFiles, WrongCertificate, load_pair
from falcon.base.process import is_open_to_others


class Certificate(TlsFiles):
    """The certificate of the public port with its chain, and its key; both are reloaded when they are renewed."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises WrongCertificate."""
        super().__init__((certificate, key), partial(_server_context, certificate, key), certificate)


def _server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises WrongCertificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_pair(context, certificate, key)
    if is_open_to_others(key, stat.S_IROTH | stat.S_IWOTH):
        raise WrongCertificate(f"{key}: every user of this machine can read or change it; chmod o= {key}")
    return context
