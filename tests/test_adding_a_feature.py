"""docs/adding-a-feature.md names each file that pins have come with."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_PAGE: Final = (_ROOT / "docs" / "adding-a-feature.md").read_text()
_ROWS: Final = re.findall(r"^\| `([\w/]+)` \| (\d+) \|(.*)\|$", _PAGE, re.MULTILINE)
# A name of pins: AddPin, PINS_MAX, pinned_at, pins. Not: a pinned version, or the pin of an Ingress.
_NAME: Final = re.compile(r"(^|_|[a-z])(un)?[Pp]in(s|ned|ning)?(_|$|[A-Z])|^PINS?(_|$)|^pin\.")
_SHIPPED: Final = (("falcon", "*.py"), ("falcon/web", "*.js"), ("clients", "*.py"), ("clients", "*.js"))
_WITHOUT: Final = {"falcon/web/thread.js"}  # says that a thread shows no pins
_GENERATED: Final = {"clients/python/falcon_chat/models.py", "clients/python/falcon_chat/__init__.py"}


def files_of(folder: str, named: str) -> list[Path]:
    found: list[Path] = []
    for name in re.findall(r"`([^`]+)`", named):
        path = _ROOT / folder / name
        found += path.glob("*.py") if name.endswith("/") else [path]
    return found


def test_the_page_names_as_many_files_of_pins_as_it_counts() -> None:
    for folder, count, named in _ROWS:
        files = files_of(folder, named)
        assert (len(files), [path for path in files if not path.exists()]) == (int(count), []), folder


def test_each_of_these_files_has_to_do_with_pins() -> None:
    files = [path for folder, _, named in _ROWS for path in files_of(folder, named)]
    assert [path for path in files if "pin" not in path.read_text().lower()] == []


def test_each_file_whose_code_names_pins_is_named() -> None:
    named = {path for folder, _, named in _ROWS for path in files_of(folder, named)}
    named |= {_ROOT / name for name in _GENERATED | _WITHOUT}
    assert [path for path in shipped() if path not in named and names_pins(path)] == []


def shipped() -> Iterator[Path]:
    for folder, pattern in _SHIPPED:
        yield from (path for path in sorted((_ROOT / folder).rglob(pattern)) if "node_modules" not in path.parts)


def names_pins(path: Path) -> bool:
    source = path.read_text()
    if "pin" not in source.lower():
        return False
    if path.suffix == ".js":
        code = re.sub(r"//.*|/\*.*?\*/", "", source)
        return any(_NAME.search(word) for word in re.findall(r"[\w.]+", code))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return any(token.type == tokenize.NAME and _NAME.search(token.string) for token in tokens)
