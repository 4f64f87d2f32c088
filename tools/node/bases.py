"""The images that others begin with: pulled, or made of Debian's packages if no registry can be reached."""

import tempfile
import time
from pathlib import Path
from typing import Final

from tools.node import needs
from tools.node.commands import run, succeeds
from tools.servers.daemon import Say, ServerFault

PYTHONS: Final = {"3.13": "trixie", "3.11": "bookworm"}  # by Debian's release that has it
_STAND_INS: Final = {
    f"python:{version}-slim{suffix}": version for version, release in PYTHONS.items() for suffix in ("", f"-{release}")
}
_PULL_SECONDS: Final = 60

_LEAN: Final = tuple(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("man", "doc", "locale"))
# As in the real image, python and pip are found in /usr/local/bin and install into the system.
_LIKE_THE_REAL_ONE: Final = """
rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED "$1"/etc/resolv.conf "$1"/etc/hostname
for name in python python3; do ln -sf /usr/bin/python3 "$1/usr/local/bin/$name"; done
for name in pip pip3; do ln -sf /usr/bin/pip3 "$1/usr/local/bin/$name"; done
"""


def have(name: str, say: Say) -> None:
    """Have the image in buildah's store: pull it, or make a stand-in. Raises ServerFault."""
    if succeeds("buildah", "inspect", "--type=image", name):
        return
    say(f"pulling {name} ...")
    if succeeds("timeout", str(_PULL_SECONDS), "buildah", "pull", "--quiet", name):
        return
    if name not in _STAND_INS:
        raise ServerFault(f"{name} is not in buildah's store and cannot be pulled, and there is no stand-in for it")
    say(f"{name} cannot be pulled; a stand-in takes its place")
    stand_in(_STAND_INS[name], say)


def stand_in(version: str, say: Say) -> None:
    """One for python:X-slim of Debian's packages; nothing when it is there already. Raises ServerFault.

    It differs in this: Python is Debian's, in /usr/bin, so a Dockerfile installs into a virtual environment.
    """
    if version not in PYTHONS:
        raise ServerFault(f"there is no Debian with Python {version} here; there are {', '.join(PYTHONS)}")
    needs.to_make_a_base_image(say)
    tag = f"localhost/python:{version}-slim"
    if succeeds("buildah", "inspect", "--type=image", tag):
        return
    say(f"making {tag} of Debian's packages ...")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        system = Path(folder, "system.tar")
        packages = "--include=ca-certificates,netbase,tzdata,python3,python3-venv,python3-pip"
        hook = f"--customize-hook={_LIKE_THE_REAL_ONE}"
        run("mmdebstrap", "--quiet", "--variant=minbase", packages, *_LEAN, hook, PYTHONS[version], system, _mirror())
        container = run("buildah", "from", "scratch").strip()
        run("buildah", "add", "--quiet", container, system, "/")
    path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    run("buildah", "config", "--env", path, "--env", "LANG=C.UTF-8", "--cmd", "python3", container)
    run("buildah", "commit", "--quiet", "--rm", container, tag)
    run("buildah", "tag", tag, f"{tag}-{PYTHONS[version]}")
    say(f"made {tag} in {time.monotonic() - began:.1f} s")


def _mirror() -> str:
    """The mirror from which this machine gets Debian's packages."""
    listed = ("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages")
    sites = run(*listed).split()
    if not sites:
        run("apt-get", "update", "-qq")
        sites = run(*listed).split()
    found = next((site for site in sites if site.endswith("/debian")), None)
    if found is None:
        raise ServerFault("apt on this machine knows no mirror of Debian; a base image cannot be made of its packages")
    return found
