"""Images: built with buildah or docker, of what is in its store or can be pulled, and of packages."""

import json
import os
import re
import shutil
import time
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tools.node import bases
from tools.node.commands import run, succeeds
from tools.servers import hbase, kafka, opensearch
from tools.servers.daemon import Say, ServerFault
from tools.servers.jars import ToolMissing

ROOT: Final = Path(__file__).parents[2]
FALCON: Final = "localhost/falcon:dev"
SERVERS: Final = "localhost/falcon-servers:dev"
LOAD: Final = "localhost/falcon-load:dev"
_HARNESS: Final = ROOT / "tools" / "harness"

# This machine's configuration for package registries. RUN steps use it, and no layer contains it.
_MACHINE: Final = (Path("/etc/pip.conf"), Path("/etc/ssl/certs/ca-certificates.crt"))
_SOURCES: Final = (
    "Dockerfile",
    ".dockerignore",
    "LICENSE",
    "README.md",
    "clients",
    "falcon",
    "pyproject.toml",
    "requirements",
)


def build_falcon(say: Say) -> None:
    """Falcon's own, of the Dockerfile in the root. Raises ToolMissing without buildah and docker, ServerFault."""
    _build(_engine(), FALCON, ROOT / "Dockerfile", ROOT, say, _what_it_is())


def build_servers(say: Say) -> None:
    """Kafka, HBase and OpenSearch, of the jars that ``make cluster`` runs. Raises ToolMissing, ServerFault."""
    jars = {"kafka": kafka.fetch(say), "hbase": hbase.fetch(say), "opensearch": opensearch.fetch(say)}
    names = {f"{name.upper()}_JARS": folder.name for name, folder in jars.items()}
    folder = ROOT / "tools" / "servers"
    contexts = {**jars, "harness": _HARNESS}
    _build(_engine(), SERVERS, folder / "Dockerfile", folder, say, names, contexts)


def build_load(say: Say) -> None:
    """The load test's, upon Falcon's own, which must be there. Raises ToolMissing, ServerFault."""
    dockerfile = ROOT / "deploy" / "k8s" / "components" / "load" / "Dockerfile"
    contexts = {"requirements": ROOT / "requirements", "harness": _HARNESS, "people": ROOT / "tools" / "people"}
    _build(_engine(), LOAD, dockerfile, ROOT / "load_tests", say, {}, contexts)


def _engine() -> str:
    """Raises ToolMissing."""
    if shutil.which("buildah"):
        return "buildah"
    docker = "docker is not on the PATH"
    if shutil.which("docker"):
        if succeeds("docker", "version"):
            return "docker"
        docker = "docker's daemon does not answer"
    raise ToolMissing(f"an image is built with buildah or docker: buildah is not on the PATH, and {docker}")


def _what_it_is() -> dict[str, str]:
    """Arguments of the Dockerfile, for labels: version, revision, and when what is in it was last changed."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    created = datetime.fromtimestamp(int(_changed_at()), UTC).isoformat()
    return {"VERSION": version, "REVISION": _revision(), "CREATED": created}


def _revision() -> str:
    """``unknown`` if there is no history."""
    if not succeeds("git", "-C", ROOT, "rev-parse", "HEAD"):
        return "unknown"
    revision = run("git", "-C", ROOT, "rev-parse", "HEAD").strip()
    changed = run("git", "-C", ROOT, "status", "--porcelain", "--", *_SOURCES).strip()
    return f"{revision}-changed" if changed else revision


def _changed_at() -> str:
    """Seconds since 1970: SOURCE_DATE_EPOCH if that is set; 0 if there is no history."""
    if set_so := os.environ.get("SOURCE_DATE_EPOCH"):
        return set_so
    if not succeeds("git", "-C", ROOT, "rev-parse", "HEAD"):
        return "0"
    return run("git", "-C", ROOT, "log", "-1", "--format=%ct", "--", *_SOURCES).strip() or "0"


def _build(
    engine: str,
    tag: str,
    dockerfile: Path,
    context: Path,
    say: Say,
    arguments: Mapping[str, str],
    contexts: Mapping[str, Path] | None = None,
) -> None:
    """``contexts``: folders that the Dockerfile copies from by a name."""
    named = _bases(dockerfile.read_text())
    command = [engine, "build", f"--tag={tag}", f"--file={dockerfile}"]
    command += [f"--build-arg={name}={value}" for name, value in arguments.items()]
    command += [f"--build-context={name}={folder}" for name, folder in (contexts or {}).items()]
    if engine == "buildah":
        for name in dict.fromkeys(named):
            bases.have(name, say)
        # In docker's format, since OCI's knows no HEALTHCHECK.
        command += ["--layers", "--isolation=chroot", "--quiet", "--pull-never", "--format=docker"]
        command += [f"--volume={path}:{path}:ro" for path in _MACHINE if path.exists()]
        command += ["--timestamp=0"]  # of layers and files, so that the same content is the same layer
    say(f"building {tag} with {engine} ...")
    began = time.monotonic()
    run(*command, str(context))
    whole, base = _mib(engine, tag), _mib(engine, named[-1])
    say(f"built {tag} in {time.monotonic() - began:.1f} s, {whole:.0f} MiB: {whole - base:.0f} MiB over {named[-1]}")


def _bases(dockerfile: str) -> list[str]:
    """The images that its stages start from, without its own stages."""
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE))
    stages = re.findall(r"^FROM (?:--\S+ )*(\S+)(?: AS (\S+))?$", dockerfile, re.MULTILINE)
    own = {name for _, name in stages}
    full = (re.sub(r"\$\{(\w+)\}", lambda name: arguments.get(name[1], ""), base) for base, _ in stages)
    return [name for name in full if name not in own]


def _mib(engine: str, tag: str) -> float:
    """The size of all its layers, unpacked."""
    if engine == "docker":
        return int(run("docker", "image", "inspect", "--format={{.Size}}", tag)) / 2**20
    manifest = json.loads(run("buildah", "inspect", "--type=image", "--format={{.Manifest}}", tag))
    return float(sum(layer["size"] for layer in manifest["layers"])) / 2**20


def identity(tag: str) -> str:
    """Distinguishes the image from another under the same name. Raises ServerFault if there is no such image."""
    if not succeeds("buildah", "inspect", "--type=image", tag):
        raise ServerFault(f"there is no image {tag} in buildah's store")
    return run("buildah", "inspect", "--type=image", "--format={{.FromImageID}}", tag).strip()


def save(tag: str, folder: Path) -> Path:
    """An archive of it, as docker writes them."""
    archive = folder / "image.tar"
    run("buildah", "push", "--quiet", tag, f"docker-archive:{archive}:{tag}")
    return archive
