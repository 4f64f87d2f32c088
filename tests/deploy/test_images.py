"""The programs of each image are imported from exactly the files that its Dockerfile copies, without building it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tools.node import images
from tools.servers import hbase, kafka

ROOT = images.ROOT
LIBRARIES = sysconfig.get_path("purelib")

# `python -I -S`: neither this folder nor what the virtual environment adds (the checkout, say) is a place of modules.
IMPORT = """
import importlib, json, pkgutil, sys
places, package, absent = json.loads(sys.argv[1])
sys.path[:0] = places
names = [each.name for each in pkgutil.walk_packages([place + "/" + package for place in places], package + ".")]
assert names, f"there is no {package} in {places}"
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name.partition(".")[0] not in absent:
            raise
"""
# Only the load test's image has these; where `make load` has not run, modules that need them are not imported.
LOAD_LIBRARIES = ("locust", "gevent")


@dataclass(frozen=True)
class Build:
    """What an engine is given: a Dockerfile, and folders by the name that COPY --from has for them; "" has none."""

    dockerfile: Path
    contexts: dict[str, Path]

    @property
    def instructions(self) -> Iterator[tuple[str, str]]:
        whole = re.sub(r"^\s*#.*\n", "", self.dockerfile.read_text(), flags=re.MULTILINE)
        for line in re.sub(r"\\\n", "", whole).splitlines():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()

    def copy(self, root: Path) -> None:
        """Lay out what COPY copies from contexts. What it takes from another stage a RUN has made of such files."""
        folders: dict[str, Path] = {}  # in which each stage works
        stage = ""
        for word, rest in self.instructions:
            if word == "FROM":
                base, _, stage = rest.partition(" AS ")
                folders[stage] = folders.get(base, root)
            elif word == "WORKDIR":
                folders[stage] = root / rest.lstrip("/")
            elif word == "COPY":
                self._copy(rest, root, folders[stage])

    def _copy(self, rest: str, root: Path, here: Path) -> None:
        options = dict(re.findall(r"--(\w+)=(\S+) ", rest))
        *sources, to = [word for word in shlex.split(rest) if not word.startswith("--")]
        context = self.contexts.get(options.get("from", ""))
        if context is None:
            return
        target = root / to.lstrip("/") if to.startswith("/") else here / to
        for source in sources:
            found = list(context.glob(source)) if source != "." else list(context.iterdir())
            assert found, f"COPY {rest}: there is no {source} in {context}"
            for path in found:
                assert self._is_let_in(path), f"COPY {rest}: .dockerignore keeps {path} out of the build"
                into_it = source == "." or (path.is_file() and to.endswith("/"))
                _lay(path, target / path.name if into_it else target)

    def _is_let_in(self, path: Path) -> bool:
        ignored = self.contexts[""] / ".dockerignore"
        if not ignored.exists() or not path.is_relative_to(ignored.parent):
            return True
        allowed = [line[1:] for line in ignored.read_text().splitlines() if line.startswith("!")]
        return str(path.relative_to(ignored.parent)) in allowed


def test_kafka_and_hbase_for_development_can_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jars = tmp_path / "jars"
    jars.mkdir()
    (jars / "server.jar").touch()
    for server in (kafka, hbase):
        monkeypatch.setattr(server, "fetch", lambda say: jars)
    build = _asked_of_docker(images.build_servers, monkeypatch, tmp_path)
    root = _laid_out(build, tmp_path)
    assert _entry(build) == ["python", "-m", "tools.servers"]
    _import("tools.servers.__main__", [root / _setting(build, "PYTHONPATH")])


def test_falcon_can_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    build = _asked_of_docker(images.build_falcon, monkeypatch, tmp_path)
    assert _entry(build) == ["falcon"]
    _import_all("falcon", _falcon(build, tmp_path))


def test_the_load_test_can_be_imported_beside_falcon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    falcon = _falcon(_asked_of_docker(images.build_falcon, monkeypatch, tmp_path), tmp_path / "falcon")
    build = _asked_of_docker(images.build_load, monkeypatch, tmp_path)
    root = _laid_out(build, tmp_path / "load")
    assert _entry(build) == ["python", "-m", "load_tests.load"]
    places = [root / _setting(build, "PYTHONPATH"), *falcon]
    _import("load_tests.load", places, LIBRARIES)
    absent = () if os.environ.get("CI") == "true" else [name for name in LOAD_LIBRARIES if find_spec(name) is None]
    _import_all("load_tests", places, absent)


def test_what_makes_hbases_tables_finds_its_program(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    compose = ROOT / "deploy" / "compose"
    told = yaml.safe_load((compose / "compose.yaml").read_text())["services"]["master"]["build"]
    contexts = {name: compose / folder for name, folder in told["additional_contexts"].items()}
    build = Build(compose / told["context"] / "Dockerfile", {"": compose / told["context"], **contexts})
    root = _laid_out(build, tmp_path)
    script = root / "usr/local/bin/create-tables"
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    (program,) = re.findall(r"/(\S+\.java)", script.read_text())
    assert (root / program).is_file()
    assert (root / "opt/hbase/conf/hbase-site.xml").is_file()


def test_a_module_that_no_line_copies_is_missed(tmp_path: Path) -> None:
    """As one was: the image's code imported a folder beside its own."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "__init__.py").write_text("import tools.harness.ports")
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM scratch\nCOPY *.py /opt/tools/servers/\n")
    root = _laid_out(Build(dockerfile, {"": tmp_path / "context"}), tmp_path)
    with pytest.raises(AssertionError, match=r"No module named 'tools\.harness'"):
        _import("tools.servers", [root / "opt"])


