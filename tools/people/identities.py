"""Judges what the log says of accounts: who claims and shows a text, who signs in, and who speaks where."""

from collections import defaultdict
from typing import Final, NamedTuple, TypeAlias

from falcon.features.accounts.rules import AccountChanged, AccountCreated, Space, TokenIssued
from falcon.features.catalogue import Event
from falcon.features.claims.rules import TextClaimed, TextReleased
from falcon.features.invitations.rules import InvitationIssued, InvitationUsed
from falcon.features.messages.rules import MessagePosted
from falcon.features.rooms.rules import MemberJoined, MemberLeft, RoomCreated
from falcon.features.sign_in.rules import LinkUsed

_SPACES: Final[tuple[Space, ...]] = ("handle", "email")
_Text: TypeAlias = tuple[Space, str]


class _Show(NamedTuple):
    """An account shows a text from one wish until another one; None if it still does."""

    account_id: int
    since: int
    until: int | None = None


class Identities:
    """``take`` all events, in the order of each partition; ``settle`` gives what contradicts the promises.

    Wishes have numbers, so the order of two partitions need not be known: a text that is shown was claimed for the very
    wish that shows it, and is released for none before the wish that replaces it.
    """

    def __init__(self) -> None:
        self._wrong: list[str] = []
        self._claims: dict[_Text, list[TextClaimed | TextReleased]] = defaultdict(list)
        self._shows: dict[_Text, list[_Show]] = defaultdict(list)
        self._shown: dict[tuple[int, Space], str] = {}
        self._deactivated: dict[int, bool] = {}
        self._once: set[object] = set()
        self._uses: dict[int, int] = {}  # that are left, by invitation
        self._members: dict[int, set[int]] = {}

    def take(self, event: Event) -> None:
        match event:
            case TextClaimed() | TextReleased():
                self._claims[event.space, event.text].append(event)
            case AccountCreated():
                if event.imported_as is not None:
                    self._count_once(event.imported_as)
                self._deactivated[event.account_id] = event.deactivated
            case AccountChanged():
                self._deactivated[event.account_id] = event.deactivated
                for space, text in zip(_SPACES, (event.handle, event.email), strict=True):
                    self._show(event, space, text)
            case TokenIssued() if self._deactivated.get(event.account_id):
                self._wrong.append(f"account {event.account_id} is deactivated, and gets token {event.token_id}")
            case LinkUsed():
                self._count_once(event.code_hash)
            case InvitationIssued():
                self._uses[event.invitation_id] = event.invitation.uses
            case InvitationUsed():
                self._count_once((event.invitation_id, event.claimant))
                self._uses[event.invitation_id] -= 1
                if self._uses[event.invitation_id] < 0:
                    self._wrong.append(f"invitation {event.invitation_id} is used more often than it may be")
            case RoomCreated(kind="group" | "direct"):  # who may write in others is no matter of their members
                self._members[event.room_id] = {each.account_id for each in event.members}
            case MemberJoined() if event.room_id in self._members:
                self._members[event.room_id].add(event.account_id)
            case MemberLeft() if event.room_id in self._members:
                self._members[event.room_id].discard(event.account_id)
            case MessagePosted(message=message) if message.author_id not in self._members.get(
                message.room_id, (message.author_id,)
            ):
                self._wrong.append(f"account {message.author_id} is not in room {message.room_id}, and speaks there")

    def settle(self) -> list[str]:
        for text, claims in self._claims.items():
            self._judge_claims(text, claims)
        for text, shows in self._shows.items():
            for show in shows:
                self._judge_show(text, show)
        return self._wrong

    def _count_once(self, what: object) -> None:
        if what in self._once:
            self._wrong.append(f"{what} counts twice")
        self._once.add(what)

    def _show(self, event: AccountChanged, space: Space, text: str | None) -> None:
        before = self._shown.get((event.account_id, space))
        if text == before:
            return
        if before is not None:
            shows = self._shows[space, before]
            place = max(n for n, each in enumerate(shows) if each.account_id == event.account_id)
            shows[place] = shows[place]._replace(until=event.wish)
            del self._shown[event.account_id, space]
        if text is not None:
            self._shows[space, text].append(_Show(event.account_id, event.wish))
            self._shown[event.account_id, space] = text

    def _judge_claims(self, text: _Text, claims: list[TextClaimed | TextReleased]) -> None:
        holder: int | None = None
        for each in claims:
            if holder != each.account_id and (holder is not None or isinstance(each, TextReleased)):
                self._wrong.append(f"account {holder} has {text}, and account {each.account_id} changes that")
            holder = each.account_id if isinstance(each, TextClaimed) else None

    def _judge_show(self, text: _Text, show: _Show) -> None:
        of_it = [each for each in self._claims[text] if each.account_id == show.account_id]
        places = [n for n, each in enumerate(of_it) if isinstance(each, TextClaimed) and each.wish == show.since]
        if not places:
            self._wrong.append(f"{text} is shown without a claim: {show}")
            return
        released = (each for each in of_it[places[0] :] if isinstance(each, TextReleased))
        first = next(released, None)
        if first is not None and (show.until is None or first.wish < show.until - 1):
            self._wrong.append(f"{text} is released for wish {first.wish} while it is shown: {show}")
