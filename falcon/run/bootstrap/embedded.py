"""Falcon on one machine: the log, the snapshots and the read tables in one SQLite file, or in one for each process."""

import asyncio
import glob
import logging
import os
import pwd
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import apsw
import msgspec

from falcon.adapters.sockets.lone_signal_transport import LocalSignalTransport
from falcon.adapters.sockets.signal_transport import SocketSignalTransport
from falcon.adapters.sqlite import database, files
from falcon.adapters.sqlite.database import WrongDatabase
from falcon.adapters.sqlite.journal import SqliteJournal
from falcon.adapters.sqlite.read_store import LoneReadStore, read_store
from falcon.adapters.sqlite.search_index import SqliteSearchIndex
from falcon.adapters.sqlite.search_tables import SqliteSearchTables, copy_index, history_of
from falcon.adapters.sqlite.source import SqliteFilesSource, SqliteSource, UniformCursor, source_of
from falcon.adapters.sqlite.tables import SqliteSavepoint, SqliteTables
from falcon.adapters.sqlite.tail import SqliteTail
from falcon.base.process import take_lock
from falcon.domain import names
from falcon.domain.ids import partition_of
from falcon.http.bearer_tokens import new_secret
from falcon.http.edge import Edge
from falcon.http.freshness import Freshness
from falcon.journal.envelope import Cursor
from falcon.journal.ports import Append, JournalUnavailable, Wake
from falcon.projections.consumer import ProjectionConsumer
from falcon.projections.rebuild import Rebuild
from falcon.projections.runner import InlineProjector, ProjectionCatchUp
from falcon.projections.sinks import SINKS
from falcon.read.catalogue import sqlite_projections
from falcon.read.store import ReadStoreUnavailable
from falcon.run.bootstrap import (
    Announced,
    FirstAccounts,
    blocking,
    create_account,
    issue_link,
    shard_limits,
    start_edge,
    start_gateway,
)
from falcon.run.bootstrap import issue_token as issue_token_of
from falcon.run.bootstrap.places import SiblingProcesses
from falcon.run.settings import Settings
from falcon.streams.signals import SignalTransport
from falcon.telemetry import metrics
from falcon.telemetry.dispatchers import start_thread
from falcon.telemetry.health import Health
from falcon.write.clock import SystemClock
from falcon.write.disk import Disk
from falcon.write.ownership import FixedOwnership
from falcon.write.replies import SendReply
from falcon.write.shard import Shard

log = logging.getLogger("falcon")

_SINK_SECONDS = 0.2  # between two batches of the index of messages: each costs some milliseconds
_SINK_EVENTS = 1_000  # in one batch: some 50 ms
_SINK_NICENESS = 10  # the index waits while messages need the processor
_QUIET_HOURS = (3, 4)  # by the machine's clock
_FAULT_SECONDS = 30.0  # after a fault, which may pass: as often as a stopped projection is tried again
_IDLE_SECONDS = 0.5  # between two looks of the projection thread if no commit wakes it
_POLL_SECONDS = 0.5  # seldom: each process learns of all commits, unless another is killed before it tells them
_JUMP_FOLLOWED_SECONDS = 300.0  # a correction lasts, and a glitch has passed by then
_CREDENTIALS = "credentials.json"
_SECRET_BYTES = 32  # 256 bits


class WrongFile(Exception):
    """A file of the data folder is not as Falcon wrote it. The message says what to do."""


# Reasons for which a process of one machine does not start. The message of each says what is wrong.
REFUSALS = (JournalUnavailable, ReadStoreUnavailable, WrongDatabase, WrongFile)


def sqlite_version() -> str:
    """The SQLite inside apsw."""
    return apsw.sqlite_lib_version()


# --- the write side ---------------------------------------------------------------------------------------------------


def build_shard(
    settings: Settings,
    place: int,
    wake: Wake,
    reply: SendReply,
    disk: Disk | None = None,
    committed: Callable[[Sequence[Append]], None] = lambda appends: None,
) -> Shard:
    """Each of several processes has a file of its own for its shard. ``disk``: of the data folder. ``committed`` as in
    SqliteJournal.

    Raises JournalUnavailable.
    """
    path = database_of(settings, place)
    connection = database.connect(path, files=settings.processes)
    within = InlineProjector(sqlite_projections(), SqliteTables(connection), partial(SqliteSavepoint, connection))
    source = SqliteSource(database.connect(path, files=settings.processes))
    return Shard(
        FixedOwnership(range(place, settings.partitions, settings.processes)),
        SqliteJournal(connection, wake, within, str(place), committed),
        source,
        source,
        SystemClock(_JUMP_FOLLOWED_SECONDS),
        shard_limits(settings),
        owner=f"shard {place}, process {os.getpid()}",
        reply=reply,
        name=str(place),
        disk=disk,
    )


