"""Invitations and sign-in links are mailed where a mail server is set up, and shown everywhere."""

import email
import json
import logging
import ssl
from collections.abc import Iterator
from email import policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from falcon.cli import doctor, upkeep
from falcon.http.mail import read_mail
from falcon.run.settings import Settings
from tests.support.certificates import Authority, needs_openssl
from tests.support.http import Falcon, problem
from tools.harness.ports import free_port

pytestmark = needs_openssl
USER, PASSWORD = "falcon", "the password of the mail server"
OWN = {"Origin": "http://localhost:8080", "Host": "localhost:8080"}


class MailServer:
    """It takes mail of one user, after STARTTLS. ``mails``: to whom, and the text. ``refuses``: all recipients."""

    def __init__(self, folder: Path) -> None:
        self.mails: list[tuple[list[str], str]] = []
        self.refuses = False
        self.authority = Authority(folder)
        pair = self.authority.issue("mail", "IP:127.0.0.1")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.certificate, pair.key)
        self.port = free_port()
        how: dict[str, Any] = {"require_starttls": True, "auth_required": True, "authenticator": self._knows}
        self._controller = Controller(self, "127.0.0.1", self.port, tls_context=context, **how)
        self._controller.start()
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o600)
        self.settings = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "password_file": str(folder / "password"),
            "from": "chat@tea.test",
        }

    def _knows(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        return AuthResult(success=(given.login, given.password) == (USER.encode(), PASSWORD.encode()))

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refuses:
            return "554 no"
        found = email.message_from_bytes(envelope.content or b"", policy=policy.default)  # type: ignore[arg-type]
        assert found["From"] == "chat@tea.test" and [found["To"]] == envelope.rcpt_tos
        body = found.get_body()
        assert body is not None
        self.mails.append((envelope.rcpt_tos, body.get_content()))
        return "250 taken"

    def stop(self) -> None:
        self._controller.stop()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    server = MailServer(tmp_path / "mail")
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority.certificate))
    yield server
    server.stop()


def written(folder: Path, settings: dict[str, Any]) -> Path:
    path = folder / "mail.json"
    path.write_text(json.dumps(settings))
    return path


@pytest.fixture
def mailing(tmp_path: Path, server: MailServer) -> Iterator[Falcon]:
    with Falcon(tmp_path / "data", mail_file=written(tmp_path, server.settings)) as falcon:
        yield falcon


def test_an_invitation_is_mailed_and_shown_and_its_link_is_in_no_log(
    mailing: Falcon, server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = mailing.admin.post("/v1/invitations", {"email": "Ida@tea.test"}, headers=OWN).json()
    assert made["mailed"] is True
    ((to, text),) = server.mails
    assert to == ["ida@tea.test"] and made["url"] in text and "招待" in text
    assert mailing.admin.post("/v1/invitations", {}, headers=OWN).json()["mailed"] is False
    server.refuses = True
    shown = mailing.admin.post("/v1/invitations", {"email": "joe@tea.test"}, headers=OWN).json()
    assert shown["mailed"] is False and "#invitation=" in shown["url"]
    said = "\n".join(each.getMessage() for each in caplog.records if each.name != "mail.log")  # the server's own
    assert "a mail was not sent: SMTPDataError" in said
    for secret in (made["url"].partition("_")[2], shown["url"].partition("_")[2], PASSWORD):
        assert secret not in said


def test_a_sign_in_link_goes_to_the_e_mail_of_its_account_if_the_administrator_wants_it(
    mailing: Falcon, server: MailServer
) -> None:
    account_id = mailing.admin.post("/v1/accounts", {"name": "Ida", "email": "ida@tea.test"}).json()["account_id"]
    path = f"/v1/accounts/{account_id}/sign-in-link"
    assert mailing.admin.post(path, headers=OWN).json()["mailed"] is False
    made = mailing.admin.post(path, {"mail": True}, headers=OWN).json()
    assert made["mailed"] is True
    assert [(to, made["url"] in text) for to, text in server.mails] == [(["ida@tea.test"], True)]
    without = mailing.account("Joe").account_id
    link = mailing.admin.post(f"/v1/accounts/{without}/sign-in-link", {"mail": True}, headers=OWN)
    assert link.json()["mailed"] is False


def test_a_members_invitation_of_a_guest_is_not_mailed(mailing: Falcon, server: MailServer) -> None:
    anna = mailing.account("Anna")
    room = anna.makes_room("Tea kitchen")
    invitation = {"role": "guest", "rooms": [room.room_id], "email": "stranger@tea.test"}
    assert anna.post("/v1/invitations", invitation, headers=OWN).json()["mailed"] is False
    assert server.mails == []


@pytest.mark.parametrize("to", ["a@tea.test,b@tea.test", "a@tea.test>", "ü@tea.test"])
def test_an_address_that_is_none_gets_no_mail(mailing: Falcon, server: MailServer, to: str) -> None:
    made = mailing.admin.post("/v1/invitations", {"email": to}, headers=OWN)
    assert made.json()["mailed"] is False and server.mails == []


def test_without_a_mail_server_links_are_shown_only(falcon: Falcon) -> None:
    assert falcon.admin.post("/v1/invitations", {"email": "ida@tea.test"}).json()["mailed"] is False
    problem(falcon.admin.post(f"/v1/accounts/{falcon.admin.account_id}/sign-in-link", {"mail": 1}), 422, "invalid")


def test_the_doctor_signs_in_at_the_mail_server(tmp_path: Path, server: MailServer) -> None:
    (found,) = upkeep._mail(Settings(mail_file=written(tmp_path, server.settings)))
    assert (found.check, found.state) == ("Mail", doctor.FindingState.OK)
    for wrong in ({"user": "another"}, {"tls": "none"}, {"port": 1}):
        (found,) = upkeep._mail(Settings(mail_file=written(tmp_path, {**server.settings, **wrong})))
        assert found.state == doctor.FindingState.FAIL and PASSWORD not in found.found
    assert upkeep._mail(Settings()) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"from": "nothing"}, "mail.json"),
        ({"host": "smtp.tea.test", "tls": "none"}, "loopback"),
        ({"user": ""}, "together"),
        ({"password": "in the file"}, "unknown field"),
        ({"port": 0}, "port"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, server: MailServer, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_mail(written(tmp_path, {**server.settings, **changed}))
