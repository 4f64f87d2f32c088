"""The parts that the handlers of the public API share."""

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from falcon.domain.ids import RoomId, partition_of
from falcon.features.messages.pages import TimelinePages
from falcon.features.reactions.pages import ReactionPages
from falcon.features.search.index import SearchIndex
from falcon.http.authenticator import Authenticator
from falcon.http.command_client import CommandClient
from falcon.http.limits.limiter import Limiter
from falcon.http.limits.rooms import RoomCounts
from falcon.http.passwords import Passwords
from falcon.http.providers import Provider
from falcon.http.read_your_writes import ReadYourWrites
from falcon.http.stream.sessions import Streams
from falcon.read.catalogue import ReadStore
from falcon.read.names import AccountNames
from falcon.streams.tail import Tail
from falcon.write.gateway import CommandGateway

if TYPE_CHECKING:
    from falcon.http.mail import Mail


@dataclass(frozen=True, slots=True)
class Edge:
    """One for each event loop. Every part has one job; ``bootstrap`` puts them together.

    ``instance`` names the log. ``secret``: the server's own, from which tokens and tickets are made. ``search``: None
    if no index of messages is set up. ``tail`` reads the log for exports. ``providers`` by their names. ``mail``: None
    if no server is set up.
    """

    instance: str
    partitions: int
    secret: bytes
    gateway: CommandGateway
    store: ReadStore
    names: AccountNames
    pages: TimelinePages
    reactions: ReactionPages
    search: SearchIndex | None
    tail: Tail
    authenticator: Authenticator
    commands: CommandClient
    reads: ReadYourWrites
    limiter: Limiter
    room_counts: RoomCounts
    streams: Streams
    passwords: Passwords
    providers: dict[str, Provider]
    mail: "Mail | None"
    _log: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_log", zlib.crc32(self.instance.encode()))

    def close(self) -> None:
        """End the threads of its parts."""
        self.passwords.close()
        if self.mail is not None:
            self.mail.close()

    def history_of(self, room_id: RoomId) -> int | None:
        """32 bits of the log's name and of the newest start that may have written to the room: whatever was read under
        others may be of a history that the log has lost. None while the start is not known."""
        start = self.tail.starts.newest(partition_of(room_id, self.partitions))
        return None if start is None else self._log ^ start
