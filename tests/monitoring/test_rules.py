"""The alerts fire when they should, and each has all that a person needs who is woken by it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # comes with what tests the API

from falcon.telemetry import metrics as _declared  # noqa: F401  they register when they are declared
from falcon.telemetry.instruments import REGISTRY, SECONDS
from falcon.telemetry.process_tree import INFO, PROCESS_GAUGES
from tests.monitoring import rule_cases
from tests.monitoring.rules import ALERT_NAMES, ALERTS, BASE_URL, GROUPS, faster
from tools.monitoring import FOR_OPERATOR, for_operator

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "monitoring"
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
CASES: Final = rule_cases.files()
_OF_TARGETS: Final = {"job", "instance"}

every_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])


def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing: install {package}")
    if found is None:
        pytest.skip(f"{name} is not installed (package {package})")
    return found


@pytest.fixture(scope="session")
def promtool() -> str:
    return _tool("promtool", "prometheus")


def _run(*command: str, folder: Path = FOLDER) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- with Prometheus' own tool ----------------------------------------------------------------------------------------


def test_prometheus_takes_the_rules(promtool: str) -> None:
    _run(promtool, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")


@pytest.mark.parametrize("factor", [60, 1_440])
def test_prometheus_takes_faster_ones(promtool: str, tmp_path: Path, factor: int) -> None:
    (tmp_path / "faster.yaml").write_text(faster(factor))
    _run(promtool, "check", "rules", "--lint=all", "--lint-fatal", "faster.yaml", folder=tmp_path)


@pytest.mark.processes
def test_each_alert_fires_when_it_should_and_then_only(promtool: str, tmp_path: Path) -> None:
    for name, text in CASES.items():
        (tmp_path / name).write_text(text)
    _run(promtool, "test", "rules", *filter(_is_of_tests, CASES), folder=tmp_path)


def test_prometheus_takes_the_example(promtool: str) -> None:
    _run(promtool, "check", "config", "prometheus.example.yaml")


def test_alertmanager_takes_the_example() -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("amtool is not installed (package prometheus-alertmanager)")
    _run(amtool, "check-config", "alertmanager.example.yaml")


# --- the cases --------------------------------------------------------------------------------------------------------


def _is_of_tests(name: str) -> bool:
    return name.endswith("_test.yaml")


def _cases() -> list[dict[str, Any]]:
    loaded = [yaml.safe_load(text) for name, text in CASES.items() if _is_of_tests(name)]
    return [case for file in loaded for case in file["tests"]]


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    firing, silent = set(), set()
    for case in _cases():
        for tested in case.get("alert_rule_test", []):
            assert tested["exp_alerts"], case["name"]
            firing.add(tested["alertname"])
        for tested in case.get("promql_expr_test", []):
            assert tested["exp_samples"] == [], case["name"]
            silent |= set(re.findall(r'ALERTS\{alertname="(\w+)",alertstate="firing"\}', tested["expr"]))
    assert firing == ALERT_NAMES
    assert silent == ALERT_NAMES


def test_nothing_fires_in_an_idle_system_that_shows_every_metric_of_the_rules() -> None:
    (idle,) = (case for case in _cases() if case["name"].startswith("an idle system"))
    assert idle["promql_expr_test"][0]["expr"].startswith('count_over_time(ALERTS{alertstate="firing"}')
    shown = {re.split(r"[{ ]", each["series"])[0] for each in idle["input_series"]}
    # A series that there is only once something has happened is none of an idle system's.
    happenings = {"falcon_streams_ended_total"}
    asked = {name for name in _used() if not re.match("falcon_(http|command)", name)}
    assert asked - shown == happenings


# --- what a rule says -------------------------------------------------------------------------------------------------


def _expressions() -> Iterator[str]:
    for group in GROUPS:
        for rule in group["rules"]:
            yield rule["expr"]


def _used() -> set[str]:
    return {name for expr in _expressions() for name in re.findall(r"(?<![\w:])(?:falcon_\w+|up)\b(?!:)", expr)}


def _exposed() -> dict[str, set[str]]:
    """The labels of everything that /metrics can show, by its name there."""
    exposed: dict[str, set[str]] = {"up": set(), INFO[0]: set(INFO[2])}
    exposed |= {name: {"process"} for name in PROCESS_GAUGES}
    for name, metric in REGISTRY.items():
        labels = set(metric.shown_labels)
        if metric.kind == "counter":
            exposed[f"{name}_total"] = labels
        elif metric.kind == "gauge":
            exposed[name] = labels
        else:
            exposed |= {f"{name}_{part}": labels for part in ("sum", "count")}
            exposed[f"{name}_bucket"] = labels | {"le"}
    return exposed


def test_rules_use_only_metrics_and_labels_that_there_are() -> None:
    exposed = _exposed()
    assert _used() <= exposed.keys()
    for expr in _expressions():
        for name, selector in re.findall(r"(falcon_\w+)\{([^}]*)\}", expr):
            assert set(re.findall(r'(\w+)(?:=|!=|=~|!~)"', selector)) <= exposed[name], expr
        for labels in re.findall(r"(?:by|without|on) \(([^)]*)\)", expr):
            known = _OF_TARGETS.union(*(exposed[name] for name in _used() if name in expr))
            assert {label.strip() for label in labels.split(",")} <= known, expr


def test_rules_use_only_series_that_are_recorded() -> None:
    recorded = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
    used = {name for alert in ALERTS for name in re.findall(r"job:falcon_\w+:\w+", alert["expr"])}
    assert used == recorded


def test_what_is_late_is_so_by_the_bound_of_a_bucket() -> None:
    asked = {bound for expr in _expressions() for bound in re.findall(r'le="([^"]*)"', expr)}
    assert asked == {"0.25", "0.5", "1.0", "2.0", "4.0"}
    assert asked <= {str(bound) for bound in SECONDS}


@every_alert
def test_an_alert_has_all_that_a_woken_person_needs(alert: dict[str, Any]) -> None:
    told = alert["annotations"]
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert re.fullmatch(r"Falcon[A-Z]\w+", alert["alert"])
    assert told["summary"].endswith(".")
    assert "{{" not in told["summary"]
    assert "$value" in told["description"]
    assert told["runbook_url"].startswith(BASE_URL)
    runbook = ROOT / told["runbook_url"].removeprefix(BASE_URL)
    assert runbook.is_relative_to(RUNBOOKS)
    assert f"`{alert['alert']}`" in runbook.read_text()


def test_alerts_have_names_of_their_own() -> None:
    assert len(ALERTS) == len(ALERT_NAMES)


def test_every_runbook_is_in_the_index_and_some_alerts() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {Path(alert["annotations"]["runbook_url"]).stem for alert in ALERTS}
    index = (RUNBOOKS / "README.md").read_text()
    assert set(re.findall(r"\]\((\S+)\.md\)", index)) == pages
    for page in pages:
        told = set(re.findall(r"^`Falcon\w+`.*$", (RUNBOOKS / f"{page}.md").read_text(), re.MULTILINE))
        assert told, page


def test_runbooks_name_only_alerts_metrics_and_pages_that_there_are() -> None:
    exposed = _exposed().keys() | REGISTRY.keys()
    ops = (ROOT / "falcon/http/ops/app.py").read_text()
    for path in RUNBOOKS.glob("*.md"):
        text = path.read_text()
        assert set(re.findall(r"`(Falcon[A-Z]\w+)`", text)) <= ALERT_NAMES, path
        assert set(re.findall(r"`(falcon_\w+)[`{]", text)) <= exposed, path
        assert all(f'"{page}"' in ops for page in re.findall(r"`(/debug/\w+)", text)), path
        assert all((RUNBOOKS / link).is_file() for link in re.findall(r"\]\((\S+\.md)\)", text)), path


# --- other files ------------------------------------------------------------------------------------------------------


def test_the_operator_of_kubernetes_has_the_same_rules() -> None:
    assert FOR_OPERATOR.read_text() == for_operator(), "run python -m tools.monitoring"
    assert yaml.safe_load(for_operator())["spec"]["groups"] == GROUPS


def test_alertmanager_and_datadog_know_the_alerts_and_the_port() -> None:
    alertmanager = yaml.safe_load((FOLDER / "alertmanager.example.yaml").read_text())
    for rule in alertmanager["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            found = re.fullmatch(r'alertname=~?"(.*)"', matcher)
            if found is not None:
                assert any(re.fullmatch(found[1], name) for name in ALERT_NAMES), matcher
    (instance,) = yaml.safe_load((FOLDER / "datadog.example.yaml").read_text())["instances"]
    assert instance["openmetrics_endpoint"].endswith(":8081/metrics")