# --- the files --------------------------------------------------------------------------------------------------------


def database_of(settings: Settings, place: int) -> Path:
    """The file of the process at this place."""
    return settings.database if settings.processes == 1 else databases(settings)[place]


def search_of(settings: Settings) -> Path:
    """The file of the index of messages."""
    return settings.data_dir / "search.db"


def databases(settings: Settings) -> list[Path]:
    """The files of the folder, when it has been prepared for these settings."""
    return files.paths(settings.database, settings.processes)


def prepare(settings: Settings) -> None:
    """Make the data folder one of these settings, before anything serves. The caller holds its lock.

    Raises WrongDatabase, JournalUnavailable.
    """
    files.prepare(settings.database, settings.partitions, settings.processes)


def bring_up_to_date(path: Path) -> None:
    """Bring the tables of a file to the end of its log, as far as they can be brought there."""
    with closing(database.connect(path, writable=False)) as reading, closing(database.connect(path)) as writing:
        catch_up = ProjectionCatchUp(sqlite_projections(), SqliteSource(reading), SqliteTables(writing))
        while catch_up.step():
            pass


def open_readers(settings: Settings) -> list[apsw.Connection]:
    """A read-only connection to each file."""
    return [database.connect(path, writable=False, files=settings.processes) for path in databases(settings)]


def open_source(settings: Settings) -> SqliteSource | SqliteFilesSource:
    return source_of(open_readers(settings))


def open_tail(settings: Settings, place: int) -> SqliteTail:
    """``place``: of this process, whose file it writes."""
    return SqliteTail(open_readers(settings), _POLL_SECONDS, place)


# --- the read side ----------------------------------------------------------------------------------------------------


class CatchUpThread:
    """Keeps the read tables up to date on a thread of its own, with connections of its own."""

    def __init__(self, path: Path, moved: Callable[[], None]) -> None:
        """``path``: of the file. ``moved`` is called on that thread when it has applied events."""
        self._path = path
        self._moved = moved
        self._ending = threading.Event()
        self._thread = start_thread("catch-up", self._run)

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        """Mostly idle: the commits themselves keep the tables up to date, unless a projection is new or has stopped.
        Then this thread shares the process with requests, so it rests for as long as it has worked."""
        while not self._ending.wait(_IDLE_SECONDS):
            try:
                catch_up = _catch_up(self._path)
                while not self._ending.is_set():
                    began = time.monotonic()
                    has_more = catch_up.step()
                    if has_more:
                        self._moved()
                    self._ending.wait(time.monotonic() - began if has_more else _IDLE_SECONDS)
            except JournalUnavailable as error:
                log.error("the projections wait: %s", error)


def _catch_up(path: Path) -> ProjectionCatchUp:
    source = SqliteSource(database.connect(path, writable=False))
    return ProjectionCatchUp(sqlite_projections(), source, SqliteTables(database.connect(path, synchronous="NORMAL")))


