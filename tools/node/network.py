"""The node's network namespace: a bridge with the node's address, loopback, and no way out."""

from pathlib import Path
from typing import Final

from tools.node.commands import run
from tools.node.place import ADDRESS, NAME

_NAMESPACE: Final = Path("/run/netns") / NAME
_RESOLVER: Final = Path("/etc/netns") / NAME / "resolv.conf"  # ip netns exec puts it in place of the machine's
_CNI_RESULTS: Final = Path("/var/lib/cni/results")

INSIDE: Final = ("nsenter", f"--net={_NAMESPACE}")  # for the node's own programs: nothing but the network differs


def exists() -> bool:
    return _NAMESPACE.exists()


def make() -> None:
    run("ip", "netns", "add", NAME)
    for words in (
        "link set lo up",
        "link add node0 type bridge",
        f"addr add {ADDRESS}/24 dev node0",
        "link set node0 up",
        f"route add default via {ADDRESS}",  # a route is needed for what kube-proxy then sends elsewhere
    ):
        run(*INSIDE, "ip", *words.split())
    _RESOLVER.parent.mkdir(parents=True, exist_ok=True)
    _RESOLVER.write_text(f"search svc.cluster.local cluster.local\nnameserver {ADDRESS}\n")


def remove() -> None:
    if exists():
        run("ip", "netns", "delete", NAME)
    for result in _CNI_RESULTS.glob(f"{NAME}-*"):  # what the plugins remember of pods that were not taken down
        result.unlink()
    _RESOLVER.unlink(missing_ok=True)
    if _RESOLVER.parent.is_dir():
        _RESOLVER.parent.rmdir()


def client(*command: str) -> list[str]:
    """The command as it runs in there, with the names of Services resolved."""
    return ["ip", "netns", "exec", NAME, *command]
