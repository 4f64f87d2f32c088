"""The topics. ``prepare`` makes them. Roles refuse topics that could lose or reorder records."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from falcon.adapters.kafka.cluster import CLIENT_ERRORS, MESSAGE_BYTES_MAX, KafkaCluster
from falcon.adapters.kafka.producer import NotWritten, Producer
from falcon.adapters.kafka.reader import Reader, read_compacted
from falcon.adapters.kafka.security import AccessRefused
from falcon.journal import naming
from falcon.journal.format import FORMAT, refusal
from falcon.journal.ports import JournalUnavailable

log = logging.getLogger("falcon.kafka")

LOG: Final = b"log"  # key of the record with the log's name and format, among the owners
_BEFORE_FORMATS: Final = b"instance"  # key of the record that older versions wrote, with a name and no format
_LEADERS_SECONDS: Final = 30.0  # longer than the election of leaders for hundreds of new partitions
_POLL_SECONDS: Final = 0.1  # of a start only: soon enough, and cheap for the brokers
_CHECK_SECONDS: Final = 15.0  # brokers that start beside Falcon are there by then, or it says that they are not
_CHECK_PAUSE_SECONDS: Final = 0.5  # between two attempts of that

# A reader of a compacted topic must finish within this time; until then newer records hide no older ones from it.
_COMPACTION_LAG_MILLIS: Final = 3_600_000
# Kafka compacts no segment that is being written, and waits until half of the rest is new. So a takeover reads about
# twice the live records, and what was written in the time of a segment and the lag.
_COMPACTED_IN_TIME: Final = {
    "segment.ms": 600_000,
    "segment.bytes": 64 << 20,
    "max.compaction.lag.ms": 2 * _COMPACTION_LAG_MILLIS,
    "delete.retention.ms": _COMPACTION_LAG_MILLIS,
}
_KEPT: Final = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
# Signals and positions are read at once or not at all, so they need no retention.
_FLEETING_MILLIS: Final = 600_000

T = TypeVar("T")


class WrongTopics(Exception):
    """The topics are not as Falcon needs them. The message has a line for each fault, with what to do. Nothing was
    changed."""


class Topic(msgspec.Struct, frozen=True):
    """``settings``: required values. ``bounds``: upper limits; higher values cost time."""

    name: str
    partitions: int
    settings: dict[str, str]
    bounds: dict[str, int] = {}


class _Log(msgspec.Struct, frozen=True):
    name: str
    format: int | None


_logs: Final = msgspec.json.Decoder(_Log)
_encode: Final = msgspec.json.Encoder().encode


def topics(cluster: KafkaCluster) -> list[Topic]:
    safe = {"unclean.leader.election.enable": "false", "max.message.bytes": str(MESSAGE_BYTES_MAX)}
    compacted = {**safe, "cleanup.policy": "compact", "min.compaction.lag.ms": str(_COMPACTION_LAG_MILLIS)}
    journal = {**safe, **_KEPT, "message.timestamp.type": "LogAppendTime"}
    return [
        Topic(cluster.journal, cluster.partitions, journal),
        Topic(cluster.snapshots, cluster.partitions, compacted, _COMPACTED_IN_TIME),
        # An owner compares its clock with the brokers' time in this record.
        Topic(cluster.owners, 1, {**compacted, "message.timestamp.type": "LogAppendTime"}, _COMPACTED_IN_TIME),
        _fleeting(cluster.signals, 1),
        _fleeting(cluster.inboxes, cluster.partitions),
        _fleeting(cluster.applied, 1),
        Topic(cluster.cuts, 1, {**safe, **_KEPT}),
    ]


def _fleeting(name: str, partitions: int) -> Topic:
    kept = {"cleanup.policy": "delete", "retention.ms": str(_FLEETING_MILLIS)}
    # Kafka drops nothing from a segment that is being written.
    return Topic(name, partitions, kept, {"segment.ms": _FLEETING_MILLIS})


async def prepare(cluster: KafkaCluster, replicas: int) -> str:
    """Make the missing topics with ``replicas`` copies each. Returns the log's name, which is made with it.

    Existing topics are left as they are. Raises WrongTopics if they are not as they must be, JournalUnavailable.
    """
    async with Admin(cluster) as admin:
        described = await _describe(admin, topics(cluster))
        missing = [topic for topic in topics(cluster) if topic.name not in described]
        found = await _settings(admin, described)
        _refuse(_faults(topics(cluster), described, found))
        if cluster.owners in described:
            await instance(cluster)  # change nothing of a log that this version cannot read
        if missing:
            await _create(admin, missing, replicas)
            await _await_leaders(admin, topics(cluster))
    return await instance(cluster) or await _name(cluster, naming.new_name())


async def rename(cluster: KafkaCluster) -> str:
    """Give another name to a log that was restored from an older copy. Raises WrongTopics, JournalUnavailable."""
    return await _name(cluster, naming.renamed(await check(cluster)))


async def check(cluster: KafkaCluster) -> str:
    """The log's name. Raises WrongTopics, also if topics are missing; JournalUnavailable."""
    return await patiently(lambda: _check(cluster))


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Wait for a broker that is away for a moment. If none answers at all, the address may be wrong.

    Raises the last error, and JournalUnavailable.
    """
    until = time.monotonic() + _CHECK_SECONDS
    while True:
        try:
            return await ask()
        except JournalUnavailable as error:
            if isinstance(error.__cause__, KafkaConnectionError) or time.monotonic() > until:
                raise
            await asyncio.sleep(_CHECK_PAUSE_SECONDS)


async def _check(cluster: KafkaCluster) -> str:
    async with Admin(cluster) as admin:
        described = await _describe(admin, topics(cluster))
        faults = [
            f"topic {topic.name} is not there: run falcon prepare, or correct FALCON_KAFKA or FALCON_KAFKA_PREFIX"
            for topic in topics(cluster)
            if topic.name not in described
        ]
        found = await _settings(admin, described)
        _refuse([*faults, *_faults(topics(cluster), described, found)])
        for topic in topics(cluster):
            settings = found.get(topic.name, {})
            over = {name: bound for name, bound in topic.bounds.items() if int(settings.get(name, 0)) > bound}
            if over:
                had, wanted = ({name: values[name] for name in over} for values in (settings, over))
                log.warning(
                    "topic %s has %s, so takeovers take longer by the day: kafka-configs.sh --bootstrap-server %s "
                    "--alter --entity-type topics --entity-name %s --add-config %s",
                    *(topic.name, _listed(had), ",".join(cluster.brokers), topic.name, _listed(wanted)),
                )
    name = await instance(cluster)
    if name is None:
        raise WrongTopics(f"topic {cluster.owners} does not name the log: run falcon prepare")
    return name


async def instance(cluster: KafkaCluster) -> str | None:
    """The log's name, None if it has none yet. Raises WrongTopics for a log of another format, JournalUnavailable."""
    reader = Reader(cluster, cluster.owners)
    said: dict[bytes | None, bytes | None] = {}
    try:
        end = (await reader.ends([0]))[0]
        async for records in read_compacted(reader, 0, end - 1):
            said |= {record.key: record.value for record in records}
    finally:
        await reader.close()
    return name_among(said, cluster.journal)


