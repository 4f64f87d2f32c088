"""Finds the rule that decides a command of a room, and how an event changes its room or account."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, get_args

from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import Millis
from falcon.domain.rejections import RoomNotFound
from falcon.features.accounts.rules import AccountEvent
from falcon.features.catalogue import RoomCommand, RoomEvent, modules
from falcon.features.rooms.rules import Room

Rule: TypeAlias = Callable[[Room, Any, Millis], Decision]
Follow: TypeAlias = Callable[[Room, Any], tuple[Any, ...]]
"""The events of a feature that follow when another feature's command, which is accepted, changes something."""


def _followed(rule: Rule, follow: Follow) -> Rule:
    def decide(room: Room, command: Any, at: Millis) -> Decision:
        decision = rule(room, command, at)
        if isinstance(decision, Decided) and decision.events:
            return Decided((*decision.events, *follow(room, command)), decision.answer)
        return decision

    return decide


_RULES: Final[dict[type[RoomCommand], Rule]] = {
    command: rule for rules in modules("rules") for command, rule in rules.RULES.items()
}
for _rules in modules("rules"):
    for _command, _follow in getattr(_rules, "FOLLOWS", {}).items():
        _RULES[_command] = _followed(_RULES[_command], _follow)
EVOLVES: Final[dict[type[Any], Callable[[Any, Any], Any]]] = {
    event: evolve for rules in modules("rules") for event, evolve in rules.EVOLVES.items()
}
assert _RULES.keys() == set(get_args(RoomCommand)), "each command of a room has one rule"
assert EVOLVES.keys() == set(get_args(RoomEvent | AccountEvent)), "each event changes its room or account"


def decide_room(room: Room | None, command: RoomCommand, at: Millis) -> Decision:
    """A room that does not exist, or was deleted, is not found."""
    if room is None or room.deleted:
        return RoomNotFound(command.room_id)
    return _RULES[type(command)](room, command, at)


def evolve_room(room: Room | None, event: RoomEvent) -> Room:
    """The room after the event. Never refuses: what has happened has happened. ``room``: None before it is created."""
    after: Room = EVOLVES[type(event)](room, event)
    return after
