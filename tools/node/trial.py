"""A trial of all images and of Falcon on the node, from nothing to the end, if what they are made of has changed."""

from pathlib import Path
from typing import Final

from tools.harness.last_pass import LastPass
from tools.node import deployment, images
from tools.node.node import Node
from tools.servers.daemon import Say, ServerFault

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
    last = LastPass("node-trial", _MADE_OF, root)
    changed = last.changed()
    if not changed:
        say(f"node: not tried; {', '.join(_MADE_OF)} are as in the last trial that passed. To try: rm {last.file}")
        return
    why = (
        f"changed since a trial has passed: {', '.join(changed)}" if last.is_known() else "no trial has passed here yet"
    )
    say(f"node: tried; {why}")
    _try(node, say)
    last.passes()
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
