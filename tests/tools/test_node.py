"""The node cannot be started everywhere, but what it is given can be read, and what it lacks it says."""

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from falcon import __version__
from tools.harness.waiting import until
from tools.node import __main__ as command
from tools.node import (
    bases,
    cgroups,
    configuration,
    deployment,
    images,
    needs,
    network,
    objects,
    place,
    programs,
    trial,
)
from tools.node.node import Node
from tools.node.process import Process, marked
from tools.servers import jars
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


def test_another_system_than_linux_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ServerFault, match="needs Linux"):
        needs.check_machine()


def test_without_go_nothing_is_built(
    bin_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(bin_folder.parent))
    assert command.main(["build"]) == 1
    assert capsys.readouterr().err == (
        "node: Go 1.26 or newer is needed to build the node's programs and there is no go on the PATH\n"
    )
    assert not programs.folder().exists()


@pytest.mark.parametrize("version", ["go1.19.8", "go1.25.3", ""])
def test_a_go_that_is_too_old_is_refused(bin_folder: Path, version: str) -> None:
    _program(bin_folder / "go", f"echo '{version and f'go version {version} linux/amd64'}'")
    with pytest.raises(jars.ToolMissing, match=rf"Go 1\.26 or newer is needed .* is .*({version}|broken)"):
        needs.to_build(print)


def test_where_there_is_no_apt_the_packages_are_named(bin_folder: Path) -> None:
    with pytest.raises(jars.ToolMissing, match=r"no apt-get to install them; .*iproute2 nftables .*containerd"):
        needs.to_run(print)


def test_without_a_node_there_is_nowhere_to_run_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(network, "exists", lambda: False)
    assert command.main(["in", "kubectl", "get", "pods"]) == 1
    assert capsys.readouterr().err == "node: no node runs here; start it with python -m tools.node up\n"


def test_what_is_built_already_is_not_built_again(
    bin_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(bin_folder.parent))
    programs.folder().mkdir(parents=True)
    (programs.folder() / "versions.json").write_text(programs._versions())
    assert command.main(["build"]) == 0
    assert capsys.readouterr().out == f"{programs.folder()}\n"


# --- what it is given -------------------------------------------------------------------------------------------------


def test_what_it_is_told_keeps_to_its_own_folders(tmp_path: Path) -> None:
    configuration.write(tmp_path)
    told = tomllib.loads((tmp_path / "containerd.toml").read_text())
    runtime = told["plugins"]["io.containerd.grpc.v1.cri"]
    assert Path(told["root"]).is_relative_to(tmp_path)
    assert Path(told["state"]).is_relative_to(place.RUN)
    assert runtime["sandbox_image"] == programs.PAUSE
    assert Path(runtime["cni"]["conf_dir"], "10-node.conflist").is_file()
    assert runtime["netns_mounts_under_state_dir"]  # or pods' namespaces could not be told from another's


def test_kubelet_and_containerd_mean_the_same_socket_and_cgroup(tmp_path: Path) -> None:
    kubelet = configuration.kubelet(tmp_path)
    assert kubelet["containerRuntimeEndpoint"] == f"unix://{place.CONTAINERD}"
    assert kubelet["cgroupRoot"] == f"/{place.NAME}"
    assert str(place.CONTAINERD) in configuration.containerd(tmp_path)


def test_every_program_that_is_started_is_built_and_has_arguments(tmp_path: Path) -> None:
    built = {package.rpartition("/")[2] for package in programs._PACKAGES} | {"etcd", "containerd"}
    arguments = configuration.arguments(tmp_path)
    assert arguments.keys() <= built
    assert {status.name for status in Node().status()} == arguments.keys()


