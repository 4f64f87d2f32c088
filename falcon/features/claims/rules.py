"""Claims of accounts to texts that only one may have. An account shows a text only while it has claimed it.

A text decides by itself who has it, in the partition of its hash. Claims and releases carry the number of the wish that
they are for, so that a late one of an earlier wish changes nothing, and they may be repeated.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from falcon.domain.aggregates import AggregateKind, id_of_text
from falcon.domain.answers import Done
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import NOBODY, AccountId, Millis
from falcon.domain.rejections import TextTaken
from falcon.features.accounts.rules import Space


class _OfText(msgspec.Struct, frozen=True):
    space: Space
    text: str
    account_id: AccountId
    wish: int

    @property
    def claims_id(self) -> int:
        return id_of_text(self.space, self.text)


class ClaimText(_OfText, frozen=True, tag=True):
    """Accepted as well if the account has the text."""


class ReleaseText(_OfText, frozen=True, tag=True):
    """Nothing happens if another account has the text, or this one for a later wish."""


class FindClaim(msgspec.Struct, frozen=True, tag=True):
    """Ask which account has claimed the text. It may not show it."""

    space: Space
    text: str

    @property
    def claims_id(self) -> int:
        return id_of_text(self.space, self.text)


class TextClaimed(_OfText, frozen=True):
    """``wish``: the newest of the account that it is for."""


class TextReleased(_OfText, frozen=True):
    pass


class ClaimAnswer(msgspec.Struct, frozen=True, tag="claim-answer"):
    """``account_id``: NOBODY if no account has it."""

    account_id: AccountId


class TextClaim(msgspec.Struct, frozen=True, array_like=True):
    account_id: AccountId
    wish: int


class Claims(msgspec.Struct, frozen=True):
    """The claims to the texts of one hash: mostly one text."""

    texts: Mapping[str, TextClaim] = {}


CLAIMS: Final = AggregateKind("claims", Claims, "claims_id", lambda _: Claims())


def claim_text(claims: Claims, command: ClaimText, _: Millis) -> Decision:
    claim = claims.texts.get(command.text)
    if claim is None or (claim.account_id == command.account_id and claim.wish < command.wish):
        return Decided((TextClaimed(command.space, command.text, command.account_id, command.wish),), Done())
    return Decided((), Done()) if claim.account_id == command.account_id else TextTaken(command.space)


def release_text(claims: Claims, command: ReleaseText, _: Millis) -> Decision:
    claim = claims.texts.get(command.text)
    if claim is None or claim.account_id != command.account_id or claim.wish > command.wish:
        return Decided((), Done())
    return Decided((TextReleased(command.space, command.text, command.account_id, command.wish),), Done())


def find_claim(claims: Claims, command: FindClaim, _: Millis) -> Decision:
    claim = claims.texts.get(command.text)
    return Decided((), ClaimAnswer(NOBODY if claim is None else claim.account_id))


def _claimed(claims: Claims | None, event: TextClaimed) -> Claims:
    texts = {} if claims is None else claims.texts
    return Claims({**texts, event.text: TextClaim(event.account_id, event.wish)})


def _released(claims: Claims, event: TextReleased) -> Claims:
    return replace(claims, texts={text: claim for text, claim in claims.texts.items() if text != event.text})


RULES: Final = {ClaimText: claim_text, ReleaseText: release_text, FindClaim: find_claim}
EVOLVES: Final = {TextClaimed: _claimed, TextReleased: _released}
ClaimsCommand: TypeAlias = ClaimText | ReleaseText | FindClaim
ClaimsEvent: TypeAlias = TextClaimed | TextReleased
FREEING: Final = (ReleaseText, FindClaim)  # taken while the disk is nearly full
