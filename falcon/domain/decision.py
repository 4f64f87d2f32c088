"""Results of a rule for a command."""

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from falcon.domain.rejections import Rejection

if TYPE_CHECKING:
    from falcon.features.catalogue import Answer, Event


class Decided(msgspec.Struct, frozen=True):
    """The events, all of them or none, and the answer to the sender."""

    events: tuple["Event", ...]
    answer: "Answer"


Decision: TypeAlias = Decided | Rejection
