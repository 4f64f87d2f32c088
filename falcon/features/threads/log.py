"""Events of threads, and the answers, as they stand in the log."""

from typing import Final

import msgspec

from falcon.features.messages.log import MessageV1, message, message_v1
from falcon.features.rooms.log import RoleV1
from falcon.features.threads.rules import (
    ThreadAnswer,
    ThreadChanged,
    ThreadFollowed,
    ThreadMessageAnswer,
    ThreadStarted,
    ThreadUnfollowed,
)
from falcon.journal.shapes.shape import Shape, answer, event


class ThreadMessageAnswerV1(msgspec.Struct, frozen=True, tag="thread-message-answer.v1"):
    message: MessageV1
    in_room: int | None


def _said_v1(value: ThreadMessageAnswer) -> ThreadMessageAnswerV1:
    return ThreadMessageAnswerV1(message_v1(value.message), value.in_room)


def _said(stored: ThreadMessageAnswerV1) -> ThreadMessageAnswer:
    return ThreadMessageAnswer(message(stored.message), stored.in_room)


EVENTS: Final = (
    event("thread-started", ThreadStarted, room_id=int, seq=int, thread_id=int, number=int),
    event(
        "thread-changed",
        ThreadChanged,
        critical=False,
        room_id=int,
        seq=int,
        thread_id=int,
        last_seq=int,
        last_at=int,
        account_id=int,
        participants=tuple[int, ...],
    ),
    event("thread-followed", ThreadFollowed, room_id=int, parent=int, account_id=int, read_seq=int, woke_at=int | None),
    event("thread-unfollowed", ThreadUnfollowed, room_id=int, parent=int, account_id=int, muted=bool),
)
ANSWERS: Final = (
    answer(
        "thread-answer",
        ThreadAnswer,
        thread_id=int,
        role=RoleV1,
        last_seq=int,
        created_at=int,
        follows=bool,
        created=bool,
    ),
    Shape("thread-message-answer", 1, ThreadMessageAnswer, ThreadMessageAnswerV1, _said_v1, _said),
)
