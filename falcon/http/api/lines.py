"""The part of a feature in exports and imports: its lines, their checks, and the commands that they become."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from types import MappingProxyType
from typing import Any, Final, NamedTuple, ParamSpec, Protocol, TypeVar, runtime_checkable

import msgspec

from falcon.domain.ids import AccountId, RoomId, Seq
from falcon.features.catalogue import Command
from falcon.features.rooms.table import RoomRow
from falcon.http.command_client import CommandResult
from falcon.http.edge import Edge
from falcon.http.problems import Problem, broken, invalid, not_allowed
from falcon.http.requests import AuthedRequest
from falcon.read.times import parse_rfc3339

CHUNK_LINES: Final = 250  # of one room in one command, so that an append stays small
_AT_ONCE: Final = 64  # commands on their way together
_PATIENCE_SECONDS: Final = 10.0  # for all lines of a request; the rest is refused, and the client sends it again

_encode: Final = msgspec.json.Encoder().encode
_pack: Final = msgspec.msgpack.Encoder().encode
P = ParamSpec("P")
T = TypeVar("T")


@runtime_checkable
class OfARoom(Protocol):
    @property
    def room_id(self) -> RoomId: ...


class OfAMessage(OfARoom, Protocol):
    @property
    def seq(self) -> Seq: ...


class DoneWithAMessage(OfAMessage, Protocol):
    @property
    def account_id(self) -> AccountId: ...


R = TypeVar("R", bound=OfARoom)


class ImportedLines(NamedTuple):
    """``refs``: the id of each ref. ``skipped``: how many had been imported before. ``left_out``, ``taken``: as in
    ``shapes.Imported``."""

    refs: Mapping[str, int] = MappingProxyType({})
    imported: int = 0
    skipped: int = 0
    left_out: Mapping[str, int] = MappingProxyType({})
    taken: Mapping[str, tuple[str, ...]] = MappingProxyType({})


class Checks:
    """The rules that need the tables: accounts and rooms exist, and messages follow without a gap."""

    def __init__(self, edge: Edge, request: AuthedRequest) -> None:
        self.edge = edge
        self.store = edge.store
        self.request = request
        self._accounts = frozenset[AccountId]()
        self._rooms: Mapping[RoomId, RoomRow] = {}
        self._last_seqs: dict[RoomId, Seq] = {}
        self.pairs: dict[tuple[AccountId, AccountId], str] = {}  # of direct rooms, each with the place of its line
        self.skipped: dict[RoomId, tuple[Any, str]] = {}  # the last line of a message that the room has, and its place

    async def newest(self, room_id: RoomId, query: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask tables that show all that the room is known to have."""
        return await self.edge.reads.newest(self.request, room_id, query, *args, **kwargs)

    async def look_up(self, account_ids: Collection[AccountId], room_ids: Collection[RoomId]) -> None:
        """Look up together the accounts, in the order of their lines, and the rooms that are to be checked. Raises
        Problem 503, ReadStoreUnavailable."""
        missing = await self.edge.reads.first_missing(self.request, account_ids)
        self._accounts = frozenset(takewhile(lambda account_id: account_id != missing, account_ids))
        if room_ids:
            self._rooms = {room.room_id: room for room in await self.store.rooms_among(room_ids)}

    def account(self, account_id: AccountId, field: str) -> None:
        """Call for the accounts in the order in which they were looked up. Raises Problem 422 if there is no such
        account."""
        if account_id not in self._accounts:
            raise invalid(field, f"there is no account {account_id}")

    async def last_seq(self, room_id: RoomId, seq: Seq, at: str) -> Seq:
        """The newest message of the room, with those of the lines before this one, of which ``seq`` is the next.
        Raises Problem 403, 404."""
        if room_id not in self._last_seqs:
            room = self._rooms.get(room_id)
            if room is None or seq > room.last_seq + 1:
                room = await self.newest(room_id, self.store.room, room_id)
            if room is None:
                rule = f"there is no room {room_id}"
                raise Problem(404, "room_not_found", f"{at}{rule}", broken(f"{at}room_id", rule))
            if not room.imported:
                raise not_allowed(f"{at}room_id", f"room {room_id} was not imported")
            self._last_seqs[room_id] = room.last_seq
        return self._last_seqs[room_id]

    async def about_message(self, line: DoneWithAMessage, at: str) -> None:
        """The rules of a line about a message and something that an account did with it. Raises Problem 403, 404,
        422."""
        if line.seq > await self.last_seq(line.room_id, line.seq, at):
            raise invalid(f"{at}seq", f"there is no message {line.seq} before this line")
        self.account(line.account_id, f"{at}account_id")

    def reached(self, line: OfAMessage) -> None:
        """The room has this message now."""
        self._last_seqs[line.room_id] = max(self._last_seqs[line.room_id], line.seq)


