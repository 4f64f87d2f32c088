"""``python -m tools.node …``: runs a Kubernetes node on this machine, and Falcon on it."""

import argparse
import os
import signal
import sys
import time
from typing import Final

from tools.node import bases, deployment, images, needs, programs, trial
from tools.node.node import Node
from tools.servers.daemon import ServerFault

_BUILDS: Final = {"falcon": images.build_falcon, "servers": images.build_servers, "load": images.build_load}


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        code: int | None = chosen.run(chosen)
    except ServerFault as fault:
        print(f"node: {fault}", file=sys.stderr)
        return 1
    return code or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.node", description="A Kubernetes node on this machine, and Falcon on it."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    def add(name: str, run: object, words: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=words, description=words)
        action.set_defaults(run=run)
        return action

    add("build", _build, "the node's programs, into the user's cache folder")
    up = add("up", _up, "start the node when it does not run, and load images into it")
    up.add_argument("images", nargs="*", metavar="IMAGE")
    load = add("load", _load, "copy images from buildah's store to the node")
    load.add_argument("images", nargs="+", metavar="IMAGE")
    inside = add("in", _in, "run a command in the node's network; kubectl and the names of Services work there")
    inside.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    base = add("base-image", _base_image, "a stand-in for python:X-slim, of Debian's packages")
    base.add_argument("version", nargs="?", choices=bases.PYTHONS, default="3.13")
    image = add("image", _image, f"build {images.FALCON}, {images.SERVERS} or {images.LOAD}")
    image.add_argument("which", nargs="?", choices=_BUILDS, default="falcon")
    deploy = add("deploy", _deploy, "the whole of Falcon on the node, from nothing")
    deploy.add_argument("overlay", nargs="?", choices=deployment.OVERLAYS, default="local")
    words = "images, Falcon on the node, a smoke test and the end of it, if what they are made of has changed"
    add("trial", _trial, words)
    add("status", _status, "what of the node runs; exit code 3 when something does not")
    add("down", _down, "end the node and delete it, with all its data")
    return parser


def _build(chosen: argparse.Namespace) -> None:
    _say(str(programs.build(_say)))


def _up(chosen: argparse.Namespace) -> None:
    node = Node()
    node.up(_say)
    node.load(chosen.images, _say)
    _say("talk to it: python -m tools.node in kubectl get pods --all-namespaces")


def _load(chosen: argparse.Namespace) -> None:
    Node().load(chosen.images, _say)


def _in(chosen: argparse.Namespace) -> None:
    if not chosen.command:
        raise ServerFault("which command?")
    command, environment = Node().command(*chosen.command)
    os.execvpe(command[0], command, environment)


def _base_image(chosen: argparse.Namespace) -> None:
    needs.check_machine()
    bases.stand_in(chosen.version, _say)


def _image(chosen: argparse.Namespace) -> None:
    _BUILDS[chosen.which](_say)


def _deploy(chosen: argparse.Namespace) -> None:
    began = time.monotonic()
    node = Node()
    made = deployment.deploy(node, chosen.overlay, _say)
    _say(f"all of it took {time.monotonic() - began:.0f} s")
    _say(node.kubectl("--namespace", deployment.NAMESPACE, "get", "pods").rstrip())
    _say(
        f"""
account {made["account_id"]}, the owner: token {made["token"]}
  python -m tools.node in kubectl --namespace {deployment.NAMESPACE} get pods
  python -m tools.node in curl -H 'Authorization: Bearer {made["token"]}' http://falcon-api.{deployment.NAMESPACE}/v1/rooms
end it: make k8s-down"""
    )


def _trial(chosen: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, _end_first)
    trial.run(Node(), _say)


def _end_first(number: int, frame: object) -> None:
    """The node ends with a trial that is ended."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _status(chosen: argparse.Namespace) -> int:
    statuses = Node().status()
    for status in statuses:
        running = f"up, pid {status.pid}, RSS {status.rss_mib} MiB" if status.pid else "down"
        _say(f"{status.name} {running}")
    return 0 if all(status.pid for status in statuses) else 3


def _down(chosen: argparse.Namespace) -> None:
    began = time.monotonic()
    Node().down()
    _say(f"node: gone after {time.monotonic() - began:.1f} s")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
