"""The dashboards are what Grafana takes, ask for what there is, and show it."""

import json
import math
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from falcon.telemetry.instruments import REGISTRY
from falcon.telemetry.process_tree import INFO, PROCESS_GAUGES
from tests.monitoring.dashboards import DASHBOARDS, FOLDER, every_panel, metrics_in, panels, queries
from tests.monitoring.prometheus import Prometheus
from tools.harness.falcon import Falcon
from tools.harness.waiting import holds_within, until

EACH = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
WIDTH: Final = 24
UNITS: Final = {"s", "bytes", "percentunit", "short", "cps", "reqps", "ops"}

# Labels that Prometheus adds, or that are those of its own metrics.
FOREIGN_LABELS: Final = {"job", "instance", "le", "alertstate", "alertname", "severity"}


def exposed() -> dict[str, set[str]]:
    """The labels of each metric, by the names under which Prometheus has it."""
    found = {name: {"process"} for name in PROCESS_GAUGES} | {INFO[0]: set(INFO[2])}
    for metric in REGISTRY.values():
        labels = set(metric.shown_labels)
        if metric.kind == "counter":
            names = [f"{metric.name}_total"]
        elif metric.kind == "gauge":
            names = [metric.name]
        else:
            names = [f"{metric.name}_{part}" for part in ("bucket", "count", "sum")]
        found |= dict.fromkeys(names, labels)
    return found


# --- what Grafana takes -----------------------------------------------------------------------------------------------


@EACH
def test_a_file_is_named_and_written_as_all_are(dashboard: dict[str, Any]) -> None:
    """Who exports a dashboard from Grafana sees in its difference what was changed."""
    text = (FOLDER / f"{dashboard['uid']}.json").read_text()
    assert text == json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
    assert re.fullmatch(r"[a-z-]{1,40}", dashboard["uid"])
    assert f"files: [{dashboard['uid']}.json]" in (FOLDER / "kustomization.yaml").read_text()


def test_titles_of_dashboards_are_unique() -> None:
    assert len({dashboard["title"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)


@EACH
def test_a_dashboard_has_what_grafana_needs(dashboard: dict[str, Any]) -> None:
    for key in ("uid", "title", "description", "tags", "schemaVersion", "time", "templating", "panels"):
        assert dashboard[key], key
    assert "id" not in dashboard, "Grafana gives it; one that is written would be another dashboard's elsewhere"
    assert 36 <= dashboard["schemaVersion"] <= 41


@EACH
def test_panels_have_ids_of_their_own_and_places_that_do_not_overlap(dashboard: dict[str, Any]) -> None:
    placed = dashboard["panels"]
    assert len({panel["id"] for panel in placed}) == len(placed)
    places = [panel["gridPos"] for panel in placed]
    for place in places:
        assert place["x"] >= 0
        assert place["w"] > 0
        assert place["x"] + place["w"] <= WIDTH
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@EACH
def test_rows_of_panels_are_as_wide_as_the_screen(dashboard: dict[str, Any]) -> None:
    widths: dict[int, int] = {}
    for panel in dashboard["panels"]:
        widths[panel["gridPos"]["y"]] = widths.get(panel["gridPos"]["y"], 0) + panel["gridPos"]["w"]
    assert set(widths.values()) == {WIDTH}


def test_the_overview_is_one_screen() -> None:
    """24 units of 38 pixels: what a browser shows of 1080."""
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in DASHBOARDS["falcon-overview"]["panels"])
    assert bottom <= 24


@EACH
def test_a_panel_says_its_question_its_unit_and_asks_the_chosen_source(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        assert panel["title"]
        assert "?" in panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["type"] in ("timeseries", "stat", "table")
        assert panel["options"]
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert target["expr"]
            assert target["legendFormat"] or panel["type"] == "table"


@EACH
def test_titles_are_unique_within_a_section(dashboard: dict[str, Any]) -> None:
    shown: set[tuple[str, str]] = set()
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            shown.clear()
        assert (panel["title"], panel["type"]) not in shown
        shown.add((panel["title"], panel["type"]))


@EACH
def test_every_variable_is_used_and_every_used_one_is_there(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance"]
    for name in ("job", "instance"):
        assert variables[name]["multi"]
        assert variables[name]["includeAll"]
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps([dashboard["panels"], dashboard["templating"]])))
    assert used == set(variables)
    for panel in panels(dashboard):
        for query in queries(panel):
            selected = re.findall(r"(\w+)\{", query)
            assert query.count('job=~"$job",instance=~"$instance"') == len(selected) - selected.count("ALERTS")


@EACH
def test_dashboards_lead_to_one_another(dashboard: dict[str, Any]) -> None:
    (link,) = dashboard["links"]
    assert link["type"] == "dashboards"
    assert link["includeVars"]
    assert link["keepTime"]
    assert set(link["tags"]) <= set(dashboard["tags"])
    for panel in panels(dashboard):
        for more in panel.get("links", ()):
            assert re.match(r"/d/([a-z-]+)\?", more["url"])[1] in DASHBOARDS.keys() - {dashboard["uid"]}  # type: ignore[index]


# --- what there is ----------------------------------------------------------------------------------------------------


@EACH
def test_queries_name_metrics_that_there_are_and_labels_that_these_have(dashboard: dict[str, Any]) -> None:
    labels = exposed()
    for panel in panels(dashboard):
        for target in panel["targets"]:
            named = metrics_in(target["expr"])
            assert named <= labels.keys(), panel["title"]
            grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", target["expr"])
            matched = re.findall(r'(\w+)(?:=~|!~|!=|=)"', target["expr"])
            asked = {label.strip() for each in grouped for label in each.split(",")} | set(matched)
            there = FOREIGN_LABELS.union(*(labels[name] for name in named))
            assert asked <= there, (panel["title"], asked - there)
            in_legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert in_legend <= {label.strip() for each in grouped for label in each.split(",")}, panel["title"]


def test_every_metric_is_shown_somewhere() -> None:
    shown = {name for panel in every_panel() for query in queries(panel) for name in metrics_in(query)}
    without_parts = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in shown}
    assert {*REGISTRY, *PROCESS_GAUGES, INFO[0]} <= shown | without_parts


