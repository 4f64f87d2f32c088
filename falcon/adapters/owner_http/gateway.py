"""The gateway to the owners of partitions: each owner has a mailbox, and each batch is a request."""

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from typing import Final, Protocol

import aiohttp

from falcon.adapters.owner_http.networks import connector
from falcon.domain.ids import Partition
from falcon.write import refusals
from falcon.write.mailbox import Mailbox
from falcon.write.protocol import (
    BatchReply,
    CommandBatch,
    CommandEnvelope,
    Reason,
    Reply,
    Unavailable,
    decode_reply_frames,
)
from falcon.write.signing import UNSIGNED, Keys, Signer
from falcon.write.transit import depart

log = logging.getLogger("falcon.gateway")

PATH: Final = "/internal/commands/"
_PAUSES_SECONDS: Final = (0.02, 0.05, 0.1, 0.2)
_BATCHES_AWAY: Final = 2
_CONNECT_SECONDS: Final = 1.0
# The client closes an idle connection, and never the server: a request that meets a close has an unknown outcome.
KEEP_ALIVE_SECONDS: Final = 60.0
SERVER_KEEP_ALIVE_SECONDS: Final = KEEP_ALIVE_SECONDS + 15.0
# An owner that lost a partition and lives has answered by then; one that has gone never will.
_LAST_WORD_SECONDS: Final = 0.25
# An owner that answers so has carried nothing out: it does not accept the signature, or is still starting.
_NOT_TAKEN: Final = (UNSIGNED, 503)
# Not executed: another owner, or the same one a little later, may do it.
_TRY_AGAIN: Final[tuple[Reason, ...]] = ("not_mine", "unavailable")


class Directory(Protocol):
    """The owners of partitions, as far as they are known here."""

    def address(self, partition: Partition) -> str | None:
        """host:port of the owner, and the number of its shard: ``10.0.0.7:8082/0``."""


class OwnerGateway:
    """CommandGateway. For one event loop.

    While a partition moves, its commands wait here, and are tried again until their deadlines.
    """

    def __init__(self, directory: Directory, keys: Keys, mailbox_bound: int, networks: Sequence[str]) -> None:
        self._directory = directory
        self._keys = keys
        self._mailbox_bound = mailbox_bound
        self._owners: dict[str, _Owner] = {}
        self._news: dict[Partition, asyncio.Future[None]] = {}
        self._session = aiohttp.ClientSession(
            headers={"Content-Type": "application/msgpack"},
            connector=connector(networks, keepalive_timeout=KEEP_ALIVE_SECONDS),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )

    async def ask(self, envelope: CommandEnvelope) -> Reply:
        tries = 0
        doubt: Unavailable | None = None
        while True:
            address = self._directory.address(envelope.partition)
            reply: Reply
            if address is None:
                reply = refusals.no_owner_known()
            else:
                reply = await self._owner(address).mailbox.ask(envelope)
            if not isinstance(reply, Unavailable):
                return reply
            # Once the command may have been done, no later refusal may say that it was not.
            if reply.reason == "outcome_unknown":
                doubt = reply
            answer = doubt or reply
            if not _may_try_again(reply, envelope):
                return answer
            pause = _PAUSES_SECONDS[min(tries, len(_PAUSES_SECONDS) - 1)]
            if time.monotonic() + pause >= envelope.deadline:
                return answer
            await self._until_moved(envelope.partition, pause)
            tries += 1

    def moved(self, partition: Partition, before: str | None) -> None:
        """The directory knows another owner than ``before``. Commands that wait for an owner go there at once."""
        news = self._news.pop(partition, None)
        if news is not None:
            news.set_result(None)
        owner = self._owners.get(before or "")
        if owner is not None:
            loop, now = asyncio.get_running_loop(), time.monotonic()
            loop.call_later(_LAST_WORD_SECONDS, owner.mailbox.disown, partition, now)

    async def _until_moved(self, partition: Partition, seconds: float) -> None:
        news = self._news.get(partition)
        if news is None:
            news = self._news[partition] = asyncio.get_running_loop().create_future()
        await asyncio.wait([news], timeout=seconds)

    def mailbox(self, partition: Partition) -> Mailbox | None:
        owner = self._owners.get(self._directory.address(partition) or "")
        return None if owner is None else owner.mailbox

    async def close(self) -> None:
        await self._session.close()

    def _owner(self, address: str) -> "_Owner":
        owner = self._owners.get(address)
        if owner is None:
            self._forget_idle_owners()
            used = {each.number for each in self._owners.values()}
            number = next(free for free in itertools.count() if free not in used)
            owner = _Owner(self._session, Signer(self._keys), address, number, self._mailbox_bound)
            self._owners[address] = owner
        return owner

    def _forget_idle_owners(self) -> None:
        """Addresses come and go. An owner with nothing on its way need not be remembered."""
        for address in [address for address, owner in self._owners.items() if not owner.mailbox.busy]:
            del self._owners[address]


