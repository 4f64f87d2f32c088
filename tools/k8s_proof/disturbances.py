"""Disturbances of pods while people write. At the end of each, as many pods serve as before."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from tools.harness.waiting import eventually_within
from tools.k8s_proof.images import BROKEN, DEV, NEXT
from tools.k8s_proof.kubectl import ROLES, Kubectl, Pod, Unexpected, until

# Gives a remark for the report; empty if the figures need none.
Act: TypeAlias = Callable[[Kubectl], Awaitable[str]]

USUAL: Final = {"write": 2, "project": 2, "api": 2}
_WATCHED_SECONDS: Final = 8.0  # so long a version that cannot serve is left alone before it is rolled back
_STAYS_SECONDS: Final = 3.0  # at each size, on the way from one to three and back


@dataclass(frozen=True)
class Disturbance:
    """``what``: as an operator would put it. ``counts``: pods of each role before it."""

    name: str
    what: str
    act: Act
    counts: dict[str, int] = field(default_factory=lambda: dict(USUAL))


# --- growing ----------------------------------------------------------------------------------------------------------


async def nothing(kubectl: Kubectl) -> str:
    await asyncio.sleep(_WATCHED_SECONDS)
    return ""


def scale(role: str) -> Act:
    async def act(kubectl: Kubectl) -> str:
        for count in (3, 1):
            await kubectl.scale(role, count)
            await asyncio.sleep(_STAYS_SECONDS)
        return ""

    return act


# --- versions ---------------------------------------------------------------------------------------------------------


def roll(role: str) -> Act:
    """To another image; which of the two is the other depends on which runs."""

    async def act(kubectl: Kubectl) -> str:
        (pod, *_) = await kubectl.serving(role)
        image = NEXT if pod.image == DEV else DEV
        await kubectl("set", "image", f"deployment/falcon-{role}", f"*={image}")
        await kubectl.rolled_out(role)
        await kubectl.settled({role: USUAL[role]})
        others = {pod.image for pod in await kubectl.pods(role)} - {image}
        if others:
            raise Unexpected(f"after the roll to {image} there is {others}")
        return ""

    return act


def fail_and_roll_back(role: str, *change: str) -> Act:
    """``change``: arguments of kubectl that make a version which never serves."""

    async def act(kubectl: Kubectl) -> str:
        before = {pod.name for pod in await kubectl.serving(role)}
        await kubectl(*change)
        await until(lambda: _newcomers(kubectl, role, before), f"a pod of the new version of {role}")
        await asyncio.sleep(_WATCHED_SECONDS)
        still = {pod.name for pod in await kubectl.serving(role)}
        if still != before:
            raise Unexpected(f"{before} served, and beside the version that fails {still} do")
        (newcomer, *_) = await _newcomers(kubectl, role, before)
        said = newcomer.last_words or _last_line(await kubectl.log(newcomer.name)) or newcomer.waits_for
        await kubectl("rollout", "undo", f"deployment/falcon-{role}")
        await kubectl.settled({role: USUAL[role]})
        return f"the new pod: {said}"

    return act


async def _newcomers(kubectl: Kubectl, role: str, before: set[str]) -> list[Pod]:
    return [pod for pod in await kubectl.pods(role) if pod.name not in before and not pod.ending]


# --- losses -----------------------------------------------------------------------------------------------------------


def delete(role: str, *how: str) -> Act:
    async def act(kubectl: Kubectl) -> str:
        pods = await kubectl.serving(role)
        await kubectl("delete", "pod", pods[0].name, "--wait=false", *how)
        await _replaced(kubectl, role, pods[0], len(pods))
        return ""

    return act


def evict(role: str) -> Act:
    """One, and at once another: the disruption budget allows the first only."""

    async def act(kubectl: Kubectl) -> str:
        first, second, *_ = await kubectl.serving(role)
        if refusal := await kubectl.evict(first.name):
            raise Unexpected(f"the first eviction was refused: {refusal}")
        refusal = await kubectl.evict(second.name)
        if "TooManyRequests" not in refusal and "disruption budget" not in refusal:
            raise Unexpected(f"the second eviction was not refused with 429: {refusal or 'it was done'}")
        await _replaced(kubectl, role, first, USUAL[role])
        return "the second at once: 429, " + refusal.partition("): ")[2].strip()

    return act


# Memory that belongs to the container and to no process, so that the kernel ends Falcon's processes for the want of it
# and, when nothing else is left, the first one: then the container has run out of memory.
_HOG: Final = """
import contextlib, os, time
hog, size = os.memfd_create("hog"), 0
while True:
    with contextlib.suppress(OSError):
        while True:
            os.posix_fallocate(hog, size, 1 << 24)
            size += 1 << 24
    time.sleep(0.01)
