"""Falcon on a cluster: the log on Kafka, the read tables in HBase, and one process for each role."""

import asyncio
import logging
import os
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from functools import partial
from typing import NamedTuple

from falcon.adapters.hbase.client import HBase
from falcon.adapters.hbase.prepare import (
    WrongTables,
    check_family_of_log,
    check_log,
    start_over,
)
from falcon.adapters.hbase.prepare import check as check_tables
from falcon.adapters.hbase.prepare import prepare as prepare_tables
from falcon.adapters.hbase.read_store import HBaseReadStore
from falcon.adapters.hbase.tables import HBaseTables
from falcon.adapters.kafka import topics
from falcon.adapters.kafka.applied import AppliedFollower, AppliedPublisher
from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.adapters.kafka.cuts import KafkaCuts
from falcon.adapters.kafka.group import GroupMember, active
from falcon.adapters.kafka.journal import KafkaJournal
from falcon.adapters.kafka.loop import LoopThread
from falcon.adapters.kafka.owners import GroupOwnership, Owners
from falcon.adapters.kafka.producer import Producer
from falcon.adapters.kafka.roster import GroupRoster
from falcon.adapters.kafka.signal_transport import KafkaSignalTransport, has_senders
from falcon.adapters.kafka.snapshots import KafkaSnapshots
from falcon.adapters.kafka.source import KafkaSource
from falcon.adapters.kafka.tail import KafkaTail
from falcon.adapters.kafka.topics import WrongTopics
from falcon.adapters.opensearch.client import OpenSearchClient
from falcon.adapters.opensearch.index import SEARCH, OpenSearchIndex
from falcon.adapters.opensearch.sink import OpenSearchSink
from falcon.adapters.owner_http.connecting import upgraded
from falcon.adapters.owner_http.gateway import OwnerGateway
from falcon.adapters.owner_http.suspicion import name_of, precedes
from falcon.adapters.owner_http.watch import OwnerWatch
from falcon.adapters.sqlite.snapshot_cache import LocalSnapshotCache
from falcon.http.bearer_tokens import derived_secret
from falcon.http.edge import Edge
from falcon.http.freshness import Freshness
from falcon.journal.envelope import Cursor, Position
from falcon.journal.ports import JournalUnavailable, Wake
from falcon.projections.consumer import ProjectionConsumer
from falcon.projections.rebuild import Rebuild
from falcon.projections.shared_consumer import ProjectionSource, SharedLogReader
from falcon.projections.sinks import SINKS
from falcon.projections.skipping import skip_event
from falcon.projections.verify import Verify
from falcon.read.catalogue import CONFIRMING, READ_MODELS, confirmed
from falcon.read.store import Comparison, Moves, ReadStoreUnavailable
from falcon.run.bootstrap import (
    FirstAccounts,
    HostedGateway,
    blocking,
    create_account,
    shard_limits,
    start_edge,
    start_gateway,
)
from falcon.run.bootstrap import issue_token as issue_token_of
from falcon.run.bootstrap.servers import (
    hbase_gateways,
    hbase_tables,
    server_secret,
    table_creator,
)
from falcon.run.bootstrap.servers import (
    internal_keys as internal_keys,
)
from falcon.run.bootstrap.servers import (
    kafka_cluster as kafka_cluster,
)
from falcon.run.settings import Settings, WrongSettings
from falcon.streams.cuts import Cuts
from falcon.streams.signals import ALIVE_SECONDS
from falcon.telemetry import instruments, metrics
from falcon.telemetry.dispatchers import Dispatcher, start_thread
from falcon.telemetry.health import Health
from falcon.write.clock import SystemClock
from falcon.write.positions import OwnersPositions
from falcon.write.recovery import Background
from falcon.write.replies import SendReply
from falcon.write.shard import Shard

# Reasons for which a process of a cluster does not start. The message of each says in a line what to do.
REFUSALS = (JournalUnavailable, ReadStoreUnavailable, WrongSettings, WrongTopics, WrongTables)
AWAY = (JournalUnavailable, ReadStoreUnavailable)  # the ones that time may repair

log = logging.getLogger("falcon")

# A refusal rests on a state that is at most this old: people read what others have just done, and a marker a second is
# nothing to the log.
_REFUSAL_AGE_SECONDS = 1.0
# The least time between two batches of a projection, so that many events share one; what is sent is read 20 ms later.
_PACE_SECONDS = 0.02
_SHARDS = "shards"
# A process that ends still serves what it owns for so long, while others take it over.
_HANDOVER_SECONDS = 1.5
# An api is in no group: one that runs is heard within this time. An owner that ran on while the brokers were replaced
# has joined its group again by then.
_LISTENED_SECONDS = 3 * ALIVE_SECONDS
# A consumer waits so long for events before it looks whether its partitions have changed.
_IDLE_SECONDS = 0.5


