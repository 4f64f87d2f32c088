"""Processes of one machine that share the partitions. Each has a place, a number from 0 on, and owns the partitions p
with p % processes == place."""

import asyncio
import fcntl
import hmac
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from falcon.adapters.owner_http.connecting import connected_locally
from falcon.adapters.owner_http.gateway import OwnerGateway
from falcon.adapters.sockets.nudges import Nudges
from falcon.base.process import take_lock
from falcon.domain.ids import Partition
from falcon.http.internal.local import LocalCommands
from falcon.run.bootstrap import HostedGateway
from falcon.write.mailbox import Mailbox
from falcon.write.protocol import CommandEnvelope, Reply

_STOP_SECONDS: Final = 3.5  # the launcher kills what has not ended after 4.5 s
_PAUSE_SECONDS: Final = 0.02  # the end of a process waits for it
_KEY: Final = b"commands between the processes of a machine, for the log "
_COMMANDS: Final = ".commands"  # the end of the name of a socket that takes them


class PlaceGateway:
    """HostedGateway. Commands for the partitions of this place go to its shard, all others to their places."""

    def __init__(self, place: int, places: int, here: HostedGateway, others: OwnerGateway) -> None:
        self._place = place
        self._places = places
        self._here = here
        self._others = others
        self.deliver = here.deliver
        self.tell_of_commits = here.tell_of_commits
        self.ready = here.ready
        self.leave = here.leave
        self.close = here.close

    async def ask(self, envelope: CommandEnvelope) -> Reply:
        return await self._gateway(envelope.partition).ask(envelope)

    def mailbox(self, partition: Partition) -> Mailbox | None:
        return self._gateway(partition).mailbox(partition)

    def _gateway(self, partition: Partition) -> HostedGateway | OwnerGateway:
        return self._here if partition % self._places == self._place else self._others


class SiblingProcesses:
    """The processes at the other places, as one process knows them. They share ``folder``.

    ``log_name``: of their log; ``secret``: the server's. Processes of another log have other sockets and another key: a
    copy of a data folder has the same secret, and its log another name.

    Commands go to them and come from them. Each is nudged when another has committed something, since a stream or a
    read may wait for it.
    """

    def __init__(self, folder: Path, log_name: str, place: int, places: int, secret: bytes, mailbox_bound: int) -> None:
        key = hmac.digest(secret, _KEY + log_name.encode(), "sha256")
        self._place = place
        self._places = places
        names = [f"{log_name}.{number}" for number in range(places)]
        self._commands = LocalCommands(folder, names[place] + _COMMANDS, lambda: (key,))
        self._others = OwnerGateway(
            _Directory(names), lambda: (key,), mailbox_bound, partial(connected_locally, folder=folder)
        )
        self._nudges = Nudges(folder, names, place)
        self._serving = _ServingLock(folder / f"{log_name}.serving.lock")
        self.nudge = self._nudges.send

    async def start(self, here: HostedGateway) -> PlaceGateway:
        """Let the shard of ``here`` decide commands of other places, too."""
        await self._commands.start(here.deliver)
        return PlaceGateway(self._place, self._places, here, self._others)

    def open(self, nudged: Callable[[], None]) -> None:
        """``nudged`` is called on the running event loop when another process has committed something."""
        self._nudges.open(nudged)

    async def stop(self) -> None:
        """Call it once this process has answered its requests. Decide the commands of the other places until they have,
        too."""
        await self._serving.end()
        await self._commands.close()
        await self._others.close()
        self._nudges.close()


class _Directory:
    """The owners of partitions: each place has one shard."""

    def __init__(self, names: Sequence[str]) -> None:
        self._addresses = [f"{name}{_COMMANDS}/0" for name in names]

    def address(self, partition: Partition) -> str:
        return self._addresses[partition % len(self._addresses)]


class _ServingLock:
    """A lock that each place shares with the others while it serves requests. A process that is killed loses it."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_SH)

    async def end(self) -> None:
        """Let go of the lock, and wait until all others have. Gives up in time to end before the launcher kills."""
        fcntl.flock(self._handle, fcntl.LOCK_UN)
        loop = asyncio.get_running_loop()
        until = loop.time() + _STOP_SECONDS
        while not take_lock(self._handle) and loop.time() < until:
            await asyncio.sleep(_PAUSE_SECONDS)
        os.close(self._handle)
