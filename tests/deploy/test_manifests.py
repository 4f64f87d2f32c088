"""The objects of the overlays, and what must be true of all of them. That they work is shown on a node:
tools/k8s_proof."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # comes with what tests the API

from falcon.run.settings import Settings, setting_names
from tests.support.checkers import checker

ROOT: Final = Path(__file__).parents[2]
MANIFESTS: Final = ROOT / "deploy" / "k8s"
_DRAIN_SECONDS: Final = 5  # after SIGTERM everything has ended: falcon/run/launcher.py
_VERSION: Final = "1.36"  # of Kubernetes, that of the node

EXPECTED: Final = {
    "single": """
        ConfigMap falcon-settings-HASH
        CronJob falcon-backup
        NetworkPolicy default-deny dns falcon-clients falcon-http
        PersistentVolumeClaim falcon-backups
        Service falcon-api
        ServiceAccount falcon falcon-backup
        StatefulSet falcon
    """,
    "local": """
        ConfigMap falcon-settings-HASH
        Deployment falcon-api falcon-forward falcon-project falcon-write
        Job falcon-prepare
        NetworkPolicy default-deny dns falcon-clients falcon-commands-from-api falcon-commands-to-write falcon-http \
            hbase kafka opensearch to-hbase to-kafka to-opensearch
        PodDisruptionBudget falcon-api falcon-forward falcon-project falcon-write
        Service falcon-api hbase-thrift kafka opensearch
        ServiceAccount falcon-api falcon-forward falcon-prepare falcon-project falcon-write
        StatefulSet hbase kafka opensearch
    """,
    "production": """
        Certificate falcon
        ConfigMap falcon-dashboard-actors falcon-dashboard-overview falcon-dashboard-process falcon-dashboard-read \
            falcon-dashboard-streams falcon-dashboard-write falcon-settings-HASH
        CronJob falcon-backup
        Deployment falcon-api falcon-forward falcon-project falcon-write
        HorizontalPodAutoscaler falcon-api falcon-write
        Ingress falcon
        Job falcon-prepare
        NetworkPolicy default-deny dns falcon-clients falcon-commands-from-api falcon-commands-to-write falcon-http \
            falcon-operations falcon-to-hbase falcon-to-kafka falcon-to-opensearch
        PersistentVolumeClaim falcon-backups
        PodDisruptionBudget falcon-api falcon-forward falcon-project falcon-write
        PodMonitor falcon
        PrometheusRule falcon
        Service falcon-api
        ServiceAccount falcon-api falcon-backup falcon-forward falcon-prepare falcon-project falcon-write
    """,
}

every_overlay = pytest.mark.parametrize("overlay", EXPECTED)


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


_shown: dict[Path, str] = {}


def show(folder: Path) -> str:
    if folder not in _shown:
        _shown[folder] = _run(checker("kubectl"), "kustomize", folder)
    return _shown[folder]


def objects(overlay: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(show(MANIFESTS / "overlays" / overlay)))


def pods(overlay: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the pod template of each object that makes pods."""
    for each in objects(overlay):
        spec = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each.get("spec", {})
        if "template" in spec:
            yield f"{each['kind']}/{each['metadata']['name']}", spec["template"]


# --- what there is ----------------------------------------------------------------------------------------------------


def test_every_overlay_is_known_here() -> None:
    assert {path.name for path in (MANIFESTS / "overlays").iterdir()} == EXPECTED.keys()


@every_overlay
def test_an_overlay_applies_these_objects_and_no_others(overlay: str) -> None:
    found: dict[str, list[str]] = {}
    for each in objects(overlay):
        name = re.sub(r"^(falcon-settings)-[a-z0-9]{10}$", r"\1-HASH", each["metadata"]["name"])
        found.setdefault(each["kind"], []).append(name)
    shown = [" ".join([kind, *sorted(names)]) for kind, names in sorted(found.items())]
    assert shown == [" ".join(line.split()) for line in EXPECTED[overlay].strip().splitlines()]


def _names(kustomization: str) -> set[str]:
    """The components that it names."""
    return set(re.findall(r"^  - \S*components/(\w[\w-]*)", (MANIFESTS / kustomization).read_text(), re.MULTILINE))


_OPTIONAL: Final = {path.name for path in (MANIFESTS / "components").iterdir()} - _names("base/kustomization.yaml")


