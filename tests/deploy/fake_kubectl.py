"""A kubectl before a cluster that is a file, for what deploy/pipeline/deploy asks of one. It is run as a program.

Of the real thing it has what a deployment turns on: an apply makes a revision of a workload when its pods change, a
rollout ends well or not, an undo finds a revision again and does nothing where there is nothing to do. `kustomize` is
the real one's. What it does not know it refuses.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

CLUSTER: Final = "FAKE_CLUSTER"
REAL: Final = "FAKE_KUBECTL_REAL"


def main(arguments: list[str]) -> int:
    words = [word for word in arguments if not word.startswith("--")]
    options = dict(word.removeprefix("--").partition("=")[::2] for word in arguments if word.startswith("--"))
    if words[0] == "kustomize":
        return subprocess.run([os.environ[REAL], *words], check=False).returncode
    path = Path(os.environ[CLUSTER])
    cluster = Cluster(json.loads(path.read_text()))
    cluster.state["calls"].append(" ".join(words))
    cluster.state["kubeconfig"] = Path(os.environ.get("KUBECONFIG", os.devnull)).read_text()
    try:
        sys.stdout.write(cluster.answer(words, options))
    except Refused as refused:
        sys.stderr.write(f"error: {refused}\n")
        return 1
    finally:
        path.write_text(json.dumps(cluster.state))
    return 0


class Refused(Exception):
    pass


class Cluster:
    """``state``: objects by kind/name, calls, what was done, and what is to go wrong."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.objects: dict[str, Any] = state["objects"]

    def answer(self, words: list[str], options: dict[str, str]) -> str:
        match words:
            case ["apply"]:
                return self._apply(options)
            case ["get", name] if "output" in options:
                return self._field(name, options["output"].removeprefix("jsonpath="))
            case ["get", "pods"] | ["logs"]:
                return f"what pods of {options['selector']} say\n"
            case ["delete", "pods"]:
                return ""
            case ["delete", name]:
                self.objects.pop(name, None)
                return ""
            case ["rollout", "status", role]:
                return self._status(role)
            case ["rollout", "undo", role]:
                return self._undo(role, options["to-revision"])
            case ["exec", role, "--", *command] | ["exec", role, *command]:
                return self._exec(role, command)
            case ["create", "secret", "generic", name]:
                key, _, file = options["from-file"].partition("=")
                self.objects[f"secret/{name}"] = {"data": {key: Path(file).read_text()}}
                return ""
            case ["logs", "job/falcon-smoke"]:
                return f"the smoke test of {self._image('job/falcon-smoke')} speaks\n"
        raise Refused(f"the fake kubectl does not know {words} {options}")

    def _apply(self, options: dict[str, str]) -> str:
        import yaml  # type: ignore[import-untyped]  # takes a while

        file = options["filename"]
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        for each in yaml.load_all(text, yaml.CSafeLoader):
            name = f"{each['kind'].lower()}/{each['metadata']['name']}"
            if _selected(each["metadata"].get("labels", {}), options.get("selector", "")):
                self._put(name, each)
        return ""

    def _put(self, name: str, wanted: dict[str, Any]) -> None:
        if name in self.state["refused"]:
            raise Refused(f"{name} is not valid")
        there = self.objects.get(name, {})
        if name.startswith("job/") and there:
            raise Refused(f"{name}: field is immutable")
        if name.partition("/")[0] in ("deployment", "statefulset"):
            revisions = there.get("revisions", {})
            now = there.get("now", "0")
            if revisions.get(now) != wanted["spec"]["template"]:
                now = str(max(map(int, revisions), default=0) + 1)
                revisions[now] = wanted["spec"]["template"]
            wanted = {**wanted, "revisions": revisions, "now": now}
        self.objects[name] = wanted
        self.state["done"].append(name)

    def _field(self, name: str, path: str) -> str:
        if name.startswith("controllerrevision/"):
            return name.rpartition("-")[2]
        there = self.objects.get(name)
        if there is None:
            return ""
        match path:
            case "{.metadata.name}":
                return name.partition("/")[2]
            case r"{.metadata.annotations.deployment\.kubernetes\.io/revision}":
                return str(there["now"])
            case "{.status.updateRevision}":
                return f"falcon-{there['now']}"
            case "{.spec.template.spec.containers[0].image}":
                return self._image(name)
            case '{.status.conditions[?(@.status=="True")].type}':
                failed = [name, self._image(name)] in self.state["failing"]
                return "FailureTarget Failed" if failed else "SuccessCriteriaMet Complete"
        raise Refused(f"the fake kubectl does not know {path}")

    def _image(self, name: str) -> str:
        there = self.objects[name]
        template = there["revisions"][there["now"]] if "now" in there else there["spec"]["template"]
        return str(template["spec"]["containers"][0]["image"])

    def _status(self, role: str) -> str:
        if [role, self._image(role)] in self.state["unready"]:
            raise Refused("timed out waiting for the condition")
        self.state["done"].append(f"{role} is ready")
        return f"{role} successfully rolled out\n"

    def _undo(self, role: str, revision: str) -> str:
        there = self.objects[role]
        template = there["revisions"].pop(revision)
        skipped = there["now"] == revision
        there["now"] = revision if skipped else str(int(there["now"]) + 1)
        there["revisions"][there["now"]] = template
        return f"{role} {'skipped rollback' if skipped else 'rolled back'}\n"

    def _exec(self, role: str, command: list[str]) -> str:
        if role not in self.objects or command not in (["falcon", "credentials"], ["cat", "/data/credentials.json"]):
            raise Refused(f"{command} in {role}")
        return json.dumps({"account_id": 64, "token": "falcon_64_first", "admin_token": "falcon_65_admin"})


def _selected(labels: dict[str, str], selector: str) -> bool:
    if excluded := re.fullmatch(r"(\S+) notin \((.*)\)", selector):
        return labels.get(excluded[1]) not in excluded[2].split(",")
    key, _, value = selector.partition("=")
    return not selector or labels.get(key) == value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
