"""Each cause of a refusal has a runbook, stands in the table of causes, and is counted from 0 on."""

import re
from pathlib import Path

import pytest

from falcon.telemetry import metrics
from falcon.telemetry.instruments import REGISTRY
from falcon.write import refusals
from falcon.write.protocol import Unavailable
from falcon.write.refusals import CAUSES

ROOT = Path(__file__).parents[2]
ERRORS = (ROOT / "docs/runbooks/errors.md").read_text()


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_leads_to_a_runbook_that_is_there(name: str) -> None:
    assert (ROOT / f"docs/runbooks/{CAUSES[name].runbook}.md").is_file()
    rows = [row for row in ERRORS.splitlines() if re.match(rf"\| .*`{name}`", row)]
    assert len(rows) == 1, "docs/runbooks/errors.md has a row for it"
    runbook = CAUSES[name].runbook
    assert runbook == "errors" or f"[{runbook}]({runbook}.md)" in rows[0]


def test_every_cause_is_counted_from_the_beginning() -> None:
    shown = {labels for metric in REGISTRY.values() if metric is metrics.refusals for labels in metric._children}
    assert {(name,) for name in CAUSES} <= shown


def test_a_refusal_is_counted_by_its_cause() -> None:
    before = metrics.refusals.labels("keys_full").value
    assert refusals.keys_full(3.0) == Unavailable("overloaded", 3.0, full=refusals.KEYS)
    assert metrics.refusals.labels("keys_full").value == before + 1


def test_no_other_module_of_the_product_makes_one() -> None:
    making = re.compile(r"\bUnavailable\(\s*\"")
    makers = [
        str(path.relative_to(ROOT)) for path in (ROOT / "falcon").rglob("*.py") if making.search(path.read_text())
    ]
    assert makers == []
