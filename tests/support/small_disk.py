"""A command that runs with a disk of its own, which has little room."""

import subprocess
from pathlib import Path

import pytest


def on_small_disk(folder: Path, size: str) -> tuple[str, ...]:
    """The beginning of a command line. The rest of it runs with an empty disk of this size in place of the folder, in
    the same process. Skips the test if this user may not do that."""
    mount = f"mount -t tmpfs -o size={size},mode=0700 none '{folder}'"
    within = ("unshare", "--map-root-user", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
    try:
        subprocess.run([*within, "true"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a disk of its own needs user namespaces: {error}")
    return within