class SinkThread:
    """Keeps the index of messages up to date on a thread of its own, over all files of the data folder.

    It shares the process with requests, so it rests for as long as it has worked. An index that is being filled leaves
    the reserve of the disk to what takes away. Words of messages that were edited
    or deleted leave the index's file in the early morning, when few people chat.
    """

    def __init__(self, settings: Settings, disk: Disk) -> None:
        """Call it before anything is written: the index of an empty log needs no filling."""
        self._settings = settings
        self._disk = disk
        self._ending = threading.Event()
        with suppress(JournalUnavailable, ReadStoreUnavailable), self._opened():  # the thread tries again
            pass
        self._thread = start_thread("search", self._run)

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _SINK_NICENESS)
        while not self._ending.is_set():
            try:
                self._follow()
            except (JournalUnavailable, ReadStoreUnavailable) as error:
                log.error("the index of messages waits: %s", error)
                self._ending.wait(_IDLE_SECONDS)
            except Exception:  # any fault: without this thread the index would stand still until a restart
                log.exception("the index of messages has stopped at a fault, and tries again in %g s", _FAULT_SECONDS)
                stopped = metrics.projection_stopped.labels("search")
                stopped.set(1)
                self._ending.wait(_FAULT_SECONDS)
                stopped.set(0)

    def _follow(self) -> None:
        """Raises JournalUnavailable, ReadStoreUnavailable."""
        with self._opened() as (source, tables):
            made = tables.made
            all_partitions = frozenset(range(source.partitions))
            project, events = SINKS["search"].project, _SINK_EVENTS
            consumer = ProjectionConsumer("search", project, source, tables, lambda: all_partitions, events=events)
            while not self._ending.is_set() and tables.made == made:
                began = time.monotonic()
                count = consumer.step()
                if count < events and time.localtime().tm_hour in _QUIET_HOURS and not tables.is_clean:
                    tables.clean()
                worked = time.monotonic() - began
                self._ending.wait(worked if count == events else max(worked, _SINK_SECONDS))
                while count == events and self._disk.is_nearly_full and not self._ending.is_set():
                    self._ending.wait(_IDLE_SECONDS)

    @contextmanager
    def _opened(self) -> "Iterator[tuple[SqliteSource | SqliteFilesSource, SqliteSearchTables]]":
        """Raises JournalUnavailable, ReadStoreUnavailable."""
        with ExitStack() as stack:
            readers = [stack.enter_context(closing(each)) for each in open_readers(self._settings)]
            tables = SqliteSearchTables(search_of(self._settings), history_of(readers))
            yield source_of(readers), stack.enter_context(closing(tables))


def begin_again(settings: Settings, name: str) -> None:
    """Throw the work of a sink away. The running Falcon, or the next one, makes it again from the log.

    Raises JournalUnavailable, ReadStoreUnavailable, WrongDatabase.
    """
    readers = [database.connect(path, writable=False) for path in files.check(settings.database, settings.partitions)]
    with closing(SqliteSearchTables(search_of(settings), history_of(readers))) as tables:
        tables.begin_again()
    for reader in readers:
        reader.close()


def rebuild(settings: Settings, name: str, progress: Callable[[int, int], None]) -> int:
    """Rebuild the tables of a projection, in one file after another. Returns the number of events.

    Raises as Rebuild.run does, and WrongDatabase.
    """
    paths = files.check(settings.database, settings.partitions)
    sources = [SqliteSource(database.connect(path, writable=False)) for path in paths]
    # Unlike a commit of the journal: the next rebuild makes again what a crash takes.
    written = [SqliteTables(database.connect(path, synchronous="NORMAL")) for path in paths]
    left = {source: source.remaining(UniformCursor(0)) for source in sources}
    total = sum(left.values())
    events = 0
    for source, tables in zip(sources, written, strict=True):

        def tell(reached: Cursor, source: SqliteSource = source) -> None:
            left[source] = source.remaining(reached)
            now = sum(left.values())
            progress(max(0, total - now), max(total, now))

        events += Rebuild(name, sqlite_projections()[name], source, tables, tell).run()
    return events


