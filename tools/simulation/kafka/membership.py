"""A consumer's part in a group: it joins, is assigned partitions, and says again and again that it is alive."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, Final, TypeVar

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import (
    IllegalGenerationError,
    KafkaError,
    NotCoordinatorForGroupError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from tools.simulation.kafka.client import BACKOFF_SECONDS, Client
from tools.simulation.kafka.groups import Group, Joined

_NO_GENERATION: Final = -1

T = TypeVar("T")


class Membership:
    """Stands in for aiokafka's group coordinator, by whose names it is asked for its task and for another assignment.

    ``assignors``: as aiokafka has them, and in fact its own.
    """

    def __init__(
        self,
        client: Client,
        group: str,
        name: str,
        *,
        session_seconds: float,
        rebalance_seconds: float,
        heartbeat_seconds: float,
        assignors: Sequence[Any],
        assign: Callable[[Iterable[TopicPartition]], None],
    ) -> None:
        self._client = client
        self._group = group
        self._name = name
        self._session_seconds = session_seconds
        self._rebalance_seconds = rebalance_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._assignors = {each.name: each for each in assignors}
        self._assign = assign
        self._topics: Sequence[str] = ()
        self._listener: ConsumerRebalanceListener | None = None
        self._node: int | None = None
        self._member = ""
        self._generation = _NO_GENERATION
        self._assigned: set[TopicPartition] = set()
        self._prepared = False  # the ones that were assigned have been told that it is over
        self._rejoin = asyncio.Event()
        self._rejoin.set()
        self._error: KafkaError | None = None
        self._heartbeats: asyncio.Task[None] | None = None
        self._coordination_task: asyncio.Task[None] | None = None

    def subscribe(self, topics: Sequence[str], listener: ConsumerRebalanceListener | None) -> None:
        self._topics, self._listener = topics, listener

    def start(self) -> None:
        self._coordination_task = asyncio.get_running_loop().create_task(self._coordinate())

    async def close(self) -> None:
        """Leaves the group, where the coordinator can be told."""
        tasks = [task for task in (self._coordination_task, self._heartbeats) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._member and self._node is not None:
            member = self._member
            try:
                await self._ask(lambda group: group.leave(member))
            except KafkaError:  # then its session will end
                return

    def request_rejoin(self) -> None:
        self._rejoin.set()

    def check_errors(self) -> None:
        if self._coordination_task is not None and self._coordination_task.done():
            self._coordination_task.result()
        error, self._error = self._error, None
        if error is not None:
            raise error

    # --- the rounds ---------------------------------------------------------------------------------------------------

    async def _coordinate(self) -> None:
        while True:
            await self._rejoin.wait()
            try:
                if not self._prepared:
                    self._prepared = True
                    await self._tell("on_partitions_revoked", self._assigned)
                await self._end_heartbeats()
                if await self._join():
                    self._prepared = False
                    self._heartbeats = asyncio.get_running_loop().create_task(self._keep_alive())
                else:
                    await asyncio.sleep(BACKOFF_SECONDS)
            except KafkaError as error:
                self._error = error
                await asyncio.sleep(BACKOFF_SECONDS)

    async def _join(self) -> bool:
        """Raises what lasts."""
        said = {name: assignor.metadata(self._topics) for name, assignor in self._assignors.items()}
        try:
            joined: Joined = await self._ask(
                lambda group: group.join(self._member, self._name, self._session_seconds, self._rebalance_seconds, said)
            )
            self._member, self._generation = joined.member, joined.generation
            assignments = await self._assignments(joined) if joined.members else {}
            self._rejoin.clear()
            assignment = await self._ask(lambda group: group.sync(joined.member, joined.generation, assignments))
        except (UnknownMemberIdError, IllegalGenerationError):
            self._forget()
            return False
        except RebalanceInProgressError:
            self._rejoin.set()
            return False
        except KafkaError as error:
            if not error.retriable:
                raise
            self._rejoin.set()
            return False
        await self._take(joined.protocol, assignment)
        return True

    async def _assignments(self, joined: Joined) -> dict[str, Any]:
        """The assignments that the leader makes."""
        topics = {topic for said in joined.members.values() for topic in said.subscription}
        counts = {topic: set(range(await self._client.partitions(topic))) for topic in topics}
        cluster = SimpleNamespace(partitions_for_topic=counts.get, topics=lambda: topics)
        made: dict[str, Any] = self._assignors[joined.protocol].assign(cluster, joined.members)
        return made

    async def _take(self, protocol: str, assignment: Any) -> None:
        if not isinstance(assignment, ConsumerProtocolMemberAssignment):
            self._rejoin.set()  # it came after the leader had counted
            return
        self._assigned = set(assignment.partitions())
        self._assign(self._assigned)
        self._assignors[protocol].on_assignment(assignment)
        await self._tell("on_partitions_assigned", self._assigned)

    async def _tell(self, what: str, partitions: set[TopicPartition]) -> None:
        if self._listener is not None:
            told = getattr(self._listener, what)(set(partitions))
            if asyncio.iscoroutine(told):
                await told

    def _forget(self) -> None:
        self._member, self._generation = "", _NO_GENERATION
        self._rejoin.set()

    # --- staying ------------------------------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        """Send heartbeats until the group does not know the member any more, also while others join."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        pause = self._heartbeat_seconds
        while self._member:
            await asyncio.sleep(pause)
            began = loop.time()
            pause = max(0.0, self._heartbeat_seconds)
            try:
                await self._ask(lambda group: group.heartbeat(self._member, self._generation))
                heard = loop.time()
                pause = max(0.0, self._heartbeat_seconds - (heard - began))
            except RebalanceInProgressError:
                heard = loop.time()
                self._rejoin.set()
            except (IllegalGenerationError, UnknownMemberIdError):
                self._forget()
            except KafkaError:
                pause = BACKOFF_SECONDS
            if loop.time() - heard > self._session_seconds:
                self._node = None

    async def _end_heartbeats(self) -> None:
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.wait([self._heartbeats])
            self._heartbeats = None

    async def _ask(self, request: "Callable[[Group], Awaitable[T] | T]") -> T:
        """The coordinator, wherever it is by now. Raises what it answers; errors of the way there."""
        client, brokers, name = self._client, self._client.brokers, self._group
        if self._node is None:
            self._node = await client.ask_any(lambda: brokers.coordinator(name))
        node = self._node

        async def at_node() -> T:
            answer = request(brokers.group(node, name))
            return await answer if isinstance(answer, Awaitable) else answer

        try:
            return await client.ask(node, at_node)
        except (RebalanceInProgressError, IllegalGenerationError, UnknownMemberIdError):
            raise
        except (NotCoordinatorForGroupError, KafkaError):
            self._node = None
            raise
