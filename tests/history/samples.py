"""One record of every shape that was ever written to a log, and what it must decode to for ever.

The bytes are in the files of this folder, ``NAME.vVERSION[.WHAT].json``: in the first line what the log keeps beside
the data, in the second the data. A file that is there is never changed. After a new event, version, answer or refusal:
add it below, run ``python -m tests.history.samples``, which writes the files that are missing, and commit them. For a
new version of an event its old samples stay here, with the event that their upcaster now makes of them.
"""

from pathlib import Path
from typing import Final

import msgspec

from falcon.domain import answers, rejections
from falcon.domain.events import CommandAnswered
from falcon.domain.rejections import Rejection
from falcon.features.accounts.rules import (
    AccountAnswer,
    AccountChanged,
    AccountCreated,
    DirectRoomOpened,
    ProfileAnswer,
    TextsWanted,
    TokenAnswer,
    TokenIssued,
    TokenRevoked,
    TokenUsed,
    WishAnswer,
)
from falcon.features.bookmarks.rules import BookmarkAnswer, BookmarkRemoved, BookmarkSet
from falcon.features.catalogue import Answer, Event
from falcon.features.claims.rules import ClaimAnswer, TextClaimed, TextReleased
from falcon.features.invitations.rules import (
    InvitationAnswer,
    InvitationEnded,
    InvitationIssued,
    InvitationsAnswer,
    InvitationUsed,
    OpenInvitation,
)
from falcon.features.messages.rules import Message, MessageAnswer, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.owners.rules import SteppedDown
from falcon.features.pins.rules import PinAdded, PinAnswer, PinRemoved
from falcon.features.reactions.rules import ReactionAdded, ReactionAnswer, ReactionRemoved
from falcon.features.read_marks.rules import ReadAnswer, ReadMoved
from falcon.features.rooms.rules import (
    MemberAnswer,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    Membership,
    RoomAnswer,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
)
from falcon.features.sign_in.rules import (
    LinkAnswer,
    LinkIssued,
    LinksEnded,
    LinkUsed,
    PasswordAnswer,
    PasswordSet,
    SessionAnswer,
)
from falcon.features.threads.rules import (
    ThreadAnswer,
    ThreadChanged,
    ThreadFollowed,
    ThreadMessageAnswer,
    ThreadStarted,
    ThreadUnfollowed,
)
from falcon.journal import codec
from falcon.journal.envelope import CommandRef, Envelope
from falcon.journal.record import Record

FOLDER: Final = Path(__file__).parent

# The samples' place in the log: the log itself keeps it, it is not in the bytes.
PARTITION: Final = 1
EPOCH: Final = 3
N: Final = 17
OFFSET: Final = 4_711

ANN: Final = 65
BOB: Final = 129
ROOM: Final = 321
AT: Final = 1_795_599_000_123
LATER: Final = 1_795_599_060_456
TOKEN_HASH: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
SEALED: Final = "bm9uY2UgYW5kIHNlY3JldA"
TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KEYED: Final = CommandRef(ANN, "a-key~of:64!", 2**64 - 1)

TEXT: Final = 'Who wants tea? \0 "☕" e\u0301 👩🏽\u200d🚀 </script>\n\u2028'
MESSAGE: Final = Message(ROOM, 42, ANN, TEXT, AT, None, False, 7, (BOB, ANN))
INVITATION: Final = OpenInvitation("11bc", "guest", "ben@example.org", (ROOM,), 3, LATER, ANN, AT)
EDITED: Final = Message(ROOM, 42, ANN, "Coffee?", AT, LATER, False, 7, (ANN,))
DELETED: Final = Message(ROOM, 42, ANN, "", AT, LATER, True, 7, ())
PROFILE: Final = ProfileAnswer(
    *(ANN, "Anna", "admin", "Tea taster", "Mornings", "anna", None, False, True, AT), (("handle", "ann"),)
)


def _record(event: Event, command: CommandRef | None = None, answer: Answer | Rejection | None = None) -> Envelope:
    return Envelope(PARTITION, EPOCH, N, AT, event, command, answer, TRACE, BOB)


def _answered(answer: Answer | Rejection) -> Envelope:
    return _record(CommandAnswered(), KEYED, answer)


