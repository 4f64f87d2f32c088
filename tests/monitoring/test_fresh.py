"""Every series that dashboards and alerts ask for is there before the first event."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from falcon.telemetry import metrics as _declared  # noqa: F401  they register when they are declared
from tests.monitoring.dashboards import every_panel, queries
from tests.monitoring.rules import ALERTS
from tools.harness.falcon import Falcon
from tools.harness.waiting import NotInTime, until

_SELECTOR: Final = re.compile(r'(?<![\w:])(falcon_\w+)(?:\{((?:[^}"]|"(?:[^"\\]|\\.)*")*)\})?')
_MATCHER: Final = re.compile(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')
_OF_TARGETS: Final = ("job", "instance")


class Selector(NamedTuple):
    name: str
    matchers: tuple[tuple[str, str, str], ...]

    def takes(self, labels: dict[str, str]) -> bool:
        return all(_holds(labels.get(name, ""), operator, value) for name, operator, value in self.matchers)


def _holds(value: str, operator: str, wanted: str) -> bool:
    found = re.fullmatch(wanted, value) is not None if "~" in operator else value == wanted
    return found is not operator.startswith("!")


def selectors() -> Iterator[tuple[str, Selector]]:
    """Each selector, with its place."""
    asked = [(panel["title"], query) for panel in every_panel() for query in queries(panel)]
    asked += [(alert["alert"], alert["expr"]) for alert in ALERTS]
    for where, expr in asked:
        for name, body in _SELECTOR.findall(expr):
            found = (
                (label, operator, value.replace("\\\\", "\\")) for label, operator, value in _MATCHER.findall(body)
            )
            yield where, Selector(name, tuple(each for each in found if each[0] not in _OF_TARGETS))


def missing(ops_url: str) -> set[tuple[str, str, str]]:
    text = httpx.get(f"{ops_url}/metrics", headers={"Accept": "text/plain"}, timeout=60).text
    series: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series.setdefault(sample.name, []).append(sample.labels)
    return {
        (each.name, str(each.matchers), where)
        for where, each in selectors()
        if not any(each.takes(labels) for labels in series.get(each.name, ()))
    }


def test_dashboards_and_alerts_ask_for_much() -> None:
    assert len(list(selectors())) > 100


@pytest.mark.processes
def test_a_fresh_falcon_has_every_metric_and_label_that_dashboards_and_alerts_ask_for(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path).start()
    try:
        with suppress(NotInTime):  # the assertion says what is missing
            until(lambda: not missing(falcon.info["ops_url"]), every=0.2)  # gauges come once a second
        assert missing(falcon.info["ops_url"]) == set()
    finally:
        falcon.stop()
