"""Falcon on one machine: the log, the snapshots and the read tables in one SQLite file."""

import asyncio
import fcntl
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import apsw
import msgspec

from falcon.adapters.memory.signal_transport import LocalSignalTransport
from falcon.adapters.sockets.signal_transport import SocketSignalTransport
from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.journal import CommitHook, SqliteJournal
from falcon.adapters.sqlite.read_store import SqliteReadStore
from falcon.adapters.sqlite.source import SqliteSource
from falcon.adapters.sqlite.tables import SqliteSavepoint, SqliteTables
from falcon.adapters.sqlite.tail import SqliteTail
from falcon.bootstrap import (
    FirstAccounts,
    blocking,
    create_account,
    shard_limits,
    start_edge,
    start_gateway,
)
from falcon.bootstrap import issue_token as issue_token_of
from falcon.http.bearer_tokens import new_secret
from falcon.http.edge import Edge
from falcon.http.freshness import Freshness
from falcon.journal.envelope import Cursor
from falcon.journal.ports import JournalUnavailable, Wake
from falcon.projections.rebuild import Rebuild
from falcon.projections.runner import InlineProjector, ProjectionCatchUp
from falcon.read.catalogue import READ_MODELS, projections
from falcon.settings import Settings
from falcon.startup import begin
from falcon.streams.signals import SignalTransport
from falcon.telemetry import metrics
from falcon.telemetry.dispatchers import start_thread
from falcon.telemetry.health import Health
from falcon.write.clock import SystemClock
from falcon.write.ownership import FixedOwnership
from falcon.write.replies import SendReply
from falcon.write.shard import Shard

log = logging.getLogger("falcon")

_IDLE_SECONDS = 0.5


def sqlite_version() -> str:
    """The SQLite inside apsw."""
    return apsw.sqlite_lib_version()


# --- the write side ---------------------------------------------------------------------------------------------------


def shard_builds(settings: Settings) -> list[Callable[[Wake, SendReply], Shard]]:
    """Functions that make the shards where they run: they can be pickled."""
    return [partial(build_shard, settings, index) for index in range(settings.shards)]


def build_shard(settings: Settings, index: int, wake: Wake, reply: SendReply) -> Shard:
    """Raises JournalUnavailable."""
    if settings.actors != "in_process":
        begin(settings, f"shard-{index}")
    connection = database.connect(settings.database)
    within: CommitHook | None = None
    if settings.projection == "inline":
        within = InlineProjector(projections(), SqliteTables(connection), partial(SqliteSavepoint, connection))
    source = SqliteSource(database.connect(settings.database))
    return Shard(
        FixedOwnership(range(index, settings.partitions, settings.shards)),
        SqliteJournal(connection, wake, within, str(index)),
        source,
        source,
        SystemClock(),
        shard_limits(settings),
        owner=f"shard {index}, process {os.getpid()}",
        reply=reply,
        name=str(index),
    )


# --- the read side ----------------------------------------------------------------------------------------------------


class CatchUpThread:
    """Keeps the read tables up to date on a thread of its own, with connections of its own."""

    def __init__(self, settings: Settings, moved: Callable[[], None]) -> None:
        """``moved`` is called on that thread when it has applied events."""
        self._settings = settings
        self._moved = moved
        self._ending = threading.Event()
        self._thread = start_thread("catch-up", self._run)

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        """It has little to do: the commits themselves keep the tables up to date, unless a projection is new or has
        stopped. Then this thread shares the process with requests, so it rests for as long as it has worked."""
        while not self._ending.wait(_IDLE_SECONDS):
            try:
                catch_up, _ = _catch_up(self._settings)
                while not self._ending.is_set():
                    began = time.monotonic()
                    has_more = catch_up.step()
                    if has_more:
                        self._moved()
                    self._ending.wait(time.monotonic() - began if has_more else _IDLE_SECONDS)
            except JournalUnavailable as error:
                log.error("the projections wait: %s", error)


def catch_up_until(settings: Settings, ending: Callable[[], bool]) -> None:
    """Apply events that the tables lack as soon as they are in the log, until ``ending``."""
    catch_up, source = _catch_up(settings)
    while not ending():
        if not catch_up.step():
            source.wait(_IDLE_SECONDS)


def _catch_up(settings: Settings) -> tuple[ProjectionCatchUp, SqliteSource]:
    source = SqliteSource(database.connect(settings.database, writable=False))
    tables = SqliteTables(database.connect(settings.database, synchronous="NORMAL"))
    return ProjectionCatchUp(projections(), source, tables), source


def rebuild(settings: Settings, name: str, progress: Callable[[int, int], None]) -> int:
    """Rebuild the tables of a projection. Returns the number of events. Raises as Rebuild.run does, and
    WrongDatabase."""
    database.check(settings.database, settings.partitions)
    source = SqliteSource(database.connect(settings.database, writable=False))
    # Unlike a commit of the journal: the next rebuild makes again what a crash takes.
    tables = SqliteTables(database.connect(settings.database, synchronous="NORMAL"))
    total = source.end()[0].offset

    def tell(reached: Cursor) -> None:
        progress(reached[0].offset, max(reached[0].offset, total))

    return Rebuild(name, READ_MODELS[name].project, source, tables, tell).run()


