"""Some hundred events in which everything happens, decided by the domain itself."""

import random
from collections.abc import Iterator

from falcon.domain.decision import Decided
from falcon.domain.events import CommandAnswered
from falcon.features.accounts.rules import ChangeAccount, CreateAccount, IssueToken, RevokeToken, UseToken, WantTexts
from falcon.features.bookmarks.rules import ImportBookmark, RemoveBookmark, SetBookmark
from falcon.features.catalogue import Command, Event
from falcon.features.claims.rules import ClaimText, ReleaseText
from falcon.features.invitations.rules import Invite, RevokeInvitation, UseInvitation
from falcon.features.messages.rules import (
    DeleteMessage,
    EditMessage,
    ImportMessages,
    Message,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PostMessage,
)
from falcon.features.owners.rules import StepDown
from falcon.features.pins.rules import AddPin, ImportPin, RemovePin
from falcon.features.reactions.rules import (
    AddReaction,
    ImportedReaction,
    ImportReactions,
    ReactionAdded,
    RemoveReaction,
)
from falcon.features.read_marks.rules import MoveRead
from falcon.features.rooms.rules import (
    ChangeRoom,
    CreateRoom,
    DeleteRoom,
    ImportRoom,
    Invitation,
    JoinDefault,
    OpenDirect,
    PutMember,
    RemoveMember,
)
from falcon.features.sign_in.rules import STATE as SIGN_IN
from falcon.features.sign_in.rules import IssueLink, NewSession, SetPassword, SignIn, UseLink
from falcon.features.threads.rules import FollowThread, ImportThread, StartThread, UnfollowThread
from tests.support.builders import AWKWARD_TEXTS, NOW, a_message, nth_id
from tests.support.given import World
from tests.support.reactions import reactions_known

_PEOPLE = 6
_LATE = NOW + 10**9  # after all that happens


