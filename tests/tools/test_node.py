"""The node says what it lacks, and is tried when its files have changed: `make k8s-trial` shows the rest."""

import os
from pathlib import Path

import pytest

from tools.node import __main__ as command
from tools.node import (
    deployment,
    images,
    network,
    programs,
    trial,
)
from tools.node.node import Node
from tools.node.process import Process
from tools.servers.daemon import ServerFault


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that is on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [["up"], ["down"], ["base-image"], ["deploy"]])
def test_without_root_it_says_so_in_a_line(
    action: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command.main(action) == 1
    said = capsys.readouterr().err
    assert said.startswith("node: a node needs root")
    assert said.count("\n") == 1


def test_without_go_nothing_is_built(
    bin_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(bin_folder.parent))
    assert command.main(["build"]) == 1
    assert capsys.readouterr().err == (
        "node: Go 1.26 or newer is needed to build the node's programs and there is no go on the PATH\n"
    )
    assert not programs.folder().exists()


def test_without_a_node_there_is_nowhere_to_run_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(network, "exists", lambda: False)
    assert command.main(["in", "kubectl", "get", "pods"]) == 1
    assert capsys.readouterr().err == "node: no node runs here; start it with python -m tools.node up\n"


def test_a_node_of_which_a_program_has_ended_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(network, "exists", lambda: True)
    monkeypatch.setattr(Process, "running", lambda process: process.name != "kube-controller-manager")
    assert command.main(["in", "kubectl", "get", "pods"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("node: the node's kube-controller-manager has ended (see ")
    assert said.count("\n") == 1


# --- images -----------------------------------------------------------------------------------------------------------


def test_without_buildah_and_docker_an_image_says_so_in_a_line(
    bin_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["image"]) == 1
    assert capsys.readouterr().err == (
        "node: an image is built with buildah or docker: buildah is not on the PATH, and docker is not on the PATH\n"
    )


# --- a trial of it all ------------------------------------------------------------------------------------------------


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
