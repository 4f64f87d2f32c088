"""The parts that the handlers of the public API share."""

from dataclasses import dataclass

import msgspec

from falcon.domain import limits
from falcon.http.authenticator import Authenticator
from falcon.http.command_client import CommandClient
from falcon.http.limits.limiter import Limiter
from falcon.http.limits.rooms import RoomCounts
from falcon.http.read_marks import ReadMarks
from falcon.http.read_your_writes import ReadYourWrites
from falcon.http.stream.sessions import Streams
from falcon.read.catalogue import ReadStore
from falcon.read.names import AccountNames
from falcon.read.timeline.pages import TimelinePages
from falcon.streams.tail import Tail
from falcon.write.gateway import CommandGateway


class EdgeLimits(msgspec.Struct, frozen=True):
    """``command_seconds``: the time within which a command is decided or refused. Sizes in bytes.

    ``wait_seconds``: how long a request waits for the read tables, unless its Falcon-Wait names another time.
    """

    command_seconds: float = 5.0
    body_max: int = 512 << 10
    import_body_max: int = 1 << 20
    wait_seconds: float = 2.0
    wait_seconds_max: float = 10.0
    answer_window_seconds: float = 600.0
    keys_remembered: int = 100_000
    text_max: int = limits.TEXT_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Edge:
    """One for each event loop. Every part has one job; ``bootstrap`` puts them together.

    ``instance`` names the log. ``secret``: the server's own, from which tokens and tickets are made. ``tail`` reads the
    log for exports.
    """

    instance: str
    partitions: int
    secret: bytes
    limits: EdgeLimits
    gateway: CommandGateway
    store: ReadStore
    names: AccountNames
    pages: TimelinePages
    tail: Tail
    authenticator: Authenticator
    commands: CommandClient
    read_marks: ReadMarks
    reads: ReadYourWrites
    limiter: Limiter
    room_counts: RoomCounts
    streams: Streams
