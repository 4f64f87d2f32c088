"""The promises of every read store: tables to keep up to date, and tables to query."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol, cast
from unittest.mock import ANY

import msgspec
import pytest
from msgspec.structs import replace

from falcon.features.accounts.rules import AccountChanged, AccountRole
from falcon.features.accounts.table import AccountRow, DropToken, SetTokenUse, TokenRow, UpsertAccount, UpsertToken
from falcon.features.catalogue import Event, modules
from falcon.features.messages.bodies import missing_message
from falcon.features.messages.table import SetRevision, UpsertMessage
from falcon.features.people import search
from falcon.features.people.table import Kind
from falcon.features.people.table import project as directory_writes
from falcon.features.reactions.rules import KnownReactions
from falcon.features.reactions.table import (
    DropReaction,
    PutReaction,
    ReactionRow,
    SetReactionRevision,
    ShownReaction,
    ShowReaction,
    encode,
)
from falcon.features.read_marks.table import (
    Access,
    DropMember,
    ManyRooms,
    MembershipAt,
    RoomCursor,
    RoomSummaryRow,
    SetMention,
    SetReadMark,
    SetRole,
    UpsertMember,
)
from falcon.features.rooms.rules import Role, RoomChanged, RoomDeleted
from falcon.features.rooms.table import (
    DropRoom,
    SetRoomActivity,
    SetRoomMembers,
    SetRoomName,
    SetRoomOpen,
    SetRoomThreads,
    UpsertRoom,
)
from falcon.journal.envelope import Cursor
from falcon.read.catalogue import READ_MODELS, ReadStore
from falcon.read.items import DropItem, Item, Items, PutItem
from falcon.read.store import ConsumerTables, ProjectionTables, StaleProjector
from falcon.read.write import Write
from falcon.telemetry import metrics
from tests.support.builders import NOW, a_group, an_account, recorded

NOON = "2026-11-25T12:00:00.000Z"
LATER = "2026-11-25T13:00:00.000Z"
ROOM, OTHER = 64, 128
ANN, BOB, CAT, DAN = 65, 66, 67, 68


def changed_account(
    account_id: int,
    name: str,
    *,
    handle: str | None = None,
    was: str | None = None,
    deactivated: bool = False,
    changed: tuple[str, ...] = ("name", "handle"),
) -> AccountChanged:
    return AccountChanged(
        account_id=account_id,
        name=name,
        role="member",
        title="",
        about="",
        handle=handle,
        email=None,
        deactivated=deactivated,
        hide_reads=False,
        wish=0,
        role_changes=0,
        created_at=NOW,
        was_name=was or name,
        was_role="member",
        was_handle=None,
        changed=changed,
    )


def gone_room(room_id: int, name: str) -> RoomDeleted:
    return RoomDeleted(room_id, (), name, "", NOW, 0, True)


class Store(Protocol):
    @property
    def tables(self) -> ProjectionTables: ...

    @property
    def reads(self) -> ReadStore: ...

    def cursor(self, offset: int) -> Cursor:
        """Standing at ``offset`` in every partition."""


class ReadStoreContract(ABC):
    @pytest.fixture
    @abstractmethod
    def store(self) -> Iterator[Store]: ...

    def put(self, store: Store, projection: str, *writes: Write) -> None:
        before = store.tables.cursor(projection)
        store.tables.apply(projection, before, store.cursor(before[0].offset + 1), writes)

    def test_what_shows_the_log_in_some_partitions_is_what_shows_it_in_each(self, store: Store) -> None:
        for projection in READ_MODELS:
            self.put(store, projection)
        assert asyncio.run(store.reads.applied_in([0, 1])) == {
            partition: asyncio.run(store.reads.applied(partition)) for partition in (0, 1)
        }
        assert asyncio.run(store.reads.applied_in([])) == {}

    def test_an_open_room_is_read_by_accounts_that_have_not_joined_it(self, store: Store) -> None:
        self.put(store, "rooms", UpsertRoom(ROOM, "group", "Tea", "", NOON, None, None), SetRoomActivity(ROOM, 3, NOON))
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "member", 2))
        assert asyncio.run(store.reads.access(ROOM, BOB)) is None
        self.put(store, "rooms", SetRoomOpen(ROOM, True, False, 1), SetRoomMembers(ROOM, 2))
        access = asyncio.run(store.reads.access(ROOM, BOB))
        assert access is not None and (access.role, access.read_seq, access.last_seq) == (None, 3, 3)
        member = asyncio.run(store.reads.access(ROOM, ANN))
        assert member is not None and (member.role, member.read_seq) == ("member", 2)
        (room,) = asyncio.run(store.reads.rooms_among([ROOM]))
        assert (room.open, room.default, room.members) == (True, False, 2)
        self.put(store, "rooms", SetRoomOpen(ROOM, False, False, 0))
        assert asyncio.run(store.reads.access(ROOM, BOB)) is None

    def test_members_are_told_from_others(self, store: Store) -> None:
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "member", 0), UpsertMember(OTHER, BOB, "member", 0))
        self.put(store, "memberships", UpsertMember(ROOM, CAT, "member", 0), DropMember(ROOM, CAT))
        assert asyncio.run(store.reads.members_among(ROOM, [ANN, BOB, CAT])) == {ANN}
        assert asyncio.run(store.reads.members_among(ROOM, [])) == set()

    def found(self, store: Store, text: str, kind: Kind = "person") -> set[int]:
        return set(asyncio.run(search.find(store.reads, kind, text)).entries)

    def happened(self, store: Store, *events: Event) -> None:
        writes = [write for event in events for write in directory_writes(recorded(event))]
        self.put(store, "directory", *writes)

    def test_people_are_found_by_the_beginnings_of_their_words(self, store: Store) -> None:
        self.happened(
            store, an_account(ANN, "Ann Smith"), an_account(BOB, "Bob Smithers"), an_account(CAT, "タナカ ハナコ")
        )
        assert self.found(store, "smi") == {ANN, BOB}
        assert self.found(store, "SMI bo") == self.found(store, "bob smithers") == {BOB}
        assert self.found(store, "ﾀﾅ") == self.found(store, "たな は") == {CAT}
        assert self.found(store, "mith") == self.found(store, "ann bob") == self.found(store, "") == set()

    def test_people_are_found_by_what_they_are_called_now(self, store: Store) -> None:
        self.happened(
            store, an_account(ANN, "Ann Smith"), changed_account(ANN, "Ann Miller", handle="ann.m", was="Ann Smith")
        )
        assert self.found(store, "smith") == set()
        assert self.found(store, "miller") == self.found(store, "m ann") == {ANN}
        assert asyncio.run(search.with_handle(store.reads, "@ann.m")) == ANN
        assert asyncio.run(search.with_handle(store.reads, "ann")) is None

    def test_one_who_is_deactivated_is_not_found(self, store: Store) -> None:
        gone = changed_account(ANN, "Ann", deactivated=True, changed=("deactivated",))
        self.happened(store, an_account(ANN, "Ann"), gone)
        assert self.found(store, "ann") == set()
        self.happened(store, changed_account(ANN, "Ann", changed=("deactivated",)))
        assert self.found(store, "ann") == {ANN}

    def test_open_rooms_are_listed_by_name(self, store: Store) -> None:
        tea, coffee, closed = (
            a_group(room, name=name) for room, name in ((64, "Tea kitchen"), (128, "Coffee"), (192, "Own"))
        )
        self.happened(store, *(replace(room, open=True) for room in (tea, coffee)), closed)
        listed = asyncio.run(search.all_by_name(store.reads, "room", b"", 10))
        assert [entry.identity for _, entry in listed] == [128, 64]
        after = asyncio.run(search.all_by_name(store.reads, "room", listed[0][0], 10))
        assert [entry.identity for _, entry in after] == [64]
        assert self.found(store, "kit", "room") == {64}
        assert asyncio.run(search.default_rooms(store.reads)) == []
        opened = RoomChanged(128, "Coffee", "", NOW, 0, True, True, "Coffee", True, 1)
        self.happened(store, opened, replace(opened, room_id=64, name="Tea", was_name="Tea kitchen", default=False))
        assert asyncio.run(search.default_rooms(store.reads)) == [128]
        assert self.found(store, "kit", "room") == set()
        self.happened(store, replace(opened, open=False, default=False), gone_room(64, "Tea"))
        assert asyncio.run(search.all_by_name(store.reads, "room", b"", 10)) == []
        assert asyncio.run(search.default_rooms(store.reads)) == []

    def test_a_page_is_a_run_of_a_rooms_messages(self, store: Store) -> None:
        self.put(store, "timeline", *(UpsertMessage(ROOM, seq, b"%d" % seq) for seq in range(1, 61)))
        self.put(store, "timeline", UpsertMessage(OTHER, 1, b"elsewhere"))
        assert asyncio.run(store.reads.page(ROOM, 26, 28)).messages == [b"26", b"27", b"28"]
        assert asyncio.run(store.reads.page(ROOM, 60, 99)).messages == [b"60"]
        assert asyncio.run(store.reads.page(ROOM, 61, 99)).messages == []
        assert len(asyncio.run(store.reads.page(ROOM, 1, 60)).messages) == 60

    def test_a_message_that_will_never_be_there_is_seen_to_be_missing(self, store: Store) -> None:
        self.messages(store, 1, 2, 4, 5, 60)
        shown = [b"1", b"2", missing_message(ROOM, 3), b"4", b"5"]
        assert asyncio.run(store.reads.page(ROOM, 1, 5)).messages == shown
        assert asyncio.run(store.reads.page(ROOM, 2, 4)).messages == shown[1:4]
        assert asyncio.run(store.reads.page(ROOM, 3, 3)).messages == [missing_message(ROOM, 3)]
        shown_before = metrics.lost_messages.value
        assert asyncio.run(store.reads.message(ROOM, 3)) == missing_message(ROOM, 3)
        assert metrics.lost_messages.value > shown_before, "an operator is told"
        assert asyncio.run(store.reads.message_at(ROOM, 3)) == (missing_message(ROOM, 3), 0)

    @pytest.mark.parametrize("limit", [7, 50, 100])
    def test_however_many_are_missing_a_page_is_full_while_there_is_more(self, store: Store, limit: int) -> None:
        self.messages(store, *range(1, 20), 140, 141)
        shown = [b"%d" % seq if seq < 20 or seq > 139 else missing_message(ROOM, seq) for seq in range(1, 142)]
        for first in range(1, 142, 9):
            page = asyncio.run(store.reads.page(ROOM, first, first + limit - 1)).messages
            assert page == shown[first - 1 : first + limit - 1]

    @pytest.mark.parametrize("from_last", [False, True])
    def test_a_page_has_as_many_messages_as_fit_and_says_that_there_are_more(
        self, store: Store, from_last: bool
    ) -> None:
        self.put(store, "timeline", *(UpsertMessage(ROOM, seq, b"%d" % seq * 1_000) for seq in range(100, 300)))
        for first, last, bytes_max, fits in [
            (100, 299, 60_000, 19),
            (100, 299, 3_001 * 150, 150),
            (130, 200, 3_001 * 70, 70),
            (130, 200, 3_001 * 71, 71),
            (130, 131, 1, 1),
        ]:
            page = asyncio.run(store.reads.page(ROOM, first, last, from_last=from_last, bytes_max=bytes_max))
            shown = range(last - fits + 1, last + 1) if from_last else range(first, first + fits)
            assert page.messages == [b"%d" % seq * 1_000 for seq in shown]
            assert (page.first, page.last, page.truncated) == (shown[0], shown[-1], fits < last - first + 1)

    def test_a_page_that_is_cut_has_missing_messages_in_their_places(self, store: Store) -> None:
        self.put(store, "timeline", *(UpsertMessage(ROOM, seq, b"%d" % seq * 1_000) for seq in (1, 2, 4, 5, 7, 8)))
        shown = {seq: b"%d" % seq * 1_000 for seq in (1, 2, 4, 5, 7, 8)}
        shown |= {seq: missing_message(ROOM, seq) for seq in (3, 6)}
        page = asyncio.run(store.reads.page(ROOM, 1, 9, bytes_max=4_900))
        assert page == (1, [shown[seq] for seq in range(1, 7)], True)
        page = asyncio.run(store.reads.page(ROOM, 1, 9, from_last=True, bytes_max=4_900))
        assert page == (3, [shown[seq] for seq in range(3, 9)], True)

    def test_a_message_that_is_still_to_come_is_not_missing(self, store: Store) -> None:
        self.messages(store, 1, 2, 4)
        assert asyncio.run(store.reads.page(ROOM, 4, 9)).messages == [b"4"]
        assert asyncio.run(store.reads.page(ROOM, 5, 9)).messages == []
        assert asyncio.run(store.reads.message(ROOM, 5)) is None
        assert asyncio.run(store.reads.message_at(ROOM, 5)) == (None, 0)
        assert asyncio.run(store.reads.page(OTHER, 1, 9)).messages == []
        assert asyncio.run(store.reads.message(OTHER, 1)) is None

    def test_the_newest_message_up_to_another_is_found_however_far_back(self, store: Store) -> None:
        self.messages(store, 1, 2, 30, 200)
        for through, newest in [(0, 0), (1, 1), (29, 2), (30, 30), (199, 30), (200, 200), (2**40, 200)]:
            assert asyncio.run(store.reads.newest(ROOM, through)) == newest
        self.put(store, "timeline", UpsertMessage(OTHER, 7, b"7"))
        assert asyncio.run(store.reads.newest(OTHER, 6)) == 0
        assert asyncio.run(store.reads.newest(OTHER, 100)) == 7

    def test_a_message_put_again_is_as_it_was_put_last(self, store: Store) -> None:
        self.put(store, "timeline", UpsertMessage(ROOM, 1, b"first"))
        self.put(store, "timeline", UpsertMessage(ROOM, 1, b"second"), UpsertMessage(ROOM, 1, b"third"))
        assert asyncio.run(store.reads.message(ROOM, 1)) == b"third"
        assert asyncio.run(store.reads.message(ROOM, 2)) is None

    def test_messages_of_several_rooms_are_read_at_once(self, store: Store) -> None:
        self.messages(store, 1, 3)
        self.put(store, "timeline", UpsertMessage(OTHER, 1, b"other"))
        for wanted, messages in [
            ([(ROOM, 1), (OTHER, 1), (ROOM, 3)], {(ROOM, 1): b"1", (OTHER, 1): b"other", (ROOM, 3): b"3"}),
            ([(ROOM, 4), (ROOM, 2), (OTHER, 2)], {(ROOM, 2): missing_message(ROOM, 2)}),
            ([(ROOM, 4), (OTHER, 0), (ROOM, 2**53)], {}),
            ([], {}),
        ]:
            assert asyncio.run(store.reads.messages(wanted)) == messages

    def test_a_message_comes_with_a_revision_it_is_not_older_than(self, store: Store) -> None:
        self.room(store)
        self.put(store, "timeline", UpsertMessage(ROOM, 1, b"first"))
        self.put(store, "timeline", SetRevision(ROOM, 7))
        assert asyncio.run(store.reads.message_at(ROOM, 1)) == (b"first", 7)
        assert asyncio.run(store.reads.message_at(OTHER, 1)) == (None, 0)

    def test_a_room_is_as_its_writes_left_it(self, store: Store) -> None:
        self.room(store)
        self.put(store, "rooms", SetRoomName(ROOM, "Kitchen", "tea", LATER), SetRoomActivity(ROOM, 3, LATER))
        row = asyncio.run(store.reads.room(ROOM))
        assert row is not None
        assert (row.name, row.description, row.last_seq, row.updated_at) == ("Kitchen", "tea", 3, LATER)
        self.put(store, "rooms", DropRoom(ROOM))
        assert asyncio.run(store.reads.room(ROOM)) is None

    def test_a_direct_room_knows_its_pair(self, store: Store) -> None:
        self.put(store, "rooms", UpsertRoom(ROOM, "direct", "", "", NOON, ANN, BOB))
        row = asyncio.run(store.reads.room(ROOM))
        assert row is not None
        assert row.peers == (ANN, BOB)
        assert asyncio.run(store.reads.direct_rooms([(ANN, OTHER), (ANN, BOB)])) == [row]
        assert asyncio.run(store.reads.direct_rooms([(ANN, OTHER)])) == []

    def test_several_rooms_are_read_at_once_by_their_ids_or_their_pairs(self, store: Store) -> None:
        kitchen, us, we = ROOM, OTHER, OTHER + ROOM
        self.room(store)
        self.put(store, "rooms", UpsertRoom(us, "direct", "", "", NOON, ANN, BOB))
        self.put(store, "rooms", UpsertRoom(we, "direct", "", "", NOON, BOB, CAT))
        for asked, found in [([we, kitchen, 7], {we, kitchen}), ([], set())]:
            assert {row.room_id for row in asyncio.run(store.reads.rooms_among(asked))} == found
        for pairs, found in [([(BOB, CAT), (ANN, CAT), (ANN, BOB)], {us, we}), ([], set())]:
            assert {row.room_id for row in asyncio.run(store.reads.direct_rooms(pairs))} == found

    def test_a_room_that_is_gone_is_shown_nowhere(self, store: Store) -> None:
        self.put(store, "rooms", UpsertRoom(ROOM, "direct", "", "", NOON, ANN, BOB), SetRoomActivity(ROOM, 3, NOON))
        self.put(
            store, "rooms", UpsertRoom(OTHER, "group", "Tea", "", NOON, None, None), SetRoomActivity(OTHER, 1, NOON)
        )
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "member", 0), UpsertMember(OTHER, ANN, "member", 0))
        self.put(store, "rooms", DropRoom(ROOM))
        assert asyncio.run(store.reads.direct_rooms([(ANN, BOB)])) == []
        assert [row.room_id for row in asyncio.run(store.reads.rooms_among([ROOM, OTHER]))] == [OTHER]
        assert asyncio.run(store.reads.access(ROOM, ANN)) is None
        assert [row.room.room_id for row in asyncio.run(store.reads.rooms_of(ANN, None, 10))] == [OTHER]
        assert [row.room_id for row in asyncio.run(store.reads.all_rooms(0, 1))] == [OTHER]

    def test_only_members_have_access(self, store: Store) -> None:
        self.room(store)
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "admin", 0))
        self.put(store, "rooms", SetRoomActivity(ROOM, 5, NOON))
        self.put(store, "timeline", SetRevision(ROOM, 2))
        self.put(store, "memberships", SetReadMark(ROOM, ANN, 4), SetRole(ROOM, ANN, "member"))
        assert asyncio.run(store.reads.access(ROOM, ANN)) == Access("member", 4, 5, 2, reactions=ANY)
        assert asyncio.run(store.reads.access(ROOM, BOB)) is None
        self.put(store, "memberships", DropMember(ROOM, ANN))
        assert asyncio.run(store.reads.access(ROOM, ANN)) is None

    def test_the_last_word_on_a_member_counts_however_a_batch_mixes_them(self, store: Store) -> None:
        self.room(store)
        self.put(
            store,
            "memberships",
            UpsertMember(ROOM, ANN, "member", 0),
            SetReadMark(ROOM, ANN, 3),
            DropMember(ROOM, ANN),
            UpsertMember(ROOM, ANN, "readonly", 9),
        )
        assert asyncio.run(store.reads.access(ROOM, ANN)) == Access("readonly", 9, 0, 0, reactions=ANY)

    def test_a_mark_set_for_nobody_makes_no_member(self, store: Store) -> None:
        self.room(store)
        self.put(store, "memberships", SetReadMark(ROOM, ANN, 3), SetRole(ROOM, ANN, "admin"))
        assert asyncio.run(store.reads.access(ROOM, ANN)) is None

    def test_members_are_listed_by_account_with_their_names(self, store: Store) -> None:
        self.put(
            store, "accounts", UpsertAccount(ANN, "Ann", "member", NOON), UpsertAccount(BOB, "Bob", "member", NOON)
        )
        self.put(store, "memberships", UpsertMember(ROOM, BOB, "member", 2), UpsertMember(ROOM, ANN, "admin", 1))
        rows = asyncio.run(store.reads.members(ROOM, 0, 10))
        assert [(row.account_id, row.name, row.role, row.read_seq) for row in rows] == [
            (ANN, "Ann", "admin", 1),
            (BOB, "Bob", "member", 2),
        ]
        assert [row.account_id for row in asyncio.run(store.reads.members(ROOM, ANN, 10))] == [BOB]
        assert [row.account_id for row in asyncio.run(store.reads.members(ROOM, 0, 1))] == [ANN]

    def test_those_who_left_are_passed_over(self, store: Store) -> None:
        self.put(store, "memberships", *(UpsertMember(ROOM, ANN + i, "member", 0) for i in range(6)))
        self.put(store, "memberships", *(DropMember(ROOM, ANN + i) for i in (0, 2, 3)))
        assert [row.account_id - ANN for row in asyncio.run(store.reads.members(ROOM, 0, 2))] == [1, 4]
        assert [row.account_id - ANN for row in asyncio.run(store.reads.members(ROOM, ANN + 1, 2))] == [4, 5]
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "readonly", 7))
        row, *_ = asyncio.run(store.reads.members(ROOM, 0, 1))
        assert (row.account_id, row.role, row.read_seq) == (ANN, "readonly", 7)

    def test_rooms_are_listed_by_their_newest_activity(self, store: Store) -> None:
        self.room(store)
        self.put(store, "rooms", UpsertRoom(OTHER, "group", "Other", "", NOON, None, None))
        self.put(store, "rooms", SetRoomActivity(OTHER, 2, LATER))
        self.put(store, "timeline", UpsertMessage(OTHER, 2, b'"hello"'))
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "admin", 0), UpsertMember(OTHER, ANN, "member", 1))
        self.put(store, "memberships", SetMention(ANN, OTHER, 1, True), SetMention(ANN, OTHER, 2, True))
        rows = asyncio.run(store.reads.rooms_of(ANN, None, 10))
        assert [row.room.room_id for row in rows] == [OTHER, ROOM]
        assert (rows[0].role, rows[0].read_seq, rows[0].mentions, rows[0].last_message) == ("member", 1, 1, b'"hello"')
        assert rows[1].last_message is None
        cursor = RoomCursor(rows[0].room.updated_at, OTHER)
        assert [row.room.room_id for row in asyncio.run(store.reads.rooms_of(ANN, cursor, 10))] == [ROOM]
        assert [row.room.room_id for row in asyncio.run(store.reads.rooms_of(ANN, None, 1))] == [OTHER]
        assert asyncio.run(store.reads.rooms_of(BOB, None, 10)) == []

    def test_the_rooms_of_an_account_are_known_by_its_memberships_alone(self, store: Store) -> None:
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "admin", 0), UpsertMember(OTHER, ANN, "member", 1))
        self.put(store, "memberships", UpsertMember(ROOM, BOB, "readonly", 0), SetRole(OTHER, ANN, "readonly"))
        assert asyncio.run(store.reads.roles_of(ANN, 10)) == {ROOM: "admin", OTHER: "readonly"}
        assert len(asyncio.run(store.reads.roles_of(ANN, 1))) == 1
        self.put(store, "memberships", DropMember(ROOM, ANN))
        assert asyncio.run(store.reads.roles_of(ANN, 10)) == {OTHER: "readonly"}

    def test_the_rooms_of_an_account_are_walked_through_in_parts(self, store: Store) -> None:
        rooms = [ROOM * n for n in range(1, 8)]
        self.put(store, "memberships", *(UpsertMember(room, ANN, "member", 0) for room in rooms))
        walked: list[int] = []
        while part := asyncio.run(store.reads.roles_of(ANN, 3, walked[-1] if walked else 0)):
            walked += part
        assert walked == rooms

    def test_a_list_of_very_many_rooms_is_not_begun(self, store: Store) -> None:
        rooms = [ROOM, OTHER]
        self.put(store, "rooms", *(UpsertRoom(room, "group", "Tea", "", NOON, None, None) for room in rooms))
        self.put(store, "memberships", *(UpsertMember(room, ANN, "member", 0) for room in rooms))
        assert len(asyncio.run(store.reads.rooms_of(ANN, None, 1, 2))) == 1
        with pytest.raises(ManyRooms):
            asyncio.run(store.reads.rooms_of(ANN, None, 1, 1))

    def test_one_who_may_read_a_room_may_read_its_threads(self, store: Store) -> None:
        """A follow gives no right, and one that has been left follows nothing that could be read."""
        self.room(store)
        thread = 256  # in the partition of its room
        made = UpsertRoom(thread, "thread", "", "", NOON, None, None, False, ROOM, 3)
        self.put(store, "rooms", made, SetRoomActivity(thread, 4, LATER), SetRoomThreads(ROOM))
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "readonly", 0), UpsertMember(ROOM, CAT, "admin", 0))
        self.put(store, "memberships", *(UpsertMember(thread, each, "member", 2, ROOM) for each in (ANN, BOB)))

        def rights(account_id: int) -> tuple[object, ...] | None:
            access = asyncio.run(store.reads.access(thread, account_id))
            return None if access is None else (access.role, access.read_seq, access.last_seq, access.follows)

        assert (rights(ANN), rights(CAT)) == (("readonly", 2, 4, True), ("admin", 4, 4, False))
        assert rights(BOB) is rights(DAN) is None
        room = asyncio.run(store.reads.access(ROOM, ANN))
        assert room is not None and (room.has_threads, room.follows) == (True, False)
        row = asyncio.run(store.reads.room(thread))
        assert row is not None and (row.kind, row.parent, row.has_threads) == ("thread", (ROOM, 3), False)
        assert asyncio.run(store.reads.follows_of(ANN)) == asyncio.run(store.reads.follows_of(BOB)) == {thread: ROOM}
        assert asyncio.run(store.reads.follows_of(CAT)) == {}
        for limit in (1, 10):
            assert asyncio.run(store.reads.roles_of(ANN, limit)) == {ROOM: "readonly"}
            assert [row.room.room_id for row in asyncio.run(store.reads.rooms_of(ANN, None, limit))] == [ROOM]
        rooms, _ = asyncio.run(store.reads.member_rooms(ANN, 10))
        assert [each.membership for each in rooms] == [
            MembershipAt("readonly", NOON, 0, 0, 0),
            MembershipAt("member", LATER, 4, ROOM, 2),
        ]
        self.put(store, "rooms", SetRoomOpen(ROOM, True, False, 1))
        assert rights(DAN) == (None, 4, 4, False)
        self.put(store, "rooms", DropRoom(ROOM))
        assert rights(ANN) is rights(DAN) is None

    def test_a_thread_lists_the_followers_who_are_in_its_room(self, store: Store) -> None:
        """With their roles there."""
        self.room(store)
        thread, stayed = 256, dict[int, Role]({ANN: "readonly", DAN: "admin"})
        self.put(store, "rooms", UpsertRoom(thread, "thread", "", "", NOON, None, None, False, ROOM, 3))
        self.put(store, "memberships", *(UpsertMember(ROOM, each, role, 0) for each, role in stayed.items()))
        self.put(
            store, "memberships", *(UpsertMember(thread, each, "member", 2, ROOM) for each in (ANN, BOB, CAT, DAN))
        )

        def listed(after: int, limit: int) -> list[tuple[int, str, int]]:
            rows = asyncio.run(store.reads.members(thread, after, limit))
            return [(row.account_id, row.role, row.read_seq) for row in rows]

        wanted = [(each, role, 2) for each, role in sorted(stayed.items())]
        assert listed(0, 10) == wanted
        assert [listed(0, 1), listed(wanted[0][0], 1), listed(wanted[1][0], 1)] == [wanted[:1], wanted[1:], []]

    def test_some_of_an_accounts_rooms_are_as_its_list_has_them(self, store: Store) -> None:
        self.room(store)
        third = 192
        self.put(
            store,
            "rooms",
            UpsertRoom(OTHER, "group", "Other", "", NOON, None, None),
            SetRoomActivity(OTHER, 2, LATER),
            UpsertRoom(third, "group", "Third", "", NOON, None, None),
        )
        self.put(store, "timeline", UpsertMessage(OTHER, 2, b'"hello"'))
        self.put(store, "memberships", *(UpsertMember(room, ANN, "member", 1) for room in (ROOM, OTHER, third)))
        self.put(store, "memberships", UpsertMember(OTHER, BOB, "admin", 0), SetMention(ANN, OTHER, 2, True))
        listed = asyncio.run(store.reads.rooms_of(ANN, None, 10))
        assert asyncio.run(store.reads.summaries_of(ANN, [third, ROOM, OTHER])) == listed
        assert asyncio.run(store.reads.summaries_of(ANN, [OTHER])) == listed[:1]
        among = asyncio.run(store.reads.member_rooms_among(ANN, {OTHER, ROOM, 999}))
        memberships = {each.room.room_id: each.membership for each in among}
        assert memberships.keys() == {OTHER, ROOM}
        assert memberships[OTHER] == MembershipAt("member", LATER, 2, 0, 1)
        assert memberships[ROOM].role == "member"
        rooms, following = asyncio.run(store.reads.member_rooms(ANN, 9))
        assert ([each.room.room_id for each in rooms], following) == (sorted([ROOM, OTHER, third]), None)
        for each in rooms:
            assert each.room == asyncio.run(store.reads.room(each.room.room_id))
            assert (each.role, each.read_seq) == ("member", 1)
        newest_first = sorted(rooms, key=lambda each: (each.room.updated_at, each.room.room_id), reverse=True)
        assert asyncio.run(store.reads.summaries(ANN, newest_first)) == listed

    def test_an_accounts_rooms_are_walked_through_in_parts(self, store: Store) -> None:
        rooms = [ROOM * n for n in range(1, 8)]
        self.put(store, "rooms", *(UpsertRoom(room, "group", "Tea", "", NOON, None, None) for room in rooms))
        self.put(store, "memberships", *(UpsertMember(room, ANN, "member", 0) for room in rooms))
        self.put(store, "rooms", DropRoom(rooms[2]))
        walked: list[int] = []
        following: int | None = 0
        while following is not None:
            part, following = asyncio.run(store.reads.member_rooms(ANN, 3, following))
            walked += [each.room.room_id for each in part]
        assert walked == [*rooms[:2], *rooms[3:]]

    def test_a_summary_is_as_of_the_message_that_the_caller_names(self, store: Store) -> None:
        self.room(store)
        self.put(store, "rooms", SetRoomActivity(ROOM, 60, LATER))
        self.messages(store, *range(1, 61))
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "member", 2))
        self.put(store, "memberships", *(SetMention(ANN, ROOM, seq, True) for seq in (1, 30, 60)))
        ((member,), _) = asyncio.run(store.reads.member_rooms(ANN, 9))
        for last_seq, mentions in ((60, 2), (59, 1), (29, 0), (1, 0)):
            as_of = member._replace(room=msgspec.structs.replace(member.room, last_seq=last_seq))
            (row,) = asyncio.run(store.reads.summaries(ANN, [as_of]))
            assert (row.room.last_seq, row.last_message, row.mentions) == (last_seq, b"%d" % last_seq, mentions)
            assert row.read_seq == min(2, last_seq)
        empty = member._replace(room=msgspec.structs.replace(member.room, last_seq=0))
        (row,) = asyncio.run(store.reads.summaries(ANN, [empty]))
        assert (row.last_message, row.unread) == (None, 0)

    def test_names_of_accounts_are_known(self, store: Store) -> None:
        self.put(
            store, "accounts", UpsertAccount(ANN, "Ann", "member", NOON), UpsertAccount(BOB, "Bob", "member", NOON)
        )
        assert asyncio.run(store.reads.names_of({ANN, BOB, OTHER})) == {ANN: "Ann", BOB: "Bob"}
        assert asyncio.run(store.reads.names_of([])) == {}

    def test_rooms_that_an_account_is_not_in_or_that_are_gone_are_not_shown_to_it(self, store: Store) -> None:
        self.put(store, "rooms", *(UpsertRoom(room, "group", "Tea", "", NOON, None, None) for room in (ROOM, OTHER)))
        self.put(store, "memberships", *(UpsertMember(room, ANN, "member", 0) for room in (ROOM, OTHER)))
        self.put(store, "memberships", DropMember(ROOM, ANN))
        self.put(store, "rooms", DropRoom(OTHER))
        for room_ids in ([ROOM, OTHER, 999], []):
            assert asyncio.run(store.reads.member_rooms_among(ANN, room_ids)) == []
            assert asyncio.run(store.reads.summaries_of(ANN, room_ids)) == []

    @pytest.mark.parametrize("behind", [1, 2, 24, 25, 26, 60, 99])
    def test_a_room_is_listed_as_far_as_its_messages_can_be_read(self, store: Store, behind: int) -> None:
        readable = 100 - behind
        self.room(store)
        self.put(store, "rooms", SetRoomActivity(ROOM, 100, LATER))
        self.messages(store, *range(1, readable + 1))
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "member", 0))
        self.put(store, "memberships", SetMention(ANN, ROOM, 1, True), SetMention(ANN, ROOM, 100, True))
        row = self.summary(store)
        assert (row.room.last_seq, row.last_message) == (readable, b"%d" % readable)
        assert (row.read_seq, row.unread, row.mentions) == (0, readable, 1)

    def test_a_room_whose_messages_cannot_be_read_yet_is_listed_as_an_empty_one(self, store: Store) -> None:
        self.room(store)
        self.put(store, "rooms", SetRoomActivity(ROOM, 30, LATER))
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "member", 30), SetMention(ANN, ROOM, 30, True))
        row = self.summary(store)
        assert (row.room.last_seq, row.last_message) == (0, None)
        assert (row.read_seq, row.unread, row.mentions) == (0, 0, 0)

    def test_nobody_has_read_further_than_a_room_goes(self, store: Store) -> None:
        self.room(store)
        self.put(store, "rooms", SetRoomActivity(ROOM, 1, NOON))
        self.messages(store, 1, 2, 3, 4)
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "member", 4), SetMention(ANN, ROOM, 3, True))
        row = self.summary(store)
        assert (row.room.last_seq, row.last_message) == (1, b"1")
        assert (row.read_seq, row.unread, row.mentions) == (1, 0, 0)

    def test_only_a_member_has_a_room_in_the_list(self, store: Store) -> None:
        self.room(store)
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "member", 0))
        assert self.summary(store).unread == 0
        assert asyncio.run(store.reads.summaries_of(BOB, [ROOM])) == []
        assert asyncio.run(store.reads.summaries_of(ANN, [OTHER])) == []
        self.put(store, "rooms", DropRoom(ROOM))
        assert asyncio.run(store.reads.summaries_of(ANN, [ROOM])) == []

    def test_mentions_are_counted_between_two_places(self, store: Store) -> None:
        self.put(store, "memberships", *(SetMention(ANN, ROOM, seq, True) for seq in (1, 3, 5)))
        self.put(store, "memberships", SetMention(ANN, ROOM, 3, False), SetMention(ANN, ROOM, 5, True))
        assert asyncio.run(store.reads.mentions(ANN, ROOM, 0, 9)) == 2
        assert asyncio.run(store.reads.mentions(ANN, ROOM, 1, 4)) == 0
        assert asyncio.run(store.reads.mentions(BOB, ROOM, 0, 9)) == 0

    def test_mentions_may_be_far_apart(self, store: Store) -> None:
        seqs = (999, 1_000, 1_001, 4_500, 70_000, 1_000_000)
        self.put(store, "memberships", *(SetMention(ANN, ROOM, seq, True) for seq in seqs))
        self.put(store, "memberships", SetMention(ANN, OTHER, 1_000, True))
        for after, through in [
            (0, 998),
            (998, 1_000),
            (1_000, 4_500),
            (0, 70_000),
            (998, 70_000),
            (999, 2_000_000),
            (70_000, 70_000),
            (999, 2**53 - 1),
        ]:
            counted = asyncio.run(store.reads.mentions(ANN, ROOM, after, through))
            assert counted == sum(after < seq <= through for seq in seqs)

    def test_accounts_show_their_newest_profiles_and_are_found_by_role(self, store: Store) -> None:
        bob = AccountRow(BOB, "Bob", "guest", NOON, "Taster", "Tea", "bob", "b@example.org", True, True, 2)
        bobby = UpsertAccount(BOB, "Bob", "guest", NOON, "Taster", "Tea", "bob", "b@example.org", True, True, 2)
        self.put(
            store, "accounts", UpsertAccount(ANN, "Ann", "owner", NOON), UpsertAccount(BOB, "Bobby", "admin", NOON)
        )
        self.put(store, "accounts", bobby)
        ann = AccountRow(ANN, "Ann", "owner", NOON)
        assert asyncio.run(store.reads.accounts(0, 9)) == [ann, bob]
        assert asyncio.run(store.reads.accounts_of([BOB, ANN, 999])) == {ANN: ann, BOB: bob}
        asked: list[tuple[AccountRole | None, bool | None, list[AccountRow]]] = [
            ("guest", None, [bob]),
            ("member", None, []),
            (None, True, [bob]),
            (None, False, [ann]),
            ("owner", True, []),
        ]
        for role, deactivated, found in asked:
            assert asyncio.run(store.reads.accounts(0, 9, role, deactivated)) == found
        assert asyncio.run(store.reads.accounts(ANN, 9, "owner")) == []

    def test_a_token_keeps_what_it_is_for_and_the_day_of_its_last_use(self, store: Store) -> None:
        phone = UpsertToken(ANN, 2, "hash", NOON, "session", "Phone", '["read"]', 99, BOB, "Browser/1", "::1")
        self.put(store, "accounts", UpsertAccount(ANN, "Ann", "owner", NOON), phone, SetTokenUse(ANN, 2, 20_000))
        (token,) = asyncio.run(store.reads.tokens(ANN))
        assert token == TokenRow(2, NOON, "session", "Phone", ("read",), 99, BOB, "Browser/1", "::1", 20_000)

    def test_a_token_is_good_for_its_own_account_until_it_is_dropped(self, store: Store) -> None:
        ann = AccountRow(ANN, "Ann", "owner", NOON)
        self.put(store, "accounts", UpsertAccount(ANN, "Ann", "owner", NOON), UpsertToken(ANN, 1, "hash", NOON))
        assert asyncio.run(store.reads.bearer(ANN, "hash")) == replace(ann, token=TokenRow(1, NOON))
        assert asyncio.run(store.reads.bearer(BOB, "hash")) is None
        assert asyncio.run(store.reads.bearer(ANN, "other")) is None
        assert [token.token_id for token in asyncio.run(store.reads.tokens(ANN))] == [1]
        self.put(store, "accounts", DropToken(ANN, 1))
        assert asyncio.run(store.reads.bearer(ANN, "hash")) is None
        assert asyncio.run(store.reads.accounts(0, 9)) == [ann]

    def test_items_of_a_room_are_read_in_the_order_of_their_keys(self, store: Store) -> None:
        for model in [table.ITEMS for table in modules("table") if hasattr(table, "ITEMS")]:
            keys = [b"\0\1", b"\0\2", b"\0\xff", b"\1\0", b"\xff\xff"]
            self.put(store, model.name, *(PutItem(ROOM, key, b"of " + key) for key in reversed(keys)))
            self.put(store, model.name, PutItem(OTHER, keys[1], b"other"), PutItem(ROOM, keys[1], b"newer"))
            self.put(store, model.name, DropItem(ROOM, keys[2]), DropItem(ROOM, b"never"))

            def read(first: bytes, last: bytes, limit: int = 9, room: int = ROOM, of: Items = model) -> list[Item]:
                return asyncio.run(store.reads.items(room, of, first, last, limit))

            assert read(b"", b"\xff\xff") == [
                Item(keys[0], b"of \0\1"),
                Item(keys[1], b"newer"),
                Item(keys[3], b"of \1\0"),
                Item(keys[4], b"of \xff\xff"),
            ]
            assert [item.key for item in read(keys[0], keys[3], limit=2)] == keys[:2]
            assert [item.key for item in read(keys[1], keys[2])] == keys[1:2]
            assert read(b"", b"\xff\xff", room=OTHER) == [Item(keys[1], b"other")]
            assert read(b"", b"\xff\xff", room=OTHER + 64) == []

    def test_a_message_shows_its_reactions_by_emoji_in_the_order_in_which_each_came_up(self, store: Store) -> None:
        self.put(store, "reactions", *_liked(3, 1, ANN), *_liked(3, 2, ANN, emoji="❤️"), *_liked(99, 3, BOB))
        self.put(store, "reactions", *_liked(3, 4, BOB, since=1, accounts=(ANN, BOB)))
        shown = asyncio.run(store.reads.shown_reactions(ROOM, 1, 98))
        assert shown.by_seq.keys() == {3}
        assert msgspec.json.decode(shown.by_seq[3]) == [
            {"emoji": "👍", "count": 2, "accounts": [ANN, BOB]},
            {"emoji": "❤️", "count": 1, "accounts": [ANN]},
        ]
        assert asyncio.run(store.reads.shown_reactions(ROOM, 1, 200)).by_seq.keys() == {3, 99}
        assert asyncio.run(store.reads.shown_reactions(OTHER, 1, 200)).by_seq == {}
        both = asyncio.run(store.reads.shown_reactions(ROOM, 1, 99)).by_seq
        assert asyncio.run(store.reads.reactions_of(ROOM, [99, 3, 4, 1])) == both
        assert asyncio.run(store.reads.reactions_of(ROOM, [4, 99])) == {99: both[99]}
        assert asyncio.run(store.reads.reactions_of(OTHER, [3, 0, 2**53])) == {}

    def test_each_change_of_a_reaction_gives_the_page_another_version(self, store: Store) -> None:
        versions = [asyncio.run(store.reads.shown_reactions(ROOM, 1, 50)).version]
        for writes in (_liked(3, 1, ANN), _unliked(3, 1, 2, ANN), _liked(3, 3, ANN), _liked(7, 4, ANN)):
            self.put(store, "reactions", *writes)
            versions.append(asyncio.run(store.reads.shown_reactions(ROOM, 1, 50)).version)
        self.put(store, "reactions", *_liked(51, 5, ANN))
        assert asyncio.run(store.reads.shown_reactions(ROOM, 1, 50)).version == versions[-1]
        assert sorted(set(versions)) == versions

    def test_a_member_is_told_that_a_room_has_reactions(self, store: Store) -> None:
        self.room(store)
        self.put(store, "memberships", UpsertMember(ROOM, ANN, "member", 0))
        self.put(store, "reactions", *_liked(3, 1, ANN))
        access = asyncio.run(store.reads.access(ROOM, ANN))
        assert access is not None and access.reactions != 0
        if access.reactions is not None:  # else the tables do not tell
            before = access.reactions
            self.put(store, "reactions", *_liked(3, 2, BOB))
            access = asyncio.run(store.reads.access(ROOM, ANN))
            assert access is not None and access.reactions is not None and access.reactions > before

    def test_reactions_are_listed_oldest_first(self, store: Store) -> None:
        accounts = range(1_000, 1_007)
        self.put(store, "reactions", *(w for n, each in enumerate(accounts, 1) for w in _liked(3, n, each)))
        self.put(store, "reactions", *_unliked(3, 2, 8, 1_001), *_liked(3, 9, 1_001), *_liked(3, 10, 1_001, emoji="❤️"))
        rows = asyncio.run(store.reads.reactions(ROOM, 3, None, 0, 99))
        assert [row.account_id for row in rows] == [1_000, *range(1_002, 1_007), 1_001, 1_001]
        assert rows[-1] == ReactionRow(10, "❤️", 1_001, NOON)
        assert asyncio.run(store.reads.reactions(ROOM, 3, None, 0, 2)) == rows[:2]
        assert asyncio.run(store.reads.reactions(ROOM, 3, None, rows[1].revision, 3)) == rows[2:5]
        assert asyncio.run(store.reads.reactions(ROOM, 3, "❤️", 0, 9)) == rows[-1:]
        assert asyncio.run(store.reads.reactions(ROOM, 3, "👍", rows[0].revision, 2)) == rows[1:3]
        assert asyncio.run(store.reads.reactions(ROOM, 4, None, 0, 9)) == []

    def test_what_an_owner_must_know_of_a_messages_reactions_is_read_at_once(self, store: Store) -> None:
        assert asyncio.run(store.reads.known_reactions(ROOM, 3, "👍", [ANN])) == KnownReactions(0)
        self.put(store, "reactions", *_liked(3, 1, ANN), *_liked(3, 2, BOB, emoji="❤️"))
        known = asyncio.run(store.reads.known_reactions(ROOM, 3, "👍", [ANN, BOB]))
        assert sorted(known.kinds) == ["❤️", "👍"]
        assert (known.revision, known.reacted, known.kind_revision) == (2, ((ANN, 1),), 1)
        assert (known.count, known.since, known.accounts) == (1, 1, (ANN,))
        self.put(store, "reactions", *_unliked(3, 1, 3, ANN))
        assert asyncio.run(store.reads.known_reactions(ROOM, 3, "👍", [ANN])) == KnownReactions(3, ("❤️",))

    def test_an_owner_is_told_who_is_shown_when_those_that_are_shown_are_gone(self, store: Store) -> None:
        accounts = tuple(range(1_000, 1_060))
        for n, account_id in enumerate(accounts, 1):
            self.put(store, "reactions", *_liked(3, n, account_id, since=1, accounts=accounts[: min(n, 20)], count=n))
        known = asyncio.run(store.reads.known_reactions(ROOM, 3, "👍", [accounts[7]]))
        assert (known.count, known.accounts, known.reacted) == (60, accounts[:52], ((accounts[7], 8),))

    def test_everything_can_be_walked_through(self, store: Store) -> None:
        self.put(
            store, "accounts", UpsertAccount(ANN, "Ann", "member", NOON), UpsertAccount(BOB, "Bob", "member", NOON)
        )
        self.room(store)
        self.put(store, "rooms", SetRoomActivity(ROOM, 3, NOON))
        assert [row.account_id for row in asyncio.run(store.reads.accounts(ANN, 10))] == [BOB]
        assert [row.room_id for row in asyncio.run(store.reads.all_rooms(0, 10))] == [ROOM]

    def test_a_projector_that_stands_elsewhere_is_turned_away(self, store: Store) -> None:
        before = store.tables.cursor("timeline")
        self.put(store, "timeline", UpsertMessage(ROOM, 1, b"first"))
        with pytest.raises(StaleProjector):
            store.tables.apply("timeline", before, store.cursor(9), [UpsertMessage(ROOM, 1, b"again")])
        assert asyncio.run(store.reads.message(ROOM, 1)) == b"first"

    def test_reads_show_what_every_projection_has_applied(self, store: Store) -> None:
        for projection in READ_MODELS:
            assert asyncio.run(store.reads.applied(0)) == 0
            before = store.tables.cursor(projection)
            store.tables.apply(projection, before, store.cursor(5), [])
        assert asyncio.run(store.reads.applied(0)) == 5

    def test_how_far_some_projections_have_got_is_known_without_the_others(self, store: Store) -> None:
        first = {"timeline": 1, "memberships": 3, "accounts": 4, "rooms": 2}
        for projection in READ_MODELS:
            offset = first.get(projection, 5)
            store.tables.apply(projection, store.tables.cursor(projection), store.cursor(offset), [])
        for projections, offset in ((None, 1), (["accounts", "memberships"], 3), (["accounts"], 4)):
            applied = asyncio.run(store.reads.applied_everywhere(2, projections))
            assert {partition: at.offset for partition, at in applied.items()} == {0: offset, 1: offset}

    def test_a_rebuild_is_seen_only_when_it_is_finished(self, store: Store) -> None:
        self.put(store, "timeline", UpsertMessage(ROOM, 1, b"old"), UpsertMessage(ROOM, 2, b"stray"))
        shadow = store.tables.begin_rebuild("timeline")
        assert store.tables.cursor(shadow)[0].offset == 0
        store.tables.apply(shadow, store.tables.cursor(shadow), store.cursor(4), [UpsertMessage(ROOM, 1, b"new")])
        assert asyncio.run(store.reads.page(ROOM, 1, 9)).messages == [b"old", b"stray"]
        store.tables.finish_rebuild("timeline", lambda: True)
        assert asyncio.run(store.reads.page(ROOM, 1, 9)).messages == [b"new"]
        assert store.tables.cursor("timeline")[0].offset == 4

    @pytest.mark.parametrize("projection", [*READ_MODELS])
    def test_every_projection_can_be_rebuilt_again_and_again(self, store: Store, projection: str) -> None:
        for _ in range(3):
            store.tables.begin_rebuild(projection)
            store.tables.begin_rebuild(projection)  # the first one was given up
            store.tables.finish_rebuild(projection, lambda: True)

    def test_a_stopped_projection_says_why(self, store: Store) -> None:
        assert store.tables.why_stopped("timeline") is None
        store.tables.stopped("timeline", "cannot apply offset 7")
        assert store.tables.why_stopped("timeline") == "cannot apply offset 7"
        store.tables.stopped("timeline", None)
        assert store.tables.why_stopped("timeline") is None

    def messages(self, store: Store, *seqs: int) -> None:
        self.put(store, "timeline", *(UpsertMessage(ROOM, seq, b"%d" % seq) for seq in seqs))

    def summary(self, store: Store) -> RoomSummaryRow:
        """Ann's one room, as the list of rooms has it, and as it is asked for by itself."""
        (row,) = asyncio.run(store.reads.summaries_of(ANN, [ROOM]))
        assert asyncio.run(store.reads.rooms_of(ANN, None, 10)) == [row]
        return row

    def room(self, store: Store) -> None:
        self.put(store, "rooms", UpsertRoom(ROOM, "group", "Tea", "", NOON, None, None), SetRoomActivity(ROOM, 0, NOON))


