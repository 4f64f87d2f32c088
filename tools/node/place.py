"""The node's place on the machine: there is one node, known by one name."""

from pathlib import Path
from typing import Final

NAME: Final = "falcon-node"  # of the node, of its network namespace, of its cgroup
FOLDER: Final = Path("/var/lib") / NAME  # all that it keeps; gone with it
RUN: Final = Path("/run") / NAME  # what must not be on a disk: containerd's sockets and mounts
LOCK: Final = Path("/run") / f"{NAME}.lock"

ADDRESS: Final = "10.99.0.1"
PODS: Final = "10.244.0.0/24"
SERVICES: Final = "10.96.0.0/24"
SERVER: Final = f"https://{ADDRESS}:6443"

CONTAINERD: Final = RUN / "containerd.sock"
KUBECONFIG: Final = FOLDER / "admin.kubeconfig"