async def prepare(settings: Settings) -> str:
    """Make the missing topics and tables. Returns the log's name. Raises WrongTopics, WrongTables,
    JournalUnavailable, ReadStoreUnavailable."""
    cluster = kafka_cluster(settings)
    instance = await topics.prepare(cluster, settings.kafka_replicas)
    with hbase_gateways(settings) as hbase:
        await blocking(settings).run(
            prepare_tables, hbase, settings.hbase_prefix, instance, settings.partitions, table_creator(settings, hbase)
        )
    return instance


async def restored(settings: Settings) -> str:
    """Repair a log that was restored from an older copy: give it another name, and empty tables in place of the ones
    that show what is lost. Returns the name.

    Raises StillRunning, WrongTopics, WrongTables, JournalUnavailable, ReadStoreUnavailable.
    """
    cluster = kafka_cluster(settings)
    groups = [_SHARDS, *map(_group, [*READ_MODELS, *SINKS]), *map(_rebuild_group, READ_MODELS)]
    before = await topics.check(cluster)
    has_apis = await topics.patiently(lambda: has_senders(cluster, _LISTENED_SECONDS))
    running = [f"the group {group} has members" for group in await active(cluster, groups)]
    if has_apis:
        running.append("an api sends signals")
    if running:
        raise StillRunning(f"stop every falcon api, write, project and forward first: {', '.join(running)}")
    prefix, partitions = settings.hbase_prefix, settings.partitions
    with hbase_gateways(settings) as hbase:
        await blocking(settings).run(check_family_of_log, hbase, prefix, before, partitions)
        name = await topics.rename(cluster)
        create = table_creator(settings, hbase)
        await blocking(settings).run(start_over, hbase, prefix, name, partitions, create)
    return name


class StillRunning(Exception):
    """Processes that know the lost history must end first."""


# --- the write side ---------------------------------------------------------------------------------------------------


def build_shard(settings: Settings, wake: Wake, reply: SendReply) -> Shard:
    """Raises KafkaError if no broker answers."""
    cluster = kafka_cluster(settings)
    loop = LoopThread()
    producer = Producer(cluster)
    clock = SystemClock()
    copy = LocalSnapshotCache(settings.data_dir / "cold-0.db")
    snapshots = KafkaSnapshots(cluster, producer, copy)
    address = f"{_commands_address(settings)}/0"  # the shard's number: a process once had several
    name = name_of(address, secrets.token_hex(4))
    member = GroupMember(cluster, _SHARDS, settings.session_seconds, wake, name)
    limits = shard_limits(settings, _REFUSAL_AGE_SECONDS)
    recoveries = Dispatcher("recovery-0", threads=1, queue=1)
    retries = Dispatcher("retries-0", threads=1, queue=1)

    def release() -> None:
        recoveries.close()
        retries.close()
        loop.close()

    shard = Shard(
        GroupOwnership(cluster, loop, producer, member, address),
        KafkaJournal(cluster, loop, producer, snapshots, clock, wake),
        KafkaSource(cluster, loop),
        snapshots,
        clock,
        limits,
        owner=f"{address}, process {os.getpid()}",
        reply=reply,
        recovery_source=KafkaSource(cluster, loop),
        background=_on_dispatcher(recoveries, wake),
        reading=_on_dispatcher(retries, wake),
        release=release,
        name="0",
    )
    loop.call(_succeed(cluster, name))
    loop.call(member.join())
    return shard


def _commands_address(settings: Settings) -> str:
    """host:port at which other processes reach the shards of this one."""
    return f"{settings.advertise_host or settings.host}:{settings.internal_port}"


async def _succeed(cluster: KafkaCluster, name: str) -> None:
    """Remove a killed process at this address from the group: it would remain a member until its session ends, and the
    others would wait for it."""
    roster = GroupRoster(cluster, _SHARDS)
    try:
        await roster.remove_predecessors(lambda other: precedes(other, name))
    except JournalUnavailable as error:
        log.warning("an earlier process's share comes when its session is over: %s", error)
    finally:
        await roster.close()


