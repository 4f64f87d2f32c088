"""A trial of all images and of Falcon on the node, from nothing to the end, if what they are made of has changed."""

import hashlib
import json
from pathlib import Path
from typing import Final

from tools.node import deployment, images
from tools.node.node import Node
from tools.servers.daemon import Say, ServerFault
from tools.servers.jars import cache

# What decides how images and the node come out, apart from Falcon's own code, which other tests run for real.
_MADE_OF: Final = (
    ".dockerignore",
    "Dockerfile",
    "deploy",
    "requirements",
    "tools/harness",
    "tools/node",
    "tools/servers",
)


def run(node: Node, say: Say, root: Path = images.ROOT) -> None:
    """Do nothing but say so if all is as it was at the last trial that passed. Raises ToolMissing, ServerFault."""
    noted = cache() / "node-trial.json"
    now = _digests(root)
    passed: dict[str, str] = json.loads(noted.read_text()) if noted.exists() else {}
    changed = [name for name, digest in now.items() if passed.get(name) != digest]
    if not changed:
        say(f"node: not tried; {', '.join(_MADE_OF)} are as in the last trial that passed. To try: rm {noted}")
        return
    why = f"changed since a trial has passed: {', '.join(changed)}" if passed else "no trial has passed here yet"
    say(f"node: tried; {why}")
    _try(node, say)
    noted.parent.mkdir(parents=True, exist_ok=True)
    noted.write_text(json.dumps(now, indent=1) + "\n")
    say("node: the trial has passed")


def _try(node: Node, say: Say) -> None:
    if node.runs():
        raise ServerFault("a node runs already, and a trial would end it with all its data; first: make k8s-down")
    try:
        made = deployment.deploy(node, "local", say)
        say(deployment.smoke(node, made["token"]))
        images.build_load(say)
    finally:
        node.down()
        say("node: gone")


def _digests(root: Path) -> dict[str, str]:
    """A digest of the names and contents of each of these folders and files."""
    return {name: _digest(root / name) for name in _MADE_OF}


def _digest(top: Path) -> str:
    hashed = hashlib.sha256()
    for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
        if path.is_file() and "__pycache__" not in path.parts:
            hashed.update(f"{path.relative_to(top)} {path.stat().st_mode & 0o111} ".encode())
            hashed.update(hashlib.sha256(path.read_bytes()).digest())
    return hashed.hexdigest()
