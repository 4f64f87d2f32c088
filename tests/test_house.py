"""The house keeps its own rules: settings are documented, locks name no registry, each adapter library has one home."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from falcon.features.catalogue import FEATURES
from falcon.run.settings import Settings, WrongSettings, setting_names
from falcon.telemetry import metrics
from falcon.telemetry.instruments import REGISTRY

ROOT = Path(__file__).parent.parent
# Each of these is a program or a library of its own.
_TOOLS = sorted(path.parent.name for path in (ROOT / "tools").glob("*/__init__.py"))
_PROGRAMS = ["falcon", "load_tests", "clients/python", *(f"tools/{name}" for name in _TOOLS)]
# Words of riddles: they hide who acts. Comments name the actor instead (CONTRIBUTING.md).
_RIDDLES = re.compile(
    r"\b(?:[Ww]ho(?:m|so)?ever|[Aa]new|[Mm]end(?:s|ed|ing)?|[Nn]obody|[Ss]ome(?:body|one)|[Aa]ny(?:body|one))\b"
)
# Words that documents and comments do without, too.
_UNCLEAR = r"of before|[Tt]hose (?:that|who)|(?:is|are) told|go(?:es|ing)? on"
# "Behind" means not yet read: tables are behind the log. Only a proxy, an address and the like may have something
# behind them, and so may a person in a test.
_BEHIND = (
    r"(?<!is )(?<!be )(?<!are )(?<!stay )behind (?:it|its|that|which|an|newer|older|messages|records|events|"
    r"the (?!log\b|proxies\b)|a (?!(?:trusted |named )?proxy\b))"
)
_UNCLEAR_IN = {
    **dict.fromkeys(("falcon", "clients/python", "docs"), re.compile(rf"\b(?:{_UNCLEAR}|{_BEHIND})\b")),
    **dict.fromkeys(("tools", "tests", "load_tests", "deploy"), re.compile(rf"\b(?:{_UNCLEAR})\b")),
}
_BEGINS_BADLY = re.compile(
    r"(?:Of|In|On|At|By|For|From|With|Without|To|Into|Within|Until|Between|Among|Under|Over|After|Before|Beside|Through|"
    r"About|Against|During|Since|What|Who|Whose|Which|It|They|This|These|Those|That|Its|Their|There|As)\b"
)
_RIDDLES_BEHIND_HASH = re.compile(f"#.*{_RIDDLES.pattern}")
_QUOTED = re.compile(r"`+[^`]*`+")


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    documented = dict(re.findall(r"^\| `(FALCON_\w+)` \| (\S+) \|", text, re.MULTILINE))
    assert documented.keys() == {f"FALCON_{name.upper()}" for name in setting_names()}
    assert len(documented) <= 67, "another one comes in when one goes out"
    for field in fields(Settings):
        if field.name not in setting_names():
            continue
        shown = documented[f"FALCON_{field.name.upper()}"].strip("`")
        if isinstance(field.default, tuple) and field.name != "internal_networks":
            assert shown == (",".join(field.default) or "none")
        elif field.name not in ("data_dir", "internal_networks") and field.default not in ((), "", None):
            assert shown == f"{field.default:g}" if isinstance(field.default, float) else shown == str(field.default)


def test_settings_come_from_the_environment_each_as_its_type() -> None:
    settings = Settings.from_env(
        {"FALCON_HTTP_PORT": "9000", "FALCON_COMMAND_SECONDS": "1.5", "FALCON_CORS_ORIGINS": "https://a, https://b"}
    )
    assert (settings.http_port, settings.command_seconds) == (9000, 1.5)
    assert settings.cors_origins == ("https://a", "https://b")


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(WrongSettings) as wrong:
        Settings.from_env({"FALCON_HTTP_PORT": "high", "FALCON_PARTITIONS": "0", "FALCON_LOG_LEVEL": "loud"})
    assert re.findall(r"FALCON_\w+", str(wrong.value)) == ["FALCON_HTTP_PORT", "FALCON_PARTITIONS", "FALCON_LOG_LEVEL"]


def test_how_many_processes_serve_follows_from_the_cores() -> None:
    assert [Settings()._processes_for(cores) for cores in (1, 3, 4, 8, 200)] == [1, 1, 3, 7, 32]
    assert Settings(partitions=2)._processes_for(8) == 2
    assert Settings(kafka=("broker:9092",))._processes_for(8) == 1
    with pytest.raises(WrongSettings, match="FALCON_PROCESSES: more than one is for falcon up"):
        Settings.from_env({"FALCON_KAFKA": "broker:9092", "FALCON_PROCESSES": "2"})
    for wrong in ("0", "33", "65"):
        with pytest.raises(WrongSettings, match=f"FALCON_PROCESSES={wrong}: must be a whole number from 1 to 32"):
            Settings.from_env({"FALCON_PROCESSES": wrong})
    with pytest.raises(WrongSettings, match="FALCON_PROCESSES: must be at most FALCON_PARTITIONS, 2"):
        Settings.from_env({"FALCON_PROCESSES": "3", "FALCON_PARTITIONS": "2"})


@pytest.mark.parametrize("lock", ["run", "dev", "build"])
def test_a_lock_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.lock").read_text()
    assert "://" not in text
    pins = re.findall(r"^[A-Za-z0-9_.-]+==", text, re.MULTILINE)
    assert len(pins) <= text.count("--hash=sha256:")


def test_what_runs_is_pinned_the_same_for_tests() -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^[A-Za-z0-9_.-]+==\S+", (ROOT / f"requirements/{lock}.lock").read_text(), re.MULTILINE))

    assert pins("run") <= pins("dev")


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("thespian", "adapters/thespian"),
        ("apsw", "adapters/sqlite"),
        ("sqlite3", "adapters/sqlite"),
        ("starlette", "http"),
        ("uvicorn", "http/server"),
        ("httptools", "http/server"),
        ("websockets", "http/server"),
        ("typer", "cli"),
        ("aiokafka", "adapters/kafka"),
        ("happybase", "adapters/hbase"),
        ("aiohttp", "adapters"),
    ],
)
def test_each_library_is_imported_in_one_folder(library: str, home: str) -> None:
    importing = re.compile(rf"^\s*(?:from|import) {library}\b", re.MULTILINE)
    strangers = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "falcon").rglob("*.py")
        if importing.search(path.read_text()) and not path.is_relative_to(ROOT / "falcon" / home)
    ]
    assert strangers in ([], ["falcon/run/bootstrap/embedded.py"])


@pytest.mark.parametrize(
    ("folder", "others"),
    [("falcon", "tools|load_tests|tests"), ("tools", "tests"), ("load_tests", r"tools\.(?!harness|people)\w+|tests")],
)
def test_what_is_shipped_knows_no_tools_and_tools_know_no_tests(folder: str, others: str) -> None:
    importing = re.compile(rf"^\s*(?:from|import) (?:{others})\b", re.MULTILINE)
    strangers = [str(path) for path in (ROOT / folder).rglob("*.py") if importing.search(path.read_text())]
    assert strangers == []


_WITHOUT_TABLES = ("claims", "owners", "sign_in", "invitations")  # accounts show them, or their owners are asked


def test_a_feature_is_a_folder_with_all_that_it_is_made_of() -> None:
    folders = {path.parent.name for path in (ROOT / "falcon/features").glob("*/__init__.py")}
    assert folders == set(FEATURES), "and is named in the catalogue"
    for feature in FEATURES:
        parts = {path.name for path in (ROOT / "falcon/features" / feature).iterdir()}
        assert parts >= {"rules.py", "log.py"} or feature in ("people", "search"), f"{feature}: it decides nothing"
        has_reads = {"table.py", "api.py"} <= parts or "index.py" in parts
        assert has_reads or feature in _WITHOUT_TABLES, f"{feature}: accounts show these"


@pytest.mark.parametrize("folder", _PROGRAMS)
def test_a_class_name_is_used_once(folder: str) -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / folder).rglob("*.py"):
        for name in re.findall(r"^ *class (\w+)[(:]", path.read_text(), re.MULTILINE):
            homes[name].add(str(path.relative_to(ROOT)))
    assert {name: sorted(paths) for name, paths in homes.items() if len(paths) > 1} == {}


def test_comments_name_who_acts() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for folder in ("falcon", "tools", "load_tests", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if _RIDDLES.search(source := path.read_text())
        for line, text in _comments(source)
        if _RIDDLES.search(_QUOTED.sub("", text))
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["falcon", "clients/python", "tools", "tests", "load_tests"])
def test_comments_use_plain_words(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {words[0]}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if re.search(r"\b(?:before|[Tt]hose|told|go|goes|going|behind)\b", source := path.read_text())
        for line, text in _comments(source, every=True)
        for words in _UNCLEAR_IN[folder].finditer(" ".join(_QUOTED.sub("", text).split()))
    ]
    assert found == []


def test_docstrings_begin_with_what_they_say() -> None:
    """With a noun or a verb, and not with a preposition or a pronoun."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.partition(' ')[0]}"
        for folder in ("falcon", "clients/python")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in _docstrings(path.read_text())
        if _BEGINS_BADLY.match(text)
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["docs", "deploy", "load_tests"])
def test_documents_use_plain_words(folder: str) -> None:
    pages = [*(ROOT / folder).rglob("*.md"), *([ROOT / "README.md"] if folder == "docs" else [])]
    found = []
    for page in pages:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
        found += [f"{page.relative_to(ROOT)}: {words[0]}" for words in _RIDDLES.finditer(text)]
        found += [
            f"{page.relative_to(ROOT)}: {' '.join(words[0].split())}"
            for words in _UNCLEAR_IN[folder].finditer(" ".join(text.split()))
        ]
    assert found == []


