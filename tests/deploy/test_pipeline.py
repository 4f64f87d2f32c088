"""The pipelines hang together: what they refer to is there. What a deployment does is in test_pipeline_deploy."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # comes with what tests the API

from tests.support.checkers import checker

ROOT: Final = Path(__file__).parents[2]
PIPELINE: Final = ROOT / "deploy" / "pipeline"
SCRIPTS: Final = ["deploy", "image", "test"]

# The fields that Concourse knows. It refuses a pipeline with others.
_STEP_KEYS: Final = {
    "get": {"get", "resource", "passed", "params", "trigger", "version", "timeout"},
    "put": {"put", "resource", "inputs", "params", "get_params", "no_get", "timeout"},
    "task": {"task", "file", "config", "params", "privileged", "vars", "image", "input_mapping", "timeout"},
}
_JOB_KEYS: Final = {"name", "plan", "serial", "serial_groups", "max_in_flight", "on_failure", "on_success"}
_TASK_KEYS: Final = {"platform", "image_resource", "inputs", "outputs", "params", "run", "caches"}
_CORE_RESOURCES: Final = {"git", "registry-image", "time", "s3", "semver"}


def load(name: str) -> Any:
    return yaml.safe_load((PIPELINE / name).read_text())


# --- the scripts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_step_can_be_run_by_a_person(script: str) -> None:
    assert os.access(PIPELINE / script, os.X_OK)
    subprocess.run(["bash", "-n", PIPELINE / script], check=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script: str) -> None:
    done = subprocess.run([checker("shellcheck"), PIPELINE / script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# --- environments -----------------------------------------------------------------------------------------------------


def concourse_environments() -> list[str]:
    """In the order in which a version comes to them."""
    return [step["params"]["ENVIRONMENT"] for _, step in steps() if step.get("task") == "deploy"]


def github_environments() -> list[str]:
    jobs = load("github/workflow.yaml")["jobs"].values()
    return [job["with"]["environment"] for job in jobs if "uses" in job]


def test_both_pipelines_go_the_same_way() -> None:
    assert concourse_environments() == github_environments() == ["staging", "production"]


def test_each_environment_is_an_overlay_or_a_folder_on_top_of_one() -> None:
    folders = {path.parent.name for path in (PIPELINE / "environments").glob("*/kustomization.yaml")}
    overlays = {path.parent.name for path in (ROOT / "deploy" / "k8s" / "overlays").glob("*/kustomization.yaml")}
    assert folders
    assert folders | set(concourse_environments()) <= folders | overlays
    for folder in folders:
        differs = load(f"environments/{folder}/kustomization.yaml")
        assert all((PIPELINE / "environments" / folder / each).is_dir() for each in differs["resources"])


def test_staging_is_built_of_production_with_servers_of_its_own() -> None:
    staging, production = (
        subprocess.run([checker("kubectl"), "kustomize", folder], capture_output=True, text=True, check=True).stdout
        for folder in (PIPELINE / "environments" / "staging", ROOT / "deploy" / "k8s" / "overlays" / "production")
    )
    names = re.compile(r"^kind: .*\n(?:.*\n)*?  name: (.*)$", re.MULTILINE)
    without_hash = [[re.sub(r"-\w{10}$", "", name) for name in names.findall(text)] for text in (staging, production)]
    assert without_hash[0] == without_hash[1]
    servers = re.compile(r"^  FALCON_(?:KAFKA|HBASE): (.*)$", re.MULTILINE)
    assert len(servers.findall(staging)) == 2
    assert not set(servers.findall(staging)) & set(servers.findall(production))


# --- Concourse --------------------------------------------------------------------------------------------------------


def steps() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each with its job."""
    for job in load("concourse/pipeline.yaml")["jobs"]:
        for step in job["plan"]:
            yield job, step


def task_of(step: dict[str, Any]) -> dict[str, Any]:
    """The pipeline's source is this repository."""
    artifact, _, path = step["file"].partition("/")
    assert artifact == "source"
    task: dict[str, Any] = yaml.safe_load((ROOT / path).read_text())
    return task


def kind_of(step: dict[str, Any]) -> str:
    (kind,) = step.keys() & _STEP_KEYS.keys()
    return kind


def test_concourse_knows_every_word() -> None:
    pipeline = load("concourse/pipeline.yaml")
    assert pipeline.keys() == {"resources", "jobs"}
    assert {resource["type"] for resource in pipeline["resources"]} <= _CORE_RESOURCES
    for job, step in steps():
        assert job.keys() <= _JOB_KEYS
        assert step.keys() <= _STEP_KEYS[kind_of(step)], step
        if kind_of(step) == "task":
            assert task_of(step).keys() <= _TASK_KEYS


