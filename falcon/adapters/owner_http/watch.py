"""Owners watch one another, since the brokers take a whole session to notice that one has gone.

Each process keeps a connection to some others, which send a beat on it several times a second. It removes a process
that has ended or fallen silent from the group, which then assigns its partitions to the others.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import aiohttp

from falcon.adapters.owner_http.networks import connector
from falcon.adapters.owner_http.suspicion import (
    TICK_SECONDS,
    MemberId,
    Name,
    Patience,
    Process,
    Suspicion,
    Watched,
    watched_by,
)
from falcon.journal.ports import JournalUnavailable
from falcon.telemetry import metrics
from falcon.write.signing import Keys, Signer

log = logging.getLogger("falcon.watch")

PATH: Final = "/internal/alive"
# A process has so many watchers, one of which outlives it in all likelihood.
_WATCHED: Final = 4
_ROSTER_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 0.5
# Without a beat for so long another connection is tried: the process may live, and only the connection be lost.
_BEAT_SECONDS: Final = 0.6
_PAUSE_SECONDS: Final = 0.05


class Roster(Protocol):
    """The members of the group that assigns the partitions. Its methods raise JournalUnavailable."""

    async def members(self) -> Mapping[Name, MemberId]: ...

    async def remove(self, member: MemberId) -> None:
        """Have its partitions assigned to others. A member that has gone already is no error."""

    async def close(self) -> None: ...


class OwnerWatch:
    """Serves one event loop. ``me``: host:port where this process takes commands."""

    def __init__(
        self, me: Process, keys: Keys, roster: Roster, session_seconds: float, networks: Sequence[str]
    ) -> None:
        self._me = me
        self._keys = keys
        self._roster = roster
        self._patience = Patience(session_seconds, time.monotonic)
        self._peers: dict[Process, _Peer] = {}
        self._informed = False  # about the group: if the brokers cannot be reached, the fault may be on this side
        self._tasks: list[asyncio.Task[None]] = []
        self._session = aiohttp.ClientSession(
            connector=connector(networks, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_BEAT_SECONDS),
        )

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._follow_roster()), loop.create_task(self._tick())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._watch([])
        await self._session.close()
        await self._roster.close()

    async def _follow_roster(self) -> None:
        while True:
            try:
                members = await self._roster.members()
            except JournalUnavailable as error:
                if self._informed:
                    log.warning("no owner is suspected until the brokers answer: %s", error)
                self._informed = False
            else:
                self._patience.see(members)
                self._watch(watched_by(self._me, members, _WATCHED))
                self._informed = True
            await asyncio.sleep(_ROSTER_SECONDS)

    def _watch(self, watched: list[Watched]) -> None:
        """Processes that stay keep their connections and their suspicion."""
        members = {each.process: each.members for each in watched}
        for process in self._peers.keys() - members.keys():
            self._peers.pop(process).forget()
        for process, its in members.items():
            if process not in self._peers:
                self._peers[process] = _Peer(self._session, Signer(self._keys), process)
            self._peers[process].members = its

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            peers = list(self._peers.values())
            for peer in peers:
                if self._informed:
                    peer.suspicion.tick()
                else:
                    peer.suspicion.restart()
            await asyncio.gather(
                *(
                    self._remove(peer)
                    for peer in peers
                    if peer.suspicion.is_dead(self._patience.patience_of(peer.members))
                )
            )
            metrics.owners_heard.set(sum(peer.suspicion.heard for peer in peers))

    async def _remove(self, peer: "_Peer") -> None:
        """Each tick tries it until it is done, or the process is heard."""
        try:
            for member in peer.members.values():
                await self._roster.remove(member)
        except JournalUnavailable as error:
            log.warning("%s does not answer any more, and cannot be removed from the group: %s", peer.process, error)
            return
        log.warning("%s does not answer any more: removed from the group, so that others take over", peer.process)
        metrics.owners_removed.inc()
        peer.suspicion = Suspicion()


class _Peer:
    """A watched process."""

    def __init__(self, session: aiohttp.ClientSession, signer: Signer, process: Process) -> None:
        self.process = process
        self._signer = signer
        self.members: Mapping[Name, MemberId] = {}
        self.suspicion = Suspicion()
        self._session = session
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    def forget(self) -> None:
        self._listening.cancel()

    async def _listen(self) -> None:
        while True:
            try:
                headers = self._signer.headers("GET", PATH)
                async with self._session.get(f"http://{self.process}{PATH}", headers=headers) as response:
                    self._signer.learns_from(response.status, response.headers)
                    if response.status == 200:
                        async for _ in response.content.iter_any():
                            self.suspicion.beat()
                self.suspicion.ended()
            except TimeoutError:
                pass  # silence, which the ticks count
            except (aiohttp.ClientError, OSError):
                self.suspicion.ended()
            await asyncio.sleep(_PAUSE_SECONDS)
