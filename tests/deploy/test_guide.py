"""docs/kubernetes.md against what is there: where it leads, and what it names."""

import re
from pathlib import Path

import pytest

from tools.k8s_proof.objects import MANIFESTS
from tools.servers.cluster import ROOT

GUIDE = ROOT / "docs" / "kubernetes.md"
LINKS = sorted(set(re.findall(r"\]\(([^)]+)\)", GUIDE.read_text())))


def anchors(document: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("link", LINKS)
def test_a_link_leads_somewhere(link: str) -> None:
    name, _, anchor = link.partition("#")
    there = GUIDE.parent / name if name else GUIDE
    assert there.exists()
    assert not anchor or anchor in anchors(there)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"(?:components|overlays)/[a-z-]+", GUIDE.read_text()))))
def test_an_overlay_or_component_that_it_names_is_there(name: str) -> None:
    assert (MANIFESTS / name / "kustomization.yaml").exists()
