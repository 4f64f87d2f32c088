"""The autoscaler at work: load comes, pods come; load goes, pods go.

``components/autoscaling`` on top of ``overlays/local``, patched for a machine with two cores and a short proof: api
asks for little CPU, there are fewer pods at the most, and they go sooner.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, Final

import httpx

from falcon_chat import FalconClient
from tools.harness.reports import markdown_table
from tools.k8s_proof.course import Course, Request, Sample
from tools.k8s_proof.kubectl import Kubectl, until
from tools.k8s_proof.objects import MANIFESTS, on_top
from tools.k8s_proof.results import Proof
from tools.k8s_proof.traffic import Target

ROOMS: Final = 16
_QUIET_RATE, _BUSY_RATE = 5.0, 130.0  # requests a second: a message, or a page of 50
_QUIET_SECONDS, _BUSY_SECONDS = 30.0, 90.0
_SAMPLE_SECONDS: Final = 2.0
_ENDED_SECONDS: Final = 300.0  # by then there are as few pods as in the beginning
_ATTEMPT: Final = httpx.Timeout(10.0, connect=3.0, pool=None)
_GIVE_UP_SECONDS: Final = 30.0
_SCALED: Final = ("api", "write")

API_CPU: Final = "100m"
API_MOST, WRITE_MOST = 4, 3
GOES_SECONDS, NEXT_SECONDS = 60, 20  # an idle pod after that, and another one after that
_GOES: Final = f"""
      - {{op: replace, path: /spec/behavior/scaleDown/stabilizationWindowSeconds, value: {GOES_SECONDS}}}
      - {{op: replace, path: /spec/behavior/scaleDown/policies/0/periodSeconds, value: {NEXT_SECONDS}}}"""
_PATCHES: Final = f"""patches:
  - target: {{kind: HorizontalPodAutoscaler, name: falcon-api}}
    patch: |-
      - {{op: replace, path: /spec/maxReplicas, value: {API_MOST}}}{_GOES}
  - target: {{kind: HorizontalPodAutoscaler, name: falcon-write}}
    patch: |-
      - {{op: replace, path: /spec/maxReplicas, value: {WRITE_MOST}}}{_GOES}
  - target: {{kind: Deployment, name: falcon-api}}
    patch: |-
      - {{op: replace, path: /spec/template/spec/containers/0/resources/requests/cpu, value: {API_CPU}}}
