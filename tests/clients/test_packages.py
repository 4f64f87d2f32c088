"""The client packages: their dependencies, sizes, types and names."""

import ast
import gzip
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Final

import pytest

import falcon_chat
from falcon import __version__
from falcon.http.api.operations import OPERATIONS
from falcon.http.stream.events import STREAM_EVENTS
from tools.clients import models, reference, types
from tools.clients.reference import method_of

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = ROOT / "clients" / "python"
JAVASCRIPT: Final = ROOT / "clients" / "javascript"
SOURCES: Final = sorted((JAVASCRIPT / "src").glob("*.js"))
GZIPPED_MAX: Final = 20_000

# Both can set Authorization; browsers go to providers and come back.
NOT_FOR_CLIENTS: Final = {"issue_ticket", "begin_provider_sign_in", "end_provider_sign_in"}
PYTHON_ALONE: Final = {"import_lines", "export"}  # of the command line


def operations() -> set[str]:
    handlers = {"stream" if each.handler is None else each.handler.__name__ for each in OPERATIONS}
    return {method_of(name) for name in handlers - NOT_FOR_CLIENTS}


def methods(text: str) -> set[str]:
    """The methods of the class FalconClient in JavaScript or TypeScript, with their names in Python."""
    (body,) = re.findall(r"^export class FalconClient {\n(.*?)^}", text, re.DOTALL | re.MULTILINE)
    found = set(re.findall(r"^  (?:async )?\*?(\w+)\(", body, re.MULTILINE)) - {"constructor"}
    return {re.sub(r"(?<=[a-z])[A-Z]", lambda capital: f"_{capital[0].lower()}", name) for name in found}


# --- Python -----------------------------------------------------------------------------------------------------------


def test_the_python_client_imports_two_libraries_and_no_server() -> None:
    imported: set[str] = set()
    for path in (PYTHON / "falcon_chat").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"falcon_chat", "httpx", "msgspec"}


def test_the_python_client_has_a_method_for_every_operation() -> None:
    assert operations() <= set(vars(falcon_chat.FalconClient))


def built(folder: Path, into: Path) -> zipfile.ZipFile:
    """The wheel, made without any index."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-build-isolation", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(into), str(folder)], check=True, timeout=120)
    (wheel,) = into.glob("*.whl")
    return zipfile.ZipFile(wheel)


def metadata(wheel: zipfile.ZipFile) -> Any:
    (name,) = [each for each in wheel.namelist() if each.endswith(".dist-info/METADATA")]
    return HeaderParser().parsestr(wheel.read(name).decode())


@pytest.mark.processes
def test_the_wheel_of_the_client_holds_the_client_and_works_alone(tmp_path: Path) -> None:
    wheel = built(PYTHON, tmp_path / "wheels")
    names = set(wheel.namelist())
    assert {"falcon_chat/__init__.py", "falcon_chat/py.typed"} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert {name.partition("/")[0] for name in names} == {"falcon_chat", "falcon_chat_client-0.2.0.dev0.dist-info"}
    described = metadata(wheel)
    assert described["Name"] == "falcon-chat-client" and "# falcon-chat-client" in described.get_payload()
    assert {re.split(r"\W", each)[0] for each in described.get_all("Requires-Dist")} == {"httpx", "msgspec"}

    wheel.extractall(tmp_path / "installed")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r})\n"
        "import falcon_chat; print(falcon_chat.__file__)\n"
        "assert not any(name.split('.')[0] == 'falcon' for name in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr


@pytest.mark.processes
def test_the_wheel_of_the_server_needs_the_client_and_serves_the_javascript(tmp_path: Path) -> None:
    wheel = built(ROOT, tmp_path)
    names = set(wheel.namelist())
    assert {f"falcon/web/client/{path.name}" for path in SOURCES} <= names
    assert not any(name.startswith("falcon_chat/") for name in names)
    required = {re.split(r"[^\w-]", each)[0] for each in metadata(wheel).get_all("Requires-Dist")}
    assert "falcon-chat-client" in required


# --- JavaScript -------------------------------------------------------------------------------------------------------


def test_the_javascript_client_is_small_and_needs_nothing() -> None:
    package = json.loads((JAVASCRIPT / "package.json").read_text())
    assert not {name for name in package if "dependencies" in name.lower()}
    assert (JAVASCRIPT / package["exports"]["."]["default"]).exists()
    assert (JAVASCRIPT / package["exports"]["."]["types"]).exists()
    assert len(gzip.compress(b"".join(path.read_bytes() for path in SOURCES))) <= GZIPPED_MAX
    for path in SOURCES:
        imported = re.findall(r"""(?:from|import\()\s*["']([^"']+)["']""", path.read_text())
        assert all(name.startswith("./") and (path.parent / name).exists() for name in imported), path


def test_the_javascript_client_has_a_method_for_every_operation_and_a_type_for_every_method() -> None:
    sources = JAVASCRIPT / "src"
    implemented = methods((sources / "client.js").read_text())
    assert operations() - PYTHON_ALONE <= implemented
    assert methods((sources / "index.d.ts").read_text()) == implemented


def test_the_javascript_client_knows_every_event() -> None:
    text = (JAVASCRIPT / "src" / "stream.js").read_text()
    listed = re.findall(r'"([\w.]+)"', text.partition("EVENTS = Object.freeze([")[2].partition("]")[0])
    assert listed == [event.name for event in STREAM_EVENTS]


@pytest.mark.parametrize("name", types.files())
def test_the_types_are_those_of_the_documents(name: str) -> None:
    text = types.files()[name]
    assert (types.FOLDER / name).read_text() == text, "run python -m tools.clients.types"


def test_the_server_and_the_clients_have_one_version() -> None:
    projects = [tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in (ROOT, PYTHON)]
    versions = [project["version"] for project in projects]
    versions.append(json.loads((JAVASCRIPT / "package.json").read_text())["version"].replace("-dev", ".dev"))
    versions.append(__version__)
    assert len(set(versions)) == 1


def test_the_models_of_the_python_client_are_those_that_the_server_describes() -> None:
    assert models.FILE.read_text() == models.text(), "run python -m tools.clients.types"


def test_the_page_of_both_clients_is_current() -> None:
    assert reference.PAGE.read_text() == reference.page(), "run python -m tools.clients.types"
