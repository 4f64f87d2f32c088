"""All read models. Those with queries of their own are named here: their parts, and their queries in each store. One of
small rows is declared in the ``table`` of its feature alone, as ``ITEMS``."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from falcon.domain.ids import Partition
from falcon.features.accounts import hbase as accounts_hbase
from falcon.features.accounts import sqlite as accounts_sqlite
from falcon.features.accounts import table as accounts
from falcon.features.accounts.table import AccountQueries
from falcon.features.catalogue import Event, modules
from falcon.features.messages import hbase as timeline_hbase
from falcon.features.messages import sqlite as timeline_sqlite
from falcon.features.messages import table as timeline
from falcon.features.messages.table import TimelineQueries
from falcon.features.people import hbase as directory_hbase
from falcon.features.people import sqlite as directory_sqlite
from falcon.features.people import table as directory
from falcon.features.people.table import DirectoryQueries
from falcon.features.reactions import hbase as reactions_hbase
from falcon.features.reactions import sqlite as reactions_sqlite
from falcon.features.reactions import table as reactions
from falcon.features.reactions.table import ReactionQueries
from falcon.features.read_marks import hbase as memberships_hbase
from falcon.features.read_marks import sqlite as memberships_sqlite
from falcon.features.read_marks import table as memberships
from falcon.features.read_marks.table import MembershipQueries
from falcon.features.rooms import hbase as rooms_hbase
from falcon.features.rooms import sqlite as rooms_sqlite
from falcon.features.rooms import table as rooms
from falcon.features.rooms.table import RoomQueries
from falcon.journal.envelope import Position, Recorded
from falcon.read.hbase import HBaseModel
from falcon.read.items import (
    HBaseItemQueries,
    ItemQueries,
    SqliteFilesItemQueries,
    SqliteItemQueries,
)
from falcon.read.sqlite import SqliteModel
from falcon.read.write import Write

Project: TypeAlias = Callable[[Recorded], tuple[Write, ...]]


def _nothing(recorded: Recorded) -> tuple[Write, ...]:
    return ()


class ReadModel(NamedTuple):
    """``project``: the projection, a pure function. ``takes``: the events that it makes writes of; on one machine it is
    called with no others, so that a message costs no call for a read model that does not show messages. ``loss``: one
    line about what is lost when it passes over an event, for the operator who decides that; None for an event that it
    does not use. ``passed_over``: what is written instead."""

    project: Project
    takes: tuple[type[Event], ...]
    loss: Callable[[Event], str | None]
    sqlite: SqliteModel
    hbase: HBaseModel
    passed_over: Project = _nothing


_TABLES: Final[dict[str, tuple[Any, SqliteModel, HBaseModel]]] = {
    "timeline": (timeline, timeline_sqlite.MODEL, timeline_hbase.MODEL),
    "rooms": (rooms, rooms_sqlite.MODEL, rooms_hbase.MODEL),
    "memberships": (memberships, memberships_sqlite.MODEL, memberships_hbase.MODEL),
    "accounts": (accounts, accounts_sqlite.MODEL, accounts_hbase.MODEL),
    "reactions": (reactions, reactions_sqlite.MODEL, reactions_hbase.MODEL),
    "directory": (directory, directory_sqlite.MODEL, directory_hbase.MODEL),
    **{
        table.ITEMS.name: (table, table.ITEMS.sqlite, table.ITEMS.hbase)
        for table in modules("table")
        if hasattr(table, "ITEMS")
    },
}
READ_MODELS: Final[dict[str, ReadModel]] = {
    name: ReadModel(table.project, table.TAKES, table.loss, sqlite, hbase, getattr(table, "passed_over", _nothing))
    for name, (table, sqlite, hbase) in _TABLES.items()
}


class ReadStore(
    TimelineQueries,
    RoomQueries,
    MembershipQueries,
    AccountQueries,
    ReactionQueries,
    DirectoryQueries,
    ItemQueries,
    Protocol,
):
    """All queries, and how far the tables show the log. Every method may raise ReadStoreUnavailable, and BeingFilled if
    it reads tables that are being filled. Lists are bounded by ``limit``."""

    async def applied(self, partition: Partition) -> int:
        """The offset up to which every projection has been applied: reads show everything below it. Projections that
        are being filled are left out."""

    async def applied_in(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """:meth:`applied` for several partitions."""

    async def applied_everywhere(
        self, partitions: int, projections: Sequence[str] | None = None
    ) -> dict[Partition, Position]:
        """Position in every partition: :meth:`applied`, as a position from which a reader can continue.

        ``projections``: only these; all if None.
        """


class SqliteQueries(
    timeline_sqlite.SqliteTimelineQueries,
    rooms_sqlite.SqliteRoomQueries,
    memberships_sqlite.SqliteMembershipQueries,
    accounts_sqlite.SqliteAccountQueries,
    reactions_sqlite.SqliteReactionQueries,
    directory_sqlite.SqliteDirectoryQueries,
    SqliteItemQueries,
):
    """The queries as methods of the read store on SQLite."""


class SqliteFilesQueries(
    timeline_sqlite.SqliteFilesTimelineQueries,
    rooms_sqlite.SqliteFilesRoomQueries,
    memberships_sqlite.SqliteFilesMembershipQueries,
    accounts_sqlite.SqliteFilesAccountQueries,
    reactions_sqlite.SqliteFilesReactionQueries,
    directory_sqlite.SqliteFilesDirectoryQueries,
    SqliteFilesItemQueries,
):
    """The queries as methods of the read store on several files."""


class HBaseQueries(
    timeline_hbase.HBaseTimelineQueries,
    rooms_hbase.HBaseRoomQueries,
    memberships_hbase.HBaseMembershipQueries,
    accounts_hbase.HBaseAccountQueries,
    reactions_hbase.HBaseReactionQueries,
    directory_hbase.HBaseDirectoryQueries,
    HBaseItemQueries,
):
    """The queries as methods of the read store on HBase."""


# On a cluster this projection's consumer has to keep up with every message. It records for the others where the log
# holds nothing for them, so that they move their positions only for what they write.
CONFIRMING: Final = "timeline"


def projections() -> dict[str, Project]:
    return {name: model.project for name, model in READ_MODELS.items()}


def sqlite_projections() -> dict[str, Project]:
    """The projections of tables in the file of their log, whose rows may refer to it."""
    return {name: model.sqlite.project or model.project for name, model in READ_MODELS.items()}


def confirmed() -> dict[str, Project]:
    return {name: project for name, project in projections().items() if name != CONFIRMING}
