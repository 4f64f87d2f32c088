"""Events of passwords and sign-in links, and answers, as they stand in the log."""

from typing import Final

import msgspec

from falcon.features.accounts.log import ProfileAnswerV1
from falcon.features.accounts.rules import ProfileAnswer
from falcon.features.sign_in.rules import (
    LinkAnswer,
    LinkIssued,
    LinksEnded,
    LinkUsed,
    PasswordAnswer,
    PasswordSet,
    SessionAnswer,
)
from falcon.journal.shapes.shape import Shape, alike, answer, event


class SessionAnswerV1(msgspec.Struct, frozen=True, tag="session-answer.v1"):
    token_id: int
    profile: ProfileAnswerV1


class LinkAnswerV1(msgspec.Struct, frozen=True, tag="link-answer.v1"):
    name: str
    expires_at: int
    sealed: str = ""


def _session_v1(answer: SessionAnswer) -> SessionAnswerV1:
    return SessionAnswerV1(answer.token_id, ProfileAnswerV1(*msgspec.structs.astuple(answer.profile)))


def _session(stored: SessionAnswerV1) -> SessionAnswer:
    return SessionAnswer(stored.token_id, ProfileAnswer(*msgspec.structs.astuple(stored.profile)))


EVENTS: Final = (
    event("password-set", PasswordSet, account_id=int, number=int, password_hash=str),
    event("link-issued", LinkIssued, account_id=int, code_hash=str, expires_at=int),
    event("link-used", LinkUsed, account_id=int, code_hash=str),
    event("links-ended", LinksEnded, account_id=int),
)
ANSWERS: Final = (
    answer("password-answer", PasswordAnswer, password_hash=str, number=int),
    Shape("session-answer", 1, SessionAnswer, SessionAnswerV1, _session_v1, _session),
    alike("link-answer", LinkAnswer, LinkAnswerV1),
)
