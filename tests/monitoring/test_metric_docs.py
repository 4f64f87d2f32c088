"""docs/metrics.md says of every metric, and of nothing else, what it is."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from falcon.telemetry import metrics
from falcon.telemetry.instruments import REGISTRY
from falcon.telemetry.process_tree import INFO, PROCESS_GAUGES

PAGE: Final = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
SECTIONS: Final = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
ROWS: Final = {row.split("`")[1]: row for row in re.findall(r"^\| `falcon_.*$", PAGE, re.MULTILINE)}
HEADING: Final = re.compile(r"^# --- (.*?) -+$", re.MULTILINE)
_ACROSS: Final = {"sum": "sum", "max": "largest", "process": "each"}


def _told() -> dict[str, str]:
    """The row of each metric, by its name as Prometheus has it."""
    rows: list[tuple[str, str, str, tuple[str, ...], str]] = []
    rows += [(name, "gauge", "each", ("process",), meaning) for name, meaning in PROCESS_GAUGES.items()]
    rows.append((INFO[0], "gauge", "–", INFO[2], INFO[1]))
    for metric in REGISTRY.values():
        name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
        rows.append((name, str(metric.kind), _ACROSS[metric.across], metric.shown_labels, metric.help))
    told = {}
    for name, kind, across, labels, meaning in rows:
        shown = ", ".join(f"`{label}`" for label in labels) or "–"
        told[name] = f"| `{name}` | {kind} | {across} | {shown} | {meaning} |"
    return told


TOLD: Final = _told()


@pytest.mark.parametrize("name", TOLD)
def test_every_metric_has_its_row(name: str) -> None:
    assert ROWS.get(name, "").startswith(TOLD[name])


def test_there_are_rows_of_metrics_only() -> None:
    assert ROWS.keys() == TOLD.keys()
    assert PAGE.count("\n| `falcon_") == len(TOLD)


def test_they_stand_in_the_groups_and_the_order_of_their_declarations() -> None:
    source = Path(str(metrics.__file__)).read_text()
    headings = list(HEADING.finditer(source))
    ends = [*(after.start() for _, after in pairwise(headings)), len(source)]
    for heading, end in zip(headings, ends, strict=True):
        declared = re.findall(r'"(falcon_\w+)"', source[heading.end() : end])
        section = SECTIONS[heading[1][0].upper() + heading[1][1:]]
        assert [name.removesuffix("_total") for name in re.findall(r"^\| `(\w+)`", section, re.MULTILINE)] == declared


def test_every_label_is_explained_and_is_in_use() -> None:
    declared = {label for metric in REGISTRY.values() for label in metric.label_names}
    explained = re.findall(r"^\| `(\w+)`", SECTIONS["Labels"], re.MULTILINE)
    assert sorted(explained) == sorted({*declared, "process", *INFO[2]})