def _may_try_again(reply: Unavailable, envelope: CommandEnvelope) -> bool:
    """A command that may have been done is tried again only with a key: it is done once, and the second try gets the
    answer of the first."""
    if reply.reason == "outcome_unknown":
        return envelope.key is not None
    return reply.reason in _TRY_AGAIN


class _NotTaken(Exception):
    """The owner has carried nothing out of the batch."""


class _Owner:
    """An owner and its mailbox, whose batches are POSTed to it.

    ``number``: the owner's name in metrics. Numbers of owners that have gone are given again, so they stay few.
    """

    def __init__(
        self, session: aiohttp.ClientSession, signer: Signer, address: str, number: int, mailbox_bound: int
    ) -> None:
        self.number = number
        self._session = session
        self._signer = signer
        host, _, shard = address.partition("/")
        self._path = f"{PATH}{shard}"
        self._url = f"http://{host}{self._path}"
        self._requests: set[asyncio.Task[None]] = set()
        self.mailbox = Mailbox(f"owner-{number}", self._send, mailbox_bound, _BATCHES_AWAY)

    def _send(self, batch: CommandBatch) -> None:
        task = asyncio.get_running_loop().create_task(self._post(batch))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _post(self, batch: CommandBatch) -> None:
        """Whatever happens, every command of the batch gets a reply. Where none came, the outcome is unknown."""
        try:
            await self._exchange(batch)
        except (aiohttp.ClientConnectorError, _NotTaken) as error:
            log.warning("no owner takes commands at %s: %s", self._url, error)
            not_taken: list[tuple[int, Reply]] = [
                (index, refusals.owner_not_reached()) for index in range(len(batch.commands))
            ]
            self.mailbox.replied(BatchReply(batch.number, not_taken))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            log.warning("a batch to %s failed: %r", self._url, error)
        self.mailbox.give_up(batch.number)

    async def _exchange(self, batch: CommandBatch) -> None:
        """Send the batch, and once more if the owner is another process than before."""
        for _ in range(2):
            now = time.monotonic()
            seconds = max(envelope.deadline for envelope in batch.commands) - now
            timeout = aiohttp.ClientTimeout(total=max(seconds, 0.001), sock_connect=_CONNECT_SECONDS)
            body = depart(batch, now)
            headers = self._signer.headers("POST", self._path, body)
            async with self._session.post(self._url, data=body, headers=headers, timeout=timeout) as response:
                if not self._signer.learns_from(response.status, response.headers):
                    await self._receive(batch, response)
                    return
        raise _NotTaken("the process there is another one each time")

    async def _receive(self, batch: CommandBatch, response: aiohttp.ClientResponse) -> None:
        """Replies come in frames, as they are ready: a slow partition does not delay the replies of others."""
        if response.status != 200:
            error = _NotTaken if response.status in _NOT_TAKEN else ValueError
            raise error(f"status {response.status}: {(await response.text())[:200]}")
        rest = b""
        async for data in response.content.iter_any():
            replies, rest = decode_reply_frames(rest + data)
            for replied in replies:
                self.mailbox.replied(BatchReply(batch.number, replied))