# --- a real Prometheus ------------------------------------------------------------------------------------------------

# Queries that may have no value here, and why. All others must have one.
QUIET: Final = {
    "falcon_owners_heard": "one Falcon on one machine has no other owners to hear",
    "falcon_checkpoints_total": "a ratio, and there is a checkpoint each ten seconds only",
    "falcon_projection_batch_seconds": "projections of one machine are applied within the commits",
    "falcon_copied_timestamp_seconds": "the data folder has not been copied",
}
RULES: Final = """
groups:
  - name: tests
    rules:
      - {alert: FalconIsThere, expr: count(falcon_build_info), labels: {severity: ticket}}
"""
SETTINGS: Final = {
    "processes": 2,
    "log_level": "info",
}
SECONDS: Final = 8
AFTERWARDS_SECONDS: Final = 3
SCRAPE_SECONDS: Final = 3.0  # a scrape may take as long, on a busy machine
RATE_SECONDS: Final = 60  # on such a machine some scrapes fail, and a rate needs two
PATIENCE_SECONDS: Final = 120  # for what has happened, and is yet to be sampled and scraped


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    falcon = Falcon(tmp_path_factory.mktemp("falcon"), dict(SETTINGS)).start()
    yield falcon
    falcon.stop(signal.SIGTERM)


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_every_query_is_taken_and_shows_what_happened(falcon: Falcon, prometheus: Prometheus, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    target = falcon.info["ops_url"].removeprefix("http://")
    prometheus.start([target], [rules], SCRAPE_SECONDS)
    until(lambda: prometheus.query("falcon_build_info"), "it was scraped: what rises has a value before")
    began = time.time()
    keep_busy(falcon, SECONDS)
    restarts = "falcon_process_restarts_total"
    assert rises_within(prometheus, restarts, began, PATIENCE_SECONDS), "also the first one shows"
    # A gauge of a process that was just started again is not a number until it is sampled.
    holds_within(lambda: not silent_queries(prometheus, began), PATIENCE_SECONDS, every=1)
    assert silent_queries(prometheus, began) == []


def rises_within(prometheus: Prometheus, counter: str, began: float, seconds: float) -> bool:
    (query,) = {substituted(each) for panel in every_panel() for each in queries(panel) if counter in each}
    return holds_within(lambda: max(prometheus.query_since(began, query), default=0) > 0, seconds, every=1)


def silent_queries(prometheus: Prometheus, began: float) -> list[str]:
    """Queries that had no value at any second since then: on a busy machine a rate may be over when it is asked for."""
    silent = []
    for panel in every_panel():
        for query in queries(panel):
            values = prometheus.query_since(began, substituted(query))
            if all(math.isnan(value) for value in values) and not any(word in query for word in QUIET):
                silent.append(f"{panel['title']}: {query}")
    return silent


def keep_busy(falcon: Falcon, seconds: float) -> None:
    """Send messages and reads of all kinds, with a listener and a refusal. Then a server dies, and is
    restarted. In the end the listener is sent away."""
    headers = {"Authorization": f"Bearer {falcon.info['token']}"}
    with httpx.Client(base_url=falcon.info["url"], headers=headers, timeout=60) as client:
        with listening(falcon, client):
            chat(client, seconds)
            falcon.kill("serve")
            chat(client, seconds - AFTERWARDS_SECONDS)
        chat(client, AFTERWARDS_SECONDS)


@contextmanager
def listening(falcon: Falcon, client: httpx.Client) -> Iterator[None]:
    """Listens with a token of its own, and reconnects. The token is revoked at the end, so that Falcon ends the
    stream."""
    path = f"/v1/accounts/{falcon.info['account_id']}/tokens"
    issued = client.post(path, json={}).raise_for_status().json()
    ending = threading.Event()

    def listen() -> None:
        headers = {"Authorization": f"Bearer {issued['token']}"}
        while not ending.is_set():
            try:
                with httpx.stream("GET", f"{falcon.info['url']}/v1/stream", headers=headers, timeout=60) as stream:
                    for _ in stream.iter_lines():
                        pass
            except httpx.TransportError:
                pass  # the server was killed
            ending.wait(0.2)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
        while client.delete(f"{path}/{issued['token_id']}").status_code == 503:
            time.sleep(0.1)
    finally:
        ending.set()
    thread.join(60)
    assert not thread.is_alive(), "whose token is revoked listens no more"


def chat(client: httpx.Client, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            say_something(client)
        except httpx.TransportError:
            time.sleep(0.1)  # the server that was killed had this connection


def say_something(client: httpx.Client) -> None:
    made = client.post("/v1/rooms", json={"name": "Tea kitchen"})
    room = made.json().get("room_id", 0)  # none while a shard is away
    client.post(f"/v1/rooms/{room}/messages", json={"text": "Tea is ready"})
    for path in ("/v1/me", "/v1/rooms", f"/v1/rooms/{room}", f"/v1/rooms/{room}/messages", "/v1/rooms/1/members"):
        client.get(path)
    client.delete(f"/v1/rooms/{room}/members/{2**40}")
    time.sleep(0.1)


def substituted(expr: str) -> str:
    """Substituted as by Grafana, with everything chosen."""
    return expr.replace("$__rate_interval", f"{RATE_SECONDS}s").replace("$job", ".*").replace("$instance", ".*")
