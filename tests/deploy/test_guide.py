"""The overlays and components that docs/kubernetes.md names exist."""

import re

import pytest

from tools.k8s_proof.objects import MANIFESTS
from tools.servers.cluster import ROOT

GUIDE = ROOT / "docs" / "kubernetes.md"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"(?:components|overlays)/[a-z-]+", GUIDE.read_text()))))
def test_an_overlay_or_component_that_it_names_is_there(name: str) -> None:
    assert (MANIFESTS / name / "kustomization.yaml").exists()
