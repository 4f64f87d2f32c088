"""Shows the newest messages of a room, and follows it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import typer

from falcon.cli.display import local_time, visible, visible_lines
from falcon.cli.faults import Fault
from falcon.cli.tables import print_json
from falcon_chat import (
    CatchUp,
    Clock,
    Event,
    FalconClient,
    Hello,
    MemberLeft,
    Message,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    Names,
    PinAdded,
    PinRemoved,
    ReactionAdded,
    ReactionRemoved,
    Restarted,
    RoomDeleted,
    ThreadChanged,
    ThreadParent,
    Unreachable,
)

_PAGE = 200  # the largest page of the API
_AGAIN_SECONDS = 1.0  # before another look at tables that are a little behind


class Follower:
    """Shows the newest messages of a room or thread, and then new ones and reactions, each once. An edited or deleted
    message is shown again. Of a room it shows who writes in its threads, and the messages of threads that the account
    follows.

    The history is read after the first event of the stream. So it may be ahead of the events that follow, and messages
    that it has shown are skipped when the stream reaches them.
    """

    def __init__(self, falcon: FalconClient, room: int, count: int, clock: Clock | None, printer: "Printer") -> None:
        self._falcon = falcon
        self._room = room
        self._count = count
        self._sleep = (clock or Clock()).sleep
        self._printer = printer
        self._last = 0
        self._read: dict[int, Message] = {}
        self._me = 0
        self._is_thread = False

    async def run(self) -> None:
        room = await self._falcon.room(self._room)  # if no server answers, the stream would retry silently
        self._is_thread = isinstance(room.parent, ThreadParent)
        # The stream of a room covers its threads.
        covering = room.parent.room_id if isinstance(room.parent, ThreadParent) else self._room
        async with self._falcon.stream([covering]) as stream:
            async for event in stream:
                await self._show_in_the_end(event)

    async def _show_in_the_end(self, event: Event) -> None:
        """A restart of the server may take longer than a call waits. Messages are not shown twice."""
        while True:
            try:
                await self._show(event)
            except Unreachable:
                continue
            return

    async def _show(self, event: Event) -> None:
        match event:
            case Hello(account_id=me, rooms=rooms):
                self._me = me
                if self._is_thread:
                    await self._begin((await self._falcon.room(self._room)).last_seq)
                else:
                    await self._begin(max((room.last_seq for room in rooms), default=0))
            case Restarted():  # from a copy: other messages may have the numbers of the ones that were shown
                self._last = 0
                self._read.clear()
            case CatchUp(rooms=rooms):
                seqs = [room.last_seq for room in rooms if room.room_id == self._room]
                if self._is_thread:  # one that the account does not follow is not listed
                    seqs.append((await self._falcon.room(self._room)).last_seq)
                await self._read_up_to(max(seqs, default=0))
            case ThreadChanged(thread_id=self._room, last_seq=last_seq):
                await self._read_up_to(last_seq)
            case ThreadChanged() if not self._is_thread:
                await self._printer.show_change(event)
            case MessagePosted(message=message) if message.room_id != self._room:
                if not self._is_thread:
                    await self._printer.show(message, of_thread=True)
            case MessagePosted(message=message) if message.seq > self._last:
                await self._print(message)
            case MessageEdited(message=message) | MessageDeleted(message=message) if message.room_id != self._room:
                pass
            case MessageEdited(message=message) | MessageDeleted(message=message) if self._is_news(message):
                await self._printer.show(message)
            case ReactionAdded() | ReactionRemoved() | PinAdded() | PinRemoved() if event.room_id != self._room:
                pass
            case ReactionAdded() | ReactionRemoved() | PinAdded() | PinRemoved():
                await self._printer.show_change(event)
            case RoomDeleted():
                raise Fault(f"room {self._room} has been deleted")
            case MemberLeft(account_id=account_id) if account_id == self._me:
                raise Fault(f"the account is no longer a member of room {self._room}")

    async def _begin(self, last_seq: int) -> None:
        if not self._count:
            self._last = last_seq
            return
        for message in await newest_messages(self._falcon, self._room, self._count) if not self._last else ():
            await self._print_read(message)
        await self._read_up_to(last_seq)

    async def _read_up_to(self, last_seq: int) -> None:
        while self._last < last_seq:
            page = await self._falcon.messages(self._room, after=self._last, limit=_PAGE)
            for message in page.messages:
                await self._print_read(message)
            if not page.messages:  # the read tables may be a little behind
                await self._sleep(_AGAIN_SECONDS)

    async def _print_read(self, message: Message) -> None:
        self._read[message.seq] = message
        await self._print(message)

    async def _print(self, message: Message) -> None:
        await self._printer.show(message)
        self._last = message.seq

    def _is_news(self, message: Message) -> bool:
        """True if this state of the message was not shown before."""
        read = self._read.get(message.seq)
        if read is None:
            return True
        if message.deleted or read.deleted:
            return not read.deleted
        return read.edited_at is None or message.edited_at is None or read.edited_at < message.edited_at


async def newest_messages(falcon: FalconClient, room: int, count: int) -> list[Message]:
    found: list[Message] = []
    before: int | None = None
    while len(found) < count:
        page = await falcon.messages(room, before=before, limit=min(_PAGE, count - len(found)))
        found[:0] = page.messages
        if not (page.has_before and page.messages):
            break
        before = found[0].seq
    if not count:
        await falcon.room(room)  # an unknown room is a fault even if no message is asked for
    return found


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    """The fields that are set."""
    fields: dict[str, Any] = msgspec.to_builtins(value, builtin_types=(datetime,))
    return fields


# Of each change of a message: the name of the event, and what the account does.
_CHANGES: Final = {
    ReactionAdded: ("reaction.added", "adds"),
    ReactionRemoved: ("reaction.removed", "removes"),
    PinAdded: ("pin.added", "pins"),
    PinRemoved: ("pin.removed", "unpins"),
    ThreadChanged: ("thread.changed", "writes in the thread of"),
}


class Printer:
    """Shows messages of one room and what happens to them, each with the name of its account."""

    def __init__(self, falcon: FalconClient, as_json: bool) -> None:
        self._names = Names(falcon)
        self._as_json = as_json

    async def show(self, message: Message, *, of_thread: bool = False) -> None:
        author = "" if message.missing else await self._names.of(message.room_id, message.author_id)
        if self._as_json:
            print_json([_fields(message) | {"author": author}])
        else:
            typer.echo(f"{f'[thread {message.room_id}] ' * of_thread}{_line(message, visible(author))}")

    async def show_change(self, event: ReactionAdded | ReactionRemoved | PinAdded | PinRemoved | ThreadChanged) -> None:
        name, verb = _CHANGES[type(event)]
        account = await self._names.of(event.room_id, event.account_id)
        if self._as_json:
            told = {"event": name, "room_id": event.room_id, "seq": event.seq, "account_id": event.account_id}
            rest = {field: value for field, value in _fields(event).items() if field != "id"}
            print_json([told | {"account": account} | rest])
        else:
            emoji = visible(event.emoji) if isinstance(event, ReactionAdded | ReactionRemoved) else "it"
            # The number comes first: a line that began with an account's name could look like a message.
            typer.echo(f"#{event.seq}  {visible(account)} {verb} {emoji}")

    async def show_all(self, messages: Sequence[Message]) -> None:
        if messages:
            await self._names.learn(messages[0].room_id, messages)
        for message in messages:
            await self.show(message)


def _line(message: Message, author: str) -> str:
    if message.missing:
        return f"{local_time(message.posted_at)}  #{message.seq}  (missing: the server cannot show it)"
    reply = f" (to #{message.reply_to})" if message.reply_to else ""
    text = "(deleted)" if message.deleted else visible_lines(message.text, indent="    ")
    edited = " (edited)" if message.edited_at and not message.deleted else ""
    reactions = () if message.deleted or message.reactions is msgspec.UNSET else message.reactions
    counts = f"  [{', '.join(f'{visible(each.emoji)} {each.count}' for each in reactions)}]" if reactions else ""
    thread = f"  [thread {message.thread.room_id}: {message.thread.last_seq}]" if message.thread else ""
    return f"{local_time(message.posted_at)}  #{message.seq}  {author}{reply}: {text}{edited}{counts}{thread}"