def copy(
    settings: Settings,
    folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
    processes: int | None = None,
) -> None:
    """Copy this data folder as it is now, even while it is in use, as a backup or to continue from. ``report`` is
    called with the bytes copied so far and the approximate total. ``processes``: the copy is for so many, and no Falcon
    may run on the folder: it would take messages that the copy lacks.

    The copy gets its name once it is complete and on the disk: a Falcon would start on half a copy, without the
    messages that it lacks. What a killed copy to the same name has left is removed first. Raises FileExistsError,
    OSError, JournalUnavailable; with ``processes`` also InUse, WrongDatabase.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _incomplete(folder) as incomplete:
        if processes is None:
            _copy_into(settings, incomplete, report)
        else:
            with _locked(settings.data_dir):
                for path in files.check(settings.database, settings.partitions):
                    bring_up_to_date(path)
                _copy_into(settings, incomplete, report, processes)
        incomplete.rename(folder)
        _sync(folder.parent)


@contextmanager
def _incomplete(folder: Path) -> Iterator[Path]:
    """A hidden folder beside the one with this name, locked while its copy is written. It is gone after the block."""
    prefix = f".{folder.name}.incomplete-"
    for left in folder.parent.glob(f"{glob.escape(prefix)}*"):
        with _open_folder(left) as handle:
            if take_lock(handle):
                shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    with _open_folder(made) as handle:
        take_lock(handle)
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _open_folder(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


def _copy_into(
    settings: Settings, folder: Path, report: Callable[[int, int], None], processes: int | None = None
) -> None:
    to = folder / settings.database.name
    for target in files.paths(to, processes or len(files.present(settings.database))):
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600))  # readable by its owner only
    # Before the log: an index that was ahead of its log would be thrown away.
    copy_index(search_of(settings), folder / search_of(settings).name)
    files.copy(settings.database, to, report, count=processes, partitions=settings.partitions)
    for name in ("secret", _CREDENTIALS):
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
async def serving(settings: Settings, health: Health | None = None, place: int = 0) -> AsyncIterator[Edge]:
    """An edge that accepts commands and queries. At the end of the block all that it started has ended.

    ``place``: of this process among the ones that share the partitions. They meet in FALCON_RUN_DIR; without that
    folder the partitions of other places have no owner.
    """
    if settings.processes > 1:
        settings = _share(settings)
    metrics.partitions.set(settings.partitions)
    metrics.owners_heard.set(0)  # one machine has no others
    metrics.owner_connections.set(0)
    metrics.owner_connections_cut.begin(*((reason,) for reason in metrics.OWNER_CUTS))
    secret = server_secret(settings)
    disk = Disk(settings.data_dir)
    disk.look()  # before the shard, which looks at each tick
    tail = open_tail(settings, place)
    gateway = start_gateway(settings, partial(build_shard, settings, place, disk=disk, committed=tail.take), place)
    readers = open_readers(settings)
    source = open_source(settings)
    peers = None
    if settings.processes > 1 and settings.run_dir:
        run_dir, places, bound = Path(settings.run_dir), settings.processes, settings.mailbox_bound
        peers = SiblingProcesses(run_dir, source.instance, place, places, secret, bound)
        gateway = await peers.start(gateway)
    if health is not None:
        # What can be read is served while the disk takes nothing more, also if no partition could be taken over.
        health.ready = lambda: disk.is_nearly_full or gateway.ready()
    store = LoneReadStore(readers[0]) if settings.processes == 1 else read_store(readers, settings.partitions)
    freshness = Freshness(store, source, has_notifications=lambda: True)
    if isinstance(store, LoneReadStore):
        freshness.forget = store.forget
    told = [freshness.moved, tail.nudge]  # of a commit here: its reads and streams, and all other places
    if peers is not None:
        peers.open(partial(_call, tuple(told)))
        told.append(peers.nudge)
    gateway.tell_of_commits(*told)
    loop = asyncio.get_running_loop()

    def moved() -> None:
        loop.call_soon_threadsafe(_call, told)

    catch_up = CatchUpThread(database_of(settings, place), moved)
    sink = SinkThread(settings, disk) if place == 0 else None
    index = SqliteSearchIndex(search_of(settings))
    transport = _transport(settings, source.instance)
    edge = start_edge(settings, gateway, store, freshness, tail, transport, source.instance, secret, search=index)
    try:
        yield edge
        await edge.streams.stop()
        edge.close()
        if peers is not None:
            await peers.stop()
        await blocking(settings).run(catch_up.stop)
        if sink is not None:
            await blocking(settings).run(sink.stop)
        index.close()
        gateway.close()
    finally:
        for reader in readers:
            reader.close()


def _share(settings: Settings) -> Settings:
    """Settings of one of several processes: they share the memory that one would have."""
    return replace(
        settings,
        answers_bytes=settings.answers_bytes // settings.processes,
        stream_events=settings.stream_events // settings.processes,
    )


def _call(functions: Iterable[Callable[[], object]]) -> None:
    for each in functions:
        each()


def _transport(settings: Settings, log_name: str) -> SignalTransport:
    """The transport to the other HTTP processes, if there may be some."""
    if not settings.run_dir:
        return LocalSignalTransport()
    # A process that has the number of one that was killed must not pass for it.
    return SocketSignalTransport(Path(settings.run_dir), log_name, f"{os.getpid()}-{secrets.token_hex(4)}")


def server_secret(settings: Settings) -> bytes:
    """Made once for a data folder, also if several processes start at the same time. Tokens of keyed commands are
    derived from it. Raises WrongFile."""
    path = settings.data_dir / "secret"
    if not path.exists():
        with _private_file(settings, path.name, secrets.token_bytes(_SECRET_BYTES)) as made, suppress(FileExistsError):
            path.hardlink_to(made)
    secret = _read(path)
    if secret is None or len(secret) != _SECRET_BYTES:
        raise WrongFile(
            f"{path} has {len(secret or b'')} bytes and not {_SECRET_BYTES}: put it back from a copy, or remove it, "
            "and Falcon makes another"
        )
    return secret


async def credentials(settings: Settings, edge: Edge) -> FirstAccounts:
    """The credentials of the data folder. In a new one an account is made for the person who runs Falcon: its owner.
    Raises WrongFile."""
    known = _known_credentials(settings)
    if known is not None:
        return known
    account_id, token = await create_account(edge, own_name(), role="owner", secret=new_secret(edge.secret))
    made = FirstAccounts(account_id, token, account_id, token)
    _write_private(settings, _CREDENTIALS, msgspec.json.encode(made))
    return made


async def announced(settings: Settings, edge: Edge) -> Announced:
    """Raises WrongFile."""
    is_new = _known_credentials(settings) is None
    made = await credentials(settings, edge)
    code = await issue_link(edge, made.account_id) if is_new else ""
    return Announced(**msgspec.structs.asdict(made), sign_in=code)


def own_name() -> str:
    """The name of the person who runs Falcon, as the machine knows it."""
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:  # a container may run as a user without a name
        return "Owner"
    known = [names.normalized(name) for name in (user.pw_gecos.partition(",")[0], user.pw_name)]
    return next((name for name in known if names.broken_rule(name) is None), "Owner")


def _known_credentials(settings: Settings) -> FirstAccounts | None:
    path = settings.data_dir / _CREDENTIALS
    data = _read(path)
    try:
        return None if data is None else msgspec.json.decode(data, type=FirstAccounts)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WrongFile(
            f"{path} is not as Falcon writes it ({error}): put it back from a copy, or move it away, and Falcon makes "
            "one more account to begin with"
        ) from error


def _read(path: Path) -> bytes | None:
    """None if there is no such file. Raises WrongFile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WrongFile(f"{path} cannot be read: {error.strerror}") from error


