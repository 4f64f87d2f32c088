"""The ports of the read side: tables to query, and tables to keep up to date."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias

from falcon.domain.commands import Role, RoomKind
from falcon.domain.ids import AccountId, Partition, RoomId, Seq
from falcon.journal.envelope import Cursor, Position
from falcon.read.models import (
    Access,
    AccountRow,
    MemberRow,
    RoomCursor,
    RoomRow,
    RoomSummaryRow,
    Standing,
    TokenRow,
)


class ReadStoreUnavailable(Exception):
    """The tables can't be read, for now; the message says why."""


class ManyRooms(Exception):
    """The account is in more rooms than were to be looked at."""


class StaleProjector(Exception):
    """Somebody else has moved this projection's position: stop, and start again from where it stands now."""


# --- what projections write -------------------------------------------------------------------------------------------
# Each sets; none adds. Written twice is written once, and of two to the same key the later one counts.


class PutMessage(NamedTuple):
    """``message`` is the JSON that goes out."""

    room_id: RoomId
    seq: Seq
    message: bytes


class PutRoom(NamedTuple):
    """``smaller``, ``larger``: the pair of a direct room."""

    room_id: RoomId
    kind: RoomKind
    name: str
    description: str
    created_at: str
    smaller: AccountId | None
    larger: AccountId | None
    imported: bool = False


class SetRoomName(NamedTuple):
    room_id: RoomId
    name: str
    description: str
    updated_at: str


class SetRoomActivity(NamedTuple):
    room_id: RoomId
    last_seq: Seq
    updated_at: str


class SetRevision(NamedTuple):
    """How many edits and deletions the room's messages have seen."""

    room_id: RoomId
    revision: int


class DropRoom(NamedTuple):
    room_id: RoomId


class PutMember(NamedTuple):
    room_id: RoomId
    account_id: AccountId
    role: Role
    read_seq: Seq


class SetRole(NamedTuple):
    room_id: RoomId
    account_id: AccountId
    role: Role


class SetReadMark(NamedTuple):
    room_id: RoomId
    account_id: AccountId
    read_seq: Seq


class DropMember(NamedTuple):
    room_id: RoomId
    account_id: AccountId


class SetMention(NamedTuple):
    """``mentioned``: whether message ``seq`` mentions the account, as it now stands."""

    account_id: AccountId
    room_id: RoomId
    seq: Seq
    mentioned: bool


class PutAccount(NamedTuple):
    account_id: AccountId
    name: str
    is_admin: bool
    created_at: str


class PutToken(NamedTuple):
    account_id: AccountId
    token_id: int
    token_hash: str
    created_at: str


class DropToken(NamedTuple):
    account_id: AccountId
    token_id: int


Write: TypeAlias = (
    PutMessage
    | PutRoom
    | SetRoomName
    | SetRoomActivity
    | SetRevision
    | DropRoom
    | PutMember
    | SetRole
    | SetReadMark
    | DropMember
    | SetMention
    | PutAccount
    | PutToken
    | DropToken
)


class ProjectionTables(Protocol):
    """The tables of the projections, for the one that keeps them up to date.

    ``projection`` names the live tables, or those of a rebuild under way (see ``begin_rebuild``). Every method may
    raise ReadStoreUnavailable.
    """

    def cursor(self, projection: str) -> Cursor:
        """Up to where the projection has been applied."""

    def apply(self, projection: str, expected: Cursor, after: Cursor, writes: Sequence[Write]) -> None:
        """Make the writes and move the cursor from ``expected`` to ``after``; all, or what can be repeated.

        Raises StaleProjector when the cursor is not the expected one.
        """

    def begin_rebuild(self, projection: str) -> str:
        """Empty tables beside the live ones; gives the name to apply them under. An older rebuild is thrown away."""

    def finish_rebuild(self, projection: str, catch_up: Callable[[], None]) -> None:
        """Let the rebuilt tables take the live ones' place.

        ``catch_up`` is called while nobody else can move the live ones, and brings the rebuilt ones to the same point.
        """

    def stopped(self, projection: str, error: str | None) -> None:
        """Record that the projection has stopped at an error, or goes on again."""

    def why_stopped(self, projection: str) -> str | None:
        """The error that the projection has stopped at."""