@pytest.mark.parametrize("name", sorted(_OPTIONAL))
def test_a_component_adds_to_an_overlay_that_has_it_not(name: str, tmp_path: Path) -> None:
    overlay = "local" if name in _names("overlays/production/kustomization.yaml") else "production"
    up = os.path.relpath(MANIFESTS, tmp_path)
    lines = ["namespace: falcon", f"resources: [{up}/overlays/{overlay}]", f"components: [{up}/components/{name}]"]
    (tmp_path / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    assert len(show(tmp_path)) > len(show(MANIFESTS / "overlays" / overlay))


_KAFKA_USERS: Final = {
    "falcon-api": "falcon-kafka-api",
    "falcon-write": "falcon-kafka-write",
    "falcon-project": "falcon-kafka-project",
    "falcon-forward": "falcon-kafka-project",
    "falcon-prepare": "falcon-kafka-operator",
}

_WITHOUT_HBASE: Final = ("falcon-write", "falcon-forward")


def test_with_tls_to_kafka_and_hbase_each_role_has_a_user_of_its_own_and_the_secrets_that_it_needs(
    tmp_path: Path,
) -> None:
    up = os.path.relpath(MANIFESTS, tmp_path)
    components = f"components: [{up}/components/kafka-tls, {up}/components/hbase-tls]"
    lines = ["namespace: falcon", f"resources: [{up}/overlays/production]", components]
    (tmp_path / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    found = list(yaml.safe_load_all(show(tmp_path)))
    (shared,) = [each["data"] for each in found if each["metadata"]["name"].startswith("falcon-settings-")]
    pods = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in found if _is_role(each)}
    assert pods.keys() == _KAFKA_USERS.keys()
    for name, spec in pods.items():
        (container,) = spec["containers"]
        own = {each["name"]: each["value"] for each in container.get("env", ()) if "value" in each}
        settings = Settings.from_env({**shared, **own})
        assert (settings.kafka_security_protocol, settings.kafka_user) == ("SASL_SSL", _KAFKA_USERS[name])
        secrets = {each["name"]: each["secret"]["secretName"] for each in spec["volumes"] if "secret" in each}
        files = {
            each["mountPath"]: secrets[each["name"]] for each in container["volumeMounts"] if each["name"] in secrets
        }
        wanted = {"/etc/falcon/kafka": _KAFKA_USERS[name], "/etc/falcon/kafka-ca": "falcon-kafka-ca"}
        wanted |= {} if name in _WITHOUT_HBASE else {"/etc/falcon/hbase": "falcon-hbase"}
        assert wanted.items() <= files.items()
        assert files.get("/etc/falcon/hbase") == wanted.get("/etc/falcon/hbase"), "each secret has one purpose"
        assert {str(path.parent) for path in _files(settings) if name not in _WITHOUT_HBASE} <= files.keys()
        assert {each["secret"]["defaultMode"] for each in spec["volumes"] if "secret" in each} == {0o440}


def _is_role(found: dict[str, Any]) -> bool:
    return found["kind"] in ("Deployment", "Job") and found["metadata"]["name"] in _KAFKA_USERS


def _files(settings: Settings) -> list[Path]:
    """The files of Kafka's and HBase's security."""
    hbase = (settings.hbase_ca, settings.hbase_cert, settings.hbase_key)
    return [path for path in (settings.kafka_ca, settings.kafka_password_file, *hbase) if path is not None]


@every_overlay
def test_all_of_it_is_in_one_namespace_and_says_what_it_belongs_to(overlay: str) -> None:
    for each in objects(overlay):
        assert each["metadata"]["namespace"] == "falcon", each["metadata"]
        assert each["metadata"]["labels"]["app.kubernetes.io/part-of"] == "falcon", each["metadata"]


def test_the_namespace_lets_in_none_but_restricted_pods() -> None:
    namespace = yaml.safe_load((MANIFESTS / "namespace.yaml").read_text())
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@every_overlay
def test_secrets_are_referred_to_and_never_contained(overlay: str) -> None:
    assert not [each for each in objects(overlay) if each["kind"] == "Secret"]


# --- pods -------------------------------------------------------------------------------------------------------------


@every_overlay
def test_no_pod_has_more_rights_than_it_needs(overlay: str) -> None:
    for name, template in pods(overlay):
        spec = template["spec"]
        assert not spec["automountServiceAccountToken"], name
        assert not spec["enableServiceLinks"], name  # FALCON_API_PORT=tcp://... would be taken for a setting
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["runAsUser"] == 10001, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name


@every_overlay
def test_every_container_has_bounds_and_last_words(overlay: str) -> None:
    for name, template in pods(overlay):
        for container in template["spec"]["containers"]:
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError", name
            assert container["imagePullPolicy"] == "IfNotPresent", name
            assert re.search(r":[\w.-]+$", container["image"]), f"{name}: no tag on {container['image']}"
        for volume in template["spec"].get("volumes", ()):
            assert "emptyDir" not in volume or volume["emptyDir"].get("sizeLimit"), f"{name}: {volume['name']}"


@every_overlay
def test_every_role_has_time_to_drain(overlay: str) -> None:
    roles = [(name, template["spec"]) for name, template in pods(overlay) if "startupProbe" in str(template)]
    assert roles
    for name, spec in roles:
        for container in spec["containers"]:
            before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            assert spec["terminationGracePeriodSeconds"] >= before + 2 * _DRAIN_SECONDS, name


@every_overlay
def test_liveness_asks_only_whether_it_lives(overlay: str) -> None:
    for name, template in pods(overlay):
        for container in template["spec"]["containers"]:
            if container["name"] == "falcon" and "livenessProbe" in container:
                assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "ops"}, name
                assert container["livenessProbe"]["terminationGracePeriodSeconds"] == _DRAIN_SECONDS, name
                assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ops"}, name
                assert container["startupProbe"]["httpGet"] == {"path": "/startupz", "port": "ops"}, name


