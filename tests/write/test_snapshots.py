"""Snapshots keep what an aggregate is, in bytes that earlier versions wrote and read."""

import msgspec
import pytest
from immutables import Map

from falcon.domain.account import Account, directs_of
from falcon.domain.reactions import ReactionChange
from falcon.domain.room import Member, Room, members_of
from falcon.write.snapshots import Aggregate, decode_aggregate, encode_aggregate

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
    reaction_revision=9,
    reaction_changes=(ReactionChange(5, "👍", 1_001, 9, 1_700_000_001_000, 2, 7, 9),),
    reactions_forgotten=8,
    imported=True,
    admins=1,
)
ACCOUNT = Account(1_000, "Ann", True, Map({2: "hash"}), 2, directs_of([(1_001, 128)]))
# The bytes of version 5 of the snapshots.
STORED_ROOM = [
    "room",
    [
        *(64, "group", "Tea kitchen", "All about tea", 1_700_000_000_000, 7, 2, [[3, 1], [5, 2]], 1),
        *(9, [[5, "👍", 1_001, 9, 1_700_000_001_000, 2, 7, 9]], 8, True, False, 1),
    ],
    [[1_000, "admin", 5], [1_001, "member", 3]],
    None,
]
STORED_ACCOUNT = ["account", [1_000, "Ann", True, 2], [[2, "hash"]], [[1_001, 128]], None]


def no_part(name: str) -> bytes:
    raise AssertionError(f"a small aggregate has no parts, and {name} was read")


@pytest.mark.parametrize(("aggregate", "stored"), [(ROOM, STORED_ROOM), (ACCOUNT, STORED_ACCOUNT)])
def test_an_aggregate_is_written_as_version_5_has_it_and_read_again(aggregate: Aggregate, stored: list[object]) -> None:
    written = msgspec.msgpack.decode(encode_aggregate(aggregate))
    assert [sorted(part) if part is written[-2] else part for part in written] == stored
    assert decode_aggregate(msgspec.msgpack.encode(stored), no_part) == aggregate


@pytest.mark.parametrize("aggregate", [ROOM, ACCOUNT])
def test_every_field_of_an_aggregate_is_kept(aggregate: Aggregate) -> None:
    """Each of them differs from its default."""
    for field in msgspec.structs.fields(type(aggregate)):
        if field.name != "deleted":
            assert getattr(aggregate, field.name) != field.default, field.name
    assert decode_aggregate(encode_aggregate(aggregate), no_part) == aggregate
