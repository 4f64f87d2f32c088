"""The actor system in processes of its own (``multiprocTCPBase``), bound to loopback."""

from collections.abc import Callable, Sequence

from thespian.actors import ActorSystem

from falcon.adapters.thespian import transport
from falcon.adapters.thespian.actors import Shards, StartShard, StartShards, Supervisor

BASE = "multiprocTCPBase"
SUPERVISOR = "falcon-supervisor"
_START_SECONDS = 30


class ActorSystemFailed(Exception):
    """The system did not start."""


def start(port: int, shards: Sequence[StartShard], begin: Callable[[], None]) -> tuple[ActorSystem, Shards]:
    """Start the admin, the Supervisor (which does ``begin`` first) and the shards. Raises ActorSystemFailed, NoKey."""
    transport.secure()
    system = ActorSystem(BASE, {"Admin Port": port, "Process Startup Method": "fork"})
    supervisor = system.createActor(Supervisor, globalName=SUPERVISOR)
    described = system.ask(supervisor, StartShards(list(shards), begin), _START_SECONDS)
    if not isinstance(described, Shards):
        raise ActorSystemFailed(f"the supervisor answered {described!r} within {_START_SECONDS} s")
    return system, described
