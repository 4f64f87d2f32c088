"""Events of messages, and the answer, as they stand in the log."""

from typing import Final

import msgspec

from falcon.features.messages.rules import Message, MessageAnswer, MessageDeleted, MessageEdited, MessagePosted
from falcon.journal.shapes.shape import Shape


class MessageV1(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    room_id: int
    seq: int
    author_id: int
    text: str
    posted_at: int
    edited_at: int | None = None
    deleted: bool = False
    reply_to: int | None = None
    mentions: tuple[int, ...] = ()


class MessagePostedV1(msgspec.Struct, frozen=True, omit_defaults=True):
    message: MessageV1
    author_read_seq: int | None = None
    parent: int | None = None


class MessageEditedV1(msgspec.Struct, frozen=True, omit_defaults=True):
    message: MessageV1
    revision: int
    unmentioned: tuple[int, ...] = ()
    parent: int | None = None


class MessageDeletedV1(msgspec.Struct, frozen=True, omit_defaults=True):
    message: MessageV1
    revision: int
    unmentioned: tuple[int, ...] = ()


class MessageAnswerV1(msgspec.Struct, frozen=True, tag="message-answer.v1"):
    message: MessageV1


def message_v1(m: Message) -> MessageV1:
    return MessageV1(m.room_id, m.seq, m.author_id, m.text, m.posted_at, m.edited_at, m.deleted, m.reply_to, m.mentions)


def message(m: MessageV1) -> Message:
    return Message(m.room_id, m.seq, m.author_id, m.text, m.posted_at, m.edited_at, m.deleted, m.reply_to, m.mentions)


def _posted_v1(event: MessagePosted) -> MessagePostedV1:
    return MessagePostedV1(message_v1(event.message), event.author_read_seq, event.parent)


def _posted(stored: MessagePostedV1) -> MessagePosted:
    return MessagePosted(message(stored.message), stored.author_read_seq, stored.parent)


def _edited_v1(event: MessageEdited) -> MessageEditedV1:
    return MessageEditedV1(message_v1(event.message), event.revision, event.unmentioned, event.parent)


def _edited(stored: MessageEditedV1) -> MessageEdited:
    return MessageEdited(message(stored.message), stored.revision, stored.unmentioned, stored.parent)


def _deleted_v1(event: MessageDeleted) -> MessageDeletedV1:
    return MessageDeletedV1(message_v1(event.message), event.revision, event.unmentioned)


def _deleted(stored: MessageDeletedV1) -> MessageDeleted:
    return MessageDeleted(message(stored.message), stored.revision, stored.unmentioned)


def _message_answer_v1(answer: MessageAnswer) -> MessageAnswerV1:
    return MessageAnswerV1(message_v1(answer.message))


def _message_answer(stored: MessageAnswerV1) -> MessageAnswer:
    return MessageAnswer(message(stored.message))


EVENTS: Final = (
    Shape("message-posted", 1, MessagePosted, MessagePostedV1, _posted_v1, _posted),
    Shape("message-edited", 1, MessageEdited, MessageEditedV1, _edited_v1, _edited),
    Shape("message-deleted", 1, MessageDeleted, MessageDeletedV1, _deleted_v1, _deleted),
)


ANSWERS: Final = (Shape("message-answer", 1, MessageAnswer, MessageAnswerV1, _message_answer_v1, _message_answer),)