def name_among(said: Mapping[bytes | None, bytes | None], journal: str) -> str | None:
    """The log's name in the records of the owners topic. Raises WrongTopics for a log of another format."""
    if (named := said.get(LOG)) is not None:
        found = _logs.decode(named)
    elif said.get(_BEFORE_FORMATS) is not None:
        found = _Log("", None)
    else:
        return None
    if why := refusal(f"topic {journal}", found.format, "topics of another FALCON_KAFKA_PREFIX"):
        raise WrongTopics(why)
    return found.name


async def _name(cluster: KafkaCluster, name: str) -> str:
    producer = Producer(cluster)
    try:
        await producer.write(cluster.owners, 0, [(LOG, _encode(_Log(name, FORMAT)))])
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


def _listed(settings: Mapping[str, object]) -> str:
    return ",".join(f"{name}={value}" for name, value in settings.items())


def _refuse(faults: list[str]) -> None:
    if faults:
        raise WrongTopics("\n".join(faults))


# --- the brokers' side ------------------------------------------------------------------------------------------------


class Admin:
    """Raises JournalUnavailable for the brokers' errors within the block."""

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
        if isinstance(error, AccessRefused):
            return JournalUnavailable(str(error))
        brokers = ",".join(self._cluster.brokers)
        if isinstance(error, TopicAuthorizationFailedError | GroupAuthorizationFailedError):
            return JournalUnavailable(
                f"Kafka at {brokers} refuses it ({error}): see Kafka's ACLs in docs/operations.md"
            )
        return JournalUnavailable(f"no Kafka answers at {brokers} ({error}): start it, or correct FALCON_KAFKA")


async def _describe(admin: AIOKafkaAdminClient, wanted: Iterable[Topic]) -> dict[str, Any]:
    """The topics that exist."""
    described = await admin.describe_topics([topic.name for topic in wanted])
    return {topic["topic"]: topic for topic in described if topic["error_code"] != UnknownTopicOrPartitionError.errno}


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
            NewTopic(topic.name, topic.partitions, replicas, topic_configs={**_as_made(topic), **in_sync})
            for topic in missing
        ]
    )
    made = sorted(response.topic_errors)
    _refuse(
        [
            f"Kafka refuses to create the topic {name}: see Kafka's ACLs in docs/operations.md"
            for name, code, *_ in made
            if code == TopicAuthorizationFailedError.errno
        ]
    )
    for name, code, *message in made:
        if code not in (0, TopicAlreadyExistsError.errno):  # another process may be preparing as well
            raise WrongTopics(f"topic {name} could not be made: {message[0] if message else for_code(code).__name__}")


def _as_made(topic: Topic) -> dict[str, str]:
    return {**topic.settings, **{name: str(bound) for name, bound in topic.bounds.items()}}


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
