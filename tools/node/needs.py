"""Checks what the machine must have. Each missing thing gets one line, or is installed if possible."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tools.node.commands import run
from tools.servers.daemon import Say, ServerFault
from tools.servers.jars import ToolMissing

CNI_PLUGINS: Final = Path("/usr/lib/cni")
_GO: Final = (1, 26)

# A program that each package brings.
_RUNNING: Final = {
    "ip": "iproute2",
    "nft": "nftables",
    "openssl": "openssl",
    "containerd": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    str(CNI_PLUGINS / "bridge"): "containernetworking-plugins",
}
_BUILDING: Final = {"cc": "gcc", "buildah": "buildah"}
_BASE_IMAGE: Final = {"mmdebstrap": "mmdebstrap", "buildah": "buildah"}


def check_machine() -> None:
    """Raises ServerFault unless a node can run here at all."""
    if sys.platform != "linux":
        raise ServerFault(f"a node needs Linux, and this is {sys.platform}")
    if os.geteuid() != 0:
        raise ServerFault("a node needs root, for network namespaces, mounts and cgroups; run it with sudo")


def to_run(say: Say) -> None:
    """Raises ToolMissing."""
    _install(_RUNNING, say)


def to_build(say: Say) -> None:
    """Raises ToolMissing."""
    _check_go()
    _install(_BUILDING, say)


def to_make_a_base_image(say: Say) -> None:
    """Raises ToolMissing."""
    _install(_BASE_IMAGE, say)


def _check_go() -> None:
    wanted = ".".join(map(str, _GO))
    go = shutil.which("go")
    if go is None:
        raise ToolMissing(f"Go {wanted} or newer is needed to build the node's programs and there is no go on the PATH")
    # Not the toolchain that a go.mod may ask for, which Go would fetch, but the one that is installed.
    said = subprocess.run(
        [go, "version"], env={**os.environ, "GOTOOLCHAIN": "local"}, capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < _GO:
        raise ToolMissing(
            f"Go {wanted} or newer is needed to build the node's programs, and {go} is {said.strip() or 'broken'}"
        )


def _install(wanted: dict[str, str], say: Say) -> None:
    missing = [package for program, package in wanted.items() if shutil.which(program) is None]
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise ToolMissing(f"packages are needed and there is no apt-get to install them; Debian calls them {names}")
    check_machine()
    say(f"installing {names} ...")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", environment=quiet)
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, environment=quiet)
