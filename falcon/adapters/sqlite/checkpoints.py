"""Moving the write-ahead log into the file, beside the commits rather than within them."""

import logging
import threading
from pathlib import Path
from typing import Final

import apsw

from falcon.adapters.sqlite.database import connect
from falcon.journal.ports import JournalUnavailable

log = logging.getLogger("falcon.sqlite")

_EVERY_SECONDS: Final = 1.0
_WAL_BYTES: Final = 16 << 20
_WAL_BYTES_MAX: Final = 256 << 20
_BUSY_MILLISECONDS: Final = 200
_AFTER_BUSY_SECONDS: Final = 10.0


class WalCheckpoints:
    """A thread with a connection of its own. A passive checkpoint holds up neither readers nor the writer.

    Only when the log has grown past all measure, since there was never a moment without readers or writers, does it
    ask them to wait.
    """

    def __init__(self, path: Path) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._path = path
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="falcon-wal", daemon=True)

    def __enter__(self) -> "WalCheckpoints":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        connection: apsw.Connection | None = None
        pause = _EVERY_SECONDS
        while not self._ending.wait(pause):
            pause = _EVERY_SECONDS
            try:
                if connection is None:
                    connection = connect(self._path)
                    connection.set_busy_timeout(_BUSY_MILLISECONDS)
                self._checkpoint(connection)
            except apsw.BusyError:
                pause = _AFTER_BUSY_SECONDS  # a reader stands in the way; asking again holds writers up each time
            except (OSError, apsw.Error, JournalUnavailable) as error:
                log.warning("the write-ahead log could not be moved into the file: %s", error)
        if connection is not None:
            connection.close()

    def _checkpoint(self, connection: apsw.Connection) -> None:
        size = self._wal.stat().st_size
        if size > _WAL_BYTES_MAX:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        elif size > _WAL_BYTES:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
