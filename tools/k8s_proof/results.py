"""The findings of each proof, kept until its next run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from tools.k8s_proof.figures import Figures
from tools.servers.cluster import ROOT

FOLDER: Final = ROOT / "build" / "kubernetes" / "results"


class Proof(msgspec.Struct):
    """``lines``: the findings as Markdown. ``violations``: empty if it was proven."""

    name: str
    at: str
    lines: list[str]
    violations: list[str]

    @classmethod
    def now(cls, name: str, lines: Sequence[str], violations: Sequence[str]) -> "Proof":
        return cls(name, _now(), list(lines), list(violations))


class Row(msgspec.Struct):
    """One disturbance of pods under load. ``seconds``: how long it took; ``note``: the cluster's message."""

    name: str
    what: str
    at: str
    seconds: float
    note: str
    figures: Figures

    @classmethod
    def now(cls, name: str, what: str, seconds: float, note: str, figures: Figures) -> "Row":
        return cls(name, what, _now(), seconds, note, figures)

    @property
    def is_right(self) -> bool:
        return not self.figures.violations and not self.figures.failed


def keep(found: Proof | Row) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    _file(found.name).write_bytes(msgspec.json.format(msgspec.json.encode(found)))


def proof(name: str) -> Proof | None:
    """The last one, if there was any."""
    return msgspec.json.decode(_file(name).read_bytes(), type=Proof) if _file(name).exists() else None


def row(name: str) -> Row | None:
    """The last one, if there was any."""
    return msgspec.json.decode(_file(name).read_bytes(), type=Row) if _file(name).exists() else None


def _file(name: str) -> Path:
    return FOLDER / f"{name.replace(' ', '-')}.json"


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
