"""Falcon on the node: images, secrets, an overlay, and a wait until all of it is Ready."""

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from tools.harness.waiting import holds_within
from tools.node import images
from tools.node.node import Node
from tools.servers.daemon import POLL_SECONDS, Say, ServerFault

OVERLAYS: Final = ("local", "single")
NAMESPACE: Final = "falcon"
_MANIFESTS: Final = images.ROOT / "deploy" / "k8s"
_OVERLAY: Final = "falcon.chat/overlay"  # an annotation of the namespace: which one is deployed
_READY_SECONDS: Final = 420  # a Falcon without its servers logs that for FALCON_START_SECONDS and starts again
_SMOKE: Final = "falcon-smoke"
_SMOKE_SECONDS: Final = 200  # the Job ends itself after 180
_CRASHES_MAX: Final = 3  # Kubernetes restarts it at once, then after 10 s: the third is there within half a minute
_LOOK_SECONDS: Final = 2  # between two looks for crashes
_LINES: Final = 8  # of a container's log: the end of a traceback
_WORKLOADS: Final = "deployments,statefulsets"

Container: TypeAlias = tuple[str, str]  # the names of a pod and of a container in it


def deploy(node: Node, overlay: str, say: Say) -> dict[str, Any]:
    """Everything from nothing to a Falcon that serves; gives the first account's credentials. Raises ServerFault.

    Existing objects are kept. A workload whose image is a new one is rolled.
    """
    node.up(say)
    tags = _build(overlay, say)
    new = node.load(tags, say)
    _claim_namespace(node, overlay)
    _make_secrets(node)
    began = time.monotonic()
    crashes = _crashes(node)
    _apply(node, overlay, new)
    _await_ready(node, crashes)
    say(f"Falcon ({overlay}): Ready {time.monotonic() - began:.1f} s after kubectl apply")
    return credentials(node, overlay)


def credentials(node: Node, overlay: str) -> dict[str, Any]:
    """The first account, made when there is none: ``account_id``, ``token``, ``admin_token``. Raises ServerFault."""
    command = {
        "local": ("deployment/falcon-api", "--", "falcon", "credentials"),
        "single": ("statefulset/falcon", "--", "cat", "/data/credentials.json"),
    }
    made: dict[str, Any] = json.loads(_kubectl(node, "exec", *command[overlay]))
    return made


def smoke(node: Node, token: str) -> str:
    """What the smoke test said, as a Job beside Falcon. Raises ServerFault with it if it has failed."""
    _kubectl(node, "delete", "job", _SMOKE, "--ignore-not-found")
    _make_secret(node, _SMOKE, {"token": token})
    shown = node.kubectl("kustomize", str(_MANIFESTS / "components" / "smoke"))
    _kubectl(node, "apply", "--filename=-", feed=shown.replace("image: falcon\n", f"image: {images.FALCON}\n"))
    ended = '--output=jsonpath={.status.conditions[?(@.status=="True")].type}'

    def end() -> set[str]:
        return {"Complete", "Failed"} & set(_kubectl(node, "get", f"job/{_SMOKE}", ended).split())

    holds_within(end, _SMOKE_SECONDS, every=1.0)
    said = _kubectl(node, "logs", f"job/{_SMOKE}").rstrip()
    if end() != {"Complete"}:
        raise ServerFault(f"the smoke test has failed:\n{said}")
    return said


def _build(overlay: str, say: Say) -> list[str]:
    """The tags of what the overlay runs."""
    images.build_falcon(say)
    if overlay == "single":
        return [images.FALCON]
    images.build_servers(say)
    return [images.FALCON, images.SERVERS]


def _claim_namespace(node: Node, overlay: str) -> None:
    """Two overlays in one namespace would share names and take each other's requests."""
    node.kubectl("apply", f"--filename={_MANIFESTS / 'namespace.yaml'}")
    there = json.loads(node.kubectl("get", "namespace", NAMESPACE, "--output=json"))
    before = there["metadata"].get("annotations", {}).get(_OVERLAY, overlay)
    if before != overlay:
        raise ServerFault(
            f"overlay {before} is deployed; end it and delete its data first: "
            f"python -m tools.node in kubectl delete namespace {NAMESPACE}"
        )
    node.kubectl("annotate", "--overwrite", "namespace", NAMESPACE, f"{_OVERLAY}={overlay}")


