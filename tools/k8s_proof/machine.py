"""The machine and the node that the proofs ran on."""

import os
import platform
import subprocess
from pathlib import Path

from tools.k8s_proof.results import Proof
from tools.node.programs import KUBERNETES


def describe() -> Proof:
    """Raises FileNotFoundError if no node can run here."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}"
    lines = [
        f"- Machine: {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {system}.",
        f"- Kubernetes {KUBERNETES}, containerd {_version('containerd', 2)}, runc {_version('runc', 2)}; one node.",
    ]
    return Proof.now("machine", lines, [])


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(program: str, word: int) -> str:
    """The word at this index of the first line."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return said.split("\n")[0].split()[word]
