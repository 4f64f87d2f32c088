"""The commands and samples of docs/quick-start.md run."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from falcon.run.bootstrap.embedded import own_name
from tests.support.samples import environment, program, samples
from tools.harness.falcon import Falcon

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = (DOCS / "quick-start.md").read_text()
SAID: Final = {"sh": "event: hello", "python": f"{own_name()} Who wants some?", "js": f"{own_name()} Who wants some?"}


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    falcon = Falcon(tmp_path_factory.mktemp("falcon")).start()
    yield falcon
    falcon.stop()


@pytest.mark.processes
@pytest.mark.parametrize("language", SAID)
def test_a_sample_does_what_the_page_says(falcon: Falcon, tmp_path: Path, language: str) -> None:
    (sample,) = samples(PAGE, language)
    command = program(language, sample, tmp_path)
    done = subprocess.run(command, env=environment(falcon), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert SAID[language] in done.stdout
    if language != "sh":  # curl says that its time is over
        assert done.stderr == ""


def test_the_module_that_the_page_names_is_there() -> None:
    (path,) = re.findall(r'from "/web/(client/[\w.]+)"', PAGE)
    assert (DOCS.parent / "falcon" / "web" / path).exists()
