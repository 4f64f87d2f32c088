"""The rights that each role needs at Kafka. Each role checks its own when it starts.

Otherwise a missing right would show only when it is needed, as an error that does not name the operation.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.group import coordinator
from falcon.adapters.kafka.topics import Admin, patiently

_REFUSED: Final = (29, 30)  # for the topic, for the group: not even Describe is allowed
_NOT_SAID: Final = -(2**31)  # the answer of brokers without authorization


class RightsMissing(Exception):
    """The message has a line for each missing right, with the command that grants it."""


class AclOperation(IntEnum):
    """Numbered as in Kafka's protocol. A set of them has the bits of their numbers."""

    Read = 3
    Write = 4
    Describe = 8
    DescribeConfigs = 10


class Rights(msgspec.Struct, frozen=True):
    """Operations by the name of the topic or group, without the prefix."""

    topics: Mapping[str, tuple[AclOperation, ...]]
    groups: Mapping[str, tuple[AclOperation, ...]] = {}


# Read and Write imply Describe. If Describe is not allowed, nothing else is known about the topic.
_UNDESCRIBED: Final = ~(1 << AclOperation.Read | 1 << AclOperation.Write | 1 << AclOperation.Describe)
_LOOK: Final = (AclOperation.Describe, AclOperation.DescribeConfigs)
_MEMBER: Final = (AclOperation.Read,)
_TOPICS: Final = ("journal", "snapshots", "owners", "applied", "cuts", "signals", "inboxes")


def _rights(
    reads: Collection[str],
    writes: Collection[str],
    groups: Mapping[str, tuple[AclOperation, ...]] = MappingProxyType({}),
) -> Rights:
    """Each role looks at all topics. ``reads``, ``writes``: the topics that it reads or writes, too."""
    read, write = (AclOperation.Read,), (AclOperation.Write,)
    topics = {
        topic: (*(read if topic in reads else ()), *(write if topic in writes else ()), *_LOOK) for topic in _TOPICS
    }
    return Rights(topics, groups)


def of_write(group: str) -> Rights:
    """``group``: the group of the owners."""
    own = ("journal", "snapshots", "owners")
    return _rights(own, own, {group: _MEMBER})


def of_project(groups: Iterable[str]) -> Rights:
    return _rights(("journal", "owners"), ("applied",), dict.fromkeys(groups, _MEMBER))


def of_api() -> Rights:
    told = ("cuts", "signals", "inboxes")
    return _rights(("journal", "owners", "applied", *told), told)


def of_prepare() -> Rights:
    """Leaves out Create: only a missing topic needs it."""
    return _rights(("owners",), ("owners",))


def of_restored(groups: Iterable[str]) -> Rights:
    """``groups``: the ones that must not have members."""
    return _rights(("owners", "signals"), ("owners",), dict.fromkeys(groups, (AclOperation.Describe,)))


async def check(cluster: KafkaCluster, rights: Rights) -> None:
    """Raises RightsMissing, JournalUnavailable. Topics that do not exist yet are passed over."""
    if cluster.security is not None and (missing := await patiently(lambda: _missing(cluster, rights))):
        raise RightsMissing("\n".join(missing))


async def _missing(cluster: KafkaCluster, rights: Rights) -> list[str]:
    async with Admin(cluster) as admin:
        missing = await _missing_of_topics(admin, cluster, rights.topics)
        for group, wanted in rights.groups.items():
            missing += await _missing_of_group(admin, cluster, group, wanted)
    return missing


async def _missing_of_topics(
    admin: AIOKafkaAdminClient, cluster: KafkaCluster, wanted: Mapping[str, tuple[AclOperation, ...]]
) -> list[str]:
    names = {cluster.prefix + name: operations for name, operations in wanted.items()}
    response = await admin._send_request(_Metadata(list(names)))
    missing: list[str] = []
    for code, name, _, _, allowed in response.topics:
        if code in (0, *_REFUSED):
            missing += _lines(cluster, "topic", name, names[name], _UNDESCRIBED if code else allowed)
        elif code != UnknownTopicOrPartitionError.errno:
            raise for_code(code)(name)
    return missing


async def _missing_of_group(
    admin: AIOKafkaAdminClient, cluster: KafkaCluster, name: str, wanted: tuple[AclOperation, ...]
) -> list[str]:
    group = cluster.prefix + name
    try:
        broker = await coordinator(admin, group)
        ((code, _, _, _, _, _, allowed),) = (await admin._send_request(_DescribeGroup(group), broker)).groups
    except for_code(_REFUSED[1]):
        code, allowed = _REFUSED[1], 0
    if code not in (0, *_REFUSED):
        raise for_code(code)(group)
    return _lines(cluster, "group", group, wanted, _UNDESCRIBED if code else allowed)


def _lines(cluster: KafkaCluster, kind: str, name: str, wanted: Iterable[AclOperation], allowed: int) -> list[str]:
    missing = [] if allowed == _NOT_SAID else [each.name for each in wanted if not allowed & 1 << each]
    return [cluster.refusal(missing, kind, name)] if missing else []


# --- requests in versions that aiokafka does not have -----------------------------------------------------------------


class _MetadataResponse_v8(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataRequest_v8(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse_v8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _Metadata(Request[_MetadataRequest_v8]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequest_v8]) -> _MetadataRequest_v8:
        return request_struct_class(self._topics, False, False, True)


class _DescribeGroupRequest_v3(DescribeGroupsRequest_v3):  # type: ignore[misc]
    """The request with the response of this version."""

    RESPONSE_TYPE = DescribeGroupsResponse_v3


class _DescribeGroup(Request[_DescribeGroupRequest_v3]):  # type: ignore[misc]
    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[_DescribeGroupRequest_v3]) -> _DescribeGroupRequest_v3:
        return request_struct_class([self._group], True)
