"""The bench compares what it says it compares."""

import os
import subprocess
import sys
from pathlib import Path

from tools.bench.bench import ROOT
from tools.bench.throughput import older


def test_processes_run_the_older_version_though_they_start_in_the_folder_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "falcon").mkdir()
    (tmp_path / "falcon" / "__init__.py").touch()
    (tmp_path / "falcon" / "__main__.py").write_text("print('the older one')")
    environment = {**os.environ, **older(tmp_path)}
    command = [sys.executable, "-m", "falcon"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "the older one\n"