def test_every_dockerfile_is_tried_here() -> None:
    listed = subprocess.run(["git", "ls-files", "*Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert set(listed.stdout.split()) <= {
        "Dockerfile",
        "deploy/compose/hbase/Dockerfile",
        "deploy/k8s/components/load/Dockerfile",
        "tools/servers/Dockerfile",
    }


# --- what is asked of an engine ---------------------------------------------------------------------------------------


def _asked_of_docker(build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Build:
    """Of the very command that builds the image."""
    asked = tmp_path / "asked"
    asked.unlink(missing_ok=True)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir(exist_ok=True)
    docker.write_text(f'#!/bin/sh\n[ "$1" = build ] && printf "%s\\n" "$@" >{asked}\necho 0\n')
    docker.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda name: str(docker) if name == "docker" else None)
        patch.setenv("PATH", str(docker.parent), prepend=os.pathsep)
        build(lambda line: None)
    *options, context = asked.read_text().splitlines()
    values = [option.removeprefix("--").partition("=")[::2] for option in options]
    named = dict(value.partition("=")[::2] for name, value in values if name == "build-context")
    dockerfile = next(value for name, value in values if name == "file")
    return Build(Path(dockerfile), {"": Path(context), **{name: Path(folder) for name, folder in named.items()}})


def _laid_out(build: Build, tmp_path: Path) -> Path:
    root = tmp_path / "root"
    build.copy(root)
    assert [path for path in root.rglob("*") if path.is_symlink() and not path.exists()] == [], "links to nowhere"
    return root


def _falcon(build: Build, tmp_path: Path) -> list[Path]:
    """The places of its modules: of these two folders the Dockerfile makes wheels."""
    root = _laid_out(build, tmp_path)
    (made,) = (rest for _, rest in build.instructions if "--wheel-dir own" in rest)
    assert "--wheel-dir own ./clients/python . " in made
    return [root / "build", root / "build" / "clients" / "python"]


def _entry(build: Build) -> list[str]:
    (entry,) = (json.loads(rest) for word, rest in build.instructions if word == "ENTRYPOINT")
    return list(entry)


def _setting(build: Build, name: str) -> str:
    """Without the first slash."""
    (found,) = re.findall(rf"\b{name}=/(\S+)", " ".join(rest for word, rest in build.instructions if word == "ENV"))
    return str(found)


def _lay(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(
            path, target, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    else:
        shutil.copyfile(path, target)


# --- what the image runs ----------------------------------------------------------------------------------------------


def _import(module: str, places: list[Path], *libraries: str) -> None:
    told = [*map(str, places), *libraries]
    _run(f"import sys; sys.path[:0] = {told}; import {module}")


def _import_all(package: str, places: list[Path], absent: Any = ()) -> None:
    _run(IMPORT, json.dumps([[*map(str, places), LIBRARIES], package, list(absent)]))


def _run(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code, *arguments], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
