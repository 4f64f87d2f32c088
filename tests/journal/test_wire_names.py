"""The names that stand in logs. A name that is here is never renamed or taken away: add new ones at the end."""

from typing import get_args

from falcon.domain.events import PassedOver
from falcon.domain.rejections import Rejection
from falcon.features.catalogue import Answer, Event
from falcon.journal import codec

EVENTS = {
    "RoomCreated": "room-created",
    "RoomChanged": "room-changed",
    "RoomDeleted": "room-deleted",
    "MemberJoined": "member-joined",
    "MemberChanged": "member-changed",
    "MemberLeft": "member-left",
    "MessagePosted": "message-posted",
    "MessageEdited": "message-edited",
    "MessageDeleted": "message-deleted",
    "ReadMoved": "read-moved",
    "AccountCreated": "account-created",
    "TokenIssued": "token-issued",
    "TokenRevoked": "token-revoked",
    "DirectRoomOpened": "direct-room-opened",
    "CommandAnswered": "command-answered",
    "ReactionAdded": "reaction-added",
    "ReactionRemoved": "reaction-removed",
    "PinAdded": "pin-added",
    "PinRemoved": "pin-removed",
    "BookmarkSet": "bookmark-set",
    "BookmarkRemoved": "bookmark-removed",
    "ThreadStarted": "thread-started",
    "ThreadChanged": "thread-changed",
    "ThreadFollowed": "thread-followed",
    "ThreadUnfollowed": "thread-unfollowed",
    "AccountChanged": "account-changed",
    "TextsWanted": "account-texts-wanted",
    "TokenUsed": "token-used",
    "TextClaimed": "text-claimed",
    "TextReleased": "text-released",
    "SteppedDown": "owner-stepped-down",
    "PasswordSet": "password-set",
    "LinkIssued": "link-issued",
    "LinkUsed": "link-used",
    "LinksEnded": "links-ended",
    "InvitationIssued": "invitation-issued",
    "InvitationUsed": "invitation-used",
    "InvitationEnded": "invitation-ended",
}

ANSWERS = [
    "message-answer",
    "room-answer",
    "member-answer",
    "read-answer",
    "reaction-answer",
    "pin-answer",
    "bookmark-answer",
    "thread-answer",
    "thread-message-answer",
    "account-answer",
    "token-answer",
    "import-answer",
    "done",
    "position-answer",
    "profile-answer",
    "wish-answer",
    "session-answer",
    "password-answer",
    "link-answer",
    "claim-answer",
    "invitation-answer",
    "invitations-answer",
]

REFUSALS = [
    "room-not-found",
    "not-a-member",
    "member-not-found",
    "account-not-found",
    "token-not-found",
    "message-not-found",
    "message-is-deleted",
    "not-the-author",
    "read-only",
    "not-allowed",
    "last-admin",
    "last-token",
    "invalid",
    "key-reused",
    "not-yet-readable",
    "out-of-date",
    "text-taken",
    "last-owner",
    "not-joined",
]

LATER_VERSIONS = ["room-answer.v2", "not-allowed.v2"]


def test_events_are_called_in_the_log_what_they_have_always_been_called() -> None:
    assert set(codec.names()) == set(EVENTS.values())


def test_every_event_has_a_name() -> None:
    assert {event.__name__ for event in get_args(Event)} - {PassedOver.__name__} == set(EVENTS)


def test_answers_and_refusals_are_called_in_the_log_what_they_have_always_been_called() -> None:
    assert sorted(codec._ANSWER_NAMES) == sorted([*(f"{name}.v1" for name in (*ANSWERS, *REFUSALS)), *LATER_VERSIONS])


def test_every_answer_and_every_refusal_has_a_name() -> None:
    assert len(codec._ANSWER_NAMES) == len(get_args(Answer)) + len(get_args(Rejection)) + len(LATER_VERSIONS)


def test_an_answer_and_a_refusal_are_never_taken_for_each_other() -> None:
    assert len({*ANSWERS, *REFUSALS}) == len(ANSWERS) + len(REFUSALS)