def _on_dispatcher(dispatcher: Dispatcher, wake: Wake) -> Background:
    """Run work of which a shard has one at a time on a thread, and wake the shard when it is done."""

    def run(job: Callable[[], None]) -> None:
        _unfailing(dispatcher.name, job)
        wake()

    return lambda job: dispatcher.submit(partial(run, job))


@asynccontextmanager
async def owning(settings: Settings, health: Health) -> AsyncIterator[HostedGateway]:
    """A shard that owns what the group assigns it. At the end of the block, others have had time to take over."""
    cluster = kafka_cluster(settings)
    await topics.check(cluster)
    metrics.partitions.set(settings.partitions)
    gateway = start_gateway(settings, partial(build_shard, settings))
    health.ready = gateway.ready
    roster = GroupRoster(cluster, _SHARDS)
    watch = OwnerWatch(
        _commands_address(settings),
        internal_keys(settings),
        roster,
        settings.session_seconds,
        settings.internal_networks,
    )
    watch.start()
    yield gateway
    await watch.stop()
    gateway.close()


def handing_over(gateway: HostedGateway) -> Callable[[], Awaitable[None]]:
    """A function that gives the partitions up, and serves them for some seconds more, while others take them over."""

    async def hand_over() -> None:
        gateway.leave()
        await asyncio.sleep(_HANDOVER_SECONDS)

    return hand_over


# --- the edge ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(settings: Settings, health: Health | None = None) -> AsyncIterator[Edge]:
    """An edge that passes commands on and answers queries. At the end of the block all that it started has ended.

    It becomes ready once it has reached the log: a process that looks for the log in the wrong place replaces no other.
    When the log goes away later it stays ready, since reads are served.
    """
    cluster = kafka_cluster(settings)
    log_name: str | None = None
    try:
        log_name = await topics.check(cluster)
    except JournalUnavailable as error:
        log.warning("reads are served, commands are refused until the log is there: %s", error)
    async with AsyncExitStack() as stack:
        hbase = stack.enter_context(hbase_gateways(settings))
        instance = await blocking(settings).run(_check_tables, settings, hbase, log_name)
        owners = Owners(cluster)
        connect = partial(upgraded, networks=settings.internal_networks)
        gateway = OwnerGateway(owners, internal_keys(settings), settings.mailbox_bound, connect)
        stack.push_async_callback(gateway.close)
        owners.moved = gateway.moved
        owners.start()
        stack.push_async_callback(owners.stop)
        if health is not None:
            health.ready = lambda: owners.reached
        store = HBaseReadStore(hbase, settings.hbase_prefix, threads=settings.read_threads)
        stack.callback(store.close)
        freshness = Freshness(
            store, OwnersPositions(gateway), lambda: store.positions.are_told(), store.positions.forget
        )
        follower = _following_tables(cluster, store, freshness)
        stack.push_async_callback(follower.stop)
        tail, transport = KafkaTail(cluster), KafkaSignalTransport(cluster)
        cuts = Cuts(KafkaCuts(cluster), settings.partitions)
        secret = server_secret(settings)
        search = None
        if settings.opensearch_url:
            client = OpenSearchClient(settings.opensearch_url)
            stack.push_async_callback(client.close)
            search = OpenSearchIndex(client, instance)
        edge = start_edge(settings, gateway, store, freshness, tail, transport, instance, secret, cuts, search)
        stack.push_async_callback(edge.streams.stop)
        stack.callback(edge.close)
        # On one machine the tables are in a file, and asking them costs less than reading the log when no stream does.
        edge.authenticator.revocations.start()
        store.keep_rows(settings.partitions, edge.authenticator.revocations.unchanged_since)
        stack.push_async_callback(edge.authenticator.revocations.stop)
        yield edge


def _following_tables(cluster: KafkaCluster, store: HBaseReadStore, freshness: Freshness) -> AppliedFollower:
    """While the block runs, projectors tell the store where the tables stand."""

    def learn(moves: Moves) -> None:
        store.learn(moves)
        freshness.moved()

    follower = AppliedFollower(cluster, learn, began=store.positions.forget)
    store.positions.are_told = follower.hears
    follower.start()
    return follower


async def credentials(settings: Settings, edge: Edge) -> FirstAccounts:
    """The first account, the owner. It and its token follow from the secret, so every process finds the same one."""
    secret = server_secret(settings)
    account_id, token = await create_account(
        edge,
        "Owner",
        role="owner",
        secret=derived_secret(secret, "first admin's token"),
        reference="falcon:first-admin",
    )
    return FirstAccounts(account_id, token, account_id, token)


