"""Snapshots keep what an aggregate is, in bytes that earlier versions wrote and read."""

from typing import Any, Literal

import msgspec
import pytest
from immutables import Map

from falcon.features.accounts.rules import Account, directs_of
from falcon.features.reactions.change import ReactionChange
from falcon.features.rooms.rules import Member, Room, members_of
from falcon.write.snapshots import VERSION, Aggregate, decode_aggregate, encode_aggregate
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
    reaction_revision=9,
    reaction_changes=(ReactionChange(5, "👍", 1_001, 9, 1_700_000_001_000, 2, 7, 9),),
    reactions_forgotten=8,
    imported=True,
    admins=1,
    member_left=True,
    last_mention=7,
)
ACCOUNT = Account(1_000, "Ann", True, Map({2: "hash"}), 2, directs_of([(1_001, 128)]))
# The version of the states below. If VERSION differs, all that owners have stored is void, and they read the whole log.
STORED_VERSION = 1271978544
STORED_ROOM = [
    "room",
    [
        *(64, "group", "Tea kitchen", "All about tea", 1_700_000_000_000, 7, 2, [[3, 1], [5, 2]], 1),
        *(9, [[5, "👍", 1_001, 9, 1_700_000_001_000, 2, 7, 9]], 8, True, False, 1, True),
    ],
    [[1_000, "admin", 5], [1_001, "member", 3]],
    None,
]
STORED_ACCOUNT = ["account", [1_000, "Ann", True, 2], [[2, "hash"]], [[1_001, 128]], None]


def no_part(name: str) -> bytes:
    raise AssertionError(f"a small aggregate has no parts, and {name} was read")


@pytest.mark.parametrize(("aggregate", "stored"), [(ROOM, STORED_ROOM), (ACCOUNT, STORED_ACCOUNT)])
def test_an_aggregate_is_written_as_its_version_has_it_and_read_again(
    aggregate: Aggregate, stored: list[object]
) -> None:
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
        version_of([state(fields=(("names", dict[str, str]),))])
