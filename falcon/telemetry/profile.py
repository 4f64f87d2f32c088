"""Where a process spends its time: py-spy looks at it from outside, a hundred times a second, without stopping it."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

RATE: Final = 100
_SPARE_SECONDS: Final = 20.0
_SPY: Final = Path(sys.executable).parent / "py-spy"


class NoProfile(Exception):
    """It could not be made; the message is py-spy's."""


def record(pid: int, seconds: int, *, format: str, idle: bool) -> bytes:
    """``format``: flamegraph (SVG), speedscope (JSON) or raw (a line a stack, with its count). ``idle``: threads that
    wait, too. Raises NoProfile."""
    with tempfile.TemporaryDirectory(prefix="falcon-profile-") as folder:
        file = Path(folder) / "profile"
        command = [str(_SPY), "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE)]
        command += ["--format", format, "--output", str(file), "--nonblocking", "--threads"]
        command += ["--idle"] if idle else []
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds + _SPARE_SECONDS, check=False
            )
            if done.returncode == 0:
                return file.read_bytes()
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoProfile(f"py-spy cannot be run: {error}") from error
        raise NoProfile(done.stderr.strip()[-500:] or f"py-spy ended with code {done.returncode}")
