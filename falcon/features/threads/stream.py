"""Threads in the stream."""

from typing import Final

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.threads.rules import ThreadStarted
from falcon.streams.event import Shown, StreamEvent


class StreamedThread(msgspec.Struct, frozen=True):
    """``room_id``, ``seq``: the message that the thread belongs to."""

    room_id: RoomId
    seq: Seq
    thread_id: RoomId


class StreamedThreadChange(msgspec.Struct, frozen=True):
    """``account_id``: the author of the thread's newest message, which is ``last_seq``."""

    room_id: RoomId
    seq: Seq
    thread_id: RoomId
    last_seq: Seq
    last_at: str
    account_id: AccountId


def started(event: ThreadStarted) -> StreamedThread:
    return StreamedThread(event.room_id, event.seq, event.thread_id)


THREAD_STARTED: Final = StreamEvent("thread.started", "A member starts the thread of a message.", StreamedThread)
THREAD_CHANGED: Final = StreamEvent(
    "thread.changed",
    "A message is posted in a thread that you do not follow. Followers get the message.",
    StreamedThreadChange,
)
EVENTS: Final = (THREAD_STARTED, THREAD_CHANGED)
TO_THE_ROOM: Final = {ThreadStarted: Shown(THREAD_STARTED, started)}
