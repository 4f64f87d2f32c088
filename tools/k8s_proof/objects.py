"""The API server's own opinion of every overlay and every component, strictly."""

from pathlib import Path
from typing import Final

from tools.harness.reports import markdown_table
from tools.k8s_proof.kubectl import Kubectl, KubectlFailed
from tools.k8s_proof.results import Proof
from tools.servers.cluster import ROOT

MANIFESTS: Final = ROOT / "deploy" / "k8s"
OWN: Final = ROOT / "build" / "kubernetes"
_ENVIRONMENTS: Final = ROOT / "deploy" / "pipeline" / "environments"
_DRY: Final = "falcon-dry"  # a namespace in which there is nothing, as on a new cluster
_CRDS: Final = Path(__file__).with_name("crds.yaml")
_STRICTLY: Final = ("apply", "--dry-run=server", "--validate=strict", "--output=name")
# Each has to be refused, or nothing of this can be trusted.
_WRONG: Final = {
    "a field that does not exist": """
{apiVersion: v1, kind: Service, metadata: {name: wrong}, spec: {ports: [{port: 80, targetprot: 8080}]}}
""",
    "a pod that runs as root": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: wrong}
spec:
  selector: {matchLabels: {app: wrong}}
  template:
    metadata: {labels: {app: wrong}}
    spec: {containers: [{name: wrong, image: wrong}]}
""",
}


async def prove(kubectl: Kubectl) -> Proof:
    """Every overlay and every environment as it is; every component on top of one, since alone it is nothing."""
    await kubectl("apply", f"--filename={_CRDS}")
    await kubectl("wait", f"--filename={_CRDS}", "--for=condition=Established", "--timeout=60s")
    there = Kubectl(_DRY)
    await make_namespace(there)
    rows: list[tuple[str, str]] = []
    violations: list[str] = []
    for name, folder in _all():
        try:
            rows.append((name, f"{len(await _taken(there, await there('kustomize', str(folder))))}"))
        except KubectlFailed as refusal:
            violations.append(f"{name}: {refusal}")
    for name, manifest in _WRONG.items():
        try:
            await _taken(there, manifest)
        except KubectlFailed:
            continue
        violations.append(f"{name} was not noticed")
    return Proof("objects", [markdown_table(("what", "objects"), rows)], violations)


async def make_namespace(kubectl: Kubectl) -> None:
    """Make the namespace of deploy/k8s/namespace.yaml, with pod security enforced. What is there stays."""
    manifest = (MANIFESTS / "namespace.yaml").read_text()
    named = manifest.replace("  name: falcon\n", f"  name: {kubectl.namespace}\n")
    await kubectl("apply", "--filename=-", given=named)


async def _taken(kubectl: Kubectl, manifest: str) -> list[str]:
    """The objects' names. Raises KubectlFailed if one is refused, or pods that it makes would be."""
    code, said, complaint = await kubectl.attempt(*_STRICTLY, "--filename=-", given=manifest)
    if code or "PodSecurity" in complaint:
        raise KubectlFailed(complaint.strip())
    return said.splitlines()


def _all() -> list[tuple[str, Path]]:
    overlays = [f"overlays/{each.name}" for each in sorted((MANIFESTS / "overlays").iterdir()) if each.is_dir()]
    environments = sorted(each.parent.name for each in _ENVIRONMENTS.glob("*/kustomization.yaml"))
    return [
        *((each, on_top(f"dry-{Path(each).name}", each, namespace=_DRY)) for each in overlays),
        *(
            (f"environments/{each}", on_top(f"dry-{each}", f"../pipeline/environments/{each}", namespace=_DRY))
            for each in environments
        ),
        *((f"overlays/production with components/{each}", _with(each)) for each in _components()),
    ]


def _components() -> list[str]:
    """The components that no overlay includes by itself."""
    texts = [path.read_text() for path in (MANIFESTS / "overlays").rglob("kustomization.yaml")]
    used = {line.split()[1] for text in texts for line in text.splitlines() if line.startswith("  - ")}
    names = sorted(path.parent.name for path in (MANIFESTS / "components").glob("*/kustomization.yaml"))
    return [name for name in names if f"../../components/{name}" not in used]


def _with(component: str) -> Path:
    return on_top(f"dry-with-{component}", "overlays/production", component, namespace=_DRY)


def on_top(name: str, overlay: str, *components: str, namespace: str = "", more: str = "") -> Path:
    """The folder of a kustomization of our own, as an operator would have one. ``more``: further lines of it."""
    folder = OWN / name
    folder.mkdir(parents=True, exist_ok=True)
    up = "../../../deploy/k8s"
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization"]
    lines += [f"namespace: {namespace}"] if namespace else []
    lines += ["resources:", f"  - {up}/{overlay}"]
    lines += ["components:", *(f"  - {up}/components/{each}" for each in components)] if components else []
    (folder / "kustomization.yaml").write_text("\n".join(lines) + "\n" + more)
    return folder
