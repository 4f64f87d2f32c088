"""How far the log of a partition has been acknowledged, as its owner says."""

import time
from functools import partial
from typing import Final

from falcon.base.shared import Shared
from falcon.domain.answers import PositionAnswer
from falcon.domain.commands import ReadPosition
from falcon.domain.ids import Partition
from falcon.journal.ports import JournalUnavailable
from falcon.write.gateway import CommandGateway
from falcon.write.protocol import Accepted, CommandEnvelope

_SECONDS: Final = 5.0  # as long as any command may take
_APART_SECONDS: Final = 0.05  # between two questions about one partition
_SIZE: Final = 100  # bytes, about


class OwnersPositions:
    """ConfirmedPositions, from the owners. For one event loop.

    A caller shares only a question that is asked after it came. The owner may have answered an earlier one before it
    acknowledged what the caller knows of.
    """

    def __init__(self, gateway: CommandGateway) -> None:
        self._gateway = gateway
        self._shared: dict[Partition, Shared[int]] = {}

    async def confirmed(self, partition: Partition) -> int:
        shared = self._shared.get(partition)
        if shared is None:
            shared = self._shared[partition] = Shared(partial(self._ask_owner, partition), _APART_SECONDS)
        return await shared.get()

    async def _ask_owner(self, partition: Partition) -> int:
        deadline = time.monotonic() + _SECONDS
        envelope = CommandEnvelope(partition, 0, ReadPosition(partition), deadline, size=_SIZE)
        reply = await self._gateway.ask(envelope)
        if isinstance(reply, Accepted) and isinstance(reply.answer, PositionAnswer):
            return reply.answer.offset
        raise JournalUnavailable(f"the owner of partition {partition} does not say where its log stands: {reply}")
