"""Events of the log that belong to no feature."""

import msgspec


class CommandAnswered(msgspec.Struct, frozen=True):
    """A keyed command was answered without a change. The record carries the answer, and a retry gets it."""


class PassedOver(msgspec.Struct, frozen=True):
    """Stands for an event of a newer Falcon that this one does not know. It changes nothing, and is never written."""

    name: str
    version: int