class ImportCommands:
    """The commands of one request, dispatched some at a time, and their positions."""

    def __init__(self, edge: Edge, request: AuthedRequest) -> None:
        self.edge = edge
        self.request = request
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._until = time.monotonic() + _PATIENCE_SECONDS
        self._positions: dict[int, int] = {}

    async def dispatch(self, command: Command) -> CommandResult:
        """Retries for some seconds if the mailbox is full: an import can wait."""
        size = len(_pack(command))  # one request makes many commands
        while True:
            try:
                async with self._free:
                    result = await self.edge.commands.dispatch(self.request, command, size)
            except Problem as problem:
                if problem.code != "overloaded" or time.monotonic() > self._until:
                    raise
                await asyncio.sleep(0.05)
            else:
                self.reach(result)
                return result

    def reach(self, result: CommandResult) -> None:
        """The answer to the import speaks of this result."""
        self._positions[result.partition] = max(result.offset, self._positions.get(result.partition, 0))

    def seconds_left(self) -> float:
        """Seconds for which a command may wait for the read tables."""
        return max(0.0, self._until - time.monotonic())

    async def readable(self) -> tuple[tuple[bytes, bytes], ...]:
        """Wait until reads show everything; gives the Falcon-Position header."""
        await self.edge.reads.reach_all(self._positions.items(), self._until)
        position = b",".join(b"%d:%d" % place for place in sorted(self._positions.items()))
        return ((b"falcon-position", position),) if position else ()


class Followers(NamedTuple):
    """Lines of an export that follow a message. ``having``: which of these messages of a room have some."""

    having: Callable[[Edge, RoomId, Seq, Seq], Awaitable[Collection[Seq]]]
    lines: Callable[[Edge, RoomId, Seq], AsyncIterator[bytes]]


class LineKind(NamedTuple):
    """``shape``: what validates a line. ``rules``: the ones that need the line alone, ``check``: the ones that need the
    tables. Both raise Problem, with ``at`` before the field. ``accounts``: the ones that ``check`` looks for, in
    the order in which it does. ``check_all``: called once all lines of the request have been checked. ``carry_out``:
    executes all lines of the kind.

    ``changes``: the line that an export has of an event, and of its place in the log. ``followers``: of an export.
    ``of_account``: the lines of an account that an export has after all messages.
    """

    shape: type[Any]
    carry_out: Callable[[ImportCommands, Sequence[Any]], Awaitable[ImportedLines]]
    changes: Mapping[type[Any], Callable[[Any, str], msgspec.Struct]]
    rules: Callable[[Any, str], None] = lambda line, at: None
    check: Callable[[Checks, Any, str], Awaitable[None]] | None = None
    followers: Followers | None = None
    accounts: Callable[[Any], Iterable[AccountId]] = lambda line: ()
    check_all: Callable[[Checks], Awaitable[None]] | None = None
    of_account: Callable[[Edge, AccountId], AsyncIterator[bytes]] | None = None


def encoded(line: msgspec.Struct | Mapping[str, Any]) -> bytes:
    return _encode(line) + b"\n"


def reference(kind: str, source: str, ref: str) -> str:
    """A text that is unique for the kind, source and ref, whatever characters these contain."""
    return _encode((kind, source, ref)).decode()


def check_time(text: str | None, field: str) -> None:
    if text is not None:
        try:
            parse_rfc3339(text)
        except (ValueError, OverflowError):
            raise invalid(field, "must be a time as in 2026-11-25T09:30:00.123Z") from None


def by_room(lines: Sequence[R]) -> Collection[list[R]]:
    found: dict[RoomId, list[R]] = {}
    for line in lines:
        found.setdefault(line.room_id, []).append(line)
    return found.values()


async def all_of(tasks: Iterable[Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*tasks))
