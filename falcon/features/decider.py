"""Finds the rule that decides a command of an aggregate, and how an event changes it."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, TypeAlias, get_args

from falcon.domain.aggregates import AggregateKind
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import Millis
from falcon.domain.rejections import RoomNotFound
from falcon.features.catalogue import AGGREGATES, RoomCommand, RoomEvent, modules
from falcon.features.messages.rules import MessagesEvent
from falcon.features.rooms.rules import Room
from falcon.features.threads import rules as threads

Rule: TypeAlias = Callable[[Any, Any, Millis], Decision]
Follow: TypeAlias = Callable[[Room, Any], tuple[Any, ...]]
"""The events of a feature that follow when another feature's command, which is accepted, changes something."""


def _followed(rule: Rule, follow: Follow) -> Rule:
    def decide(room: Room, command: Any, at: Millis) -> Decision:
        decision = rule(room, command, at)
        if isinstance(decision, Decided) and decision.events:
            return Decided((*decision.events, *follow(room, command)), decision.answer)
        return decision

    return decide


def _kinds(kinds: Any) -> tuple[type[Any], ...]:
    """The members of a union, or the one type."""
    return get_args(kinds) or (kinds,)


_RULES: Final[dict[type[Any], Rule]] = {
    command: rule for rules in modules("rules") for command, rule in rules.RULES.items()
}
for _rules in modules("rules"):
    for _command, _follow in getattr(_rules, "FOLLOWS", {}).items():
        _RULES[_command] = _followed(_RULES[_command], _follow)
EVOLVES: Final[dict[type[Any], Callable[[Any, Any], Any]]] = {
    event: evolve for rules in modules("rules") for event, evolve in rules.EVOLVES.items()
}
_KIND_OF_COMMAND: Final[dict[type[Any], AggregateKind]] = {
    command: kind for kind, commands, _ in AGGREGATES for command in _kinds(commands)
}
_KIND_OF_EVENT: Final = {event: kind for kind, _, events in AGGREGATES for event in _kinds(events)}
assert _RULES.keys() == _KIND_OF_COMMAND.keys(), "each command of an aggregate has one rule"
assert EVOLVES.keys() == _KIND_OF_EVENT.keys(), "each event changes its aggregate"

# The id of the aggregate, by the type of the command or event about it.
IDENTITY: Final[dict[type[Any], Callable[[Any], int]]] = {
    each: attrgetter(kind.key) for each, kind in (_KIND_OF_COMMAND | _KIND_OF_EVENT).items()
} | dict.fromkeys(get_args(MessagesEvent), attrgetter("message.room_id"))


def decide(aggregate: Any, command: Any, at: Millis) -> Decision:
    """``aggregate``: the state with the command's id, of any kind; None if there is none."""
    kind = _KIND_OF_COMMAND[type(command)]
    if not isinstance(aggregate, kind.state):
        aggregate = kind.absent(command)
        if not isinstance(aggregate, kind.state):
            refusal: Decision = aggregate
            return refusal
    return _RULES[type(command)](aggregate, command, at)


def decide_room(room: Room | None, command: RoomCommand, at: Millis) -> Decision:
    """A room that does not exist, or was deleted, is not found."""
    if room is None or room.deleted:
        return RoomNotFound(command.room_id)
    return _RULES[type(command)](room, command, at)


def decide_in_thread(thread: Room, parent: Room | None, command: RoomCommand, at: Millis) -> Decision:
    """``parent``: the room that the thread belongs to."""
    return threads.in_thread(thread, parent, command, _RULES[type(command)], at)


def evolve_room(room: Room | None, event: RoomEvent) -> Room:
    """The room after the event. Never refuses: what has happened has happened. ``room``: None before it is created."""
    after: Room = EVOLVES[type(event)](room, event)
    return after
