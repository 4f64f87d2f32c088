"""Notes, after everything has healed, what each API shows and what the log holds, as lines of the history."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.source import KafkaSource
from falcon.features.messages.rules import MessageDeleted, MessageEdited, MessagePosted
from falcon.journal.envelope import Position, Recorded
from falcon.journal.ports import EventSource
from falcon_chat import FalconClient, Message, RoomSummary
from tools.people.history import DELETED, History, Operation, token_of
from tools.people.identities import Identities
from tools.people.listener import Log
from tools.people.sessions import Account

T = TypeVar("T")

_AT_ONCE: Final = 6
_PAGE: Final = 200
_READ_AT_ONCE: Final = 2_000
_PATIENCE_SECONDS: Final = 60.0
_SEARCHED_MAX: Final = 50  # messages of a room that are searched for, and as many that were edited or deleted


def patient(url: str, account: Account) -> FalconClient:
    return FalconClient(url, account.token, timeout=_PATIENCE_SECONDS)


class Audit:
    """Reads everything back. ``urls``: the APIs, each asked for all of it, with clients that it closes then. ``log``:
    to be filled with what streams show. ``is_searched``: messages are searched for, too, but those of
    ``skipped`` rooms and seqs."""

    def __init__(
        self,
        urls: Sequence[str],
        accounts: Sequence[Account],
        guests: Sequence[int],
        history: History,
        client: Callable[[str, Account], FalconClient] = patient,
        log: Log | None = None,
        *,
        is_searched: bool = False,
        skipped: Collection[tuple[int, int]] = (),
    ) -> None:
        self._urls = urls
        self._accounts = accounts
        self._guests = guests
        self._history = history
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._client = client
        self._log = log
        self._is_searched = is_searched
        self._skipped = skipped
        self._position = ""  # of the log's last events
        self._tokens: dict[int, dict[int, list[str]]] = {}  # of each message, by room and seq, the newest last
        self._parents: dict[int, int] = {}  # the rooms of threads
        self._standing: dict[str, list[tuple[int, int]]] = {}  # rooms and seqs of the newest tokens

    async def run(self, events: Iterable[Recorded]) -> None:
        """``events``: all of the log, read in a thread. Raises what reading them raises."""
        await asyncio.to_thread(self._note_log, events)
        admitted, changed = _rooms(self._history.operations())
        for api, url in enumerate(self._urls):
            clients = [self._client(url, each) for each in self._accounts]
            for client in clients if self._position else []:
                client._connection.positions.remember(self._position)  # so that reads show all of the log
            try:
                await self._all(
                    lambda room, session, api=api, clients=clients: self._note_room(api, room, clients[session]),  # type: ignore[misc]
                    admitted.items(),
                )
                await self._all(
                    lambda room, session, api=api, clients=clients: self._note_members(api, room, clients[session]),  # type: ignore[misc]
                    changed.items(),
                )
                await self._all(
                    lambda room, session, clients=clients: self._find(room, clients[session]),  # type: ignore[misc]
                    admitted.items() if self._is_searched else (),
                )
                await self._all(
                    lambda session, client, api=api: self._note_summaries(api, session, client, admitted),  # type: ignore[misc]
                    enumerate(clients),
                )
            finally:
                for client in clients:
                    await client.__aexit__(None, None, None)

    async def _all(self, note: Callable[[int, T], Awaitable[None]], items: object) -> None:
        async def one(first: int, second: T) -> None:
            async with self._at_once:
                await note(first, second)

        async with asyncio.TaskGroup() as group:
            for first, second in items:  # type: ignore[attr-defined]
                group.create_task(one(first, second))

    async def _note_room(self, api: int, room: int, client: FalconClient) -> None:
        after = 0
        while True:
            page = await client.messages(room, after=after, limit=_PAGE)
            found = [(message.seq, _token(message)) for message in page.messages]
            self._history.note(Operation(kind="final", api=api, room=room, seen=found))
            if not page.has_after or not found:
                return
            after = found[-1][0]

    async def _find(self, room: int, client: FalconClient) -> None:
        """Search for some messages, by their texts of now and before."""
        chance = random.Random(room)
        said = self._tokens.get(room, {})
        changed = [seq for seq, tokens in said.items() if len(tokens) > 1]
        same = [seq for seq, tokens in said.items() if len(tokens) == 1]
        for seqs in (changed, same):
            for seq in chance.sample(seqs, min(len(seqs), _SEARCHED_MAX)):
                for token in {*said[seq]} - {DELETED}:
                    hits = (await client.search(token, room_id=room)).hits
                    found = sorted((hit.room_id, hit.message.seq) for hit in hits)
                    there = self._standing.get(token, ())
                    wanted = sorted(place for place in there if room in (place[0], self._parents.get(place[0])))
                    if found != wanted:
                        wrong = f"room {room}: a search for {token} finds {found}, not {wanted}"
                        self._history.note(Operation(kind="wrong", name=wrong))

    async def _note_members(self, api: int, room: int, client: FalconClient) -> None:
        """Note the guests' memberships; only guests' roles change."""
        members = await client.members(room, limit=_PAGE)
        roles = sorted(f"{each.account_id}:{each.role}" for each in members.members if each.account_id in self._guests)
        self._history.note(Operation(kind="members", api=api, room=room, answer=" ".join(roles)))

    async def _note_summaries(self, api: int, session: int, client: FalconClient, rooms: Container[int]) -> None:
        """Note these rooms in the account's lists of rooms and of threads. The sessions know the outcome of everything
        that they sent there. A message of another client to another room may still arrive between two APIs."""
        for list_page in (_rooms_of, _threads_of):
            cursor = None
            while True:
                listed, cursor = await list_page(client, cursor)
                for each in (room for room in listed if room.room_id in rooms):
                    self._history.note(
                        Operation(
                            kind="summary",
                            api=api,
                            session=session,
                            room=each.room_id,
                            seq=each.last_seq,
                            at=each.read_seq,
                            unread=each.unread,
                        )
                    )
                if cursor is None:
                    break

    def _note_log(self, events: Iterable[Recorded]) -> None:
        last: dict[int, int] = {}
        identities = Identities()
        for recorded in events:
            self._history.note(logged := _logged(recorded))
            if self._is_searched and logged.seq and (logged.room, logged.seq) not in self._skipped:
                self._tokens.setdefault(logged.room, {}).setdefault(logged.seq, []).append(logged.token)
                if logged.parent:
                    self._parents[logged.room] = logged.parent
            last[recorded.envelope.partition] = recorded.offset
            identities.take(recorded.envelope.event)
            if self._log is not None:
                self._log.take(recorded)
        for room, said in self._tokens.items():
            for seq, tokens in said.items():
                self._standing.setdefault(tokens[-1], []).append((room, seq))
        for wrong in identities.settle():
            self._history.note(Operation(kind="wrong", name=wrong))
        self._position = ",".join(f"{partition}:{offset}" for partition, offset in last.items())


async def _rooms_of(client: FalconClient, cursor: str | None) -> tuple[Sequence[RoomSummary], str | None]:
    page = await client.rooms(limit=_PAGE, cursor=cursor)
    return page.rooms, page.next_cursor


async def _threads_of(client: FalconClient, cursor: str | None) -> tuple[Sequence[RoomSummary], str | None]:
    page = await client.threads(limit=_PAGE, cursor=cursor)
    return page.threads, page.next_cursor


def log_of(cluster: KafkaCluster) -> Iterator[Recorded]:
    """Every event that the fence lets pass, up to where the log ends now. Raises JournalUnavailable, Undecodable."""
    loop = LoopThread()
    source = KafkaSource(cluster, loop)
    try:
        yield from events_of(source)
    finally:
        source.close()
        loop.close()


def events_of(source: EventSource, cursor: dict[int, Position] | None = None) -> Iterator[Recorded]:
    """The events from the log's beginning, or from the cursor, which moves with them, to its end. Raises
    JournalUnavailable, Undecodable."""
    end = source.end()
    cursor = {} if cursor is None else cursor
    cursor.update({partition: Position() for partition in end if partition not in cursor})
    while any(cursor[partition].offset < end[partition].offset for partition in end):
        found, after = source.read(dict(cursor), _READ_AT_ONCE)
        cursor.update(after)
        yield from found


def _rooms(noted: Iterable[Operation]) -> tuple[dict[int, int], dict[int, int]]:
    """Every room that was acknowledged in some way, with a session that is in it; those of them whose members were
    changed, with the session that did."""
    admitted: dict[int, int] = {}
    changed: dict[int, int] = {}
    for op in noted:
        if op.outcome == "acknowledged" and op.room:
            admitted.setdefault(op.room, op.session)
            if op.kind == "member":
                changed.setdefault(op.room, op.session)
    return admitted, changed


def _token(message: Message) -> str:
    return DELETED if message.deleted else token_of(message.text)


def _logged(recorded: Recorded) -> Operation:
    envelope = recorded.envelope
    event = envelope.event
    op = Operation(
        kind="logged",
        name=type(event).__name__,
        position=f"{envelope.partition}:{recorded.offset}",
        key="" if envelope.command is None else envelope.command.key,
    )
    if isinstance(event, MessagePosted | MessageEdited | MessageDeleted):
        message = event.message
        op.room, op.seq = message.room_id, message.seq
        op.token = DELETED if message.deleted else token_of(message.text)
    if isinstance(event, MessagePosted):
        op.parent = event.parent or 0
    return op
