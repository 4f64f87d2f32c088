"""Which partition decides a command."""

import pytest

from falcon.features.catalogue import Command
from falcon.features.messages.rules import PostMessage
from falcon.features.rooms.rules import CreateRoom, OpenDirect
from falcon.write.gateway import partition_for


@pytest.mark.parametrize(
    "command", [CreateRoom(1, "Tea"), PostMessage(1, 130, "hello"), OpenDirect(7, 3)], ids=lambda c: type(c).__name__
)
def test_a_retry_goes_where_the_first_try_went(command: Command) -> None:
    assert len({partition_for(command, 1, "key", 64) for _ in range(10)}) == 1


def test_a_room_is_asked_where_it_lives() -> None:
    assert partition_for(PostMessage(1, 130, "hello"), 1, None, 64) == 2


def test_both_of_a_pair_ask_the_same_owner() -> None:
    assert partition_for(OpenDirect(7, 3), 7, None, 64) == partition_for(OpenDirect(3, 7), 3, "k", 64) == 3


def test_new_rooms_are_spread_over_the_partitions() -> None:
    partitions = {partition_for(CreateRoom(1, "Tea"), 1, f"key {i}", 64) for i in range(1_000)}
    assert partitions == set(range(64))
