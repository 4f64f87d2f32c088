"""Operators' mistakes: the pod says in a line what is wrong, stays out of service, and harms nothing."""

import asyncio
import copy
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from falcon.domain.events import CommandAnswered
from falcon.journal.envelope import Recorded
from tools.harness.reports import markdown_table
from tools.harness.waiting import eventually_within
from tools.k8s_proof.kubectl import ROLES, Json, Kubectl, Pod
from tools.k8s_proof.objects import MANIFESTS
from tools.k8s_proof.results import Proof
from tools.k8s_proof.traffic import Target

_AT_ONCE: Final = 3  # pods that start, on a machine with two cores
_SAID_SECONDS: Final = 90.0
_UNREADY_SECONDS: Final = 10
_PATIENCE: Final = "15"  # seconds for which a refused start is tried again, in cases that have to see its end
_OWN: Final = "wrong"  # what these pods are called


@dataclass(frozen=True)
class Mistake:
    """``like``: the Deployment or Job whose pod is taken. ``said``: what has to stand in the line.

    ``settings``: of the environment. ``secret``: the one that is mounted instead, with these keys where there are any.
    ``ends``: it gives up, and the line is the pod's last word.
    """

    name: str
    like: str
    said: str
    settings: dict[str, str] = field(default_factory=dict)
    secret: str = ""
    keys: tuple[str, ...] = ()
    ends: bool = False


@dataclass(frozen=True)
class Told:
    """``served``: it became ready, or completed. ``restarts``: of the container, until it was looked at."""

    mistake: Mistake
    line: str
    served: bool
    restarts: int

    @property
    def is_right(self) -> bool:
        return self.mistake.said in self.line and not self.served


MISTAKES: Final = (
    Mistake(
        "the secret is not there",
        "falcon-api",
        "/etc/falcon/secrets/",
        secret="wrong-nowhere",
    ),
    Mistake(
        "the secret lacks a key",
        "falcon-write",
        "/etc/falcon/secrets/internal-token cannot be read",
        secret="wrong-half",
        keys=("secret",),
    ),
    Mistake(
        "the brokers' address is wrong",
        "falcon-write",
        "no Kafka answers at nowhere:19092",
        settings={"FALCON_KAFKA": "nowhere:19092"},
    ),
    Mistake(
        "the brokers' address is wrong (api)",
        "falcon-api",
        "no Kafka answers at nowhere:19092",
        settings={"FALCON_KAFKA": "nowhere:19092"},
    ),
    Mistake(
        "the brokers' address is wrong, and nobody corrects it",
        "falcon-project",
        "no Kafka answers at nowhere:19092",
        settings={"FALCON_KAFKA": "nowhere:19092", "FALCON_START_SECONDS": _PATIENCE},
        ends=True,
    ),
    Mistake(
        "the gateways' address is wrong",
        "falcon-project",
        "nowhere:9090",
        settings={"FALCON_HBASE": "nowhere:9090"},
    ),
    Mistake(
        "the gateways' address is wrong (api)",
        "falcon-api",
        "nowhere:9090",
        settings={"FALCON_HBASE": "nowhere:9090"},
    ),
    *(
        Mistake(
            f"a wrong number of partitions ({role})",
            f"falcon-{role}",
            "has 16 partitions, not 17: their number is fixed for ever",
            settings={"FALCON_PARTITIONS": "17"},
        )
        for role in ("write", "project", "api")
    ),
    Mistake(
        "nothing was prepared",
        "falcon-write",
        "topic elsewhere.journal is not there: run falcon prepare",
        settings={"FALCON_KAFKA_PREFIX": "elsewhere."},
    ),
    Mistake(
        "more replicas than brokers (prepare)",
        "falcon-prepare",
        "replica",
        settings={"FALCON_KAFKA_PREFIX": "elsewhere.", "FALCON_KAFKA_REPLICAS": "5"},
        ends=True,
    ),
    Mistake(
        "a wrong number of partitions (prepare)",
        "falcon-prepare",
        "has 16 partitions, not 17: their number is fixed for ever",
        settings={"FALCON_PARTITIONS": "17"},
        ends=True,
    ),
    Mistake(
        "a setting that cannot be read",
        "falcon-api",
        "FALCON_COMMAND_SECONDS",
        settings={"FALCON_COMMAND_SECONDS": "soon"},
        ends=True,
    ),
)


async def prove(kubectl: Kubectl, target: Target) -> Proof:
    """Make each mistake in a pod beside the running Falcon, which must not notice. Other settings are Falcon's."""
    await asyncio.to_thread(target.journal.skip)
    before = await _state(kubectl, target)
    templates = await _templates(kubectl)
    few = asyncio.Semaphore(_AT_ONCE)
    told = await asyncio.gather(*(_make(kubectl, templates[each.like], each, few) for each in MISTAKES))
    after = await _state(kubectl, target)
    wrong = [f"{each.mistake.name}: served {each.served}, said: {each.line}" for each in told if not each.is_right]
    wrong += [] if after == before else [f"something was harmed: {before} before, {after} after"]
    rows = [(each.mistake.name, f"`{_shown(each.line)}`", f"{each.restarts}") for each in told]
    shown = markdown_table(("mistake", "what the pod says", "restarts meanwhile"), rows, words=2)
    return Proof("wrong", [shown], wrong)


