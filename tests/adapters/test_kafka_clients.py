"""Settings reach Kafka's clients and topics."""

import asyncio
from typing import Any
from unittest.mock import patch

import pytest

from falcon.adapters.kafka import cluster as kafka
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.reader import Reader
from falcon.adapters.kafka.topics import _as_made, topics
from falcon.run.bootstrap.servers import kafka_cluster
from falcon.run.settings import Settings, WrongSettings


def cluster(**environ: str) -> KafkaCluster:
    return kafka_cluster(Settings.from_env({"FALCON_KAFKA": "kafka:9092", **environ}))


def producer_settings(cluster: KafkaCluster) -> dict[str, Any]:
    with patch.object(kafka, "AIOKafkaProducer") as made, patch.object(kafka, "secure"):
        cluster.producer()
    return dict(made.call_args.kwargs)


def reader_settings(cluster: KafkaCluster, topic: str) -> dict[str, Any]:
    """The settings of the consumer that reads a topic."""

    class Refused(Exception):
        pass

    async def read() -> None:
        with pytest.raises(Refused):
            await Reader(cluster, topic)._started()

    with patch.object(kafka, "_Consumer", side_effect=Refused) as made:
        asyncio.run(read())
    return dict(made.call_args.kwargs)


def test_batches_are_compressed_with_zstd() -> None:
    assert producer_settings(cluster())["compression_type"] == "zstd"


def test_consumers_say_in_which_rack_they_are() -> None:
    known = cluster(FALCON_KAFKA_RACK="zone-a")
    for topic in (known.journal, known.snapshots, known.owners):
        assert reader_settings(known, topic)["client_rack"] == "zone-a"
    assert reader_settings(cluster(), known.journal)["client_rack"] is None


def test_the_journal_and_the_cuts_are_made_with_tiered_storage_and_nothing_else_is() -> None:
    tiered = cluster(FALCON_KAFKA_LOCAL_RETENTION_SECONDS="259200")
    as_made = {topic.name: _as_made(topic) for topic in topics(tiered)}
    for kept in (as_made.pop(tiered.journal), as_made.pop(tiered.cuts)):
        assert kept["remote.storage.enable"] == "true"
        assert kept["local.retention.ms"] == "259200000"
    for made in (*as_made.values(), *map(_as_made, topics(cluster()))):
        assert "remote.storage.enable" not in made
        assert "local.retention.ms" not in made


def test_an_existing_journal_need_not_have_tiered_storage() -> None:
    tiered, plain = cluster(FALCON_KAFKA_LOCAL_RETENTION_SECONDS="3600"), cluster()
    assert [each.settings for each in topics(tiered)] == [each.settings for each in topics(plain)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_LOCAL_RETENTION_SECONDS", "60"),
        ("HBASE_COMPRESSION", "ZSTD,NONE"),
    ],
)
def test_a_setting_that_the_servers_cannot_take_is_refused(name: str, value: str) -> None:
    with pytest.raises(WrongSettings, match=rf"FALCON_{name}\S*: must be"):
        cluster(**{f"FALCON_{name}": value})
