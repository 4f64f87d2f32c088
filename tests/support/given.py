"""Tests of decisions as sentences: ``given(what has happened).when(a command).then(what happens)``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from immutables import Map

from falcon.domain.commands import ReadPosition
from falcon.domain.decision import Decided, Decision
from falcon.domain.events import CommandAnswered, PassedOver
from falcon.domain.ids import Millis
from falcon.domain.rejections import Rejection
from falcon.features.accounts.rules import (
    Account,
    CreateAccount,
    create_account,
)
from falcon.features.catalogue import Answer, Command, Event, RoomCommand
from falcon.features.decider import EVOLVES, IDENTITY, decide, decide_in_thread, decide_room
from falcon.features.rooms.rules import CreateRoom, ImportRoom, OpenDirect, Room, create_room, import_room, open_direct
from falcon.features.threads.rules import ImportThread, StartThread, import_thread, start_thread
from falcon.journal.envelope import aggregate_of
from tests.support.builders import NEW, NOW


@dataclass(frozen=True, slots=True)
class World:
    """The aggregates of one partition, and what decides about them."""

    aggregates: "Map[int, Any]" = field(default_factory=Map)

    @property
    def rooms(self) -> dict[int, Room]:
        return {i: each for i, each in self.aggregates.items() if isinstance(each, Room)}

    @property
    def accounts(self) -> dict[int, Account]:
        return {i: each for i, each in self.aggregates.items() if isinstance(each, Account)}

    def after(self, *events: Event) -> "World":
        world = self
        for event in events:
            world = world._after(event)
        return world

    def _after(self, event: Event) -> "World":
        if isinstance(event, CommandAnswered | PassedOver):
            return self
        identity = aggregate_of(event)
        after = EVOLVES[type(event)](self.aggregates.get(identity), event)
        return World(self.aggregates.set(identity, after))

    def decide(self, command: Command, at: Millis = NOW, new_id: int = NEW) -> Decision:
        match command:
            case CreateRoom():
                return create_room(command, new_id, at)
            case CreateAccount():
                return create_account(command, new_id, at)
            case OpenDirect(by=by, peer=peer):
                account = self.accounts.get(min(by, peer))
                room = self._direct_room(account, max(by, peer))
                return open_direct(account, room, command, new_id, at)
            case ImportRoom(members=members):
                smaller = min((member.account_id for member in members), default=0)
                return import_room(command, self.accounts.get(smaller), new_id, at)
            case ReadPosition():
                raise AssertionError("where a log stands is no question to a room or an account")
            case StartThread():
                return start_thread(self.aggregates.get(command.room_id), self.aggregates.get, command, new_id, at)
            case ImportThread():
                return import_thread(self.aggregates.get(command.room_id), command, new_id, at)
            case _ if isinstance(command, RoomCommand):
                found = self.aggregates.get(command.room_id)
                room = found if isinstance(found, Room) else None
                if room is not None and room.thread is not None:
                    return decide_in_thread(room, self.aggregates.get(room.thread.parent), command, at)
                return decide_room(room, command, at)
            case _:
                return decide(self.aggregates.get(IDENTITY[type(command)](command)), command, at)

    def _direct_room(self, account: Account | None, peer: int) -> Room | None:
        room_id = None if account is None else account.directs.get(peer)
        return None if room_id is None else self.rooms[room_id]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a command."""

    before: World
    decision: Decision

    def then(self, *expected: Event) -> "Outcome":
        """Exactly these events, and the aggregates take them."""
        assert self._decided().events == expected
        self.before.after(*expected)
        return self

    def then_nothing_happened(self) -> "Outcome":
        """Accepted, since it was so already."""
        assert self._decided().events == ()
        return self

    def then_rejected(self, expected: Rejection) -> None:
        assert self.decision == expected

    def answered(self, expected: Answer) -> "Outcome":
        assert self._decided().answer == expected
        return self

    @property
    def world(self) -> World:
        return self.before.after(*self._decided().events)

    def _decided(self) -> Decided:
        assert isinstance(self.decision, Decided), f"refused: {self.decision}"
        return self.decision


@dataclass(frozen=True, slots=True)
class Given:
    world: World

    def when(self, command: Command, *, at: Millis = NOW) -> Outcome:
        return Outcome(self.world, self.world.decide(command, at))


def given(*told: Event | Iterable[Event]) -> Given:
    """The events so far, in order; each may also be a stretch of several events."""
    events: list[Event] = []
    for each in told:
        events.extend([each] if isinstance(each, Event) else each)
    return Given(World().after(*events))


def plain(state: msgspec.Struct) -> dict[str, object]:
    """A copy of a state with nothing in it that could be shared with the original."""
    fields = {name: getattr(state, name) for name in state.__struct_fields__}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in fields.items()}
