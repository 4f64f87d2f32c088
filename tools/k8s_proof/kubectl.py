"""kubectl, as operators use it. Use it on the node's network."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from tools.harness.waiting import eventually

Json: TypeAlias = dict[str, Any]

NAMESPACE: Final = "falcon"
ROLES: Final = ("write", "project", "api")
SETTLED_SECONDS: Final = 240.0
_OF_FALCON: Final = "app.kubernetes.io/name=falcon"
_COMPONENT: Final = "app.kubernetes.io/component"


class KubectlFailed(Exception):
    """The command and its error output."""


class Unexpected(Exception):
    """The cluster did something else than expected."""


@dataclass(frozen=True)
class Pod:
    """``waits_for``: why a container does not run (``ErrImagePull``); ``last_words``: what one said that has ended."""

    name: str
    ready: bool
    ending: bool
    restarts: int
    image: str
    waits_for: str
    ended_as: str
    last_words: str

    @classmethod
    def of(cls, found: Json) -> "Pod":
        status = found["status"]
        conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
        containers = status.get("containerStatuses", ())
        states = [state for each in containers for state in (each.get("state", {}), each.get("lastState", {}))]
        ended = [state["terminated"] for state in states if "terminated" in state]
        return cls(
            name=found["metadata"]["name"],
            ready=conditions.get("Ready") == "True",
            ending="deletionTimestamp" in found["metadata"],
            restarts=sum(each["restartCount"] for each in containers),
            image=found["spec"]["containers"][0]["image"],
            waits_for=next((state["waiting"].get("reason", "") for state in states if "waiting" in state), ""),
            ended_as=next((each.get("reason", "") for each in ended), ""),
            last_words=next((each["message"].strip() for each in ended if each.get("message")), ""),
        )


class Kubectl:
    """In one namespace. Every method raises KubectlFailed."""

    def __init__(self, namespace: str = NAMESPACE) -> None:
        self.namespace = namespace

    async def __call__(self, *arguments: str, given: str = "") -> str:
        """Returns its output. ``given``: its standard input."""
        code, said, complaint = await self.attempt(*arguments, given=given)
        if code:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}: {complaint.strip()}")
        return said

    async def attempt(self, *arguments: str, given: str = "") -> tuple[int, str, str]:
        """Exit code, output, errors."""
        process = await asyncio.create_subprocess_exec(
            "kubectl",
            f"--namespace={self.namespace}",
            *arguments,
            stdin=asyncio.subprocess.PIPE if given else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaint = await process.communicate(given.encode() if given else None)
        return process.returncode or 0, said.decode(), complaint.decode()

    async def get(self, *what: str) -> Json:
        found: Json = json.loads(await self("get", *what, "--output=json"))
        return found

    # --- pods ---------------------------------------------------------------------------------------------------------

    async def pods(self, role: str) -> list[Pod]:
        """The oldest first; the ones that are ending, too."""
        found = await self.get("pods", f"--selector={_OF_FALCON},{_COMPONENT}={role}")
        items = sorted(found["items"], key=lambda each: str(each["metadata"]["creationTimestamp"]))
        return [Pod.of(each) for each in items]

    async def serving(self, role: str) -> list[Pod]:
        return [pod for pod in await self.pods(role) if pod.ready and not pod.ending]

    async def pod(self, name: str) -> Pod:
        return Pod.of(await self.get("pod", name))

    async def log(self, pod: str) -> str:
        """The log of the running container; empty if none has started yet."""
        code, said, _ = await self.attempt("logs", pod, "--tail=200")
        return said if code == 0 else ""

    async def events(self, pod: str) -> str:
        """The events of the node and the scheduler about it."""
        found = await self.get("events", f"--field-selector=involvedObject.name={pod}")
        return "\n".join(f"{each.get('reason', '')}: {each.get('message', '')}" for each in found["items"])

    async def evict(self, pod: str) -> str:
        """Evict the pod, like ``kubectl drain``. Returns the API server's refusal, or an empty text."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.namespace},
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction"
        code, _, complaint = await self.attempt("create", "--raw", path, "--filename=-", given=json.dumps(eviction))
        return complaint.strip() if code else ""

    # --- deployments --------------------------------------------------------------------------------------------------

    async def scale(self, role: str, count: int) -> None:
        """And wait until so many serve, and no other."""
        await self("scale", f"deployment/falcon-{role}", f"--replicas={count}")
        await self.settled({role: count})

    async def rolled_out(self, role: str) -> None:
        """Raises KubectlFailed when it takes too long."""
        await self("rollout", "status", f"deployment/falcon-{role}", f"--timeout={SETTLED_SECONDS:g}s")

    async def settled(self, counts: Mapping[str, int], seconds: float = SETTLED_SECONDS) -> None:
        """Wait until so many of each role serve with the newest version, and none is ending. Raises NotInTime."""

        async def is_so() -> bool:
            for role, count in counts.items():
                pods = await self.pods(role)
                if len(pods) != count or not all(pod.ready and not pod.ending for pod in pods):
                    return False
            return True

        await until(is_so, f"{dict(counts)} serve", seconds=seconds)
        for role in counts:
            await self.rolled_out(role)


# kubectl takes a while to ask, and what it asks for a while to come.
until = partial(eventually, seconds=SETTLED_SECONDS, every=0.5)
