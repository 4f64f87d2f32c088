"""The contents of an index of messages, and the port to it. ``tests/contracts`` holds every index to these docstrings.

An index is a sink: it is made from the log, and acts on nothing but itself. It has tokens and no texts. The sides that
ask look again at each message that it finds, since it may be behind the log.
"""

from collections.abc import Callable, Collection
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from falcon.domain.ids import AccountId, Millis, RoomId, Seq
from falcon.features.catalogue import Event
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.rooms.rules import RoomDeleted
from falcon.features.search.terms import Term, tokens_of
from falcon.journal.envelope import Cursor, Recorded
from falcon.read.write import Write

RANKED_MAX: Final = 10_000  # hits that are ranked by relevance, the newest: some 30 ms

Has: TypeAlias = Literal["file", "link"]


# --- writes -----------------------------------------------------------------------------------------------------------


class IndexMessage(NamedTuple):
    """``tokens``: of the text, in order, with spaces between. ``marks``: what is not text (``mark_of``).
    ``version``: on a cluster it rises with each event of the message's partition. ``parent``: the room
    of the thread that the message is in; it is found there, too."""

    room_id: RoomId
    seq: Seq
    posted_at: Millis
    marks: str
    tokens: str
    version: int
    parent: RoomId | None = None


class ForgetMessage(NamedTuple):
    room_id: RoomId
    seq: Seq
    version: int


class ForgetRoom(NamedTuple):
    room_id: RoomId
    version: int


def project(recorded: Recorded) -> tuple[Write, ...]:
    match recorded.envelope.event:
        case MessagePosted(message=m, parent=parent) | MessageEdited(message=m, parent=parent) if not m.deleted:
            marks, tokens = " ".join(_marks_of(m, parent)), " ".join(tokens_of(m.text))
            return (IndexMessage(m.room_id, m.seq, m.posted_at, marks, tokens, _version(recorded), parent),)
        case MessageEdited(message=m) | MessageDeleted(message=m):
            return (ForgetMessage(m.room_id, m.seq, _version(recorded)),)
        case RoomDeleted(room_id=room_id):
            return (ForgetRoom(room_id, _version(recorded)),)
        case _:
            return ()


def passed_over(recorded: Recorded) -> tuple[Write, ...]:
    """The writes for a skipped event: no text stays that was edited or deleted."""
    match recorded.envelope.event:
        case MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return (ForgetMessage(m.room_id, m.seq, _version(recorded)),)
        case _:
            return ()


def loss(event: Event) -> str | None:
    """One line about what is missing, or stays, if the event is passed over. None if the index does not use it."""
    match event:
        case MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return f"message {m.seq} of room {m.room_id} is not found until it is edited"
        case RoomDeleted(room_id=room_id):
            return f"the index keeps the words of room {room_id}, which nobody can read"
        case _:
            return None


def _version(recorded: Recorded) -> int:
    """Rises on Kafka, where an epoch has the number of the offset at which it begins, and each event takes an offset.
    One machine counts its epochs; its one writer needs no version."""
    return recorded.envelope.epoch + recorded.envelope.n


def mark_of(kind: Literal["room", "from", "mentions", "has"], value: int | str) -> str:
    """A token that is not of a text, which never has a colon."""
    return f"{kind[0]}:{value}"


def _marks_of(message: Message, parent: RoomId | None) -> list[str]:
    marks = [mark_of("room", message.room_id), mark_of("from", message.author_id)]
    if parent is not None:
        marks.append(mark_of("room", parent))
    marks += [mark_of("mentions", account_id) for account_id in message.mentions]
    if has_link(message.text):
        marks.append(mark_of("has", "link"))
    return marks


def has_link(text: str) -> bool:
    return "https://" in text or "http://" in text


# --- queries ----------------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """A message's place in the order of hits: the newest comes first, and the larger ids among those of one time."""

    posted_at: Millis
    room_id: RoomId
    seq: Seq


def _charge_none(seconds: float) -> None:
    """Does nothing: no account pays for the search."""


class Wanted(NamedTuple):
    """``rooms``: the only ones to look into, with their threads; at least one. ``after``, ``before``: exclusive.
    ``charge`` is called with the seconds of processor time that other threads of this process took for it."""

    terms: tuple[Term, ...]
    rooms: Collection[RoomId]
    author: AccountId | None = None
    mentioned: AccountId | None = None
    has: Has | None = None
    after: Millis | None = None
    before: Millis | None = None
    charge: Callable[[float], None] = _charge_none

    @property
    def marks(self) -> list[str]:
        """Marks that a message must have, beside one of a room."""
        marks = [] if self.author is None else [mark_of("from", self.author)]
        if self.mentioned is not None:
            marks.append(mark_of("mentions", self.mentioned))
        if self.has is not None:
            marks.append(mark_of("has", self.has))
        return marks


class Hits(NamedTuple):
    """``through``: the index has looked no further than to this message; None if it has looked at all."""

    keys: list[Key]
    through: Key | None


class SearchIndex(Protocol):
    """Every method may raise ReadStoreUnavailable, and BeingFilled until the index has once reached the log's end."""

    async def newest(self, wanted: Wanted, below: Key | None, limit: int) -> Hits:
        """Hits, the newest first, at most ``limit`` below ``below`` (excluded). There may be fewer although more
        follow (``through``): a query in very many rooms is bounded."""

    async def best(self, wanted: Wanted, limit: int) -> list[Key]:
        """The best of the newest RANKED_MAX hits, the best first."""

    async def reached(self) -> Cursor:
        """The positions up to which the index shows the log. It does not raise BeingFilled."""
