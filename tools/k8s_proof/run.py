"""The proofs in turn, from within the node's network. Started by ``python -m tools.k8s_proof``, which is outside."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from typing import Final

from falcon.adapters.kafka.cluster import KafkaCluster
from falcon.journal.ports import JournalUnavailable
from falcon_chat import Problem, Unreachable
from tools.harness.waiting import NotInTime
from tools.k8s_proof import autoscaling, deployed, jobs, objects, wrong
from tools.k8s_proof.disturbances import DISTURBANCES, USUAL, Disturbance
from tools.k8s_proof.journal import Journal
from tools.k8s_proof.kubectl import Kubectl, KubectlFailed, Unexpected
from tools.k8s_proof.objects import OWN
from tools.k8s_proof.results import Proof, Row
from tools.k8s_proof.traffic import Target, Traffic

NAMES: Final = ("objects", "single", "local", "jobs", *(each.name for each in DISTURBANCES), "wrong", "hpa")
SECONDS: Final = 20.0  # of load for each disturbance, at the least
_QUIET_SECONDS: Final = 3.0  # of load, before anything is done and after
# Errors that fail one proof, and not the whole run.
_FAULTS: Final = (KubectlFailed, NotInTime, Unexpected, Problem, Unreachable, JournalUnavailable, TimeoutError)


class Run:
    def __init__(self, names: Sequence[str], seconds: float) -> None:
        self._names = names
        self._seconds = seconds
        self._kubectl = Kubectl()
        self._target: Target | None = None

    async def all(self) -> bool:
        """Returns True if each was proven. The findings are printed."""
        right = True
        try:
            for name in self._names:
                right &= await self._one(name)
        finally:
            if self._target:
                self._target.journal.close()
        return right

    async def _one(self, name: str) -> bool:
        began = time.monotonic()
        say(f"--- {name}")
        disturbance = next((each for each in DISTURBANCES if each.name == name), None)
        found = await (self._under_load(disturbance) if disturbance else self._proof(name))
        for line in (*found.lines, *(f"VIOLATION {violation}" for violation in found.violations)):
            say(line)
        say(f"    {time.monotonic() - began:.0f} s")
        return not found.violations

    async def _proof(self, name: str) -> Proof:
        try:
            match name:
                case "objects":
                    return await objects.prove(self._kubectl)
                case "single":
                    return await deployed.prove_single(Kubectl(deployed.SINGLE))
                case "local":
                    return await deployed.prove_local(self._kubectl)
                case "jobs":
                    return await jobs.prove(Kubectl(deployed.SINGLE), await self._falcon())
                case "wrong":
                    return await wrong.prove(self._kubectl, await self._falcon())
                case _:
                    return await autoscaling.prove(self._kubectl, await self._falcon())
        except _FAULTS as fault:
            return Proof(name, [], [f"{type(fault).__name__}: {fault}"])

    async def _under_load(self, disturbance: Disturbance) -> Row:
        """Load begins, something is done to pods, and load ends when every room could be written again."""
        target = await self._falcon()
        for role, count in disturbance.counts.items():
            await self._kubectl.scale(role, count)
        history = OWN / "histories" / f"{disturbance.name.replace(' ', '-')}.jsonl"
        history.parent.mkdir(parents=True, exist_ok=True)
        traffic = Traffic(target, history)
        try:
            await traffic.begin()
            await asyncio.sleep(_QUIET_SECONDS)
            began = traffic.history.now()
            note, faults = "", []
            try:
                note = await disturbance.act(self._kubectl)
            except _FAULTS as fault:
                faults.append(f"{type(fault).__name__}: {fault}")
            ended = traffic.history.now()
            try:
                await traffic.served(ended)
            except NotInTime as fault:
                faults.append(f"{fault}")
            await asyncio.sleep(max(_QUIET_SECONDS, self._seconds - traffic.history.now()))
            figures = await traffic.end(f"rolling {disturbance.name}", began, ended)
        finally:
            await traffic.abandon()
        figures.violations += faults
        return Row(disturbance.what, note, figures)

    async def _falcon(self) -> Target:
        """The one that runs in overlays/local, as many pods of it as usual."""
        for role, count in USUAL.items():
            await self._kubectl.scale(role, count)
        if self._target is None:
            credentials = await deployed.credentials_of(self._kubectl, "deployment/falcon-api")
            cluster = await _cluster(self._kubectl)
            journal = await asyncio.to_thread(Journal, cluster)
            self._target = Target(deployed.url_of(self._kubectl), credentials["admin_token"], cluster, journal)
        return self._target


async def _cluster(kubectl: Kubectl) -> KafkaCluster:
    """The log, by the settings of the pods."""
    said = await kubectl("exec", "deployment/falcon-write", "--", "printenv", "FALCON_KAFKA", "FALCON_PARTITIONS")
    brokers, partitions = said.split()
    return KafkaCluster(tuple(brokers.split(",")), int(partitions))


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.k8s_proof.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("names", nargs="+", choices=NAMES)
    arguments = parser.parse_args()
    # The brokers are reached by the names that they advertise, which are names within their namespace.
    os.environ["LOCALDOMAIN"] = f"{Kubectl().namespace}.svc.cluster.local svc.cluster.local cluster.local"
    return 0 if asyncio.run(Run(arguments.names, arguments.seconds).all()) else 1


if __name__ == "__main__":
    sys.exit(main())
