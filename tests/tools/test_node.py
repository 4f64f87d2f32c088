"""A node is tried when its files have changed: `make k8s-trial` shows the rest."""

from pathlib import Path

import pytest

from tools.node import deployment, images, trial
from tools.node.node import Node
from tools.servers.daemon import ServerFault


class Tried(Node):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def runs(self) -> bool:
        return False

    def down(self) -> None:
        self.done.append("down")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tried:
    node = Tried()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(deployment, "deploy", lambda node, overlay, say: {"token": node.done.append("up")})
    monkeypatch.setattr(deployment, "smoke", lambda node, token: node.done.append("smoke") or "all is well")
    monkeypatch.setattr(images, "build_load", lambda say: node.done.append("load"))
    return node


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name in trial._MADE_OF:
        (tmp_path / name / "x").parent.mkdir(parents=True)
        (tmp_path / name / "x").write_text("1")
    return tmp_path


def test_a_trial_is_made_again_when_its_files_have_changed_and_says_why_not_otherwise(
    tried: Tried, sources: Path
) -> None:
    said: list[str] = []
    whole = ["up", "smoke", "load", "down"]
    trial.run(tried, said.append, sources)
    assert tried.done == whole
    assert "no trial has passed here yet" in said[0]
    said.clear()
    trial.run(tried, said.append, sources)
    assert tried.done == whole
    assert "not tried" in said[0] and "tools/harness" in said[0] and "in the last trial that passed" in said[0]
    said.clear()
    (sources / "tools" / "servers" / "more").write_text("")
    trial.run(tried, said.append, sources)
    assert tried.done == whole * 2
    assert said[0] == "node: tried; changed since a trial has passed: tools/servers"


def test_a_trial_that_fails_ends_the_node_and_is_made_again(
    tried: Tried, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(deployment, "smoke", _smoke_fails)
        with pytest.raises(ServerFault, match="the smoke test has failed"):
            trial.run(tried, print, sources)
    assert tried.done == ["up", "down"]
    trial.run(tried, print, sources)
    assert tried.done[2:] == ["up", "smoke", "load", "down"]


def _smoke_fails(node: Node, token: str) -> str:
    raise ServerFault("the smoke test has failed")


def test_a_trial_does_not_end_a_node_that_ran_before(
    tried: Tried, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tried, "runs", lambda node: True)
    with pytest.raises(ServerFault, match="a node runs already"):
        trial.run(tried, print, sources)
    assert tried.done == []


# --- under the bonnet -------------------------------------------------------------------------------------------------
