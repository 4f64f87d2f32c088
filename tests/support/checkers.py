"""Programs that judge what no test runs: `make checkers` installs them beside Falcon's own environment."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

_FOLDER: Final = Path(__file__).parents[2] / "build" / "checkers" / "bin"


def checker(name: str) -> str:
    """Its path. Where it is missing the test is skipped, and fails in CI."""
    found = shutil.which(name, path=f"{_FOLDER}:{os.environ.get('PATH', os.defpath)}")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing: run make checkers")
    if found is None:
        pytest.skip(f"{name} is not installed (make checkers)")
    return found
