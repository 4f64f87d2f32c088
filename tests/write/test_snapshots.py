"""Snapshots keep what an aggregate is, in bytes that earlier versions wrote and read."""

from contextlib import nullcontext
from datetime import datetime
from typing import Any, Literal
from unittest.mock import Mock

import msgspec
import pytest
from immutables import Map
from msgspec.structs import replace

from falcon.domain.events import PassedOver
from falcon.features.accounts.rules import Account, Token, directs_of
from falcon.features.claims.rules import Claims, TextClaim
from falcon.features.owners.rules import FormerOwners
from falcon.features.reactions.rules import ReactionChange, RoomReactions
from falcon.features.rooms.rules import Member, Room, Thread, members_of
from falcon.journal.envelope import Envelope, Position, Recorded
from falcon.write.limits import ShardLimits
from falcon.write.partition_aggregates import PartitionAggregates
from falcon.write.snapshots import (
    VERSION,
    Aggregate,
    PartMissing,
    decode_aggregate,
    decode_state,
    encode_aggregate,
    encode_state,
)
from falcon.write.state_version import version_of

ROOM = Room(
    room_id=64,
    kind="group",
    name="Tea kitchen",
    description="All about tea",
    created_at=1_700_000_000_000,
    members=members_of([(1_000, Member("admin", 5)), (1_001, Member("member", 3))]),
    last_seq=7,
    revision=2,
    changes=((3, 1), (5, 2)),
    forgotten=1,
    imported=True,
    admins=1,
    member_left=True,
    last_mention=7,
    open=True,
    default=True,
    thread=Thread(128, 3, 1_700_000_002_000, (1_001,), (1_000,)),
    features=Map({"reactions": RoomReactions(9, (ReactionChange(5, "👍", 1_001, 9, 1_700_000_001_000, 2, 7, 9),), 8)}),
)
ACCOUNT = Account(
    *(1_000, "Ann", "owner", 1_700_000_000_000, "Tea taster", "Mornings", "ann", "ann@example.org", True, True, 3),
    unshown=(("handle", "anna"),),
    role_changes=1,
    tokens={2: Token("hash", "session", ("read",), 1_700_000_009_000, 1_001, 20_782)},
    tokens_issued=2,
    directs=directs_of([(1_001, 128)]),
    features=Map({"reactions": RoomReactions(9)}),
)
CLAIMS = Claims({"ann": TextClaim(1_000, 3)})
OWNERS = FormerOwners({1_000: 1})
# The version of the states below. If VERSION differs, all that owners have stored is void, and they read the whole log.
STORED_VERSION = 3955875858
STORED_REACTIONS_VERSION = 1398731215
STORED_REACTIONS = msgspec.msgpack.encode([9, [[5, "👍", 1_001, 9, 1_700_000_001_000, 2, 7, 9]], 8])
STORED_ROOM = [
    "room",
    [
        *(64, "group", "Tea kitchen", "All about tea", 1_700_000_000_000, 7, 2, [[3, 1], [5, 2]], 1),
        *(True, False, 1, True, True, True, [128, 3, 1_700_000_002_000, [1_001], [1_000]]),
    ],
    [[1_000, ["admin", 5]], [1_001, ["member", 3]]],
    None,
    [["reactions", STORED_REACTIONS_VERSION, STORED_REACTIONS]],
    [],
]
STORED_ACCOUNT = [
    "account",
    [
        *(1_000, "Ann", "owner", 1_700_000_000_000, "Tea taster", "Mornings", "ann", "ann@example.org", True, True, 3),
        *([["handle", "anna"]], 1, {2: ["hash", "session", ["read"], 1_700_000_009_000, 1_001, 20_782]}, 2),
    ],
    [[1_001, 128]],
    None,
    [["reactions", STORED_REACTIONS_VERSION, msgspec.msgpack.encode([9, [], 0])]],
    [],
]
STORED_CLAIMS = ["claims", [{"ann": [1_000, 3]}], [], None, [], []]
STORED_OWNERS = ["owners", [{1_000: 1}], [], None, [], []]
STORED = [(ROOM, STORED_ROOM), (ACCOUNT, STORED_ACCOUNT), (CLAIMS, STORED_CLAIMS), (OWNERS, STORED_OWNERS)]


def no_part(name: str) -> bytes:
    raise AssertionError(f"a small aggregate has no parts, and {name} was read")


@pytest.mark.parametrize(("aggregate", "stored"), STORED)
def test_an_aggregate_is_written_as_its_version_has_it_and_read_again(
    aggregate: Aggregate, stored: list[object]
) -> None:
    written = msgspec.msgpack.decode(encode_aggregate(aggregate), strict=False)
    written[2].sort()
    assert written == stored
    assert decode_aggregate(msgspec.msgpack.encode(stored), no_part) == aggregate


