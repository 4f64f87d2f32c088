"""An event as bytes in the log."""

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """``data`` is the event with its circumstances. The rest stands beside it, so that a reader can leave it undecoded.

    ``type`` and ``version`` name the shape of ``data``. ``key``: the room or account that the event belongs to; 0 for
    none. ``critical``: a reader that does not know the type and version must stop here; it passes over other events.
    """

    type: str
    version: int
    critical: bool
    key: int
    data: bytes