SAMPLES: Final[dict[str, Envelope]] = {
    # Every event.
    "room-created.v1": _record(
        RoomCreated(
            ROOM,
            "group",
            "Tea",
            "All about it",
            AT,
            (Membership(BOB, "readonly"), Membership(193, "member"), Membership(ANN, "admin")),
        ),
        KEYED,
        RoomAnswer(ROOM, "group", "Tea", "All about it", "admin", 0, AT, None, True),
    ),
    "room-created.v1.direct": _record(
        RoomCreated(ROOM, "direct", "", "", AT, (Membership(ANN, "member"), Membership(BOB, "member")))
    ),
    "room-created.v1.imported": _record(
        RoomCreated(ROOM, "group", "Tea", "", AT, (Membership(ANN, "admin"),), "room/elsewhere/R-1")
    ),
    "room-changed.v1": _record(
        RoomChanged(ROOM, "Coffee", "", AT, 42),
        KEYED,
        RoomAnswer(ROOM, "group", "Coffee", "", "admin", 42, AT),
    ),
    "room-created.v2": _record(
        RoomCreated(ROOM, "group", "Tea", "", AT, (Membership(ANN, "admin"),), open=True, default=True),
    ),
    "room-created.v2.direct": _record(
        RoomCreated(
            ROOM, "direct", "", "", AT, (Membership(ANN, "member"), Membership(BOB, "member")), names=("Ann", "Bob")
        ),
        KEYED,
        RoomAnswer(ROOM, "direct", "", "", "member", 0, AT, BOB, True),
    ),
    "room-created.v3": _record(
        RoomCreated(ROOM, "group", "Tea", "", AT, (Membership(ANN, "admin"),), open=True, default=True),
    ),
    "room-created.v3.thread": _record(
        RoomCreated(ROOM, "thread", "", "", AT, (), "thread/elsewhere/T-1", parent=(257, 42)),
        KEYED,
        ThreadAnswer(ROOM, "member", 0, AT, follows=True, created=True),
    ),
    "room-changed.v2": _record(
        RoomChanged(ROOM, "Coffee", "", AT, 42, True, True, "Tea", False, 3),
        KEYED,
        RoomAnswer(ROOM, "group", "Coffee", "", None, 42, AT, open=True, default=True),
    ),
    "room-changed.v2.closed": _record(RoomChanged(ROOM, "Coffee", "", AT, 42, was_name="Coffee", was_open=True)),
    "room-deleted.v1": _record(
        RoomDeleted(ROOM, (Membership(ANN, "admin"), Membership(BOB, "readonly")), "Tea", "All about it", AT, 42),
        KEYED,
        answers.Done(),
    ),
    "room-deleted.v2": _record(
        RoomDeleted(ROOM, (Membership(ANN, "admin"),), "Tea", "All about it", AT, 42, True, True), KEYED, answers.Done()
    ),
    "member-joined.v2": _record(MemberJoined(ROOM, BOB, "member", 42, 7), KEYED, MemberAnswer(BOB, "member", 42)),
    "member-joined.v1": _record(MemberJoined(ROOM, BOB, "readonly", 42), KEYED, MemberAnswer(BOB, "readonly", 42)),
    "member-changed.v1": _record(MemberChanged(ROOM, BOB, "admin", "readonly")),
    "member-left.v1": _record(MemberLeft(ROOM, BOB, "member"), KEYED, answers.Done()),
    "member-left.v2": _record(MemberLeft(ROOM, BOB, "member", 6), KEYED, answers.Done()),
    "message-posted.v1": _record(MessagePosted(MESSAGE, 42), KEYED),
    "message-posted.v1.without-a-key": _record(
        MessagePosted(Message(ROOM, 1, ANN, "Who wants tea?", AT, None, False, None, ()))
    ),
    "message-posted.v1.thread": _record(MessagePosted(MESSAGE, 42, ROOM), KEYED),
    "message-posted.v1.imported": _record(MessagePosted(DELETED)),
    "message-edited.v1": _record(MessageEdited(EDITED, 5, (BOB,)), KEYED),
    "message-deleted.v1": _record(MessageDeleted(DELETED, 6, (ANN,)), KEYED, answers.Done()),
    "reaction-added.v1": _record(ReactionAdded(ROOM, 42, "👩🏽\u200d🚀", ANN, AT, 9, 2, 7, (BOB, ANN))),
    "pin-added.v1": _record(PinAdded(ROOM, 42, ANN, AT, 7)),
    "pin-removed.v1": _record(PinRemoved(ROOM, 42, BOB)),
    "bookmark-set.v1": _record(BookmarkSet(ANN, ROOM, 42, "Later", AT)),
    "bookmark-removed.v1": _record(BookmarkRemoved(ANN, ROOM, 42, AT)),
    "thread-started.v1": _record(ThreadStarted(ROOM, 42, 385, 3)),
    "thread-changed.v1": _record(ThreadChanged(ROOM, 42, 385, 7, AT, BOB, (ANN, BOB))),
    "thread-followed.v1": _record(
        ThreadFollowed(ROOM, 257, BOB, 6), KEYED, ThreadMessageAnswer(Message(ROOM, 7, BOB, TEXT, AT), 44)
    ),
    "thread-followed.v1.woke": _record(ThreadFollowed(ROOM, 257, ANN, 6, LATER)),
    "thread-unfollowed.v1": _record(ThreadUnfollowed(ROOM, 257, BOB, muted=True), KEYED, answers.Done()),
    "reaction-removed.v1": _record(ReactionRemoved(ROOM, 42, "❤️", BOB, LATER, 7, 10, 1, 7, (ANN,))),
    "read-moved.v1": _record(ReadMoved(ROOM, BOB, 41, 3, 2), KEYED, ReadAnswer(ROOM, 41, 3, 2)),
    "account-created.v1": _record(AccountCreated(ANN, "Ann", "owner", AT), KEYED, AccountAnswer(ANN, "Ann", SEALED)),
    "account-created.v1.imported": _record(AccountCreated(ANN, "Ann", "member", AT, "account/elsewhere/A-1")),
    "token-issued.v1": _record(TokenIssued(ANN, 2, TOKEN_HASH, AT), KEYED, TokenAnswer(2, SEALED)),
    "token-revoked.v1": _record(TokenRevoked(ANN, 2, TOKEN_HASH), KEYED, answers.Done()),
    "account-created.v2": _record(AccountCreated(ANN, "Ann", "guest", AT), KEYED, AccountAnswer(ANN, "Ann", SEALED)),
    "account-created.v2.imported": _record(
        AccountCreated(ANN, "Ann", "admin", AT, "account/elsewhere/A-1", "Tea taster", "Mornings", True)
    ),
    "account-changed.v1": _record(
        AccountChanged(
            *(
                ANN,
                "Anna",
                "admin",
                "Tea taster",
                "Mornings",
                "anna",
                None,
                False,
                True,
                3,
                1,
                AT,
                "Ann",
                "member",
                "ann",
            ),
            ("name", "role", "handle"),
        ),
        KEYED,
        PROFILE,
    ),
    "account-texts-wanted.v1": _record(TextsWanted(ANN, 3, {"handle": "anna", "email": None})),
    "token-issued.v2": _record(TokenIssued(ANN, 2, TOKEN_HASH, AT), KEYED, TokenAnswer(2, SEALED)),
    "token-issued.v2.session": _record(
        TokenIssued(ANN, 3, TOKEN_HASH, AT, "session", "Phone", ("read", "write"), LATER, BOB, "Browser/1", "::1")
    ),
    "token-used.v1": _record(TokenUsed(ANN, 2, 20_782)),
    "text-claimed.v1": _record(TextClaimed("handle", "anna", ANN, 3)),
    "text-released.v1": _record(TextReleased("email", "ann@example.org", ANN, 2)),
    "password-set.v1": _record(PasswordSet(ANN, 2, "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA")),
    "link-issued.v1": _record(LinkIssued(ANN, "11bc", LATER)),
    "link-used.v1": _record(LinkUsed(ANN, "11bc")),
    "links-ended.v1": _record(LinksEnded(ANN)),
    "invitation-issued.v1": _record(InvitationIssued(7, INVITATION)),
    "invitation-used.v1": _record(InvitationUsed(7, 1, "c1a1")),
    "invitation-ended.v1": _record(InvitationEnded(7)),
    "owner-stepped-down.v1": _record(SteppedDown(ANN, 1)),
    "direct-room-opened.v1": _record(DirectRoomOpened(ANN, BOB, ROOM)),
    "command-answered.v1": _answered(answers.Done()),
    # Every answer that a retry may get.
    "command-answered.v1.message-answer": _answered(MessageAnswer(MESSAGE)),
    "command-answered.v1.room-answer": _answered(RoomAnswer(ROOM, "direct", "", "", "member", 42, AT, BOB, False)),
    "command-answered.v1.room-answer.v2": _answered(RoomAnswer(ROOM, "direct", "", "", "member", 42, AT, BOB, False)),
    "command-answered.v1.member-answer": _answered(MemberAnswer(BOB, "member", 41)),
    "command-answered.v1.read-answer": _answered(ReadAnswer(ROOM, 41, 3, 2)),
    "command-answered.v1.pin-answer": _answered(PinAnswer(ROOM, 42, ANN, AT)),
    "command-answered.v1.bookmark-answer": _answered(BookmarkAnswer(ROOM, 42, "Later", AT)),
    "command-answered.v1.reaction-answer": _answered(ReactionAnswer(ROOM, 42, "👍", 3)),
    "command-answered.v1.account-answer": _answered(AccountAnswer(ANN, "Ann")),
    "command-answered.v1.token-answer": _answered(TokenAnswer(2)),
    "command-answered.v1.profile-answer": _answered(PROFILE),
    "command-answered.v1.wish-answer": _answered(WishAnswer(3, (("handle", "anna"),), (("email", "a@example.org"),))),
    "command-answered.v1.session-answer": _answered(SessionAnswer(2, PROFILE)),
    "command-answered.v1.link-answer": _answered(LinkAnswer("Ann", LATER, "c2VhbGVk")),
    "command-answered.v1.invitation-answer": _answered(InvitationAnswer(7, INVITATION, 0, "c2VhbGVk")),
    "command-answered.v1.import-answer": _answered(answers.ImportAnswer(250, 3)),
    # Every refusal that a retry may get.
    "command-answered.v1.room-not-found": _answered(rejections.RoomNotFound(ROOM)),
    "command-answered.v1.not-a-member": _answered(rejections.NotAMember(ROOM, BOB)),
    "command-answered.v1.not-joined": _answered(rejections.NotJoined(ROOM, BOB)),
    "command-answered.v1.member-not-found": _answered(rejections.MemberNotFound(ROOM, BOB)),
    "command-answered.v1.account-not-found": _answered(rejections.AccountNotFound(BOB)),
    "command-answered.v1.token-not-found": _answered(rejections.TokenNotFound(ANN, 9)),
    "command-answered.v1.message-not-found": _answered(rejections.MessageNotFound(ROOM, 99)),
    "command-answered.v1.message-is-deleted": _answered(rejections.MessageIsDeleted(ROOM, 42)),
    "command-answered.v1.not-the-author": _answered(rejections.NotTheAuthor(ROOM, 42)),
    "command-answered.v1.read-only": _answered(rejections.ReadOnly(ROOM)),
    "command-answered.v1.not-allowed": _answered(rejections.NotAllowed("only an admin of the room may do that")),
    "command-answered.v1.not-allowed.v2": _answered(rejections.NotAllowed("must not be above your own", "role")),
    "command-answered.v1.last-admin": _answered(rejections.LastAdmin(ROOM)),
    "command-answered.v1.last-token": _answered(rejections.LastToken(ANN)),
    "command-answered.v1.invalid": _answered(rejections.Invalid("seq", "must be at most 42")),
    "command-answered.v1.text-taken": _answered(rejections.TextTaken("handle")),
    "command-answered.v1.last-owner": _answered(rejections.LastOwner(ANN)),
    # Values of the same kind that the log does not keep: the key is another request's, or the sender's view was too
    # old, or the next answer is another. A log that has one decodes all the same.
    "command-answered.v1.key-reused": _answered(rejections.KeyReused()),
    "command-answered.v1.not-yet-readable": _answered(rejections.NotYetReadable(ROOM, 42)),
    "command-answered.v1.out-of-date": _answered(rejections.OutOfDate(ANN)),
    "command-answered.v1.invitations-answer": _answered(InvitationsAnswer({7: INVITATION})),
    "command-answered.v1.password-answer": _answered(PasswordAnswer("$argon2id$", 1)),
    "command-answered.v1.claim-answer": _answered(ClaimAnswer(ANN)),
    "command-answered.v1.position-answer": _answered(answers.PositionAnswer(1234)),
}


# The event is of its newest version, but not its answer.
OLD_ANSWERS: Final = {"command-answered.v1.room-answer", "command-answered.v1.not-allowed"}


def path_of(sample: str) -> Path:
    return FOLDER / f"{sample}.json"


def name_and_version(sample: str) -> tuple[str, int]:
    name, version, *_ = sample.split(".")
    return name, int(version.removeprefix("v"))


def record_of(sample: str) -> Record:
    head, data = path_of(sample).read_bytes().split(b"\n", 1)
    return Record(*_head.decode(head), data)


_head: Final = msgspec.json.Decoder(tuple[str, int, bool, int])


def write_missing() -> None:
    for sample, envelope in SAMPLES.items():
        name, version = name_and_version(sample)
        if not path_of(sample).exists() and codec.names()[name] == version:
            *head, data = msgspec.structs.astuple(codec.encode(envelope))
            path_of(sample).write_bytes(msgspec.json.encode(head) + b"\n" + data)


if __name__ == "__main__":
    write_missing()
