"""The topics: made by ``prepare``, and refused where they could lose or reorder what they were given."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, for_code

from falcon.adapters.kafka.cluster import CLIENT_ERRORS, MESSAGE_BYTES_MAX, KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer
from falcon.adapters.kafka.reader import Reader, read_compacted
from falcon.journal import naming
from falcon.journal.ports import JournalUnavailable

_INSTANCE: Final = b"instance"
_TOPIC_EXISTS: Final = 36
_UNKNOWN_TOPIC: Final = 3
_LEADERS_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.1
_CHECK_SECONDS: Final = 15.0
_CHECK_PAUSE_SECONDS: Final = 0.5

# Whoever reads a compacted topic reads it within this time; newer records hide no older ones from it.
_COMPACTION_LAG_MILLIS: Final = 3_600_000
# Who types is not remembered: each signal is read at once, or not at all.
_SIGNALS_MILLIS: Final = 600_000


class WrongTopics(Exception):
    """The topics are not as Falcon needs them; a line for each fault, with what to do. Nothing was changed."""


class Topic(msgspec.Struct, frozen=True):
    name: str
    partitions: int
    settings: dict[str, str]


def topics(cluster: KafkaCluster) -> list[Topic]:
    safe = {"unclean.leader.election.enable": "false", "max.message.bytes": str(MESSAGE_BYTES_MAX)}
    compacted = {**safe, "cleanup.policy": "compact", "min.compaction.lag.ms": str(_COMPACTION_LAG_MILLIS)}
    journal = {
        **safe,
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
    }
    return [
        Topic(cluster.journal, cluster.partitions, journal),
        Topic(cluster.snapshots, cluster.partitions, compacted),
        # The brokers' time in it is what an owner compares its own with.
        Topic(cluster.owners, 1, {**compacted, "message.timestamp.type": "LogAppendTime"}),
        Topic(cluster.signals, 1, {"cleanup.policy": "delete", "retention.ms": str(_SIGNALS_MILLIS)}),
    ]


async def prepare(cluster: KafkaCluster, replicas: int) -> str:
    """Make the topics that are missing, ``replicas`` copies each; gives the log's name, made with it.

    Doing it again changes nothing. Raises WrongTopics for those that are there and are otherwise, JournalUnavailable.
    """
    async with _Admin(cluster) as admin:
        described = await _describe(admin, topics(cluster))
        missing = [topic for topic in topics(cluster) if topic.name not in described]
        _refuse(_faults(topics(cluster), described, await _settings(admin, described)))
        if missing:
            await _create(admin, missing, replicas)
            await _await_leaders(admin, topics(cluster))
    return await instance(cluster) or await _name(cluster, naming.new_name())


async def rename(cluster: KafkaCluster) -> str:
    """Another name for a log that was restored from an older copy. Raises WrongTopics, JournalUnavailable."""
    return await _name(cluster, naming.renamed(await check(cluster)))


async def check(cluster: KafkaCluster) -> str:
    """The log's name. Raises WrongTopics, also where they are missing; JournalUnavailable.

    A broker that is away for a moment is waited for; where none answers at all, the address may be wrong.
    """
    until = time.monotonic() + _CHECK_SECONDS
    while True:
        try:
            return await _check(cluster)
        except JournalUnavailable as error:
            if isinstance(error.__cause__, KafkaConnectionError) or time.monotonic() > until:
                raise
            await asyncio.sleep(_CHECK_PAUSE_SECONDS)


async def _check(cluster: KafkaCluster) -> str:
    async with _Admin(cluster) as admin:
        described = await _describe(admin, topics(cluster))
        faults = [
            f"topic {topic.name} is not there: run falcon prepare, or correct FALCON_KAFKA or FALCON_KAFKA_PREFIX"
            for topic in topics(cluster)
            if topic.name not in described
        ]
        _refuse([*faults, *_faults(topics(cluster), described, await _settings(admin, described))])
    name = await instance(cluster)
    if name is None:
        raise WrongTopics(f"topic {cluster.owners} does not name the log: run falcon prepare")
    return name


async def instance(cluster: KafkaCluster) -> str | None:
    """The log's name; None where it has none yet. Raises JournalUnavailable."""
    reader = Reader(cluster, cluster.owners)
    try:
        end = (await reader.ends([0]))[0]
    finally:
        await reader.close()
    names: list[bytes | None] = []

    def take(partition: int, key: bytes, value: bytes | None) -> None:
        if key == _INSTANCE:
            names.append(value)

    if end:
        await read_compacted(cluster, cluster.owners, {0: end - 1}, take)
    return names[-1].decode() if names and names[-1] else None