@pytest.mark.parametrize("aggregate", [ROOM, ACCOUNT, CLAIMS, OWNERS])
def test_every_field_of_an_aggregate_is_kept(aggregate: Aggregate) -> None:
    """Each of them differs from its default."""
    for field in msgspec.structs.fields(type(aggregate)):
        if field.name != "deleted":
            assert getattr(aggregate, field.name) != field.default, field.name
    assert decode_aggregate(encode_aggregate(aggregate), no_part) == aggregate


def test_a_room_that_was_stored_before_a_feature_came_has_nothing_of_it() -> None:
    before = [*STORED_ROOM[:4], [], []]
    assert decode_aggregate(msgspec.msgpack.encode(before), no_part) == replace(ROOM, features=Map())


@pytest.mark.parametrize(
    "stored",
    [
        [*STORED_ROOM[:4], [["reactions", STORED_REACTIONS_VERSION + 1, STORED_REACTIONS]], []],
        [*STORED_ROOM[:4], [["dances", 1, b""]], []],
        [*STORED_ROOM[:5], ["room-painted.v1", "reaction-added.v1"]],
    ],
    ids=["of other fields", "of a feature that this Falcon does not know", "by an owner that knew no reactions"],
)
def test_a_feature_that_was_stored_otherwise_is_read_from_the_log(stored: list[object]) -> None:
    with pytest.raises(PartMissing, match=r"reactions as another|dances as another|passed over reaction-added\.v1"):
        decode_aggregate(msgspec.msgpack.encode(stored), no_part)


def test_a_checkpoint_tells_which_events_its_owner_has_passed_over() -> None:
    store = Mock()
    store.load.return_value = None
    old = PartitionAggregates(0, 64, store, ShardLimits())
    old.restore_nothing()
    old.replay(Recorded(0, Envelope(0, 1, 1, 5, PassedOver("room-painted", 1))))
    old.begin(Position(1, 2, 0), 5)
    assert old.capture()
    state = decode_state(old.checkpoint().state)
    assert state.unknown == ("room-painted.v1",)
    for kinds, trusted in ((state.unknown, True), ((*state.unknown, "reaction-added.v1"), False)):
        store.checkpoint.return_value = Mock(state=encode_state(replace(state, unknown=kinds)), position=Position(1))
        store.answers.return_value = ()
        new = PartitionAggregates(0, 64, store, ShardLimits())
        with nullcontext() if trusted else pytest.raises(PartMissing):
            new.restore()


# --- the version ------------------------------------------------------------------------------------------------------


def state(
    name: str = "Room", fields: tuple[tuple[str, Any], ...] = (("seq", int), ("name", str)), **how: Any
) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, fields, **how)


def test_a_stored_state_counts_for_as_long_as_states_are_made_as_it_was() -> None:
    assert VERSION == STORED_VERSION


@pytest.mark.parametrize(
    "changed",
    [
        state(fields=(("seq", int), ("name", str), ("kind", str))),
        state(fields=(("seq", int),)),
        state(fields=(("name", str), ("seq", int))),
        state(fields=(("last_seq", int), ("name", str))),
        state(fields=(("seq", str), ("name", str))),
        state(fields=(("seq", int), ("name", str | None))),
        state(fields=(("seq", int), ("name", Literal["tea"]))),
        state(name="Account"),
        state(array_like=True),
        state(tag="room"),
    ],
)
def test_a_state_of_other_fields_has_another_version(changed: type[msgspec.Struct]) -> None:
    assert version_of([changed]) != version_of([state()])
    within = tuple[int, list[changed]], tuple[int, list[state()]]  # type: ignore[valid-type, misc]
    assert version_of(within[:1]) != version_of(within[1:]), "also within what else is stored"


def test_what_changes_no_stored_byte_changes_no_version() -> None:
    defaults = state(fields=(("seq", int), ("name", str)), module="elsewhere")
    assert version_of([defaults]) == version_of([state()])
    named = msgspec.defstruct("Room", [("seq", int, 7), ("name", str, "Tea kitchen")])
    assert version_of([named]) == version_of([state()])


def test_each_further_type_and_number_makes_another_version() -> None:
    assert len({version_of([state()]), version_of([state(), int]), version_of([state()], 1), version_of([], 1)}) == 4


def test_a_type_that_cannot_be_described_is_a_fault() -> None:
    with pytest.raises(TypeError, match="no description"):
        version_of([state(fields=(("names", dict[str, datetime]),))])
