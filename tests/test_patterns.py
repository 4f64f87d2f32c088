"""No regular expression that a client's bytes reach takes long, however they are chosen."""

import ast
import gc
import importlib
import re
import re._parser as sre_parser  # type: ignore[import-not-found]
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

_ROOT: Final = Path(__file__).parent.parent / "falcon"
# What they match never comes from a client. Each further file's patterns are tried.
_NOT_FOR_CLIENTS: Final = {
    "cli/importing.py": "answers of Falcon's",
    "cli/top.py": "labels of Falcon's own metrics",
    "cli/display.py": "names that the server has taken, of 255 bytes at most",
    "run/huge_pages.py": "the kernel's list of memory",
    "adapters/sqlite/files.py": "names of Falcon's own files",
    "adapters/owner_http/connecting.py": "addresses that owners write into the log",
    "http/web.py": "the page's own files, at the start",
    "http/api/openapi.py": "paths of operations, at the start",
}
_SIZE: Final = 64 << 10
_SECONDS: Final = 0.2  # of the processor; a quadratic one takes five
_FILLERS: Final = (
    " ",
    "\t",
    "\r\n",
    "a",
    "A",
    "0",
    "f",
    "-",
    "_",
    ".",
    ",",
    ";",
    ":",
    "`",
    "[",
    "(",
    "; ",
    ";q=",
    "\x00",
)


class _Pattern(NamedTuple):
    file: str
    line: int
    pattern: re.Pattern[Any]
    methods: frozenset[str]


def _patterns(path: Path) -> Iterator[_Pattern]:
    """Each regular expression that the module compiles or uses, with the methods that the module calls on it."""
    source = path.read_text()
    if not re.search(r"\bre\.\w+\(", source):
        return
    tree, lines = ast.parse(source), source.splitlines()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re") or node.func.attr == "escape":
            continue
        assigned = re.match(r"(\w+)(?:: \w+)? = re", lines[node.lineno - 1])
        used = assigned[1] if assigned else r"\w+"
        methods = re.findall(rf"\b{used}\.(search|match|fullmatch|finditer|findall|sub|split)\(", source)
        if node.func.attr != "compile":
            methods = [node.func.attr]
        flags = re.NOFLAG
        for each in node.args[1:] if node.func.attr == "compile" else ():
            flags |= getattr(re, each.attr)  # type: ignore[attr-defined]
        if assigned and not isinstance(node.args[0], ast.Constant):
            pattern = getattr(importlib.import_module(_module(path)), assigned[1])
        else:
            pattern = re.compile(ast.literal_eval(node.args[0]), flags)
        yield _Pattern(str(path.relative_to(_ROOT)), node.lineno, pattern, frozenset(methods))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(_ROOT.parent).with_suffix("").parts)


def _meeting_clients() -> list[_Pattern]:
    files = (path for path in sorted(_ROOT.rglob("*.py")) if str(path.relative_to(_ROOT)) not in _NOT_FOR_CLIENTS)
    return [pattern for path in files for pattern in _patterns(path)]


def _literals(pattern: str) -> set[str]:
    """Texts that the pattern contains: what nearly matches begins with them."""
    found, text = set(), ""

    def walk(items: Any) -> None:
        nonlocal text
        for kind, value in items:
            if str(kind) == "LITERAL":
                text += chr(value)
                continue
            found.add(text)
            text = ""
            for part in value if isinstance(value, tuple | list) else ():
                for each in part if isinstance(part, list) else (part,):
                    if hasattr(each, "data"):
                        walk(each.data)
        found.add(text)
        text = ""

    walk(sre_parser.parse(pattern).data)
    return found - {""}


def _hostile(pattern: str, size: int) -> Iterator[str]:
    literals = sorted(_literals(pattern), key=len)[-6:]
    whole = "".join(literals)
    for filler in (*_FILLERS, *literals, whole or " a"):
        for begin in ("", *literals, whole):
            for end in ("", "\x00"):
                yield (begin + filler * (size // len(filler)))[:size] + end


def _try(found: _Pattern, size: int = _SIZE) -> None:
    text = found.pattern.pattern
    binary = isinstance(text, bytes)
    for hostile in _hostile(text.decode("latin-1") if binary else text, size):
        given: Any = hostile.encode("latin-1") if binary else hostile
        for method in found.methods or {"search"}:
            arguments = (given[:0], given) if method == "sub" else (given,)
            gc.disable()  # a look at all objects of a long run takes as long as a slow pattern
            try:
                began = time.process_time()
                result = getattr(found.pattern, method)(*arguments)
                if method == "finditer":
                    list(result)
                took = time.process_time() - began
            finally:
                gc.enable()
            assert took < _SECONDS, (method, hostile[:80])


@pytest.mark.parametrize("found", _meeting_clients(), ids=lambda found: f"{found.file}:{found.line}")
def test_no_input_of_a_client_takes_long_to_match(found: _Pattern) -> None:
    _try(found)


def test_a_quadratic_pattern_would_be_found() -> None:
    quadratic = re.compile(r"\s*([^;,\s]+)\s*((?:;[^,]*)?)")
    with pytest.raises(AssertionError):
        _try(_Pattern("-", 0, quadratic, frozenset({"finditer"})), 8 << 10)


@pytest.mark.parametrize("name", _NOT_FOR_CLIENTS)
def test_each_file_that_no_client_reaches_has_a_pattern(name: str) -> None:
    assert re.search(r"\bre\.(compile|findall|fullmatch)\(", (_ROOT / name).read_text())
