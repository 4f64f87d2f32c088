"""The Falcon under load: that at FALCON_URL, or one that is started for it, on a core of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from load_tests.users.options import Options
from tools.harness.machine import Cores, MachineUnfit, choose_cores, work_folder_parent
from tools.harness.progress import say

# A Falcon that this starts gets its own values for these.
_NOT_PASSED_ON: Final = ("FALCON_DATA_DIR", "FALCON_HTTP_PORT", "FALCON_OPS_PORT", "FALCON_HOST")


class NoTarget(Exception):
    """No Falcon could be started; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """``ended``: its processes that have ended and must not, as far as this process can see them."""

    urls: tuple[str, ...]
    admin_token: str
    token: str | None
    own: bool
    ended: Callable[[], str | None] = lambda: None


@contextmanager
def target(options: Options) -> Iterator[Target]:
    """Raises NoTarget."""
    if options.urls:
        yield Target(options.urls, options.admin_token or "", options.token, own=False)
    else:
        with _started(options) as falcon:
            yield falcon


@contextmanager
def _started(options: Options) -> Iterator[Target]:
    # With an address given, none of this is needed, nor what the benchmark's servers import.
    from tools.harness.servers import FalconServer, ServerFailed

    chosen = cores()
    try:
        folder = Path(tempfile.mkdtemp(prefix="falcon-load-", dir=work_folder_parent(options.folder)))
    except (MachineUnfit, OSError) as fault:
        raise NoTarget(str(fault)) from fault
    server = FalconServer("Falcon", chosen.server, folder / "data", settings())

    def ended() -> str | None:
        return None if server.tree.pids() else f"Falcon has ended: {server.last_words()}"

    try:
        say(f"starting Falcon on core {chosen.server} …")
        server.start()
        os.sched_setaffinity(0, os.sched_getaffinity(0) - {chosen.server} or {chosen.server})
        told = server.announcement
        yield Target((told.url,), told.admin_token, None, own=True, ended=ended)
    except ServerFailed as fault:
        raise NoTarget(str(fault)) from fault
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def cores() -> Cores:
    """The same one for all where there is no other."""
    try:
        return choose_cores()
    except MachineUnfit:
        (only,) = os.sched_getaffinity(0)
        return Cores(only, only)


def settings() -> dict[str, str]:
    """Falcon's settings that were given: `make load FALCON_PROCESSES=2`."""
    from falcon.run.settings import Settings

    known = {f"FALCON_{name.upper()}" for name in Settings.__slots__}
    return {name: os.environ[name] for name in known if name in os.environ and name not in _NOT_PASSED_ON}
