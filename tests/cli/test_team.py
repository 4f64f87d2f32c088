"""A small team chats by command line alone, on a real ``falcon up``: the samples of docs/command-line.md."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from falcon.run.bootstrap.embedded import own_name
from tools.harness.falcon import Falcon

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

PAGE: Final = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()


@pytest.fixture
def falcon(tmp_path: Path) -> Iterator[Falcon]:
    falcon = Falcon(tmp_path / "data").start()
    yield falcon
    falcon.stop()


def pasted(falcon: Falcon, lines: str, code: int = 0, **variables: str) -> str:
    """The output of the lines in a shell in which ``falcon`` finds the Falcon. Its exit code must be ``code``."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_")}
    environment |= {"PATH": path, "FALCON_DATA_DIR": str(falcon.data_dir), "COLUMNS": "80", **variables}
    command = ["bash", "-euo", "pipefail", "-c", lines]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def samples(title: str) -> str:
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"^```\n(.*?)```", section, re.MULTILINE | re.DOTALL))


def test_the_pages_samples_make_a_chat(falcon: Falcon) -> None:
    lines = samples("A chat for a small team").replace(" --follow", "")
    said = pasted(falcon, lines).splitlines()
    (ben_id, ben_token), (cleo_id, _) = said[0].split(), said[1].split()
    assert said[3].endswith(f"{cleo_id} Cleo: member")
    assert said[-1].endswith(f"#1  {own_name()}: Who wants some?")

    listed = pasted(falcon, "falcon rooms", FALCON_TOKEN=ben_token, FALCON_URL=falcon.info["url"]).splitlines()
    assert listed[1].split()[1:5] == ["1", "1", "Tea", "kitchen"]  # one unread message, one mention
    assert ben_id in pasted(falcon, 'falcon room members "Tea kitchen"')

    # Ben writes a message and is removed. His name stays, also in JSON.
    pasted(falcon, "falcon send 'Tea kitchen' Bye", FALCON_TOKEN=ben_token, FALCON_URL=falcon.info["url"])
    pasted(falcon, 'falcon room remove "Tea kitchen" Ben')
    assert pasted(falcon, 'falcon tail "Tea kitchen" -n 1').endswith("#2  Ben: Bye\n")
    assert "Tea kitchen" in pasted(falcon, samples("Output for programs"))
    assert pasted(falcon, "falcon health --ready") == "Falcon is ready.\n"


def test_an_export_goes_into_another_falcon_and_not_into_its_own(falcon: Falcon, tmp_path: Path) -> None:
    file = tmp_path / "backup.jsonl"
    pasted(falcon, f'falcon room create Tea && falcon send Tea Hi && falcon export "{file}"')
    assert "was exported from this Falcon" in pasted(falcon, f'falcon import "{file}"', code=1)
    assert pasted(falcon, "falcon rooms --json").count("\n") == 1
    other = Falcon(tmp_path / "other").start()
    try:
        assert "1 message imported" in pasted(other, f'falcon import "{file}"')
    finally:
        other.stop()
