"""Mail of invitations and sign-in links, over an SMTP server that a file of settings names."""

import asyncio
import logging
import smtplib
import ssl
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from falcon.base.secret_files import SecretFile
from falcon.telemetry.dispatchers import Dispatcher, Saturated

log = logging.getLogger("falcon.http")

_TIMEOUT_SECONDS: Final = 4.0  # of each step; a server that takes longer is away
_PATIENCE_SECONDS: Final = 8.0  # an administrator waits for the answer; the mail may still go out
_THREADS: Final = 2  # each waits for the server
_QUEUE: Final = 64  # with half a second each, some 15 s of work
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class MailSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """``sender``: the address from which mail comes. ``tls``: from the start, or after STARTTLS; none on loopback."""

    host: str
    sender: str
    port: Annotated[int, Meta(ge=1, le=65_535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password_file: str = ""


class Mail:
    """One for each process. Mail is a courtesy: whatever it announces is shown in the answer, too."""

    def __init__(self, settings: MailSettings) -> None:
        """Raises WrongSecret."""
        self.settings = settings
        self._password = SecretFile(Path(settings.password_file)) if settings.password_file else None
        self._pool = Dispatcher("mail", threads=_THREADS, queue=_QUEUE)

    async def send(self, to: str, subject: str, text: str) -> bool:
        """Returns True once the server has taken it. Neither the text nor the address is logged."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._pool.run(self._send, to, subject, text)
        except (OSError, smtplib.SMTPException, MessageError, ValueError, Saturated) as error:
            log.warning("a mail was not sent: %s", type(error).__name__)
            return False
        return True

    def check(self) -> str:
        """Sign in at the server. Returns what is wrong; empty if nothing is."""
        try:
            with self._connected():
                return ""
        except (OSError, smtplib.SMTPException) as error:
            return f"{self.settings.host}:{self.settings.port}: {error}"

    def close(self) -> None:
        self._pool.close()

    def _send(self, to: str, subject: str, text: str) -> None:
        message = EmailMessage(SMTP)
        message["From"] = self.settings.sender
        message["To"] = Address(addr_spec=to)  # raises for what are several, or none
        message["Subject"] = subject
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        with self._connected() as server:
            server.send_message(message)

    def _connected(self) -> smtplib.SMTP:
        """Raises OSError, SMTPException."""
        settings = self.settings
        context = ssl.create_default_context()
        # The name of this machine, which is the default, would be looked up, and that may take long.
        own_name = Address(addr_spec=settings.sender).domain
        if settings.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.host, settings.port, own_name, timeout=_TIMEOUT_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(settings.host, settings.port, own_name, timeout=_TIMEOUT_SECONDS)
        try:
            if settings.tls == "starttls":
                server.starttls(context=context)
            if self._password is not None:
                server.login(settings.user, self._password()[0].decode())
        except BaseException:
            server.close()
            raise
        return server


def read_mail(path: Path) -> Mail:
    """Raises ValueError for a file that is wrong, OSError for one that cannot be read, WrongSecret."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=MailSettings)
        Address(addr_spec=found.sender)
    except (msgspec.DecodeError, MessageError, ValueError, IndexError) as error:
        raise ValueError(f"{path}: {error}") from None
    if bool(found.user) != bool(found.password_file):
        raise ValueError(f"{path}: user and password_file must be set together")
    if found.tls == "none" and found.host not in _LOOPBACK:
        raise ValueError(f"{path}: tls may be none on loopback only; links would be read on the way")
    return Mail(found)
