"""Notes on which days tokens are used, off the path of the requests."""

import asyncio
import time
from collections import deque
from typing import Final

from falcon.domain.ids import AccountId, partition_of
from falcon.features.accounts.rules import UseToken
from falcon.features.accounts.table import AccountRow
from falcon.read.times import rfc3339
from falcon.write.gateway import CommandGateway
from falcon.write.protocol import Accepted, CommandEnvelope

_DAY_SECONDS: Final = 86_400  # a day
_ASK_SECONDS: Final = 10.0  # for the owner's decision: nothing waits for it
_NOTED_MAX: Final = 50_000  # tokens, as many as an authenticator remembers: 10 MB


class TokenUses:
    """Tells the owners of accounts once a day of each token that is used. One instance for each event loop.

    One note is under way at a time, so that a morning on which everybody comes costs the owners little. Several
    processes may send the same note; the owner appends it once. The day on which a token was made is not noted: it is
    in the token.
    """

    def __init__(self, gateway: CommandGateway, partitions: int) -> None:
        self._gateway = gateway
        self._partitions = partitions
        self._day = 0
        self._noted: set[tuple[AccountId, int]] = set()  # on this day
        self._waiting: deque[UseToken] = deque()
        self._sending: asyncio.Task[None] | None = None

    def note(self, account: AccountRow) -> None:
        """The account's token has just been found good. A note that fails is sent again after a later look-up."""
        token = account.token
        day = int(time.time() // _DAY_SECONDS)
        if token is None or token.used_on >= day or token.created_at >= rfc3339(1_000 * _DAY_SECONDS * day):
            return
        if day != self._day:
            self._day, self._noted = day, set()
        if (account.account_id, token.token_id) in self._noted or len(self._noted) >= _NOTED_MAX:
            return
        self._noted.add((account.account_id, token.token_id))
        self._waiting.append(UseToken(account.account_id, token.token_id, day))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._waiting:
            command = self._waiting.popleft()
            partition = partition_of(command.account_id, self._partitions)
            deadline = time.monotonic() + _ASK_SECONDS
            reply = await self._gateway.ask(CommandEnvelope(partition, command.account_id, command, deadline))
            if not isinstance(reply, Accepted):
                self._noted.discard((command.account_id, command.token_id))
