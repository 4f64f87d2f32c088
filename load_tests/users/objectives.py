"""The objectives of a run: read from a file, and judged by what users met."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from load_tests.users.recorder import AUDIT, FAULT, PROMISE, PUSHED, Met

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[float, msgspec.Meta(gt=0)]


class WrongThresholds(Exception):
    """The file has an objective that makes no sense. The message names it in one line."""


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """``p95`` and the like: by the kind of act; ``*``: all kinds that are not named. ``rate_min``: of acts a second,
    for the limit that was found."""

    violations: int | None = None
    failed_share: Share | None = None
    answered_min: int | None = None
    rate_min: float | None = None
    p50: dict[str, Milliseconds] = {}
    p95: dict[str, Milliseconds] = {}
    p99: dict[str, Milliseconds] = {}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One threshold: what is measured, what it may be, what it was."""

    what: str
    wanted: str
    found: str
    held: bool


QUANTILES: Final = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))


class Objectives:
    """The objectives of one shape: those of all shapes, changed by its own table."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    @classmethod
    def read(cls, file: Path, shape: str) -> Objectives:
        """Raises WrongThresholds."""
        try:
            tables = msgspec.convert(tomllib.loads(file.read_text()), dict[str, _Table])
        except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as fault:
            raise WrongThresholds(f"{file}: {fault}") from fault
        merged = _Table()
        for name in ("every", shape):
            merged = _merged(merged, tables.get(name, _Table()))
        return cls(merged)

    def judge(self, met: Mapping[str, Met]) -> list[Verdict]:
        """Each of them. One for which nothing was measured is not held, unless it is for all kinds (``*``)."""
        table = self._table
        # Pushes are not requests, and are so many that failures of requests would be lost among them.
        asked = [each for kind, each in met.items() if kind not in (PUSHED, PROMISE, FAULT)]
        answered = sum(each.count - each.failed for each in asked)
        failed = sum(each.failed for each in asked)
        found: list[Verdict] = []
        if table.answered_min is not None:
            found.append(Verdict("answers", f"≥ {table.answered_min}", f"{answered:,}", answered >= table.answered_min))
        found += self._promises(met)
        if table.failed_share is not None:
            share = failed / (answered + failed) if answered + failed else 1.0
            wanted = f"≤ {table.failed_share * 100:g} %"
            found.append(Verdict("failed", wanted, f"{share * 100:.3g} %", share <= table.failed_share))
        for name, share in QUANTILES:
            found += self._quantiles(name, share, met)
        return found

    def judge_limit(self, rate: float, met: Mapping[str, Met]) -> list[Verdict]:
        """The objectives that hold even in a run that continues until something breaks."""
        found = []
        if (least := self._table.rate_min) is not None:
            found.append(Verdict("limit", f"≥ {least:g} acts/s", f"{rate:,.0f} acts/s", rate >= least))
        return [*found, *self._promises(met)]

    def _promises(self, met: Mapping[str, Met]) -> list[Verdict]:
        if (most := self._table.violations) is None:
            return []
        violations = met[PROMISE].failed if PROMISE in met else 0
        return [Verdict("broken promises", f"≤ {most}", f"{violations:,}", violations <= most)]

    def _quantiles(self, name: str, share: float, met: Mapping[str, Met]) -> list[Verdict]:
        bounds: dict[str, float] = getattr(self._table, name)
        kinds = {kind: bound for kind, bound in bounds.items() if kind != "*"}
        if "*" in bounds:
            asked = sorted(met.keys() - {AUDIT, PROMISE, FAULT})
            kinds = {**dict.fromkeys(asked, bounds["*"]), **kinds}
        found = []
        for kind, bound in kinds.items():
            value = met[kind].quantile(share) if kind in met else None
            shown = "nothing measured" if value is None else f"{value:.3g} ms"
            found.append(Verdict(f"{kind}, {name}", f"≤ {bound:g} ms", shown, value is not None and value <= bound))
        return found


def _merged(base: _Table, own: _Table) -> _Table:
    def chosen(name: str) -> object:
        theirs, ours = getattr(base, name), getattr(own, name)
        if isinstance(theirs, dict):
            return {**theirs, **ours}
        return theirs if ours is None else ours

    return _Table(**{name: chosen(name) for name in _Table.__struct_fields__})  # type: ignore[arg-type]
