"""The gateway to the owners of partitions. Each owner has a mailbox, and each process of owners a connection."""

import asyncio
import itertools
import re
import time
from typing import Final, Protocol

from falcon.adapters.owner_http.connecting import Connect
from falcon.adapters.owner_http.connection import OwnerProcess
from falcon.domain.ids import Partition
from falcon.telemetry import metrics
from falcon.write import refusals
from falcon.write.mailbox import Mailbox
from falcon.write.protocol import CommandBatch, CommandEnvelope, Reason, Reply, Unavailable
from falcon.write.signing import Keys

_SHARD: Final = re.compile("[0-9]{1,9}")
_NO_SHARD: Final = (1 << 31) - 1  # its process takes nothing for it
# A takeover takes from 20 ms, if the owner leaves, to seconds, if it was killed.
_PAUSES_SECONDS: Final = (0.02, 0.05, 0.1, 0.2)
# One is decided while the next is on its way; with more, fairness between accounts would end at the mailbox.
_BATCHES_AWAY: Final = 2
_OWNERS_MAX: Final = 64  # idle ones are forgotten when there are more
# An owner that lost a partition and lives has answered by then; one that has gone never will.
_LAST_WORD_SECONDS: Final = 0.25
# Not executed: another owner, or the same one a little later, may do it.
_TRY_AGAIN: Final[tuple[Reason, ...]] = ("not_mine", "unavailable")


class Directory(Protocol):
    """The owners of partitions, as far as they are known here."""

    def address(self, partition: Partition) -> str | None:
        """The address of the owner's process, and the number of its shard there: ``10.0.0.7:8082/0``."""


class OwnerGateway:
    """CommandGateway. For one event loop.

    While a partition moves, its commands wait here, and are tried again until their deadlines.
    """

    def __init__(self, directory: Directory, keys: Keys, mailbox_bound: int, connect: Connect) -> None:
        self._directory = directory
        self._keys = keys
        self._connect = connect
        self._mailbox_bound = mailbox_bound
        self._owners: dict[str, _Owner] = {}
        self._processes: dict[str, OwnerProcess] = {}
        self._news: dict[Partition, asyncio.Future[None]] = {}
        metrics.owner_connections_cut.begin(*((reason,) for reason in metrics.OWNER_CUTS))
        metrics.owner_connections.set_function(lambda: sum(each.connected for each in [*self._processes.values()]))

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
        for process in self._processes.values():
            process.close()

    def _owner(self, address: str) -> "_Owner":
        owner = self._owners.get(address)
        if owner is None:
            process, _, shard = address.rpartition("/")
            if len(self._owners) >= _OWNERS_MAX:
                self._forget_idle_owners(but_process=process)
            used = {each.number for each in self._owners.values()}
            number = next(free for free in itertools.count() if free not in used)
            owner = _Owner(self._process(process), shard, number, self._mailbox_bound)
            self._owners[address] = owner
        return owner

    def _process(self, address: str) -> OwnerProcess:
        if address not in self._processes:
            self._processes[address] = OwnerProcess(address, self._keys, self._connect)
        return self._processes[address]

    def _forget_idle_owners(self, but_process: str) -> None:
        """Addresses come and go. An owner with nothing on its way need not be remembered, nor its connection."""
        for address in [address for address, owner in self._owners.items() if not owner.mailbox.busy]:
            del self._owners[address]
        used = {owner.process for owner in self._owners.values()}
        for address, process in [*self._processes.items()]:
            if process not in used and address != but_process:
                self._processes.pop(address).close()


def _may_try_again(reply: Unavailable, envelope: CommandEnvelope) -> bool:
    """A command that may have been done is tried again only with a key: it is done once, and the second try gets the
    answer of the first."""
    if reply.reason == "outcome_unknown":
        return envelope.key is not None
    return reply.reason in _TRY_AGAIN


class _Owner:
    """An owner and its mailbox, whose batches go to its process.

    ``number``: the owner's name in metrics. Numbers of owners that have gone are given again, so they stay few.
    """

    def __init__(self, process: OwnerProcess, shard: str, number: int, mailbox_bound: int) -> None:
        self.process = process
        self.number = number
        self._shard = int(shard) if _SHARD.fullmatch(shard) else _NO_SHARD
        self.mailbox = Mailbox(f"owner-{number}", self._send, mailbox_bound, _BATCHES_AWAY)

    def _send(self, batch: CommandBatch) -> None:
        self.process.send(self._shard, batch, self.mailbox)