class InUse(Exception):
    """A Falcon runs on the data folder."""


async def issue_token(settings: Settings, account_id: int) -> str:
    """Issue a token for an account of a data folder that is not in use. It replaces the account's token in the
    credentials, if that is there. Raises InUse, NotIssued, and REFUSALS."""
    with _locked(settings.data_dir):
        alone = _alone(settings)
        prepare(alone)
        known = _known_credentials(settings)
        owner = partition_of(account_id, alone.partitions) % alone.processes
        async with serving(alone, place=owner) as edge:
            token = await issue_token_of(edge, account_id)
        if known is not None and account_id in (known.admin_account_id, known.account_id):
            fields = {"token": known.account_id, "admin_token": known.admin_account_id}
            changed = {field: token for field, account in fields.items() if account == account_id}
            _write_private(settings, _CREDENTIALS, msgspec.json.encode(msgspec.structs.replace(known, **changed)))
    return token


def _alone(settings: Settings) -> Settings:
    """Parts for one process without others, and as many files as the folder has. Raises JournalUnavailable."""
    count = len(files.present(settings.database)) if settings.database.exists() else 1
    return replace(settings, processes=count, run_dir="")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the data folder's lock, as the launcher does. Raises InUse."""
    with (folder / "lock").open("a") as handle:
        if not take_lock(handle.fileno()):
            raise InUse(f"a Falcon runs on {folder}: stop it first")
        yield


def _write_private(settings: Settings, name: str, data: bytes) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    with _private_file(settings, name, data) as made:
        made.replace(settings.data_dir / name)


@contextmanager
def _private_file(settings: Settings, name: str, data: bytes) -> Iterator[Path]:
    """A file beside the one with this name, readable by its owner only. It is gone after the block."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = settings.data_dir / f".{name}.{secrets.token_hex(4)}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
