"""What a rule says of a command."""

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from falcon.domain.rejections import Rejection

if TYPE_CHECKING:
    from falcon.features.catalogue import Answer, Event


class Decided(msgspec.Struct, frozen=True):
    """What happens, all of it or none, and the answer to the sender."""

    events: tuple["Event", ...]
    answer: "Answer"


Decision: TypeAlias = Decided | Rejection