class Comparison(NamedTuple):
    """Of cells: how many were compared, how many of them the tables did not have, or had otherwise; and how many the
    tables have that nothing in the log has written."""

    cells: int = 0
    missing: int = 0
    wrong: int = 0
    unexplained: int = 0

    def plus(self, other: "Comparison") -> "Comparison":
        return Comparison(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Comparing(Protocol):
    """A comparison of a projection's tables with the log, while both are in use: what was written since it began is not
    judged. Raises ReadStoreUnavailable, also where other tables have taken their place meanwhile."""

    def compare(self, partition: Partition, through: int, writes: Sequence[Write]) -> Comparison:
        """The writes of a partition's next events, up to offset ``through`` (excluded), with what the tables hold."""

    def rest(self) -> Iterator[Comparison]:
        """At last, what the tables hold beside all that, part by part."""


class Stop(NamedTuple):
    """Where a partition of a projection has stopped, before which event, and why."""

    at: Position
    why: str


class Skip(NamedTuple):
    """An event that is to be passed over: the one at this very position, and no other that may stand at its offset in
    another history of the log. ``at.epoch`` 0: recorded by a version that kept the offset alone."""

    partition: Partition
    at: Position
    reason: str


class Reached(NamedTuple):
    """How far a projection has been applied in a partition.

    ``quiet_since``: the same for other projections. From this offset up to ``position`` the log holds nothing that they
    write, so one that has been applied as far as that offset shows all that this one does.
    """

    position: Position
    quiet_since: Mapping[str, int] = MappingProxyType({})

    def shows_of(self, name: str, own: Position) -> Position:
        """How far another projection shows the log that was applied up to ``own`` itself."""
        since = self.quiet_since.get(name)
        return own if since is None or own.offset < since else max(own, self.position)


def shown_by(name: str, reached: Mapping[str, Reached]) -> Position:
    """How far a projection shows a partition, by what all of them have recorded there."""
    return max(each.shows_of(name, reached[name].position) for each in reached.values())


class StreamTables(ProjectionTables, Protocol):
    """Tables that several projectors keep up to date, each some of the partitions, and each partition by itself."""

    def apply(
        self,
        projection: str,
        expected: Cursor,
        after: Cursor,
        writes: Sequence[Write],
        quiet_since: Mapping[Partition, Mapping[str, int]] = MappingProxyType({}),
    ) -> None:
        """As ProjectionTables'. ``quiet_since``: see Reached; it is recorded with the position."""

    def stop(self, projection: str, partition: Partition, stop: Stop) -> None:
        """Record that the partition has stopped before an event."""

    def go_on(self, projection: str, partition: Partition) -> None:
        """Record that it has not, any more."""

    def stops(self, projection: str) -> dict[Partition, Stop]:
        """The partitions that have stopped."""

    def skip(self, projection: str, skip: Skip) -> None:
        """Record that an event is to be passed over, now and in every rebuild."""

    def skips(self, projection: str) -> list[Skip]:
        """Everything that is to be passed over."""

    def went_back(self, why: str | None) -> None:
        """Record that the log has lost what these tables were made from, or that they were made again since."""

    def why_went_back(self) -> str | None:
        """While this is said nothing may be applied, though the log may have grown over the place since."""

    def comparing(self, projection: str, ends: Cursor, *, mend: bool) -> Comparing:
        """``ends``: where the projection stands, of all partitions. With ``mend`` the tables are given what they lack,
        or have otherwise."""


class ReadStore(Protocol):
    """Queries. Every method may raise ReadStoreUnavailable. Lists are bounded by ``limit``."""

    async def applied(self, partition: Partition) -> int:
        """The offset up to which every projection has been applied: reads show everything below it."""

    async def applied_in(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Of several, as :meth:`applied`."""

    async def applied_everywhere(
        self, partitions: int, projections: Sequence[str] | None = None
    ) -> dict[Partition, Position]:
        """Of every partition, as :meth:`applied`; and the position there, from which a reader can go on.

        ``projections``: those that are to have been applied, if not every one.
        """

    async def access(self, room_id: RoomId, account_id: AccountId) -> Access | None:
        """None for one who is no member, or a room that is not there."""

    async def page(self, room_id: RoomId, first: Seq, last: Seq) -> list[bytes]:
        """The messages ``first`` to ``last``, both included, ascending, each as JSON; up to the first that is not there
        yet.

        A message is not there yet while nothing behind it has been applied. Where something has, the message was
        passed over or its row was lost, and ``missing_message`` stands in its place.
        """

    async def message(self, room_id: RoomId, seq: Seq) -> bytes | None:
        """As a page of one; None where it is not there yet."""

    async def message_at(self, room_id: RoomId, seq: Seq) -> tuple[bytes | None, int]:
        """The message, and a revision of the room that it is not older than."""

    async def newest(self, room_id: RoomId, through: Seq) -> Seq:
        """The newest message up to ``through`` that the timeline has; 0 where it has none."""

    async def room(self, room_id: RoomId) -> RoomRow | None: ...

    async def room_of(self, account_id: AccountId, room_id: RoomId) -> RoomSummaryRow | None:
        """A room as :meth:`rooms_of` gives it; None for one who is no member, or a room that is not there."""

    async def direct_room(self, smaller: AccountId, larger: AccountId) -> RoomRow | None:
        """The room of a pair."""

    async def rooms_of(
        self, account_id: AccountId, cursor: RoomCursor | None, limit: int, most: int | None = None
    ) -> list[RoomSummaryRow]:
        """The newest activity first. It looks at every room that the account is in, whatever the limit.

        Raises ManyRooms, before it looks at them, where the account is in more than ``most`` rooms.
        """

    async def roles_of(self, account_id: AccountId, limit: int, after: RoomId = 0) -> dict[RoomId, Role]:
        """The rooms that the account is in, and as what, by room id from ``after`` (excluded) on.

        It reads the memberships alone, which is cheap."""

    async def standings_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> dict[RoomId, Standing]:
        """Of these rooms, those that there are and that the account is in."""

    async def summaries_of(self, account_id: AccountId, room_ids: Collection[RoomId]) -> list[RoomSummaryRow]:
        """These rooms as :meth:`rooms_of` gives them, the newest activity first; without those that are gone, or that
        the account is not in."""

    async def members(self, room_id: RoomId, after: AccountId, limit: int) -> list[MemberRow]:
        """By account id, from ``after`` on, excluded."""

    async def mentions(self, account_id: AccountId, room_id: RoomId, after: Seq, through: Seq) -> int:
        """How many of the messages ``after`` (excluded) to ``through`` mention the account."""

    async def account(self, account_id: AccountId) -> AccountRow | None: ...

    async def accounts(self, after: AccountId, limit: int) -> list[AccountRow]: ...

    async def bearer(self, account_id: AccountId, token_hash: str) -> AccountRow | None:
        """The account, if the token is one of its own and not revoked."""

    async def tokens(self, account_id: AccountId) -> list[TokenRow]: ...

    async def all_rooms(self, after: RoomId, limit: int) -> list[RoomRow]: ...

    async def totals(self) -> tuple[int, int, int]:
        """How many accounts, rooms and messages there are."""