@every_overlay
def test_a_start_that_is_refused_is_tried_again_for_less_time_than_the_probe_waits(overlay: str) -> None:
    patience = float(_settings(overlay).get("FALCON_START_SECONDS", "0"))
    for name, template in pods(overlay):
        for container in template["spec"]["containers"]:
            if container["name"] == "falcon" and "startupProbe" in container:
                probe = container["startupProbe"]
                assert probe["periodSeconds"] * probe["failureThreshold"] >= patience + 60, name


# --- what belongs together --------------------------------------------------------------------------------------------


def _settings(overlay: str) -> dict[str, str]:
    maps = [each for each in objects(overlay) if each["metadata"]["name"].startswith("falcon-settings-")]
    (settings,) = maps
    data: dict[str, str] = settings["data"]
    return data


@every_overlay
def test_falcon_understands_the_settings(overlay: str) -> None:
    settings = _settings(overlay)
    assert settings.keys() <= {f"FALCON_{name.upper()}" for name in setting_names()}
    found = Settings.from_env(settings)
    if overlay != "single":
        found.require("kafka", "hbase", "secret_file", "internal_token_file")


@every_overlay
def test_an_overlay_has_the_safe_defaults(overlay: str) -> None:
    """The operations port needs a token. Plaintext is spoken only where the machine or the cluster alone can
    connect."""
    found = Settings.from_env(_settings(overlay))
    assert found.ops_token_file is not None and found.cors_origins == ()
    if overlay in ("single", "local"):
        assert found.plaintext == "yes"
    else:
        assert found.plaintext == "no" and not found.is_read_on_the_way


@every_overlay
def test_what_selects_pods_finds_some_and_no_service_has_the_operations_port(overlay: str) -> None:
    labels = [template["metadata"]["labels"] for _, template in pods(overlay)]
    for each in objects(overlay):
        if each["kind"] == "Service":
            chosen = each["spec"]["selector"]
            assert all(port["targetPort"] not in ("ops", 8081) for port in each["spec"]["ports"])
        elif each["kind"] == "PodDisruptionBudget":
            chosen = each["spec"]["selector"]["matchLabels"]
        else:
            continue
        assert [one for one in labels if chosen.items() <= one.items()], each["metadata"]["name"]


@every_overlay
def test_what_an_autoscaler_owns_has_no_number_of_its_own(overlay: str) -> None:
    owned = [each["spec"]["scaleTargetRef"]["name"] for each in objects(overlay) if "Autoscaler" in each["kind"]]
    for each in objects(overlay):
        if each["kind"] == "Deployment" and each["metadata"]["name"] in owned:
            assert "replicas" not in each["spec"], each["metadata"]["name"]


# --- with others' tools -----------------------------------------------------------------------------------------------


@every_overlay
def test_kubernetes_own_schemas_take_it(overlay: str, tmp_path: Path) -> None:
    shown = tmp_path / f"{overlay}.yaml"
    known = [each for each in objects(overlay) if not _is_custom(each)]
    shown.write_text(yaml.safe_dump_all(known))
    _run(checker("kubernetes-validate"), "--kubernetes-version", _VERSION, "--strict", shown)


def _is_custom(found: dict[str, Any]) -> bool:
    return "." in found["apiVersion"].partition("/")[0] and not found["apiVersion"].partition("/")[0].endswith(
        ".k8s.io"
    )


@pytest.mark.processes  # it takes minutes
@pytest.mark.timeout(900)
def test_checkov_finds_nothing_in_any_of_them(tmp_path: Path) -> None:
    """Exceptions are explained in .checkov.yaml, or by an annotation."""
    for overlay in EXPECTED:
        (tmp_path / f"{overlay}.yaml").write_text(show(MANIFESTS / "overlays" / overlay))
    said = _run(checker("checkov"), "--config-file", MANIFESTS / ".checkov.yaml", "--directory", tmp_path)
    assert "Failed checks: 0" in said, said


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "tools/servers/Dockerfile"])
def test_hadolint_finds_nothing_in(dockerfile: str) -> None:
    _run(checker("hadolint"), dockerfile)
