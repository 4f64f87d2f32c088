"""The samples of the guides for one machine work when pasted, and every link in the documents leads somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
GUIDES: Final = ("one-machine.md", "backups.md")  # each continues where the one before it ends
DOCUMENTS: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])
_STOP: Final = "kill $(jobs -p) 2>/dev/null; wait\n"


def samples(guide: str) -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / guide).read_text(), re.DOTALL))


def anchors(document: Path) -> set[str]:
    """Anchors as the repository pages make them from headings."""
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title)).lower().replace(" ", "-") for title in titles
    }


@pytest.mark.processes
def test_the_guides_work_when_they_are_pasted(tmp_path: Path) -> None:
    lines = f"trap '{_STOP.strip()}' EXIT\n" + "\n".join(samples(guide) for guide in GUIDES)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_")}
    environment |= {"FALCON_HTTP_PORT": "0", "FALCON_OPS_PORT": "0"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # As it was created, in the restored copy, and in the Falcon that imported it.
    assert done.stdout.count("Who wants some?") == 3, done.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        path = (document.parent / target).resolve() if target else document
        assert path.exists(), link
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), link