def _comments(source: str, *, every: bool = False) -> Iterator[tuple[int, str]]:
    """Comments in which there may be a riddle, or all, and docstrings, each with its first line's number."""
    if every or _RIDDLES_BEHIND_HASH.search(source):  # to tokenize takes long
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    yield from _docstrings(source)


def _docstrings(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            docstring := ast.get_docstring(node)
        ):
            yield node.body[0].lineno, docstring


def test_each_constant_has_its_reason_beside_it() -> None:
    """On its line, or directly above it or above the lines before it that have none of their own."""
    assert [each for path in sorted((ROOT / "falcon").rglob("*.py")) for each in _unexplained(path)] == []


def _unexplained(path: Path) -> Iterator[str]:
    source = path.read_text()
    commented = {
        token.start[0]: token.line.lstrip().startswith("#")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _is_number(node.value):
            if any(line in commented for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)):
                continue
            above = node.lineno - 1
            while above and lines[above - 1].strip() and above not in commented:
                above -= 1
            if not commented.get(above):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {lines[node.lineno - 1]}"


def _is_number(value: ast.expr) -> bool:
    match value:
        case ast.Constant(value=number):
            return isinstance(number, int | float) and not isinstance(number, bool)
        case ast.UnaryOp(operand=operand):
            return _is_number(operand)
        case ast.BinOp(left=left, right=right):
            return _is_number(left) and _is_number(right)
        case ast.Tuple(elts=elements):
            return bool(elements) and all(map(_is_number, elements))
    return False