def test_a_claim_finds_a_volume_of_the_default_class(tmp_path: Path) -> None:
    objects.make_volumes(tmp_path)
    items = objects.all_of_them(tmp_path)["items"]
    default = next(item for item in items if item["kind"] == "StorageClass")
    assert default["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    volumes = [item for item in items if item["kind"] == "PersistentVolume"]
    assert volumes
    for volume in volumes:
        assert volume["spec"]["storageClassName"] == default["metadata"]["name"]
        assert Path(volume["spec"]["local"]["path"]).is_dir()


def test_staged_modules_are_replaced_by_what_is_published() -> None:
    go_mod = "replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tk8s.io/kms => ./staging/src/k8s.io/kms\n)\n"
    published = f"v0.{programs.KUBERNETES.partition('.')[2]}"
    assert programs._replacements(go_mod) == [
        f"-replace=k8s.io/api=k8s.io/api@{published}",
        f"-replace=k8s.io/kms=k8s.io/kms@{published}",
    ]
    with pytest.raises(ServerFault, match="no staged modules"):
        programs._replacements("module k8s.io/kubernetes\n")


def test_the_kernels_settings_are_put_back(tmp_path: Path) -> None:
    cgroups.keep_settings(tmp_path / "kernel")
    kept = (tmp_path / "kernel" / "vm" / "overcommit_memory").read_text()
    assert kept == Path("/proc/sys/vm/overcommit_memory").read_text()


def test_a_pod_that_ends_while_the_cgroups_are_walked_through_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pod in ("one", "two"):
        (tmp_path / place.NAME / "pods" / pod).mkdir(parents=True)
        (tmp_path / place.NAME / "pods" / pod / "cgroup.procs").write_text("7\n" if pod == "two" else "")
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    scan = os.scandir

    def scan_as_one_ends(path: Any) -> Any:
        if Path(path).name == "one":
            (Path(path) / "cgroup.procs").unlink()
            Path(path).rmdir()
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_as_one_ends)
    assert cgroups.processes() == {7}


# --- images -----------------------------------------------------------------------------------------------------------


def test_without_buildah_and_docker_an_image_says_so_in_a_line(
    bin_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["image"]) == 1
    assert capsys.readouterr().err == (
        "node: an image is built with buildah or docker: buildah is not on the PATH, and docker is not on the PATH\n"
    )


def test_a_docker_whose_daemon_is_not_there_builds_nothing(
    bin_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _program(bin_folder / "docker", "exit 1")
    assert command.main(["image"]) == 1
    assert capsys.readouterr().err.endswith("and docker's daemon does not answer\n")


def test_docker_builds_it_where_there_is_no_buildah(bin_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _program(bin_folder / "docker", f'echo "$@" >>{bin_folder}/asked; echo $((50 << 20))')
    assert command.main(["image"]) == 0
    asked = (bin_folder / "asked").read_text().splitlines()
    built = next(line for line in asked if line.startswith("build "))
    assert f"--tag={images.FALCON}" in built
    assert f"--build-arg=VERSION={__version__}" in built
    assert "50 MiB: 0 MiB over python:3.13-slim-trixie" in capsys.readouterr().out


def test_an_image_says_when_its_sources_were_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1750000000")
    assert images._what_it_is()["CREATED"] == "2025-06-15T15:06:40+00:00"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    changed = datetime.fromisoformat(images._what_it_is()["CREATED"])
    assert changed <= datetime.now(UTC)


def test_the_base_images_that_a_dockerfile_needs_are_found() -> None:
    dockerfile = (
        "ARG PYTHON=3.13\nFROM python:${PYTHON}-slim AS build\nFROM --platform=$X python:3.11-slim\nFROM build\n"
    )
    assert images._bases(dockerfile) == ["python:3.13-slim", "python:3.11-slim"]
    for folder in (images.ROOT, images.ROOT / "tools" / "servers"):
        assert {name.startswith("python:3.13-slim") for name in images._bases((folder / "Dockerfile").read_text())} == {
            True
        }


def test_a_base_image_of_another_python_is_refused() -> None:
    with pytest.raises(ServerFault, match=r"no Debian with Python 3\.12 here; there are 3\.13, 3\.11"):
        bases.stand_in("3.12", print)


@pytest.mark.parametrize("name", ["debian:trixie-slim", "python:3.12-slim", "python:3.13-slim-bookworm"])
def test_what_cannot_be_pulled_and_has_no_stand_in_is_said(bin_folder: Path, name: str) -> None:
    for program in ("buildah", "timeout"):
        _program(bin_folder / program, "exit 1")
    with pytest.raises(ServerFault, match=f"{name} is not in buildah's store and cannot be pulled"):
        bases.have(name, print)


# --- what is deployed -------------------------------------------------------------------------------------------------


class Pods(Node):
    """A node whose kubectl tells of pods, and what each says as its last lines."""

    def __init__(self, *looks: dict[str, dict[str, Any]]) -> None:
        """``looks``: the status of each pod's container, at one look after the other; the last one stays."""
        super().__init__()
        self.looks = list(looks)

    def kubectl(self, *arguments: str, feed: str | None = None) -> str:
        _, *words = arguments
        match words:
            case ["get", "pods", "--output=json"]:
                pods = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
                return json.dumps({"items": [_pod(name, status) for name, status in pods.items()]})
            case ["get", "pods", _]:
                return "the table of all pods\n"
            case ["get", kinds, "--output=name"]:
                return "job/falcon-prepare\n" if kinds == "jobs" else "statefulset/kafka\n"
            case ["rollout" | "wait", *_] if not all(each["ready"] for each in self.looks[0].values()):
                raise ServerFault("timed out waiting for the condition")
            case ["rollout" | "wait", *_]:
                return ""
            case ["logs", pod, *_]:
                return f"{pod} said: No module named 'tools.harness'\n"
        raise AssertionError(words)


def _pod(name: str, status: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"containerStatuses": [{"name": "kafka", **status}]}}


def _ran(restarts: int, **state: Any) -> dict[str, Any]:
    return {"restartCount": restarts, "ready": state == {"running": {}}, "state": state}


_BACKING_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}
_ENDED = {"terminated": {"exitCode": 1}}


