"""The servers' jars: fetched by Maven once, kept in the user's cache folder by version."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tools.servers.daemon import Say, ServerFault, locked

JAVA: Final = Path(__file__).parent / "java"
# For JVMs that live for minutes: to compile a second time what runs often, and to verify classes, is half of a start.
QUICK_START: Final = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-BytecodeVerificationRemote",
)
_JAVA_VERSION: Final = 17
# A JDK, since tables are made by a Java program in source.
_INSTALL_JAVA: Final = "install one (Debian, Ubuntu: openjdk-17-jdk-headless; Fedora: java-17-openjdk-devel)"
_INSTALL_MAVEN: Final = "install it (Debian, Ubuntu, Fedora: the package maven)"


class ToolMissing(ServerFault):
    """Java or Maven is not there, or too old."""


def java() -> str:
    """The Java to use: that of JAVA_HOME, else the one on the PATH. Raises ToolMissing."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(f"{home}/bin/java" if home else "java")
    where = f"in JAVA_HOME={home}" if home else "on the PATH"
    if found is None:
        raise ToolMissing(f"a JDK of {_JAVA_VERSION} or newer is needed and there is no java {where}; {_INSTALL_JAVA}")
    version = _version(found)
    if version < _JAVA_VERSION:
        raise ToolMissing(
            f"Java {_JAVA_VERSION} or newer is needed, and {found} is {version or 'broken'}; {_INSTALL_JAVA}"
        )
    return found


def _version(program: str) -> int:
    """0 when it does not say."""
    said = subprocess.run([program, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    return int(found[1]) if found else 0


def cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "falcon"


def jars(name: str, pom: Path, properties: Mapping[str, str], say: Say) -> Path:
    """The folder of the jars that ``pom`` asks for, called ``name`` in the cache; fetched when it is not there yet.

    Raises ToolMissing without Maven, ServerFault when Maven cannot fetch them.
    """
    folder = cache() / name
    if not folder.is_dir():
        with locked(folder.with_name(f"{name}.lock"), lambda: say(f"another process fetches {name}; waiting")):
            if not folder.is_dir():
                _fetch(folder, pom, properties, say)
    return folder


def _fetch(folder: Path, pom: Path, properties: Mapping[str, str], say: Say) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ToolMissing(f"Maven is needed to fetch {folder.name} and there is no mvn on the PATH; {_INSTALL_MAVEN}")
    for half in folder.parent.glob(f".{folder.name}-*"):  # of a fetch that was killed
        shutil.rmtree(half)
    say(f"fetching {folder.name} into {folder.parent} ...")
    started = time.monotonic()
    # Fetched beside and renamed when whole: a half fetch is never taken for all of it.
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}-", ignore_cleanup_errors=True
    ) as beside:
        _copy_dependencies(maven, pom, {**properties, "lib": f"{beside}/lib"})
        Path(beside, "lib").rename(folder)
    found = [jar.stat().st_size for jar in folder.glob("*.jar")]
    say(f"fetched {len(found)} jars, {sum(found) >> 20} MiB, in {time.monotonic() - started:.1f} s")


def _copy_dependencies(maven: str, pom: Path, properties: Mapping[str, str]) -> None:
    defined = [f"-D{name}={value}" for name, value in properties.items()]
    command = [maven, "--quiet", "--batch-mode", "--file", str(pom), "dependency:copy-dependencies", *defined]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ServerFault("Maven could not fetch the jars:\n" + "\n".join(errors[:8]))
