"""Samples of the documentation, as programs."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

from tools.harness.falcon import Falcon

_JAVASCRIPT: Final = Path(__file__).parents[2] / "clients" / "javascript"


def samples(page: str, language: str) -> list[str]:
    """The texts that are marked with this language."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def program(language: str, sample: str, folder: Path) -> list[str]:
    """The command that runs a sample, which is put into the folder. Where there is no Node the test is skipped; under
    ``CI=true`` it fails."""
    match language:
        case "sh":
            return ["bash", "-euo", "pipefail", "-c", sample]
        case "python":
            (folder / "sample.py").write_text(sample)
            return [sys.executable, str(folder / "sample.py")]
        case "js":
            node = shutil.which("node")
            if node is None:
                reason = "no Node here: install the package nodejs"
                assert os.environ.get("CI") != "true", reason
                pytest.skip(reason)
            # As `npm install` of the folder does it.
            (folder / "node_modules").mkdir(exist_ok=True)
            (folder / "node_modules" / "falcon-chat-client").symlink_to(_JAVASCRIPT)
            (folder / "sample.mjs").write_text(sample)
            return [node, str(folder / "sample.mjs")]
    raise ValueError(f"no samples in {language}")


def environment(falcon: Falcon) -> dict[str, str]:
    """The variables that samples read."""
    return {**os.environ, "URL": falcon.info["url"], "TOKEN": falcon.info["token"]}