def copy(settings: Settings, folder: Path, report: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Copy this data folder as it is now, even while it is in use, as a backup or to go on from. ``report`` is called
    with the bytes copied so far and the approximate total.

    The copy gets its name once it is complete and on the disk: a Falcon would start on half a copy, without the
    messages that it lacks. Raises FileExistsError, OSError, JournalUnavailable.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already")
    folder.parent.mkdir(parents=True, exist_ok=True)
    incomplete = Path(tempfile.mkdtemp(prefix=f".{folder.name}.incomplete-", dir=folder.parent))
    try:
        _copy_into(settings, incomplete, report)
        incomplete.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(incomplete, ignore_errors=True)
        raise


def _copy_into(settings: Settings, folder: Path, report: Callable[[int, int], None]) -> None:
    database_file = folder / settings.database.name
    os.close(os.open(database_file, os.O_WRONLY | os.O_CREAT, 0o600))  # readable by its owner only
    database.copy(settings.database, database_file, report)
    for name in ("secret", "credentials.json"):
        if (settings.data_dir / name).exists():
            shutil.copy2(settings.data_dir / name, folder / name)
    for path in (*folder.iterdir(), folder):
        _sync(path)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


# --- the edge ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(
    settings: Settings, actors_port: int | None = None, health: Health | None = None
) -> AsyncIterator[Edge]:
    """An edge that accepts commands and queries. At the end of the block all that it started has ended."""
    metrics.partitions.set(settings.partitions)
    metrics.owners_heard.set(0)  # one machine has no others
    metrics.owner_connections.set(0)
    metrics.owner_connections_cut.begin(*((reason,) for reason in metrics.OWNER_CUTS))
    gateway = await start_gateway(settings, shard_builds(settings), actors_port)
    if health is not None:
        health.ready = gateway.ready
    read_connection = database.connect(settings.database, writable=False)
    source = SqliteSource(database.connect(settings.database, writable=False))
    store = SqliteReadStore(read_connection)
    catch_up = None
    freshness = Freshness(store, source)
    if settings.projection == "inline":
        is_told = gateway.tell_of_commits(freshness.moved)
        freshness.is_told = lambda: is_told
        loop = asyncio.get_running_loop()

        def moved() -> None:
            loop.call_soon_threadsafe(freshness.moved)

        catch_up = CatchUpThread(settings, moved)
    tail = SqliteTail(database.connect(settings.database, writable=False), _poll_seconds(settings))
    secret = server_secret(settings)
    edge = start_edge(settings, gateway, store, freshness, tail, _transport(settings), source.instance, secret)
    try:
        yield edge
        await edge.streams.stop()
        if catch_up is not None:
            await blocking(settings).run(catch_up.stop)
        gateway.close()
    finally:
        read_connection.close()


def _transport(settings: Settings) -> SignalTransport:
    """The transport to the other HTTP processes, if there may be some."""
    if not settings.run_dir:
        return LocalSignalTransport()
    # A process that has the number of one that was killed must not pass for it.
    return SocketSignalTransport(Path(settings.run_dir), f"{os.getpid()}-{secrets.token_hex(4)}")


def _poll_seconds(settings: Settings) -> float:
    """A process that hosts the actors knows of all writes, and need not poll often."""
    return 0.1 if settings.actors == "in_process" else 0.005


def server_secret(settings: Settings) -> bytes:
    """Made once for a data folder. Tokens of keyed commands are derived from it."""
    path = settings.data_dir / "secret"
    if not path.exists():
        _write_private(settings, "secret", secrets.token_bytes(32))
    return path.read_bytes()


async def credentials(settings: Settings, edge: Edge) -> FirstAccounts:
    """The credentials of the data folder. In a new one two accounts are made: an administrator, and one to begin
    with."""
    path = settings.data_dir / "credentials.json"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=FirstAccounts)
    admin_id, admin_token = await create_account(edge, "Admin", is_admin=True, secret=new_secret(edge.secret))
    account_id, token = await create_account(edge, "First account", is_admin=False, secret=new_secret(edge.secret))
    made = FirstAccounts(account_id, token, admin_id, admin_token)
    _write_private(settings, "credentials.json", msgspec.json.encode(made))
    return made


class InUse(Exception):
    """A Falcon runs on the data folder."""


async def issue_token(settings: Settings, account_id: int) -> str:
    """Issue a token for an account of a data folder that is not in use. It replaces the account's token in the
    credentials, if that is there. Raises InUse, NotIssued, WrongDatabase, JournalUnavailable."""
    alone = replace(settings, actors="in_process", shards=1, projection="inline", run_dir="")
    with _locked(settings.data_dir):
        database.prepare(settings.database, settings.partitions)
        async with serving(alone) as edge:
            token = await issue_token_of(edge, account_id)
        path = settings.data_dir / "credentials.json"
        known = msgspec.json.decode(path.read_bytes(), type=FirstAccounts) if path.exists() else None
        if known is not None and account_id in (known.admin_account_id, known.account_id):
            changed = {"admin_token" if account_id == known.admin_account_id else "token": token}
            _write_private(settings, path.name, msgspec.json.encode(msgspec.structs.replace(known, **changed)))
    return token


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the data folder's lock, as the launcher does. Raises InUse."""
    with (folder / "lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"a Falcon runs on {folder}: stop it first") from None
        yield


def _write_private(settings: Settings, name: str, data: bytes) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    partial_file = settings.data_dir / f".{name}.{os.getpid()}"
    handle = os.open(partial_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial_file.replace(settings.data_dir / name)
