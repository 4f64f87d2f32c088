"""The hand-written chat once more, in Go: built from the module in crud_go/, on the tables of crud.py."""

from __future__ import annotations

from pathlib import Path

from tools.bench.peers.installing import go

_MODULE = Path(__file__).with_name("crud_go")
_BUILD_SECONDS = 300.0


def build(folder: Path) -> Path:
    """The program, built into the folder. Raises PeerMissing."""
    program = folder / "crud-go"
    go(["build", "-buildvcs=false", "-o", program, "."], _BUILD_SECONDS, _MODULE)
    return program


def version() -> str:
    """Of Go. Raises PeerMissing."""
    return go(["env", "GOVERSION"], 10, _MODULE).strip()
