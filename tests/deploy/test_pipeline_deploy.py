"""deploy/pipeline/deploy, on the real manifests, before a cluster that is a file."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.deploy import fake_kubectl
from tests.support.checkers import checker

ROOT: Final = Path(__file__).parents[2]
OLD: Final = "registry.example.com/chat/falcon:1.0"
NEW: Final = "registry.example.com/chat/falcon@sha256:" + 64 * "b"
ROLES: Final = [
    "deployment/falcon-project",
    "deployment/falcon-forward",
    "deployment/falcon-write",
    "deployment/falcon-api",
]

pytestmark = pytest.mark.processes


class Place:
    """A cluster, and what goes wrong in it."""

    def __init__(self, folder: Path) -> None:
        kubectl = folder / "kubectl"
        kubectl.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake_kubectl.__file__}" "$@"\n')
        kubectl.chmod(0o755)
        self._file = folder / "cluster.json"
        self._temporary = folder / "tmp"
        self._temporary.mkdir()
        self._environment = {
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "TMPDIR": str(self._temporary),
            fake_kubectl.CLUSTER: str(self._file),
            fake_kubectl.REAL: checker("kubectl"),
        }
        objects: dict[str, Any] = {"secret/falcon-secrets": {}}
        self._keep({"objects": objects, "calls": [], "done": [], "unready": [], "failing": [], "refused": []})

    @property
    def state(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self._file.read_text())
        return read

    def _keep(self, state: dict[str, Any]) -> None:
        self._file.write_text(json.dumps(state))

    def goes_wrong(self, **what: Any) -> None:
        self._keep({**self.state, **what, "calls": [], "done": []})

    def deploy(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            ["bash", ROOT / "deploy" / "pipeline" / "deploy", *arguments],
            env={**self._environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert list(self._temporary.iterdir()) == [], "it leaves files behind"
        return done

    def images(self) -> set[str]:
        """The images that serve."""
        objects = self.state["objects"]
        serving = [each for each in objects.values() if "now" in each and "falcon" in each["metadata"]["name"]]
        return {each["revisions"][each["now"]]["spec"]["containers"][0]["image"] for each in serving}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = Place(tmp_path_factory.mktemp("deployed"))
    done = place.deploy("local", OLD)
    assert done.returncode == 0, done.stdout + done.stderr
    return place.state


@pytest.fixture
def serving(place: Place, deployed: dict[str, Any]) -> Place:
    """The old version is deployed."""
    place.goes_wrong(objects=deployed["objects"])
    return place


def test_the_first_deployment_makes_what_it_needs(place: Place) -> None:
    done = place.deploy("local", OLD)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"deployed: {OLD} serves local" in done.stdout
    assert f"the smoke test of {OLD} speaks" in done.stdout
    assert place.images() == {OLD}
    objects = place.state["objects"]
    assert "namespace/falcon" in objects
    assert objects["secret/falcon-smoke"] == {"data": {"token": "falcon_64_first"}}
    assert "falcon_64_first" not in done.stdout


def test_a_new_version_comes_to_those_that_read_before_those_that_write(serving: Place) -> None:
    done = serving.deploy("local", NEW)
    assert (done.returncode, done.stderr) == (0, "")
    assert serving.images() == {NEW}
    done_in_order = [name for name in serving.state["done"] if "falcon-" in name and name.startswith(("job", "depl"))]
    expected = ["job/falcon-prepare"]
    for role in ROLES:
        expected += [role, f"{role} is ready"]
    assert done_in_order == [*expected, "job/falcon-smoke"]
    assert serving.state["done"].index("networkpolicy/default-deny") < serving.state["done"].index("job/falcon-prepare")


def test_what_fails_the_smoke_test_is_taken_back(serving: Place) -> None:
    serving.goes_wrong(failing=[["job/falcon-smoke", NEW]])
    done = serving.deploy("local", NEW)
    assert done.returncode == 1
    assert done.stderr.endswith(f"not deployed and rolled back: {OLD} serves\n")
    assert serving.images() == {OLD}
    assert "the smoke test failed: going back" in done.stdout
    assert done.stdout.index(f"the smoke test of {NEW} speaks") < done.stdout.index(f"the smoke test of {OLD} speaks")
    undone = [call for call in serving.state["calls"] if call.startswith("rollout undo")]
    assert undone == [f"rollout undo {role}" for role in reversed(ROLES)]


def test_a_role_that_is_never_ready_is_taken_back_and_those_behind_it_are_not_touched(serving: Place) -> None:
    serving.goes_wrong(unready=[["deployment/falcon-write", NEW]])
    done = serving.deploy("local", NEW)
    assert done.returncode == 1
    assert "deployment/falcon-write does not become Ready: going back" in done.stdout
    assert "what pods of app.kubernetes.io/component=write say" in done.stdout
    assert serving.images() == {OLD}
    assert "deployment/falcon-api" not in serving.state["done"]


def test_a_role_that_the_cluster_refuses_is_no_reason_to_keep_the_others(serving: Place) -> None:
    serving.goes_wrong(refused=["deployment/falcon-api"])
    assert serving.deploy("local", NEW).returncode == 1
    assert serving.images() == {OLD}


@pytest.mark.parametrize(
    "wrong", [{"failing": [["job/falcon-prepare", NEW]]}, {"refused": ["networkpolicy/default-deny"]}]
)
def test_where_it_cannot_be_prepared_nothing_that_serves_is_changed(serving: Place, wrong: dict[str, Any]) -> None:
    serving.goes_wrong(**wrong)
    done = serving.deploy("local", NEW)
    assert done.returncode == 1
    assert done.stderr.endswith("not deployed; nothing that serves was changed\n")
    assert not set(ROLES) & set(serving.state["done"])


def test_deploying_the_same_again_and_failing_goes_back_no_further(serving: Place) -> None:
    assert serving.deploy("local", NEW).returncode == 0
    serving.goes_wrong(failing=[["job/falcon-smoke", NEW]])
    done = serving.deploy("local", NEW)
    assert done.returncode == 3
    assert f"{NEW}, which serves again, fails the smoke test as well" in done.stderr
    assert serving.images() == {NEW}


def test_where_the_old_version_fails_too_a_person_must_look(serving: Place) -> None:
    serving.goes_wrong(failing=[["job/falcon-smoke", NEW], ["job/falcon-smoke", OLD]])
    done = serving.deploy("local", NEW)
    assert done.returncode == 3
    assert "a person must look" in done.stderr
    assert serving.images() == {OLD}


def test_where_the_old_version_is_not_ready_again_a_person_must_look(serving: Place) -> None:
    serving.goes_wrong(unready=[["deployment/falcon-api", NEW], ["deployment/falcon-api", OLD]])
    done = serving.deploy("local", NEW)
    assert done.returncode == 3
    assert "deployment/falcon-api does not become Ready again" in done.stderr


def test_a_first_version_that_fails_cannot_be_taken_back(place: Place) -> None:
    place.goes_wrong(failing=[["job/falcon-smoke", NEW]])
    done = place.deploy("local", NEW)
    assert done.returncode == 3
    assert "a person must look: there was no deployment/falcon-project before" in done.stderr


def test_without_its_secrets_nothing_is_begun(place: Place) -> None:
    place.goes_wrong(objects={})
    done = place.deploy("local", NEW)
    assert done.returncode == 1
    assert "the Secret falcon-secrets is missing in namespace falcon" in done.stdout
    assert place.state["done"] == ["namespace/falcon"]


def test_the_single_pod_of_a_version_that_is_never_ready_is_replaced(place: Place) -> None:
    assert place.deploy("single", OLD).returncode == 0
    place.goes_wrong(unready=[["statefulset/falcon", NEW]])
    done = place.deploy("single", NEW)
    assert done.returncode == 1, done.stdout + done.stderr
    assert place.images() == {OLD}
    calls = place.state["calls"]
    assert calls.index("rollout undo statefulset/falcon") < calls.index("delete pods")


def test_an_account_of_its_own_is_used_for_the_smoke_test(place: Place) -> None:
    there = {"secret/falcon-secrets": {}, "secret/falcon-smoke": {"data": {"token": "falcon_99_own"}}}
    place.goes_wrong(objects=there)
    assert place.deploy("local", OLD).returncode == 0
    assert place.state["objects"]["secret/falcon-smoke"] == {"data": {"token": "falcon_99_own"}}


def test_the_way_to_the_cluster_can_be_handed_over(place: Place) -> None:
    place.goes_wrong(objects={})
    done = place.deploy("local", OLD, KUBECONFIG_CONTENT="apiVersion: v1")
    assert place.state["kubeconfig"] == "apiVersion: v1\n"
    assert "apiVersion" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage: deploy/pipeline/deploy ENVIRONMENT IMAGE"),
        (["local"], "usage"),
        (["nowhere", OLD], "no environment 'nowhere' in deploy/pipeline/environments or deploy/k8s/overlays"),
        (["../base", OLD], "no environment '../base'"),
        (["local", "registry.example.com/falcon"], "is no image with a tag or a digest"),
        (["local", "falcon:1#e;id"], "is no image with a tag or a digest"),
    ],
)
def test_what_is_asked_wrongly_is_refused_in_a_line(place: Place, arguments: list[str], said: str) -> None:
    done = place.deploy(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"deploy: .*{re.escape(said)}.*\n", done.stderr), done.stderr
    assert place.state["calls"] == []
