"""Keeps the organization from losing its last owner.

An owner's account asks here before it ceases to be one. Who became an owner need not say so: the sender shows the
owners that it has read, each with the number of changes of its role, and one that has changed since it stepped down
counts again.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

from falcon.domain.aggregates import AggregateKind, id_of_text
from falcon.domain.answers import Done
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import AccountId, Millis
from falcon.domain.rejections import LastOwner

_ID: Final = id_of_text("owners", "")


class StepDown(msgspec.Struct, frozen=True, tag=True):
    """``owners``: the ones that the sender has read, this one among them, and how often the role of each has
    changed."""

    account_id: AccountId
    owners: Mapping[AccountId, int]

    @property
    def owners_id(self) -> int:
        return _ID


class SteppedDown(msgspec.Struct, frozen=True):
    """The account may cease to be an owner. ``role_changes``: of its role before that."""

    account_id: AccountId
    role_changes: int

    @property
    def owners_id(self) -> int:
        return _ID


class FormerOwners(msgspec.Struct, frozen=True):
    """``stepped_down``: by account, as in SteppedDown."""

    stepped_down: Mapping[AccountId, int] = {}


OWNERS: Final = AggregateKind("owners", FormerOwners, "owners_id", lambda _: FormerOwners())


def step_down(owners: FormerOwners, command: StepDown, _: Millis) -> Decision:
    stay = (
        account_id
        for account_id, changes in command.owners.items()
        if account_id != command.account_id and changes > owners.stepped_down.get(account_id, -1)
    )
    if next(stay, None) is None:
        return LastOwner(command.account_id)
    changes = command.owners.get(command.account_id, 0)
    if owners.stepped_down.get(command.account_id, -1) >= changes:
        return Decided((), Done())
    return Decided((SteppedDown(command.account_id, changes),), Done())


def _stepped_down(owners: FormerOwners | None, event: SteppedDown) -> FormerOwners:
    before = {} if owners is None else owners.stepped_down
    return FormerOwners({**before, event.account_id: event.role_changes})


RULES: Final = {StepDown: step_down}
EVOLVES: Final = {SteppedDown: _stepped_down}
OwnersCommand: TypeAlias = StepDown
OwnersEvent: TypeAlias = SteppedDown
FREEING: Final = ()