def test_contributing_names_files_that_are_there() -> None:
    named = re.findall(r"`(?!build/)([a-z_]+(?:/[\w.]+)+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 20
    assert [each for each in named if not any((ROOT / at / each).exists() for at in ("", "falcon"))] == []


def test_the_documents_stay_within_their_budget() -> None:
    pages = list((ROOT / "docs").rglob("*.md"))
    assert len(pages) <= 60
    pages.remove(ROOT / "docs/clients.md")  # a program writes it
    assert sum(len(page.read_text().split()) for page in pages) <= 55_000, "a page grows where another one shrinks"


def test_the_glossary_has_each_term_once_and_in_order() -> None:
    terms = re.findall(r"^\| ([^|]+) \| ", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)[1:]
    assert len(terms) > 50
    assert terms == sorted(set(terms))


def test_metrics_are_declared_in_one_module_and_bear_the_projects_name() -> None:
    assert metrics.http_seconds.name in REGISTRY
    declaring = re.compile(r"\b(?:counter|gauge|histogram|Counter|Gauge|Histogram|Summary)\(\s*\"falcon_")
    for path in (ROOT / "falcon").rglob("*.py"):
        assert path.name == "metrics.py" or not declaring.search(path.read_text()), path
    declared = re.findall(r"\b(?:counter|gauge|histogram)\(\s*\"(\w+)\"", Path(metrics.__file__).read_text())
    assert all(re.fullmatch(r"falcon(_[a-z]+)+", name) for name in declared)


def test_every_threat_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs/security.md").read_text()
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", text)
    assert len(named) > 40
    rows = re.findall(r"^\| .* \| .* \| (.*) \|$", text.partition("## Threats")[2], re.MULTILINE)
    assert [row for row in rows if "::" not in row and row != "test"] == []
    assert [each for each in named if f"def {each[1]}(" not in (ROOT / "tests" / each[0]).read_text()] == []


def test_no_file_has_a_merge_that_was_not_finished() -> None:
    marked = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)
    folders = ("clients", "deploy", "docs", "examples", "falcon", "load_tests", "requirements", "tests", "tools")
    paths = [*ROOT.glob("*.*"), *(path for folder in folders for path in (ROOT / folder).rglob("*.*"))]
    texts = {path: path.read_bytes() for path in paths if path.is_file() and path.suffix not in (".pyc", ".png")}
    assert [path for path, text in texts.items() if marked.search(text.decode(errors="replace"))] == []
