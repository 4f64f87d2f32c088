"""Mistakes of edges: who asks, what is waited for, and what streams tell."""

import asyncio
import time
from typing import Any, Final

import msgspec

from falcon.features.read_marks import api as read_marks
from falcon.features.rooms import api as rooms
from falcon.http import bearer_tokens
from falcon.http.authenticator import Authenticator
from falcon.http.command_client import StaleView
from falcon.http.problems import Problem
from falcon.http.read_your_writes import ReadYourWrites
from falcon.http.stream.opening import Opener
from falcon.streams import replay
from falcon.streams.delivery import Delivery, _group
from falcon.streams.differences import Differences
from falcon.streams.frames import encode
from falcon.streams.revocations import Revocations
from tools.simulation.mutants.mutant import mutant
from tools.simulation.schedules import (
    BEHIND,
    CALM,
    EDGES,
    ENDINGS,
    FLAPPING,
    MENTIONS,
    PERSONNEL,
    REVOCATIONS,
    STANDSTILL,
)


async def _impatient(self: ReadYourWrites, *_: Any) -> None:
    """A client that was told of a message is shown tables that may lack it."""


_opened = rooms._opened


async def _names_afterwards(edge: Any, request: Any, peer_id: Any, name: Any, refusal: Any) -> Any:
    """The other one's name is looked up once the room is open."""
    response = await _opened(edge, request, peer_id, name, refusal)
    await edge.store.names_of([peer_id])
    return response


_replay = Opener._replay
_encoded = Differences.encoded


async def _waits_for_tables(self: Opener, caller: Any, only: Any, place: Any, tables: Any) -> Any:
    """A resume waits until all tables have reached the token."""
    until = time.monotonic() + 5.0
    while True:
        applied = await self._store.applied_everywhere(self._feed.partitions)
        if all(applied[self._feed.segment_of(partition)].offset >= at for partition, at in place.offsets.items()):
            return await _replay(self, caller, only, place, tables)
        if time.monotonic() > until:
            raise Problem(503, "unavailable", "The read tables are behind this token.", retry_after=1)
        await asyncio.sleep(0.02)


def _as_of_now(self: Delivery, subscription: Any, event: Any) -> None:
    """A room that was changed is shown as the tables have it."""
    role = subscription.rooms.get(event.room_id)
    if role is not None:
        store = self._lookups._store  # type: ignore[attr-defined]

        async def of_now() -> bytes | None:
            room = await store.room(event.room_id)
            if room is None:
                return None
            return encode(_group(msgspec.structs.replace(event, last_seq=room.last_seq), role))

        subscription.push_later(self.id, "room.changed", of_now)


async def _without_looking_back(self: replay.StreamReplay, account_id: int, asked: Any = ()) -> None:
    """A resume takes the account's present rooms for its rooms at the token."""
    self._history = replay._History(account_id, dict(self._offsets))
    self._positions = dict(self._tables)


def _of_the_cut(self: Differences) -> bytes:
    """A token says the cut and not how far the server has read since."""
    return _encoded(Differences(self._zeros, self._zeros))


def _by_anybody(server_secret: bytes, text: str, now: float | None = None) -> bearer_tokens.TicketClaims:
    """A ticket's signature is not checked."""
    data = bearer_tokens._bytes(text)
    account_id, _, _ = bearer_tokens._TICKET.unpack_from(data)
    return bearer_tokens.TicketClaims(
        account_id, data[bearer_tokens._TICKET.size :][: bearer_tokens._BYTES].hex(), data[-16:]
    )


_open = Opener.open


async def _at_the_state(self: Opener, *asked: Any) -> Any:
    """A stream that ends before its first event continues from the place of a state that was never shown."""
    opening = await _open(self, *asked)
    opening.id = opening._replayed.id
    return opening


_is_known = Opener._is_known


async def _known_once(self: Opener, caller: Any, positions: Any) -> bool:
    """A stream believes what the tables said of its token before it looked where they stand."""
    return not caller.by_ticket or await _is_known(self, caller, positions)


def _always(self: Revocations, now: float) -> bool:
    """The process takes a log that it read long ago for the present one."""
    return True


def _unknown(self: Revocations, token_hash: str) -> bool:
    """A revoked token is good while the tables are behind."""
    return False


def _no_change(self: Revocations, *_: Any) -> None:
    """A process keeps the role of an account for as long as it keeps its token."""


async def _unasked(self: Authenticator, request: Any) -> None:
    """A cached token is good whatever its request says that it knows."""


async def _as_the_tables_are(edge: Any, request: Any, command: Any) -> Any:
    """A mark counts mentions in tables that may lack what the owner knew."""
    try:
        return await edge.commands.dispatch(request, command)
    except StaleView as uncounted:
        mentions = await edge.store.mentions(command.by, command.room_id, uncounted.seq, read_marks._NO_END)
        return await edge.commands.dispatch(request, msgspec.structs.replace(command, mentions=mentions))


MUTANTS: Final = (
    mutant(
        "a mark counts mentions in tables that are behind", read_marks, "_dispatch_mark", _as_the_tables_are, MENTIONS
    ),
    mutant("a position is not waited for", ReadYourWrites, "reach_positions", _impatient, BEHIND),
    mutant("only the tables know which tokens were issued", bearer_tokens, "is_issued", lambda *_: False, BEHIND),
    mutant("the name of a direct room is read once it is open", rooms, "_opened", _names_afterwards, FLAPPING),
    mutant("who comes back waits for the tables", Opener, "_replay", _waits_for_tables, STANDSTILL),
    mutant("an event that is told again shows the room of now", Delivery, "_changed", _as_of_now, EDGES),
    mutant(
        "who comes back was always in the rooms of now",
        replay.StreamReplay,
        "resolve_membership",
        _without_looking_back,
        EDGES,
    ),
    mutant("a token is as of its cut", Differences, "encoded", _of_the_cut, EDGES),
    mutant("a stream goes on from a state that it never showed", Opener, "open", _at_the_state, ENDINGS),
    mutant("the log confirms tokens though it cannot be read", Revocations, "_is_fresh", _always, REVOCATIONS),
    mutant("only the tables know which tokens are revoked", Revocations, "__contains__", _unknown, REVOCATIONS),
    mutant("a role is cached", Revocations, "_remember_change", _no_change, PERSONNEL),
    mutant("a token is good at the position of its revocation", Authenticator, "confirm", _unasked, REVOCATIONS),
    mutant(
        "a stream's token is known from before the tables' positions", Opener, "_is_known", _known_once, REVOCATIONS
    ),
    mutant("a ticket is good whose signature was changed", bearer_tokens, "read_ticket", _by_anybody, CALM),
)
