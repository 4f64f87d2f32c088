"""``make k8s-test``: proofs on the node that ``make k8s-up`` has started. Exits 1 if something was not proven.

One node cannot show that NetworkPolicies are enforced, that pods are spread over nodes and zones, the loss of a node
and a drain, load balancers, ingresses, Gateways and certificates, the Prometheus operator and KEDA at work, several
nodes of Kafka and HBase (`make chaos` hurts those), nor speed.
"""

import argparse
import subprocess
import sys

from tools.k8s_proof import images
from tools.k8s_proof.run import NAMES, SECONDS, say


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools.k8s_proof", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of a proof, all where none is given: {', '.join(NAMES)}; 'scale' is each that begins so",
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of load for each disturbance, at the least")
    arguments = parser.parse_args()
    if unknown := [each for each in arguments.names if not _chosen([each])]:
        parser.error(f"no proof is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return 0 if _run(_chosen(arguments.names), arguments.seconds) else 1


def _chosen(wanted: list[str]) -> list[str]:
    """The chosen proofs in their order; all if none is named."""
    return [name for name in NAMES if not wanted or name in wanted or name.partition(" ")[0] in wanted]


def _run(names: list[str], seconds: float) -> bool:
    try:
        images.load()
    except (OSError, subprocess.CalledProcessError) as fault:
        say(f"k8s-test: the images of other versions cannot be made: {fault}; is the node up (make k8s-up)?")
        return False
    inside = [sys.executable, "-m", "tools.k8s_proof.run", f"--seconds={seconds}", *names]
    return subprocess.run([sys.executable, "-m", "tools.node", "in", *inside], check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
