"""Mistakes that show between two lives of a machine, to people who count along."""

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
from msgspec.structs import replace

from falcon.adapters.sqlite.read_store import read_store
from falcon.adapters.sqlite.search_index import SqliteSearchIndex
from falcon.adapters.sqlite.tail import Committed, SqliteStarts
from falcon.domain.answers import Done
from falcon.domain.decision import Decided
from falcon.domain.rejections import KeyReused
from falcon.features import decider
from falcon.features.messages import rules as messages
from falcon.features.pins.rules import RoomPins
from falcon.features.read_marks import sqlite as memberships
from falcon.features.read_marks.table import Access
from falcon.features.threads import rules as threads
from falcon.http import command_client
from falcon.http.command_client import CommandClient
from falcon.http.edge import Edge
from falcon.http.problems import from_rejection
from falcon.journal.envelope import Position
from falcon.run.bootstrap import embedded
from falcon.streams import delivery
from falcon.write import snapshots
from falcon.write.partition_aggregates import PartitionAggregates, Replay
from tools.simulation.mutants.mutant import Mutant, Replaced, mutant
from tools.simulation.schedules import LIVES

_dispatch = CommandClient.dispatch


async def _refuses_first(
    self: CommandClient, request: Any, command: Any, size: int | None = None, refusal: Any = None, *, keyed: bool = True
) -> Any:
    if refusal is not None:
        raise refusal
    return await _dispatch(self, request, command, size, keyed=keyed)


async def _notes_first(
    self: CommandClient, request: Any, command: Any, size: int | None = None, refusal: Any = None, *, keyed: bool = True
) -> Any:
    key = request.headers.get(b"idempotency-key")
    if keyed and key is not None:
        text, fingerprint = command_client._checked(request, key)
        now = time.monotonic()
        if not self._keys.is_free(request.account_id, text, fingerprint, now):
            raise from_rejection(KeyReused())
        self._keys.note(request.account_id, text, fingerprint, now)
    return await _dispatch(self, request, command, size, refusal, keyed=keyed)


_ALONE: Final[dict[Any, Any]] = {**decider._RULES, messages.DeleteMessage: messages.RULES[messages.DeleteMessage]}
_feature = snapshots._feature


def _without_pins(name: str, version: int, data: bytes) -> Any:
    return RoomPins() if name == "pins" else _feature(name, version, data)


_access = memberships.access


def _for_ever(view: Any, room_id: int, account_id: int, newest: Any = None) -> Any:
    """Called for the room of a thread: an account that was a member once stays one."""
    return _access(view, room_id, account_id, newest) or Access("member", 0, 0, 0)


def _with_the_index(readers: Sequence[apsw.Connection], partitions: int) -> Any:
    """The index of messages counts in the positions that reads wait for."""
    store = read_store(readers, partitions)
    index = SqliteSearchIndex(Path(readers[0].filename).with_name("search.db"))
    applied, applied_in = store.applied, store.applied_in

    async def least(partition: int) -> int:
        return min(await applied(partition), (await index.reached()).get(partition, Position()).offset)

    async def least_in(partitions: Collection[int]) -> dict[int, int]:
        reached = await index.reached()
        return {
            each: min(at, reached.get(each, Position()).offset) for each, at in (await applied_in(partitions)).items()
        }

    store.applied, store.applied_in = least, least_in  # type: ignore[method-assign]
    return store


_once = PartitionAggregates.execute


def _line_again(self: PartitionAggregates, envelope: Any, now: Any) -> Any:
    """A retry is answered as before, and posts the line in the thread's room a second time."""
    executed, command = _once(self, envelope, now), envelope.command
    if isinstance(executed, Replay) and isinstance(command, messages.PostMessage) and command.also_in_room:
        thread = self._room(command.room_id)
        assert thread is not None and thread.thread is not None
        line = replace(command, room_id=thread.thread.parent, also_in_room=False)
        decision = self._decide_in_room(line, self.at)
        if isinstance(decision, Decided):
            self._happen(decision.events, self.at, envelope.account_id)
    return executed


_since = Committed.since


def _without_the_first(self: Committed, segment: int, offset: int) -> Any:
    """Streams are not told of the first of several events that their process committed."""
    located = _since(self, segment, offset)
    return located[1:] if len(located) > 1 else located


MUTANTS: Final = (
    mutant("a sink counts in applied", embedded, "read_store", _with_the_index, LIVES),
    mutant("a token does not say in which history it was given", SqliteStarts, "number", lambda *_: 7, LIVES),
    mutant("an ETag does not say in which history it was given", Edge, "history_of", lambda *_: 7, LIVES),
    Mutant("a pin outlives its message", (Replaced(decider, "_RULES", _ALONE),), LIVES),
    mutant("a stored room has forgotten its pins", snapshots, "_feature", _without_pins, LIVES),
    mutant("a thread outlives a membership", memberships, "access", _for_ever, LIVES),
    mutant("a stream shows threads of a room that was left", delivery, "_threads_of", lambda *_: [], LIVES),
    mutant("a stream leaves out what its process committed", Committed, "since", _without_the_first, LIVES),
    mutant("a line in the room is left out", threads, "_line", lambda *_: Decided((), Done()), LIVES),
    mutant("a retry posts the line in the room again", PartitionAggregates, "execute", _line_again, LIVES),
    mutant("a limit refuses before the owner has looked for the key", CommandClient, "dispatch", _refuses_first, LIVES),
    mutant("an edge notes a key before the owner has looked for it", CommandClient, "dispatch", _notes_first, LIVES),
)
