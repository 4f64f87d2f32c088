"""Stands in for AIOKafkaConsumer: reads what it is assigned, ahead of who asks; or is one of a group."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, KafkaError, LeaderNotAvailableError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from tools.simulation.kafka.client import BACKOFF_SECONDS, Client
from tools.simulation.kafka.membership import Membership
from tools.simulation.kafka.partitions import Stored

_EARLIEST: Final = -2
_LATEST: Final = -1


@dataclass(eq=False)
class _State:
    """An assigned partition. ``position``: None until it is known. ``reset``: where to look it up.

    ``fetched``: read ahead, from ``position`` on. ``error``: of the last fetch.
    """

    position: int | None = None
    reset: int | None = None
    paused: bool = False
    fetched: deque[Stored] = field(default_factory=deque)
    error: KafkaError | None = None
    committed: int | None = None

    def go(self, position: int | None, reset: int | None = None) -> None:
        self.position, self.reset, self.error = position, reset, None
        self.fetched.clear()


class SimulatedConsumer:
    """``auto_offset_reset``: none, earliest or latest. With ``group_id`` it is a member once it has subscribed.

    One request is away to each node at a time, and what was read ahead is given out as it stood when it was fetched.
    A node that has nothing answers later than aiokafka would ask it to: nothing changes but how often it is asked.
    """

    def __init__(
        self,
        client: Client,
        *,
        auto_offset_reset: str = "none",
        max_partition_fetch_bytes: int = 1 << 20,
        group_id: str | None = None,
        client_id: str = "",
        session_timeout_ms: int = 10_000,
        heartbeat_interval_ms: int = 3_000,
        rebalance_timeout_ms: int | None = None,
        max_poll_interval_ms: int = 300_000,
        partition_assignment_strategy: Sequence[Any] = (),
        fetch_max_wait_ms: int = 2_000,
    ) -> None:
        self._client = client
        self._reset = {"none": None, "earliest": _EARLIEST, "latest": _LATEST}[auto_offset_reset]
        self._bytes_max = max_partition_fetch_bytes
        self._wait_seconds = fetch_max_wait_ms / 1000
        self._states: dict[TopicPartition, _State] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._away: dict[int, asyncio.Task[None]] = {}
        self._wanted = asyncio.Event()  # something may be fetched
        self._arrived = asyncio.Event()
        self._closed = False
        self._coordinator: Membership | None = None
        if group_id is not None:
            session = session_timeout_ms / 1000
            self._coordinator = Membership(
                client,
                group_id,
                client_id or client.name,
                session_seconds=session,
                rebalance_seconds=session if rebalance_timeout_ms is None else rebalance_timeout_ms / 1000,
                heartbeat_seconds=heartbeat_interval_ms / 1000,
                assignors=partition_assignment_strategy,
                assign=self.assign,
            )

    # --- what it reads ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Raises KafkaConnectionError."""
        await self._client.start()
        self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        if self._coordinator is not None:
            self._coordinator.start()

    async def stop(self) -> None:
        self._closed = True
        if self._coordinator is not None:
            await self._coordinator.close()
        tasks = [task for task in (self._fetching, *self._away.values()) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._arrived.set()

    def subscribe(self, topics: Sequence[str], listener: ConsumerRebalanceListener | None = None) -> None:
        if self._coordinator is None:
            raise IllegalStateError("a consumer without a group does not subscribe here: it is assigned")
        self._coordinator.subscribe(topics, listener)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Nothing that was fetched or known of positions is kept."""
        self._states = {at: _State(reset=self._reset) for at in partitions}
        for task in self._away.values():
            task.cancel()
        self._wanted.set()

    def assignment(self) -> set[TopicPartition]:
        return set(self._states)

    def seek(self, at: TopicPartition, offset: int) -> None:
        if offset < 0:
            raise ValueError(offset)
        self._state(at).go(offset)
        self._wanted.set()

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        await self._seek_to(_EARLIEST, partitions)

    async def seek_to_end(self, *partitions: TopicPartition) -> None:
        await self._seek_to(_LATEST, partitions)

    async def _seek_to(self, where: int, partitions: Sequence[TopicPartition]) -> None:
        sought = partitions or list(self._states)
        for at in sought:
            self._state(at).go(None, where)
        self._wanted.set()
        while any(at in self._states and self._states[at].position is None for at in sought):
            self._arrived.clear()
            await self._arrived.wait()

    async def position(self, at: TopicPartition) -> int:
        while (position := self._state(at).position) is None:
            self._arrived.clear()
            await self._arrived.wait()
        return position

    def pause(self, *partitions: TopicPartition) -> None:
        for at in partitions:
            self._state(at).paused = True

    def resume(self, *partitions: TopicPartition) -> None:
        for at in partitions:
            self._state(at).paused = False
        self._wanted.set()

    def highwater(self, at: TopicPartition) -> int | None:
        """As of the last fetch."""
        assert at in self._states, f"{at} is not assigned"
        return self._states[at].committed

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Raises KafkaTimeoutError."""
        return await self._offsets(dict.fromkeys(partitions, _LATEST))

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Raises KafkaTimeoutError."""
        return await self._offsets(dict.fromkeys(partitions, _EARLIEST))

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: float = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Returns as soon as there are records: what has been fetched by then. Raises OffsetOutOfRangeError; group
        errors."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_ms / 1000
        while True:
            if self._coordinator is not None:
                self._coordinator.check_errors()
            self._arrived.clear()
            drained = self._drain(partitions, max_records)
            if drained or self._closed or loop.time() >= until:
                return drained
            timer = loop.call_at(until, self._arrived.set)
            try:
                await self._arrived.wait()
            finally:
                timer.cancel()

    # --- fetching -----------------------------------------------------------------------------------------------------

    def _state(self, at: TopicPartition) -> _State:
        if at not in self._states:
            raise IllegalStateError(f"{at} is not assigned")
        return self._states[at]

    def _drain(
        self, partitions: Sequence[TopicPartition], max_records: int | None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        drained: dict[TopicPartition, list[ConsumerRecord]] = {}
        left = max_records
        for at in partitions or list(self._states):
            state = self._states.get(at)
            if state is None or left == 0:
                continue
            if state.error is not None:
                if drained:
                    return drained
                error, state.error = state.error, None
                self._wanted.set()
                raise error
            if state.fetched and state.paused:
                state.fetched.clear()
            elif state.fetched:
                count = len(state.fetched) if left is None else min(left, len(state.fetched))
                records = [state.fetched.popleft() for _ in range(count)]
                state.position = records[-1].offset + 1
                drained[at] = [_record(at, each) for each in records]
                left = None if left is None else left - count
        self._wanted.set()
        return drained

    async def _fetch(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            for node, offsets in (await self._to_fetch()).items():
                if node not in self._away:
                    self._away[node] = task = asyncio.get_running_loop().create_task(self._fetch_from(node, offsets))
                    task.add_done_callback(lambda _, node=node: self._back(node))  # type: ignore[misc]

    def _back(self, node: int) -> None:
        del self._away[node]
        self._wanted.set()

    async def _to_fetch(self) -> dict[int, dict[TopicPartition, _State]]:
        """By leader: the partitions without fetched records. Those whose leader is unknown, or leads none of them, are
        asked for later."""
        wanted: dict[int, dict[TopicPartition, _State]] = {}
        for at, state in list(self._states.items()):
            lacking = state.position is None and state.reset is not None
            empty = state.position is not None and not state.fetched and not state.paused
            if state.error is None and (lacking or empty):
                try:
                    node = await self._client.leader(at)
                except KafkaError:
                    node = -1
                if node >= 0:
                    wanted.setdefault(node, {})[at] = state
                else:
                    self._client.doubt(at.topic)
                    asyncio.get_running_loop().call_later(BACKOFF_SECONDS, self._wanted.set)
        return wanted

    async def _fetch_from(self, node: int, states: dict[TopicPartition, _State]) -> None:
        """A connection that fails, or a leader that is none, is no error to who reads."""
        try:
            await self._look_up(node, {at: state for at, state in states.items() if state.position is None})
            await self._read(node, {at: state for at, state in states.items() if state.position is not None})
        except KafkaError:
            for at in states:
                self._client.doubt(at.topic)
            await asyncio.sleep(BACKOFF_SECONDS)

    async def _look_up(self, node: int, states: dict[TopicPartition, _State]) -> None:
        times = {at: state.reset for at, state in states.items() if state.reset is not None}
        if not times:
            return
        brokers = self._client.brokers
        found = await self._client.ask(node, lambda: brokers.list_offsets(node, times))
        for at, offset in found.items():
            if self._states.get(at) is states[at] and states[at].reset == times[at]:
                states[at].go(offset)
        self._arrived.set()

    async def _read(self, node: int, states: dict[TopicPartition, _State]) -> None:
        brokers, bytes_max, wait = self._client.brokers, self._bytes_max, self._wait_seconds
        offsets = {at: state.position for at, state in states.items() if state.position is not None}
        if not offsets:
            return
        found = await self._client.ask(
            node, lambda: brokers.fetch(node, offsets, bytes_max, wait), self._client.request_seconds + wait
        )
        doubtful = False
        for at, fetched in found.items():
            brokers.given[self._client.name, at.topic] += len(fetched.records)
            state = states[at]
            if self._states.get(at) is not state or state.position != offsets[at] or state.paused:
                continue
            if isinstance(fetched.error, OffsetOutOfRangeError):
                if self._reset is None:
                    state.error = OffsetOutOfRangeError({at: offsets[at]})
                else:
                    state.go(None, self._reset)
            elif fetched.error is not None:
                self._client.doubt(at.topic)
                doubtful = True
            else:
                state.fetched.extend(fetched.records)
                state.committed = fetched.committed
        if any(state.fetched or state.error for state in states.values()):
            self._arrived.set()
        if doubtful:
            await asyncio.sleep(BACKOFF_SECONDS)

    async def _offsets(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        brokers = self._client.brokers

        async def ask(at: TopicPartition) -> int:
            async def attempt() -> int:
                node = await self._client.leader(at)
                if node < 0:
                    raise LeaderNotAvailableError(str(at))
                asked = {at: times[at]}
                return (await self._client.ask(node, lambda: brokers.list_offsets(node, asked)))[at]

            return await self._client.retried(self._client.request_seconds, attempt, at.topic)

        ends = await asyncio.gather(*(ask(at) for at in times))
        return dict(zip(times, ends, strict=True))


def _record(at: TopicPartition, stored: Stored) -> ConsumerRecord:
    sizes = (len(stored.key) if stored.key is not None else -1, len(stored.value) if stored.value is not None else -1)
    return ConsumerRecord(
        at.topic, at.partition, stored.offset, stored.timestamp, 0, stored.key, stored.value, None, *sizes, ()
    )
