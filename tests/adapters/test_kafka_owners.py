"""The edge finds the owner of a partition among the owners that have published themselves."""

import msgspec
import pytest

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.owners import Owner, Owners
from falcon.adapters.kafka.topics import LOG


@pytest.fixture
def owners() -> Owners:
    return Owners(KafkaCluster(("localhost:1",), 8))


def tells(owners: Owners, epoch: int, address: str) -> None:
    owners._apply(b"3", msgspec.json.encode(Owner(epoch, address)))


def test_the_owner_in_the_latest_epoch_counts_whoever_told_it_last(owners: Owners) -> None:
    tells(owners, 7, "new:1/0")
    tells(owners, 5, "old:1/0")
    assert owners.address(3) == "new:1/0"


def test_after_a_restore_the_owners_of_the_lost_history_do_not_count(owners: Owners) -> None:
    """The log ends earlier then, and so do its epochs."""
    owners._apply(LOG, b"a-log")
    tells(owners, 900, "old:1/0")
    owners._apply(LOG, b"a-log-1")
    tells(owners, 40, "new:1/0")
    assert owners.address(3) == "new:1/0"


def test_owners_stay_known_while_the_topic_is_read_again(owners: Owners) -> None:
    """As after a lost connection: commands continue meanwhile."""
    owners._apply(LOG, b"a-log")
    tells(owners, 7, "here:1/0")
    owners._apply(LOG, b"a-log")
    assert owners.address(3) == "here:1/0"
