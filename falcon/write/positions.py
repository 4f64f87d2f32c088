"""Where the owners of partitions say that the logs stand."""

import asyncio
import time
from collections import defaultdict
from typing import Final

from falcon.domain.answers import PositionAnswer
from falcon.domain.commands import ReadPosition
from falcon.domain.ids import Partition
from falcon.journal.ports import JournalUnavailable
from falcon.write.gateway import CommandGateway
from falcon.write.protocol import Accepted, CommandEnvelope

_SECONDS: Final = 5.0  # as long as any command may take
_APART_SECONDS: Final = 0.05  # between two asks for one partition, so that a flood of callers costs its owner little
_SIZE: Final = 100


class OwnersPositions:
    """ConfirmedPositions, from the owners. For one event loop.

    For each partition one ask is on its way. Those who come meanwhile share the next one: what they know of may have
    been acknowledged after the owner had answered the one that is on its way.
    """

    def __init__(self, gateway: CommandGateway) -> None:
        self._gateway = gateway
        self._next: dict[Partition, asyncio.Task[int]] = {}
        self._turns: defaultdict[Partition, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._asked_at: dict[Partition, float] = {}

    async def confirmed(self, partition: Partition) -> int:
        ask = self._next.get(partition)
        if ask is None:
            ask = self._next[partition] = asyncio.get_running_loop().create_task(self._ask(partition))
            ask.add_done_callback(_retrieve)
        return await asyncio.shield(ask)  # others may wait for it when this caller has given up

    async def _ask(self, partition: Partition) -> int:
        async with self._turns[partition]:
            await asyncio.sleep(self._asked_at.get(partition, 0.0) + _APART_SECONDS - time.monotonic())
            self._asked_at[partition] = time.monotonic()
            del self._next[partition]  # before the owner may answer: whoever comes now shares the next ask
            return await self._ask_owner(partition)

    async def _ask_owner(self, partition: Partition) -> int:
        deadline = time.monotonic() + _SECONDS
        envelope = CommandEnvelope(partition, 0, ReadPosition(partition), deadline, size=_SIZE)
        reply = await self._gateway.ask(envelope)
        if isinstance(reply, Accepted) and isinstance(reply.answer, PositionAnswer):
            return reply.answer.offset
        raise JournalUnavailable(f"the owner of partition {partition} does not say where its log stands: {reply}")


def _retrieve(ask: "asyncio.Task[int]") -> None:
    """All who waited for it may have gone; then nobody else looks at its error."""
    if not ask.cancelled():
        ask.exception()
