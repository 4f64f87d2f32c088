"""The load test as Jobs: what is applied, and that it fits together."""

import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # comes with what tests the API

from load_tests.load import THRESHOLDS, parse
from tests.support.checkers import checker

ROOT: Final = Path(__file__).parents[3]
COMPONENT: Final = ROOT / "deploy" / "k8s" / "components" / "load"


@pytest.fixture(scope="module")
def shown() -> str:
    command = [checker("kubectl"), "kustomize", str(COMPONENT)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def objects(shown: str) -> dict[str, dict[str, Any]]:
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in yaml.safe_load_all(shown)}


def test_the_leader_and_its_workers_find_each_other(objects: dict[str, dict[str, Any]]) -> None:
    workers = objects["Job/falcon-load-workers"]["spec"]
    assert str(workers["parallelism"]) == objects["ConfigMap/falcon-load"]["data"]["WORKERS"]
    assert workers["completions"] == workers["parallelism"]
    chosen = objects["Service/falcon-load"]["spec"]["selector"]
    assert chosen.items() <= objects["Job/falcon-load"]["spec"]["template"]["metadata"]["labels"].items()
    assert not chosen.items() <= workers["template"]["metadata"]["labels"].items()


def test_the_load_test_understands_what_it_is_told(
    objects: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = objects["Job/falcon-load"]["spec"]["template"]["spec"]["containers"]
    for name, value in objects["ConfigMap/falcon-load"]["data"].items():
        container["args"] = [argument.replace(f"$({name})", value) for argument in container["args"]]
    monkeypatch.setenv("FALCON_ADMIN_TOKEN", "a-token")
    for each in container["env"]:
        if "value" in each:
            monkeypatch.setenv(each["name"], each["value"])
    options = parse(container["args"])
    assert (options.shape, options.workers, options.urls) == ("step", 2, ("http://falcon-api",))
    assert options.listen == "0.0.0.0:5557"


def test_the_thresholds_there_are_those_that_there_are_here() -> None:
    assert (COMPONENT / "thresholds.toml").read_text() == THRESHOLDS.read_text()


def test_pods_are_restricted_and_bounded(objects: dict[str, dict[str, Any]]) -> None:
    for name in ("Job/falcon-load", "Job/falcon-load-workers"):
        spec = objects[name]["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and not spec["automountServiceAccountToken"]
        assert not spec["enableServiceLinks"]
        (container,) = spec["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert "memory" in container["resources"]["limits"]


def test_kubernetes_own_schemas_take_it(shown: str, tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    file.write_text(shown)
    command = [checker("kubernetes-validate"), "--kubernetes-version", "1.36", "--strict", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = subprocess.run(
        [checker("hadolint"), str(COMPONENT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
