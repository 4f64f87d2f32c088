"""Settings reach Kafka's clients and topics."""

import asyncio
from typing import Any
from unittest.mock import patch

import pytest

from falcon.adapters.kafka import cluster as kafka
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.reader import Reader
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HBASE_COMPRESSION", "ZSTD,NONE"),
    ],
)
def test_a_setting_that_the_servers_cannot_take_is_refused(name: str, value: str) -> None:
    with pytest.raises(WrongSettings, match=rf"FALCON_{name}\S*: must be"):
        cluster(**{f"FALCON_{name}": value})