async def _name(cluster: KafkaCluster, name: str) -> str:
    producer = Producer(cluster)
    try:
        await producer.write(cluster.owners, 0, [(_INSTANCE, name.encode())])
    except NotWritten as error:
        raise JournalUnavailable(f"cannot name the log: {error}") from error
    finally:
        await producer.close()
    return name


# --- faults -----------------------------------------------------------------------------------------------------------


def _faults(
    wanted: Iterable[Topic], described: Mapping[str, Any], settings: Mapping[str, Mapping[str, str]]
) -> list[str]:
    faults: list[str] = []
    for topic in wanted:
        if topic.name in described:
            faults += _partition_faults(topic, described[topic.name]["partitions"])
            faults += _setting_faults(topic, settings[topic.name], described[topic.name]["partitions"])
    return faults


def _partition_faults(topic: Topic, partitions: list[dict[str, Any]]) -> list[str]:
    count = len(partitions)
    if count == topic.partitions:
        return []
    return [
        f"topic {topic.name} has {count} partitions, not {topic.partitions}: their number is fixed for ever, since ids "
        f"carry their partition; set FALCON_PARTITIONS={count}, or another FALCON_KAFKA_PREFIX for a log of its own"
    ]


def _setting_faults(topic: Topic, found: Mapping[str, str], partitions: list[dict[str, Any]]) -> list[str]:
    faults = [
        f"topic {topic.name} has {name}={found.get(name)}, which could lose messages or hide them: set it to {value}"
        for name, value in topic.settings.items()
        if found.get(name) != value
    ]
    replicas = min(len(partition["replicas"]) for partition in partitions)
    in_sync = int(found.get("min.insync.replicas", "1"))
    if replicas > 1 and in_sync < 2:
        faults.append(
            f"topic {topic.name} has min.insync.replicas={in_sync}: with {replicas} replicas it must be at least 2, "
            "or the loss of one broker loses acknowledged messages"
        )
    return faults


def _refuse(faults: list[str]) -> None:
    if faults:
        raise WrongTopics("\n".join(faults))


# --- the brokers' side ------------------------------------------------------------------------------------------------


class _Admin:
    """Raises JournalUnavailable for what the brokers are at fault of within the block."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._admin = cluster.admin()

    async def __aenter__(self) -> AIOKafkaAdminClient:
        try:
            await self._admin.start()
        except CLIENT_ERRORS as error:
            await self._admin.close()
            raise self._unavailable(error) from error
        return self._admin

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self._admin.close()
        if isinstance(error, CLIENT_ERRORS):
            raise self._unavailable(error) from error

    def _unavailable(self, error: BaseException) -> JournalUnavailable:
        brokers = ",".join(self._cluster.brokers)
        return JournalUnavailable(f"no Kafka answers at {brokers} ({error}): start it, or correct FALCON_KAFKA")


async def _describe(admin: AIOKafkaAdminClient, wanted: Iterable[Topic]) -> dict[str, Any]:
    """Those that are there."""
    described = await admin.describe_topics([topic.name for topic in wanted])
    return {topic["topic"]: topic for topic in described if topic["error_code"] != _UNKNOWN_TOPIC}


async def _settings(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    settings: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            if code:
                raise for_code(code)(message)
            settings[name] = {entry[0]: entry[1] for entry in entries}
    return settings


async def _create(admin: AIOKafkaAdminClient, missing: Iterable[Topic], replicas: int) -> None:
    in_sync = {"min.insync.replicas": str(min(2, replicas))}
    response = await admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, replicas, topic_configs={**topic.settings, **in_sync})
            for topic in missing
        ]
    )
    for name, code, *message in response.topic_errors:
        if code not in (0, _TOPIC_EXISTS):  # somebody else may be preparing as well
            raise WrongTopics(f"topic {name} could not be made: {message[0] if message else for_code(code).__name__}")


async def _await_leaders(admin: AIOKafkaAdminClient, wanted: list[Topic]) -> None:
    async with asyncio.timeout(_LEADERS_SECONDS):
        while True:
            described = await _describe(admin, wanted)
            counts = {
                name: len([p for p in topic["partitions"] if p["leader"] >= 0]) for name, topic in described.items()
            }
            if all(counts.get(topic.name) == topic.partitions for topic in wanted):
                return
            await asyncio.sleep(_POLL_SECONDS)
