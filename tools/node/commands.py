"""Runs commands of this machine."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.servers.daemon import ServerFault

_LINES: Final = 12  # of a long complaint, the last ones


def run(*command: str | Path, feed: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run the command. Returns its output. Raises ServerFault with its error output when it fails."""
    try:
        done = subprocess.run(
            command,
            input=feed,
            stdin=subprocess.DEVNULL if feed is None else None,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise ServerFault(f"{command[0]} is not on the PATH") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_LINES:]
        words = " ".join(str(word) for word in command)
        raise ServerFault("\n".join([f"{words[:200]} failed with code {done.returncode}", *said]))
    return done.stdout


def succeeds(*command: str | Path) -> bool:
    try:
        run(*command)
    except ServerFault:
        return False
    return True
