"""Sends read marks to their owners: one at a time for each account and room."""

import asyncio
import time
from collections import deque
from typing import Final, TypeAlias

import msgspec

from falcon.domain.commands import MoveRead
from falcon.domain.ids import AccountId, RoomId
from falcon.http.command_client import CommandClient, CommandResult, StaleView
from falcon.http.problems import Problem
from falcon.http.read_your_writes import ReadYourWrites
from falcon.http.requests import AuthedRequest
from falcon.read.catalogue import ReadStore

_Place: TypeAlias = tuple[AccountId, RoomId]
_SERVER_ERROR: Final = 500
_TOGETHER_MAX: Final = 64  # each may have a key, which goes along
_NO_END: Final = (1 << 53) - 1  # no message has such a seq


class _Mark(msgspec.Struct, eq=False):
    """A request that waits. ``result`` may be cancelled, when its client is gone."""

    request: AuthedRequest
    command: MoveRead
    began: float
    result: "asyncio.Future[CommandResult]"

    def end(self, outcome: CommandResult | Exception) -> None:
        if self.result.done():
            return
        if isinstance(outcome, Exception):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)


class _TablesBehind(Exception):
    """The tables do not show in time what the client of one of several requests knows of."""


class ReadMarks:
    """Marks that come while one is on its way wait, and only the farthest of them goes. It answers the others too: a
    mark moves forward only. A forced mark goes by itself, in its place.

    The owner remembers the keys of all of them. If it does not accept the mark that goes for several, each goes by
    itself, so that each request has the answer that is right for it. If the time of the oldest is over, the others
    go again, so that no request is refused before its own time. For one event loop.
    """

    def __init__(self, commands: CommandClient, reads: ReadYourWrites, store: ReadStore) -> None:
        self._commands = commands
        self._reads = reads
        self._store = store
        self._waiting: dict[_Place, deque[_Mark]] = {}  # an entry for each place from which a mark is on its way
        self._sending: set[asyncio.Task[None]] = set()

    async def move(self, request: AuthedRequest, command: MoveRead) -> CommandResult:
        """Raises what CommandClient.dispatch raises, and ReadStoreUnavailable."""
        place = (command.by, command.room_id)
        waiting = self._waiting.get(place)
        if waiting is not None:
            self._commands.check_key(request)
            result: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
            waiting.append(_Mark(request, command, time.monotonic(), result))
            return await result
        self._waiting[place] = deque()
        try:
            return await self._dispatch(request, command, time.monotonic(), ())
        finally:
            self._go_on(place)

    def _go_on(self, place: _Place) -> None:
        if not self._waiting[place]:
            del self._waiting[place]
            return
        task = asyncio.get_running_loop().create_task(self._send_waiting(place))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_waiting(self, place: _Place) -> None:
        waiting = self._waiting[place]
        try:
            while waiting:
                await self._send(_next_group(waiting))
        finally:
            del self._waiting[place]

    async def _send(self, group: list[_Mark]) -> None:
        """Send the farthest mark for all of the group."""
        farthest = max(reversed(group), key=lambda mark: mark.command.seq)
        others = tuple(mark.request for mark in group if mark is not farthest)
        began = min(mark.began for mark in group)
        outcome: CommandResult | Exception
        try:
            outcome = await self._dispatch(farthest.request, farthest.command, began, others)
        except Exception as error:  # the requests that wait raise it
            outcome = error
        if others and not _is_for_all(outcome):
            for mark in group:
                await self._send([mark])
            return
        answered = group
        if isinstance(outcome, Problem):  # perhaps since the time of the oldest is over
            answered = [mark for mark in group if self._commands.is_late(mark.began)] or group
        for mark in answered:
            mark.end(outcome)
        if left := [mark for mark in group if mark not in answered]:
            await self._send(left)

    async def _dispatch(
        self, request: AuthedRequest, command: MoveRead, began: float, others: tuple[AuthedRequest, ...]
    ) -> CommandResult:
        """The owner knows that no mention is unread behind the newest message. Before that one mentions may be unread,
        which the read tables count; only then are they asked."""
        try:
            return await self._commands.dispatch(request, command, began=began, others=others)
        except StaleView as uncounted:
            try:
                for each in (request, *others):
                    await self._reads.reach_positions(each)
            except Problem as problem:
                if others:
                    raise _TablesBehind from problem
                raise
            mentions = await self._store.mentions(command.by, command.room_id, uncounted.seq, _NO_END)
            counted = msgspec.structs.replace(command, mentions=mentions)
            return await self._commands.dispatch(request, counted, began=began, others=others)


def _is_for_all(outcome: CommandResult | Exception) -> bool:
    """False if it may hold for one of the requests only, by its key or its mark."""
    if isinstance(outcome, CommandResult):
        return not outcome.is_replayed
    if isinstance(outcome, _TablesBehind):
        return False
    return not isinstance(outcome, Problem) or outcome.status >= _SERVER_ERROR


def _next_group(waiting: deque[_Mark]) -> list[_Mark]:
    """A forced mark, or those up to the next forced one."""
    group = [waiting.popleft()]
    while waiting and len(group) < _TOGETHER_MAX and not (group[0].command.force or waiting[0].command.force):
        group.append(waiting.popleft())
    return group