"""
_HOGS: Final = 5
_NOTICED_SECONDS: Final = 10.0  # the node reports within this time that a container has ended and started again


def run_out_of_memory(role: str) -> Act:
    async def act(kubectl: Kubectl) -> str:
        # A container that has ended often is started again later and later.
        pod = min(await kubectl.serving(role), key=lambda each: each.restarts)

        async def ended() -> bool:
            return (await kubectl.pod(pod.name)).restarts > pod.restarts

        for _ in range(_HOGS):
            await kubectl.attempt("exec", pod.name, "--", "python", "-c", _HOG)
            if await eventually_within(ended, _NOTICED_SECONDS, every=0.5):
                break  # else it was the hog that the kernel chose
        after = await kubectl.pod(pod.name)
        if after.ended_as != "OOMKilled":
            raise Unexpected(f"{pod.name} ended as {after.ended_as}, not OOMKilled")
        await kubectl.settled({role: USUAL[role]})
        return "OOMKilled, started again"

    return act


async def _replaced(kubectl: Kubectl, role: str, gone: Pod, count: int) -> None:
    async def is_gone() -> bool:
        return gone.name not in {pod.name for pod in await kubectl.pods(role)}

    await until(is_gone, f"{gone.name} is gone")
    await kubectl.settled({role: count})


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


# --- all of them ------------------------------------------------------------------------------------------------------


def _wrong_partitions(role: str) -> tuple[str, ...]:
    return ("set", "env", f"deployment/falcon-{role}", "FALCON_PARTITIONS=17")


def _broken_image(role: str) -> tuple[str, ...]:
    return ("set", "image", f"deployment/falcon-{role}", f"*={BROKEN}")


def _of_each_role() -> list[Disturbance]:
    found: list[Disturbance] = []
    for role in ROLES:
        one = {**USUAL, role: 1}
        found += [
            Disturbance(f"scale {role}", f"`kubectl scale deployment/falcon-{role}`, 1 → 3 → 1", scale(role), one),
            Disturbance(f"roll {role}", f"`kubectl set image deployment/falcon-{role} …`", roll(role)),
            Disturbance(f"delete {role}", f"`kubectl delete pod`, one of two {role} pods", delete(role)),
            Disturbance(f"delete only {role}", f"`kubectl delete pod`, the only {role} pod", delete(role), one),
            Disturbance(
                f"kill {role}",
                f"`kubectl delete pod --grace-period=0 --force`, one of two {role} pods",
                delete(role, "--grace-period=0", "--force"),
            ),
            Disturbance(f"evict {role}", f"eviction of both {role} pods, one right after the other", evict(role)),
            Disturbance(f"memory {role}", f"one of two {role} pods runs out of memory", run_out_of_memory(role)),
        ]
    return found


DISTURBANCES: Final = (
    Disturbance("nothing", "nothing, for comparison", nothing),
    *_of_each_role(),
    Disturbance(
        "fail write",
        "a version of write with a wrong setting, `kubectl rollout undo`",
        fail_and_roll_back("write", *_wrong_partitions("write")),
    ),
    Disturbance(
        "fail project",
        "a version of project with a wrong setting, `kubectl rollout undo`",
        fail_and_roll_back("project", *_wrong_partitions("project")),
    ),
    Disturbance(
        "fail api",
        "an image of api whose command fails, `kubectl rollout undo`",
        fail_and_roll_back("api", *_broken_image("api")),
    ),
)