def test_every_resource_is_there_and_used() -> None:
    declared = [resource["name"] for resource in load("concourse/pipeline.yaml")["resources"]]
    used = {step[kind_of(step)] for _, step in steps() if kind_of(step) != "task"}
    assert used == set(declared)
    assert len(declared) == len(used)


def test_what_has_passed_a_job_was_there() -> None:
    handled: dict[str, set[str]] = {}
    for job, step in steps():
        for before in step.get("passed", ()):
            assert step["get"] in handled[before], f"{job['name']} waits for {step['get']} from {before}"
        if kind_of(step) != "task":
            handled.setdefault(job["name"], set()).add(step[kind_of(step)])


def test_each_task_finds_what_it_needs() -> None:
    artifacts: dict[str, set[str]] = {}
    for job, step in steps():
        there = artifacts.setdefault(job["name"], set())
        if kind_of(step) != "task":
            there.add(step[kind_of(step)])
            continue
        task = task_of(step)
        assert {each["name"] for each in task.get("inputs", ())} <= there
        wanted = {name for name, value in task.get("params", {}).items() if value is None}
        assert wanted <= step.get("params", {}).keys()
        there |= {each["name"] for each in task.get("outputs", ())}
        for path in re.findall(r"\bsource/([\w./-]+)", yaml.dump(task["run"])):
            assert (ROOT / path).is_file(), path


def test_every_variable_is_set_or_said_to_be_a_secret() -> None:
    asked = set(re.findall(r"\(\(([\w.]+)\)\)", (PIPELINE / "concourse" / "pipeline.yaml").read_text()))
    given = {f"{name}.{key}" for name, fields in load("concourse/vars.yaml").items() for key in fields}
    secrets = asked - given
    assert given <= asked
    page = (PIPELINE / "README.md").read_text()
    assert [name for name in secrets if f"`{name}`" not in page] == []
    assert all(name.endswith((".password", ".username", ".kubeconfig")) for name in secrets)


# --- GitHub Actions ---------------------------------------------------------------------------------------------------


def workflows() -> dict[str, dict[Any, Any]]:
    return {path.name: yaml.safe_load(path.read_text()) for path in (PIPELINE / "github").glob("*.yaml")}


def test_workflows_fit_githubs_schema() -> None:
    files = [str(path) for path in (PIPELINE / "github").glob("*.yaml")]
    command = [checker("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_workflow_may_do_more_than_read() -> None:
    for workflow in workflows().values():
        assert workflow["permissions"] == {"contents": "read"}
        assert not any("permissions" in job for job in workflow["jobs"].values())


def test_actions_of_others_are_named_by_commit_and_keep_no_token() -> None:
    used = [step for each in workflows().values() for job in each["jobs"].values() for step in job.get("steps", ())]
    actions = [step for step in used if "uses" in step]
    assert actions
    for step in actions:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])
        assert step["with"]["persist-credentials"] is False


def test_each_job_waits_for_jobs_that_are_there_and_has_an_end() -> None:
    for workflow in workflows().values():
        for job in workflow["jobs"].values():
            needs = job.get("needs", [])
            assert ({needs} if isinstance(needs, str) else set(needs)) <= workflow["jobs"].keys()
            assert "uses" in job or job["timeout-minutes"] <= 90


def test_what_a_workflow_calls_takes_what_it_is_given() -> None:
    there = workflows()
    for job in there["workflow.yaml"]["jobs"].values():
        if "uses" in job:
            called = there[Path(job["uses"]).name]
            assert called[True]["workflow_call"]["inputs"].keys() == job["with"].keys()  # YAML reads `on` as true


def test_scripts_that_workflows_run_are_there() -> None:
    text = "".join(path.read_text() for path in (PIPELINE / "github").glob("*.yaml"))
    assert set(re.findall(r"run: deploy/pipeline/(\w+)", text)) == set(SCRIPTS)


def test_both_pipelines_scan_with_the_same_version_and_refuse_the_same() -> None:
    scan = load("concourse/tasks/scan.yaml")
    image = f"{scan['image_resource']['source']['repository']}:{scan['image_resource']['source']['tag']}"
    workflow = (PIPELINE / "github" / "workflow.yaml").read_text()
    assert f" {image}\n" in workflow
    assert " ".join(scan["run"]["args"][1:]) in workflow