async def first_credentials(settings: Settings) -> FirstAccounts:
    """:func:`credentials` for a caller without an edge. Raises as the checks of topics and tables do."""
    async with serving(settings) as edge:
        return await credentials(settings, edge)


async def issue_token(settings: Settings, account_id: int) -> str:
    """Issue a token for the account. Raises as the checks of topics and tables do, and NotIssued."""
    async with serving(settings) as edge:
        return await issue_token_of(edge, account_id)


# --- the projections --------------------------------------------------------------------------------------------------


def project_until(settings: Settings, ending: threading.Event, started: Callable[[], None]) -> None:
    """Run every projection until ``ending``, each as a consumer with a group of its own."""
    cluster = kafka_cluster(settings)
    with closing(LoopThread()) as loop, hbase_gateways(settings) as hbase, ExitStack() as stack:
        instance = loop.call(topics.check(cluster))
        _check_tables(settings, hbase, instance)
        shared = stack.enter_context(closing(SharedLogReader(_projected_log(settings, loop))))
        publisher = stack.enter_context(closing(AppliedPublisher(cluster, loop)))
        running: dict[str, Callable[[threading.Event], None]] = {
            name: stack.enter_context(_projecting(settings, name, hbase, loop, shared, publisher)).run
            for name in READ_MODELS
        }
        threads = [start_thread(name, partial(_unfailing, name, partial(run, ending))) for name, run in running.items()]
        started()
        for thread in threads:
            thread.join()


def _unfailing(name: str, work: Callable[[], None]) -> None:
    """Do the work of a thread or dispatcher of this name. If it fails the process ends, to be started again."""
    try:
        work()
    except BaseException:
        log.exception("%s failed as nothing may; the process ends, to be started again", name)
        instruments.end_process(70)


def _group(projection: str) -> str:
    return f"projection-{projection}"


def _rebuild_group(projection: str) -> str:
    """The group of a process that rebuilds, by which ``restored`` finds it."""
    return f"{_group(projection)}-rebuild"


def _projected_log(settings: Settings, loop: LoopThread) -> KafkaSource:
    return KafkaSource(kafka_cluster(settings), loop, _IDLE_SECONDS, rests=True)


@contextmanager
def _projecting(
    settings: Settings, name: str, hbase: HBase, loop: LoopThread, shared: SharedLogReader, publisher: AppliedPublisher
) -> Iterator[ProjectionConsumer]:
    """A projection's consumer, with its source, tables and group membership."""
    member = GroupMember(kafka_cluster(settings), _group(name), settings.session_seconds)
    source = ProjectionSource(shared, partial(_projected_log, settings, loop))
    tables = hbase_tables(settings, hbase, f"hbase-{name}", publisher.publish)
    consumer = ProjectionConsumer(
        name,
        READ_MODELS[name].project,
        source,
        tables,
        lambda: member.assigned,
        events=settings.project_events,
        pace_seconds=_PACE_SECONDS,
        confirms=confirmed() if name == CONFIRMING else {},
        is_confirmed=name in confirmed(),
    )
    loop.call(member.join())
    yield consumer
    loop.call(member.leave())
    source.close()
    tables.close()


def _check_tables(settings: Settings, hbase: HBase, instance: str | None) -> str:
    return check_tables(hbase, settings.hbase_prefix, instance, settings.partitions)


# --- the sinks --------------------------------------------------------------------------------------------------------


def forward_until(settings: Settings, ending: threading.Event, started: Callable[[], None]) -> None:
    """Run every sink until ``ending``, each as a consumer with a group of its own."""
    cluster = kafka_cluster(settings)
    with closing(LoopThread()) as loop, _indexing(settings, loop) as search:
        member = GroupMember(cluster, _group(SEARCH), settings.session_seconds)
        source = _projected_log(settings, loop)
        consumer = ProjectionConsumer(
            SEARCH,
            SINKS[SEARCH].project,
            source,
            search,
            lambda: member.assigned if search.is_there() else (),
            events=settings.project_events,
            pace_seconds=_PACE_SECONDS,
        )
        loop.call(member.join())
        started()
        _unfailing(SEARCH, partial(consumer.run, ending))
        loop.call(member.leave())
        source.close()


def begin_again(settings: Settings, name: str) -> None:
    """Throw the work of a sink away. `falcon forward` makes it again from the log. Raises JournalUnavailable,
    ReadStoreUnavailable, WrongSettings, WrongTopics."""
    with closing(LoopThread()) as loop, _indexing(settings, loop) as search:
        search.went_back(f"{name} begins again")