"""


async def prove(kubectl: Kubectl, target: Target) -> Proof:
    folder = on_top("autoscaled", "overlays/local", "autoscaling", namespace=kubectl.namespace, more=_PATCHES)
    await kubectl("apply", f"--kustomize={folder}")
    try:
        for role in _SCALED:
            await kubectl.scale(role, await _fewest(kubectl, role))
        await until(lambda: _sees_cpu(kubectl), "the autoscaler sees the pods' CPU", seconds=180)
        course = Course(time.monotonic())
        await _go_through(kubectl, target, course)
    finally:
        await kubectl("delete", "horizontalpodautoscaler", "--all")
        await kubectl("apply", f"--kustomize={MANIFESTS / 'overlays' / 'local'}")
    return _judged(course)


async def _go_through(kubectl: Kubectl, target: Target, course: Course) -> None:
    """A quiet time, a busy one, and quiet again until the pods that came have gone."""
    ending = asyncio.Event()
    watching = asyncio.create_task(_watch(kubectl, course, ending))
    async with FalconClient(target.url, target.admin_token) as falcon:
        rooms = [(await falcon.create_room("Busy")).room_id for _ in range(ROOMS)]
    load = _Load(target, rooms, course)
    try:
        await load.run(_QUIET_RATE, _QUIET_SECONDS)
        began = course.now()
        await load.run(_BUSY_RATE, _BUSY_SECONDS)
        course.busy = (began, course.now())
        fewest = {role: course.samples[0].ready[role] for role in _SCALED}
        while course.samples[-1].ready != fewest and course.now() < course.busy[1] + _ENDED_SECONDS:
            await load.run(_QUIET_RATE, 5.0)
    finally:
        ending.set()
        await watching
        await load.close()


class _Load:
    """Load as from short-lived clients: each request has a new connection, so that new pods get their share."""

    def __init__(self, target: Target, rooms: Sequence[int], course: Course) -> None:
        self._rooms = rooms
        self._course = course
        self._count = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._http = httpx.AsyncClient(
            base_url=target.url,
            headers={"Authorization": f"Bearer {target.admin_token}"},
            timeout=_ATTEMPT,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
        )

    async def run(self, rate: float, seconds: float) -> None:
        """Requests at this rate, whether or not those before have been answered."""
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            self._count += 1
            task = asyncio.create_task(self._ask(self._count))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._under_way)
        await self._http.aclose()

    async def _ask(self, number: int) -> None:
        """In turn to send a message and to read a page, until it is answered."""
        began = self._course.now()
        while self._course.now() < began + _GIVE_UP_SECONDS:
            try:
                answer = await self._attempt(number)
                if answer.is_success:
                    self._course.requests.append(Request(began, self._course.now() - began))
                    return
            except httpx.HTTPError:
                pass
            self._course.retries += 1
            await asyncio.sleep(0.2)
        self._course.failed += 1

    async def _attempt(self, number: int) -> httpx.Response:
        path = f"/v1/rooms/{self._rooms[number // 2 % len(self._rooms)]}/messages"
        if number % 2:
            return await self._http.get(path, params={"limit": 50})
        key = f"busy-{self._course.began}-{number}"
        return await self._http.post(path, json={"text": f"message {number}"}, headers={"Idempotency-Key": key})


# --- watching ---------------------------------------------------------------------------------------------------------


async def _watch(kubectl: Kubectl, course: Course, ending: asyncio.Event) -> None:
    while not ending.is_set():
        at = course.now()
        found = json.loads(await kubectl("get", "deployments,horizontalpodautoscalers", "--output=json"))["items"]
        deployments = {each["metadata"]["name"]: each for each in found if each["kind"] == "Deployment"}
        ready = {role: deployments[f"falcon-{role}"]["status"].get("readyReplicas", 0) for role in _SCALED}
        course.samples.append(Sample(at, ready, _cpu(found)))
        await asyncio.sleep(max(0.0, at + _SAMPLE_SECONDS - course.now()))


def _cpu(found: list[dict[str, Any]]) -> dict[str, int]:
    """By role, if it is known."""
    seen = {}
    for scaler in (each for each in found if each["kind"] == "HorizontalPodAutoscaler"):
        role = scaler["spec"]["scaleTargetRef"]["name"].removeprefix("falcon-")
        for metric in scaler.get("status", {}).get("currentMetrics") or ():
            # The container's if the autoscaler asks for that, so that a sidecar does not count.
            current = (metric.get("resource") or metric.get("containerResource") or {}).get("current", {})
            if "averageUtilization" in current:
                seen[role] = current["averageUtilization"]
    return seen


async def _sees_cpu(kubectl: Kubectl) -> bool:
    found = (await kubectl.get("horizontalpodautoscalers"))["items"]
    return set(_SCALED) <= _cpu(found).keys()


async def _fewest(kubectl: Kubectl, role: str) -> int:
    count: int = (await kubectl.get(f"horizontalpodautoscaler/falcon-{role}"))["spec"]["minReplicas"]
    return count


# --- findings ---------------------------------------------------------------------------------------------------------


def _judged(course: Course) -> Proof:
    most = {role: max(sample.ready[role] for sample in course.samples) for role in _SCALED}
    first, last = course.samples[0].ready, course.samples[-1].ready
    wrong = [] if most["api"] > first["api"] else [f"api stayed at {first['api']} under load"]
    wrong += [f"{role} is at {last[role]} after the load, not {first[role]}" for role in _SCALED if last != first]
    wrong += [f"{course.failed} requests failed after retries"] if course.failed else []
    out, back = _first_change(course, first["api"]), _back(course, first["api"])
    rows = [
        ("requests a second, quiet and busy", f"{_QUIET_RATE:g}, {_BUSY_RATE:g}"),
        ("api pods before, at the most, after", f"{first['api']}, {most['api']}, {last['api']}"),
        ("write pods before, at the most, after", f"{first['write']}, {most['write']}, {last['write']}"),
        ("from the begin of the load to one api pod more that serves, s", f"{out - course.busy[0]:.0f}"),
        ("from the end of the load to as few api pods as before, s", f"{back - course.busy[1]:.0f}"),
        ("requests, retries, failed after retries", f"{len(course.requests):,}, {course.retries:,}, {course.failed}"),
    ]
    return Proof("hpa", [markdown_table(("", "found"), rows)], wrong)


def _first_change(course: Course, fewest: int) -> float:
    return next((sample.at for sample in course.samples if sample.ready["api"] > fewest), float("nan"))


def _back(course: Course, fewest: int) -> float:
    later = [sample.at for sample in course.samples if sample.ready["api"] > fewest]
    return later[-1] + _SAMPLE_SECONDS if later else float("nan")
