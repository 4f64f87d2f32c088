"""Overlays that are really deployed: from ``kubectl apply`` to a message that was sent and read back."""

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

from falcon_chat import FalconClient
from tools.k8s_proof.kubectl import ROLES, Kubectl, until
from tools.k8s_proof.objects import MANIFESTS, make_namespace, on_top
from tools.k8s_proof.results import Proof

SINGLE: Final = "falcon-single"  # a namespace of its own, beside the other overlay's
_READY_SECONDS: Final = 300.0
_CREDENTIALS_SECONDS: Final = 120.0


async def prove_local(kubectl: Kubectl) -> Proof:
    """Deploy the roles again on the running Kafka and HBase, whose data stay."""
    deployments = [f"deployment/falcon-{role}" for role in ROLES]
    await kubectl("delete", "--ignore-not-found", "--wait", *deployments)
    await until(lambda: _none(kubectl, ROLES), "no pod of Falcon is left")
    await _need_secrets(kubectl)
    began = time.monotonic()
    await kubectl("apply", f"--kustomize={MANIFESTS / 'overlays' / 'local'}")
    for role in ROLES:
        await kubectl.rolled_out(role)
    ready = time.monotonic() - began
    credentials = await credentials_of(kubectl, "deployment/falcon-api")
    wrong = await _send_and_read(url_of(kubectl), credentials["token"])
    pods = {role: await kubectl.pods(role) for role in ROLES}
    wrong += [f"{pod.name} is not ready" for each in pods.values() for pod in each if not pod.ready]
    counts = ", ".join(f"{len(each)} {role}" for role, each in pods.items())
    lines = [f"`kubectl apply -k deploy/k8s/overlays/local`: {counts} ready after {ready:.0f} s, on servers that ran."]
    return Proof("local", [*lines, "A message went in through the Service and was read back."], wrong)


async def prove_single(kubectl: Kubectl) -> Proof:
    """With its volume: a message outlives its pod."""
    await make_namespace(kubectl)
    began = time.monotonic()
    await kubectl("apply", f"--kustomize={on_top('single', 'overlays/single', namespace=SINGLE)}")
    await scale_single(kubectl, 1)
    ready = time.monotonic() - began
    async with FalconClient(url_of(kubectl), (await single_credentials(kubectl))["token"]) as falcon:
        room = await falcon.create_room("Outlives its pod")
        await falcon.post(room.room_id, "before")
        await kubectl("delete", "pod", "falcon-0")
        await falcon.post(room.room_id, "after")  # the client continues trying
        found = [message.text for message in (await falcon.messages(room.room_id)).messages]
    wrong = [] if found == ["before", "after"] else [f"before and after the pod was deleted: {found}"]
    await scale_single(kubectl, 0)
    return Proof(
        "single",
        [
            f"`kubectl apply -k deploy/k8s/overlays/single`: ready after {ready:.0f} s.",
            "A message went in through the Service; its pod was deleted; the message was read back from the next one.",
        ],
        wrong,
    )


def url_of(kubectl: Kubectl) -> str:
    """The Service's address within the cluster."""
    return f"http://falcon-api.{kubectl.namespace}:80"  # listeners need the port


async def scale_single(kubectl: Kubectl, count: int) -> None:
    """Scale it, and wait until its ``count`` pods serve."""
    await kubectl("scale", "statefulset/falcon", f"--replicas={count}")
    await kubectl("rollout", "status", "statefulset/falcon", f"--timeout={_READY_SECONDS:g}s")


async def single_credentials(kubectl: Kubectl) -> dict[str, Any]:
    return await credentials_of(kubectl, "statefulset/falcon", "cat", "/data/credentials.json")


async def _need_secrets(kubectl: Kubectl) -> None:
    """The namespace, and the secret that the overlay refers to and does not contain; what is there stays."""
    await make_namespace(kubectl)
    pairs = [f"--from-literal={key}={secrets.token_urlsafe(32)}" for key in ("secret", "internal-token")]
    await kubectl.attempt("create", "secret", "generic", "falcon-secrets", *pairs)


async def credentials_of(kubectl: Kubectl, where: str, *command: str) -> dict[str, Any]:
    """The first accounts' tokens, which ``command`` prints there; ``falcon credentials`` where none is given."""
    found: dict[str, Any] = {}

    async def told() -> bool:
        nonlocal found
        code, said, _ = await kubectl.attempt("exec", where, "--", *(command or ("falcon", "credentials")))
        found = json.loads(said) if code == 0 else {}
        return bool(found)

    await until(told, f"{where} tells the first accounts", seconds=_CREDENTIALS_SECONDS)
    return found


async def _send_and_read(url: str, token: str) -> list[str]:
    text = f"from outside, {secrets.token_hex(4)}"
    async with FalconClient(url, token) as falcon:
        room = await falcon.create_room("Smoke")
        await falcon.post(room.room_id, text)
        found = [message.text for message in (await falcon.messages(room.room_id)).messages]
    return [] if found == [text] else [f"sent {text!r}, read {found}"]


async def _none(kubectl: Kubectl, roles: Sequence[str]) -> bool:
    return not any([await kubectl.pods(role) for role in roles])
