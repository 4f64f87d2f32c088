"""Peers that are installed by a script of ours, into the user's cache folder and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tools.harness.progress import say
from tools.servers.jars import cache

_NONE: Mapping[str, str] = MappingProxyType({})
_DONE = "installed"  # an empty file beside the installed ones; a folder without it is of an attempt that failed


class PeerMissing(Exception):
    """The peer cannot be installed here. The message says why, in one line."""


def installed(name: str, install: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache, filled by ``install`` the first time. Raises PeerMissing."""
    folder = cache() / name
    if not (folder / _DONE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        say(f"installing {name} into {folder}")
        install(folder)
        (folder / _DONE).touch()
    return folder


def go(
    arguments: Sequence[str | Path], seconds: float, folder: Path | None = None, environment: Mapping[str, str] = _NONE
) -> str:
    """Run Go as it is installed, and not the toolchain that a go.mod may ask for. Raises PeerMissing."""
    return run(["go", *arguments], seconds, folder, {**environment, "GOTOOLCHAIN": "local"})


def run(
    command: Sequence[str | Path], seconds: float, folder: Path | None = None, environment: Mapping[str, str] = _NONE
) -> str:
    """Returns its output. ``environment``: beside ours. Raises PeerMissing when it fails or takes longer."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as missing:
        raise PeerMissing(f"there is no {name} here to install it with") from missing
    except subprocess.TimeoutExpired as late:
        raise PeerMissing(f"{name} did not end within {seconds:.0f} s") from late
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise PeerMissing(f"{name} failed: {words[-1][:300] if words else f'exit code {done.returncode}'}")
    return done.stdout
