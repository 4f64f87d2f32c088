"""Profiles a process with py-spy, which samples it from outside, a hundred times a second, without stopping it."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

RATE: Final = 100  # samples a second, as py-spy's own default
_SPARE_SECONDS: Final = 20.0  # to start py-spy and to write the file
_SPY: Final = Path(sys.executable).parent / "py-spy"


_NO_SAMPLES: Final = "No stack counts found"  # py-spy's message for a process that was idle
_EMPTY: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 120" width="1200" height="120">
<text x="600" y="60" text-anchor="middle" font-family="sans-serif" font-size="17">\
No samples: the process was idle for {seconds} s. With idle=true the threads that wait are shown, too.</text>
</svg>
"""


class NoProfile(Exception):
    """The profile could not be made. The message is py-spy's."""


def record(pid: int, seconds: int, *, format: str, idle: bool) -> bytes:
    """``format``: flamegraph (SVG), speedscope (JSON) or raw (a line a stack, with its count). ``idle``: include
    threads that wait. The graph is empty if the process was idle all the time. Raises NoProfile."""
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
            if _NO_SAMPLES in done.stderr:  # for a flame graph only: the other formats may be empty
                return _EMPTY.format(seconds=seconds).encode()
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoProfile(f"py-spy cannot be run: {error}") from error
        raise NoProfile(done.stderr.strip()[-500:] or f"py-spy ended with code {done.returncode}")