class IndexState(NamedTuple):
    """``version``: of OpenSearch; empty if another server is there. ``behind``: records of the log that searches do not
    show; None while the index is filled."""

    version: str
    behind: int | None


def look_at_index(settings: Settings) -> IndexState:
    """Raises ReadStoreUnavailable, IndexRefuses, and as topics.check does."""
    with closing(LoopThread()) as loop:
        client = OpenSearchClient(settings.opensearch_url)
        try:
            if not (version := loop.call(client.version())):
                return IndexState("", None)
            log_name = loop.call(topics.check(kafka_cluster(settings)))
            reached = loop.call(OpenSearchIndex(client, log_name).reached())
        finally:
            loop.call(client.close())
        if not reached:
            return IndexState(version, None)
        with closing(KafkaSource(kafka_cluster(settings), loop)) as source:
            ends = source.end()
        at = {partition: reached.get(partition, Position()).offset for partition in ends}
        return IndexState(version, sum(max(0, end.offset - at[partition]) for partition, end in ends.items()))


@contextmanager
def _indexing(settings: Settings, loop: LoopThread) -> Iterator[OpenSearchSink]:
    """Raises WrongSettings, and as topics.check does."""
    settings.require("opensearch_url")
    log_name = loop.call(topics.check(kafka_cluster(settings)))
    client = OpenSearchClient(settings.opensearch_url)
    yield OpenSearchSink(OpenSearchIndex(client, log_name), loop.call, settings.partitions)
    loop.call(client.close())


# --- looking after the tables -----------------------------------------------------------------------------------------


@contextmanager
def _looking_after(settings: Settings, *, whole: bool = True) -> Iterator[tuple[KafkaSource, HBaseTables, LoopThread]]:
    """The log, the tables, and the loop of the clients of Kafka. Checks before that they belong together and that all
    tables exist, except one that is to be rebuilt."""
    cluster = kafka_cluster(settings)
    with closing(LoopThread()) as loop, hbase_gateways(settings) as hbase:
        instance = loop.call(topics.check(cluster))
        source = KafkaSource(cluster, loop)
        check = check_tables if whole else check_log
        check(hbase, settings.hbase_prefix, instance, settings.partitions)
        tables = hbase_tables(settings, hbase)
        yield source, tables, loop
        tables.close()
        source.close()


def rebuild(settings: Settings, name: str, progress: Callable[[int, int], None]) -> int:
    """Rebuild the tables of a projection. Returns the number of events that were applied. Raises as Rebuild.run does,
    and WrongTopics, WrongTables."""
    with _looking_after(settings, whole=False) as (source, tables, loop):
        total = _offsets(source.end())
        source.check(tables.cursor(name))

        def tell(reached: Cursor) -> None:
            progress(_offsets(reached), max(_offsets(reached), total))

        member = GroupMember(kafka_cluster(settings), _rebuild_group(name), settings.session_seconds)
        loop.call(member.join())
        try:
            return Rebuild(name, READ_MODELS[name].project, source, tables, tell, tables.skips(name)).run()
        finally:
            loop.call(member.leave())


def _offsets(cursor: Cursor) -> int:
    return sum(position.offset for position in cursor.values())


def verify(
    settings: Settings, name: str, *, repair: bool, events_a_second: float, progress: Callable[[int, int], None]
) -> Comparison:
    """Compare the tables of a projection with the log. Raises as Verify.run does, and WrongTopics, WrongTables."""
    with _looking_after(settings) as (source, tables, _):
        total = _offsets(tables.cursor(name))
        return Verify(
            name,
            READ_MODELS[name].project,
            source,
            tables,
            repair=repair,
            events_a_second=events_a_second,
            progress=lambda done: progress(done, total),
        ).run()


def skip(settings: Settings, name: str, partition: int, offset: int, reason: str, *, force: bool = False) -> str:
    """Record that the projection may pass over an event at which it has stopped, or with ``force`` any event. Returns a
    line about the event and what is lost.

    Raises NotStoppedThere, NoSuchEvent, and as the checks of topics and tables do.
    """
    if name in SINKS:
        with closing(LoopThread()) as loop, _indexing(settings, loop) as sink:
            source = KafkaSource(kafka_cluster(settings), loop)
            skipped = skip_event(source, sink, name, partition, offset, reason, force=force)
            source.close()
            return skipped
    with _looking_after(settings) as (source, tables, _):
        return skip_event(source, tables, name, partition, offset, reason, force=force)