class BusyFalcon:
    """``events`` are what came of asking for everything at random; ``world`` and ``messages`` what they lead to."""

    def __init__(self, seed: int, length: int = 600) -> None:
        self._random = random.Random(seed)
        self._made = 0
        self.world = World()
        self.messages: dict[tuple[int, int], Message] = {}
        self.events: list[Event] = []
        for command in self._beginning():
            self._ask(command)
        while len(self.events) < length:
            self._ask(self._anything())

    def _ask(self, command: Command) -> None:
        at = NOW + 1_000 * len(self.events)
        decision = self.world.decide(command, at, nth_id(self._made + 1))
        if not isinstance(decision, Decided):
            return
        # A keyed command that changes nothing leaves a record all the same.
        events = decision.events or (CommandAnswered(),)
        for event in events:
            if isinstance(event, MessagePosted | MessageEdited | MessageDeleted):
                self.messages[event.message.room_id, event.message.seq] = event.message
        self.world = self.world.after(*events)
        self._made = len(self.world.rooms) + len(self.world.accounts)
        self.events += events

    def _beginning(self) -> Iterator[Command]:
        for number in range(_PEOPLE):
            yield CreateAccount(
                f"Account {number}\0", role="owner" if number == 0 else "member", token_hash=f"hash {number}"
            )
        ann, bob, cat = (nth_id(number) for number in (1, 2, 3))
        yield CreateRoom(ann, "Tea", "", (Invitation(bob), Invitation(cat, "readonly")))
        yield CreateRoom(bob, "Coffee", "☕", (Invitation(ann, "admin"), Invitation(cat)))
        yield OpenDirect(cat, ann)
        yield ImportRoom("room/there/1", "group", "Old", "", 1_554_120_000_000, (Invitation(cat, "admin"),))

    def _anything(self) -> Command:
        pick, number = self._random.choice, self._random.randrange
        by, other = self._somebody(), self._somebody()
        room_id = pick(list(self.world.rooms))
        room = self.world.rooms[room_id]
        seq = number(1, room.last_seq + 2)
        known, revision = self.messages.get((room_id, seq)), room.revision
        emoji = pick(["👍", "❤️"])
        reactions = reactions_known(self.events, room_id, seq, emoji, [other])
        if known is not None and number(2):
            by = known.author_id
        likely: list[Command] = [
            PostMessage(by, room_id, pick(["Hi", *AWKWARD_TEXTS]), None, tuple(room.members)[: number(3)]),
            PostMessage(by, room_id, "Me", seq - 1 or None),
            EditMessage(by, room_id, seq, "Ho", pick([None, (), tuple(room.members)[:1]]), known, revision),
            MoveRead(by, room_id, seq - 1, bool(number(2))),
            AddReaction(other, room_id, seq, emoji, known, revision, reactions),
            RemoveReaction(other, room_id, seq, emoji, known, revision, reactions),
            AddPin(other, room_id, seq, known, revision),
            StartThread(by, room_id, seq, known, revision),
            PostMessage(other, room_id, "And here", None, (), also_in_room=room.thread is not None),
            ImportMessages(room_id, tuple(a_message(seq + i, by=other, room_id=room_id) for i in range(3))),
        ]
        seldom: list[Command] = [
            DeleteMessage(by, room_id, seq, known, revision),
            PutMember(by, room_id, other, pick(["admin", "member", "readonly"])),
            RemoveMember(by, room_id, other),
            ChangeRoom(by, room_id, pick(["Tea", "Coffee", "水\0"]), pick([None, "", "about"])),
            ChangeRoom(by, room_id, None, None, pick([None, True, True, False]), pick([None, True, False]), True),
            PutMember(by, room_id, by, "member"),
            JoinDefault(room_id, other),
            OpenDirect(by, other, ("One", "Another")),
            RemovePin(other, room_id, seq),
            FollowThread(other, room_id),
            UnfollowThread(next(iter(room.members), by), room_id),
            ImportThread(f"thread/there/{number(1_000)}", room_id, seq, NOW, (by,)),
            ImportPin(room_id, seq, other, NOW, known, revision),
            ImportReactions(room_id, seq, emoji, (ImportedReaction(other, NOW),), known, revision, reactions),
            IssueToken(by, f"hash {number(1_000)}"),
            RevokeToken(by, number(1, 4)),
        ]
        people: list[Command] = [
            UseToken(by, number(1, 4), number(1, 4)),
            ClaimText("handle", pick(["ann", "bob"]), by, number(1, 4)),
            ReleaseText("handle", pick(["ann", "bob"]), by, number(1, 4)),
            WantTexts(by, {"handle": pick(["ann", "bob", None])}),
            StepDown(by, {by: number(4), other: number(4)}),
            self._change_of(by),
            SetBookmark(by, room_id, seq, pick(["", "Later"])),
            RemoveBookmark(by, room_id, seq),
            ImportBookmark(by, room_id, seq, "Of old", NOW),
        ]
        code, session = pick(["code 1", "code 2"]), NewSession(f"hash {number(1_000)}", _LATE)
        signing: list[Command] = [
            SetPassword(by, "$argon2id$", SIGN_IN.of(self.world.accounts[by]).number),
            IssueLink(by, code, _LATE),
            UseLink(by, code, "$argon2id$", session),
            SignIn(by, session),
            Invite(code, "guest", None, (room_id,), 2, _LATE, by),
            UseInvitation(number(1, 4), code, pick(["Carl", "Dora"])),
            RevokeInvitation(number(1, 4)),
        ]
        seldom += [self._remove(each) for each in self.events[-50:] if isinstance(each, ReactionAdded)]
        rare: list[Command] = [
            DeleteRoom(by, room_id),
            CreateRoom(by, "More", "", (Invitation(other),)),
            CreateAccount("Another", imported_as=f"account/there/{number(1_000)}"),
        ]
        return pick(pick([likely, likely, likely, seldom, seldom, rare, people, signing] if number(5) else [likely]))

    def _change_of(self, account_id: int) -> Command:
        pick, wish = self._random.choice, self.world.accounts[account_id].wishes
        return ChangeAccount(
            account_id,
            name=pick([None, "Anna", "水\0"]),
            role=pick([None, "owner", "member", "guest"]),
            title=pick([None, "", "Tea taster"]),
            deactivated=pick([None, False, False, True]),
            texts=pick([{}, {"handle": f"{account_id}"}, {"handle": None, "email": f"{account_id}@example.org"}]),
            wish=wish,
        )

    def _remove(self, added: ReactionAdded) -> RemoveReaction:
        room_id, seq, emoji, by = added.room_id, added.seq, added.emoji, added.account_id
        known = reactions_known(self.events, room_id, seq, emoji, [by])
        revision = self.world.rooms[room_id].revision
        return RemoveReaction(by, room_id, seq, emoji, self.messages.get((room_id, seq)), revision, known)

    def _somebody(self) -> int:
        return nth_id(self._random.randrange(1, _PEOPLE + 1))