def test_a_container_that_crashes_three_times_ends_the_wait_with_its_last_lines() -> None:
    node = Pods(
        {"kafka-0": _ran(0, waiting={"reason": "ContainerCreating"})},
        {"kafka-0": _ran(0, **_ENDED)},
        {"kafka-0": _ran(1, running={"now": 1})},
        {"kafka-0": _ran(2, **_BACKING_OFF)},
    )
    with pytest.raises(ServerFault, match="kafka-0: its container kafka has crashed 3 times:\nkafka-0 said: No module"):
        deployment._await_ready(node, {})


def test_two_crashes_of_a_start_are_waited_out() -> None:
    deployment._await_ready(Pods({"kafka-0": _ran(1, **_BACKING_OFF)}, {"kafka-0": _ran(2, running={})}), {})


def test_crashes_of_a_pod_that_is_being_replaced_do_not_count() -> None:
    node = Pods(
        {"kafka-0": _ran(9, **_BACKING_OFF)}, {"kafka-0": _ran(10, **_BACKING_OFF)}, {"kafka-0": _ran(0, running={})}
    )
    deployment._await_ready(node, deployment._crashes(node))


def test_a_job_that_is_done_has_not_crashed() -> None:
    assert deployment._crashes(Pods({"job": _ran(0, terminated={"exitCode": 0})})) == {("job", "kafka"): 0}


def test_what_never_gets_ready_says_which_pods_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "_READY_SECONDS", 0.1)
    node = Pods({"kafka-0": _ran(0, waiting={"reason": "ErrImageNeverPull"})})
    with pytest.raises(
        ServerFault, match=r"(?s)not all of it became Ready .*the table of .*kafka-0: .*ErrImageNeverPull"
    ):
        deployment._await_ready(node, {})


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


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """A process as on the node, in the network of this machine."""
    monkeypatch.setattr("tools.node.process.INSIDE", ("nice",))
    process = Process("etcd", 0, tmp_path)
    yield process
    process.kill()


def test_a_process_of_the_node_is_known_though_it_takes_no_mark(process: Process) -> None:
    process.run(sys.executable, "-c", "import signal; signal.pause()")
    pid = process.pid()
    assert pid is not None
    assert Process("etcd", 0, process.folder).pid() == pid
    assert Process("kubelet", 0, process.folder).pid() is None
    until(lambda: marked(process.folder) == {pid})  # it becomes another program, and has no mark for a moment
    assert marked(process.folder / "another") == set()


def test_what_a_process_has_started_is_found_when_it_has_gone(process: Process) -> None:
    process.run("/bin/sh", "-c", "sleep 60 & wait")
    process.wait_for(lambda: len(marked(process.folder)) == 2, "had a child", 10)
    process.kill()
    (left,) = marked(process.folder)
    os.kill(left, 9)


def test_a_proxy_of_this_machine_is_not_the_nodes(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    process.run("/bin/sh", "-c", 'echo "proxy:$HTTPS_PROXY:"; sleep 60 & wait')
    process.wait_for(lambda: "proxy::" in process.said(), "said its proxy", 10)
    for left in marked(process.folder):
        os.kill(left, 9)


# --- under the bonnet -------------------------------------------------------------------------------------------------


def _program(path: Path, does: str) -> None:
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