def _make_secrets(node: Node) -> None:
    if _kubectl(node, "get", "secret", "falcon-secrets", "--ignore-not-found", "--output=name"):
        return
    made = {"secret": secrets.token_urlsafe(32), "internal-token": secrets.token_urlsafe(32)}
    _make_secret(node, "falcon-secrets", made)


def _make_secret(node: Node, name: str, values: Mapping[str, str]) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    _kubectl(node, "apply", "--filename=-", feed=json.dumps(secret))


def _apply(node: Node, overlay: str, new_images: list[str]) -> None:
    before = _names(node, _WORKLOADS)
    # A Job cannot be changed, only made again.
    _kubectl(node, "delete", "job", "falcon-prepare", "--ignore-not-found")
    node.kubectl("apply", f"--kustomize={_MANIFESTS / 'overlays' / overlay}")
    for name in before:
        if _images(node, name) & set(new_images):  # the tag is the same, so that nothing else would roll it
            _kubectl(node, "rollout", "restart", name)


def _images(node: Node, workload: str) -> set[str]:
    path = "--output=jsonpath={.spec.template.spec.containers[*].image}"
    return set(_kubectl(node, "get", workload, "--ignore-not-found", path).split())


def _await_ready(node: Node, before: Mapping[Container, int]) -> None:
    """``before``: how often containers had crashed before the apply; such a pod may be one that is being replaced."""
    waits = [("rollout", "status", name) for name in _names(node, _WORKLOADS)]
    waits += [("wait", name, "--for=condition=Complete") for name in _names(node, "jobs")]

    def ready() -> bool:
        _check_for_crashes(node, before)
        return all(_succeeds(node, *wait, f"--timeout={_LOOK_SECONDS}s") for wait in waits)

    if not holds_within(ready, _READY_SECONDS, every=POLL_SECONDS):
        raise ServerFault(f"not all of it became Ready within {_READY_SECONDS} s\n{_why(node)}")


def _check_for_crashes(node: Node, before: Mapping[Container, int]) -> None:
    for (pod, name), crashes in _crashes(node).items():
        if crashes - before.get((pod, name), 0) >= _CRASHES_MAX:
            said = _last_lines(node, pod, name)
            raise ServerFault("\n".join([f"{pod}: its container {name} has crashed {crashes} times:", *said]))


def _crashes(node: Node) -> dict[Container, int]:
    """How often each container of each pod has ended though it should run."""
    found = {}
    for pod in _pods(node):
        for container in _containers(pod):
            state = container["state"]
            ended = state.get("terminated", {}).get("exitCode", 0) != 0
            waits = state.get("waiting", {}).get("reason") == "CrashLoopBackOff"
            found[pod["metadata"]["name"], container["name"]] = container["restartCount"] + (ended or waits)
    return found


def _why(node: Node) -> str:
    """The reasons of all pods that are not Ready."""
    lines = [_kubectl(node, "get", "pods", "--output=wide").rstrip()]
    for pod in _pods(node):
        name = pod["metadata"]["name"]
        for container in _containers(pod):
            if not container["ready"] and "completed" not in str(container["state"]).lower():
                lines += [f"--- {name}: {json.dumps(container['state'])}"]
                lines += _last_lines(node, name, container["name"])
    return "\n".join(lines)


def _last_lines(node: Node, pod: str, container: str) -> list[str]:
    try:
        return _kubectl(node, "logs", pod, f"--container={container}", f"--tail={_LINES}").splitlines()
    except ServerFault as fault:  # it has not begun
        return str(fault).splitlines()


def _pods(node: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_kubectl(node, "get", "pods", "--output=json"))["items"]
    return found


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    status = pod["status"]
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _succeeds(node: Node, *arguments: str) -> bool:
    try:
        _kubectl(node, *arguments)
    except ServerFault:
        return False
    return True


def _names(node: Node, kinds: str) -> list[str]:
    return _kubectl(node, "get", kinds, "--output=name").split()


def _kubectl(node: Node, *arguments: str, feed: str | None = None) -> str:
    return node.kubectl(f"--namespace={NAMESPACE}", *arguments, feed=feed)