async def _state(kubectl: Kubectl, target: Target) -> dict[str, Any]:
    """The state that no mistake may change: the topics, the log (no client writes meanwhile), and the serving pods."""
    admin = target.cluster.admin()
    await admin.start()
    try:
        topics = await admin.describe_topics()
    finally:
        await admin.close()
    return {
        "topics": {each["topic"]: len(each["partitions"]) for each in topics if each["topic"][:2] != "__"},
        "new events": await asyncio.to_thread(lambda: sum(map(_changes_something, target.journal.news()))),
        "pods": {pod.name: pod.restarts for role in ROLES for pod in await kubectl.serving(role)},
    }


def _changes_something(recorded: Recorded) -> bool:
    """True for a change, except the record by which an owner that takes over makes sure that it is one."""
    return not isinstance(recorded.envelope.event, CommandAnswered)


async def _templates(kubectl: Kubectl) -> dict[str, Json]:
    """The overlay's pod templates, by the name of their controller."""
    overlay = str(MANIFESTS / "overlays" / "local")
    shown = json.loads(await kubectl("apply", "--dry-run=client", f"--kustomize={overlay}", "--output=json"))
    return {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in shown["items"]
        if each["kind"] in ("Deployment", "Job")
    }


async def _make(kubectl: Kubectl, template: Json, mistake: Mistake, few: asyncio.Semaphore) -> Told:
    async with few:
        told = await _try(kubectl, template, mistake)
    print(f"{mistake.name}: {told.line}", flush=True)
    return told


async def _try(kubectl: Kubectl, template: Json, mistake: Mistake) -> Told:
    """Run a pod with it; nothing of it is left."""
    name = f"{_OWN}-{MISTAKES.index(mistake)}"
    await _clear(kubectl, name, mistake)
    if mistake.keys:
        pairs = [f"--from-literal={key}={secrets.token_urlsafe(32)}" for key in mistake.keys]
        await kubectl("create", "secret", "generic", mistake.secret, *pairs)
    try:
        await kubectl("apply", "--filename=-", given=json.dumps(_pod(name, template, mistake)))
        line = await _line(kubectl, name, mistake)
        served = await _has_served(kubectl, name)
        return Told(mistake, line, served, (await kubectl.pod(name)).restarts)
    finally:
        await _clear(kubectl, name, mistake)


def _pod(name: str, template: Json, mistake: Mistake) -> Json:
    spec = copy.deepcopy(template["spec"])
    container = spec["containers"][0]
    container["env"] = [each for each in container.get("env", ()) if each["name"] not in mistake.settings]
    container["env"] += [{"name": key, "value": value} for key, value in mistake.settings.items()]
    for volume in spec.get("volumes", ()):
        if mistake.secret and "secret" in volume:
            volume["secret"]["secretName"] = mistake.secret
    spec.pop("topologySpreadConstraints", None)  # they would count the pods that serve
    # No Service and no disruption budget is to count it.
    labels = {"app.kubernetes.io/name": _OWN, "app.kubernetes.io/component": _OWN}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


async def _line(kubectl: Kubectl, name: str, mistake: Mistake) -> str:
    """The line with the message; the last line if none has it."""
    found = ""

    async def said() -> bool:
        nonlocal found
        text = (await kubectl.pod(name)).last_words if mistake.ends else await kubectl.log(name)
        lines = [line for line in text.splitlines() if line.strip()]
        found = next((line for line in lines if mistake.said in line), "") or (lines[-1] if lines else "nothing")
        return mistake.said in found

    await eventually_within(said, _SAID_SECONDS, every=0.5)  # if it is not said, the proof reports another line
    return found


async def _has_served(kubectl: Kubectl, name: str) -> bool:
    """The pod of a Job is never asked whether it is ready; it is not to succeed."""

    async def has_served() -> bool:
        found = await kubectl.get("pod", name)
        asked = "readinessProbe" in found["spec"]["containers"][0]
        return found["status"]["phase"] == "Succeeded" or (asked and Pod.of(found).ready)

    return await eventually_within(has_served, _UNREADY_SECONDS, every=1)


async def _clear(kubectl: Kubectl, pod: str, mistake: Mistake) -> None:
    await kubectl("delete", "pod", pod, "--ignore-not-found", "--grace-period=0", "--force")
    if mistake.keys:
        await kubectl("delete", "secret", mistake.secret, "--ignore-not-found")


def _shown(line: str) -> str:
    """The message of a line of JSON, for a table."""
    with suppress(ValueError, KeyError, TypeError):
        line = str(json.loads(line)["message"])
    return line.replace("|", "\\|").replace("`", "'")
