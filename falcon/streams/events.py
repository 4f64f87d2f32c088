"""The events of the stream that come from the log, of all features.

An event that all members of its room see in the same way is declared by its feature alone, in ``TO_THE_ROOM``; one that
only its account sees in ``TO_THE_ACCOUNT``. ``delivery`` knows the others by their type.
"""

from collections.abc import Mapping
from typing import Final

from falcon.features.catalogue import modules
from falcon.streams.event import InARoom, OfAnAccount, Shown, StreamEvent

_STREAMS: Final = modules("stream")
TO_THE_ROOM: Final[Mapping[type[InARoom], Shown]] = {
    event: shown for stream in _STREAMS for event, shown in getattr(stream, "TO_THE_ROOM", {}).items()
}
TO_THE_ACCOUNT: Final[Mapping[type[OfAnAccount], Shown]] = {
    event: shown for stream in _STREAMS for event, shown in getattr(stream, "TO_THE_ACCOUNT", {}).items()
}
# In the order in which the documents show them.
LOGGED_EVENTS: Final[tuple[StreamEvent, ...]] = tuple(event for stream in _STREAMS for event in stream.EVENTS)