def _liked(
    seq: int,
    revision: int,
    account_id: int,
    *,
    emoji: str = "👍",
    since: int = 0,
    accounts: tuple[int, ...] = (),
    count: int = 0,
) -> tuple[Write, ...]:
    accounts = accounts or (account_id,)
    shown = encode(ShownReaction(emoji, count or len(accounts), accounts))
    return (
        PutReaction(ROOM, seq, revision, emoji, account_id, NOON),
        ShowReaction(ROOM, seq, emoji, since or revision, revision, shown),
        SetReactionRevision(ROOM, revision),
    )


def _unliked(seq: int, reacted: int, revision: int, account_id: int) -> tuple[Write, ...]:
    """Its account was the only one."""
    return (
        DropReaction(ROOM, seq, reacted, "👍", account_id),
        ShowReaction(ROOM, seq, "👍", reacted, revision, b""),
        SetReactionRevision(ROOM, revision),
    )


class StreamReadStoreContract(ReadStoreContract):
    """For tables that consumers keep up to date."""

    def test_a_projection_shows_what_another_one_confirms(self, store: Store) -> None:
        first = {"memberships": 3, "accounts": 2}
        for projection in READ_MODELS.keys() - {"timeline"}:
            offset = first.get(projection, 9)
            store.tables.apply(projection, store.tables.cursor(projection), store.cursor(offset), [])
        quiet = {0: {"memberships": 3, "accounts": 3}, 1: {"memberships": 1, "accounts": 2}}
        tables = cast(ConsumerTables, store.tables)
        tables.apply("timeline", tables.cursor("timeline"), store.cursor(5), [], quiet)
        assert [asyncio.run(store.reads.applied(partition)) for partition in (0, 1)] == [2, 5]
        applied = asyncio.run(store.reads.applied_everywhere(2, ["memberships"]))
        assert applied == {partition: store.cursor(5)[partition] for partition in (0, 1)}
        before = store.tables.cursor("timeline")
        store.tables.apply("timeline", before, store.cursor(6), [])
        assert [asyncio.run(store.reads.applied(partition)) for partition in (0, 1)] == [2, 2]
