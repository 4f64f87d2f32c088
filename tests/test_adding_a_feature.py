"""docs/adding-a-feature.md counts the files of a feature, and names each of them."""

import io
import re
import tokenize
from pathlib import Path
from typing import Final

import falcon

_FALCON: Final = Path(falcon.__file__).parent
_PAGE: Final = (_FALCON.parent / "docs" / "adding-a-feature.md").read_text()
_ROWS: Final = re.findall(r"^\| `(\w+)` \| (\d+) \|(.*)\|$", _PAGE, re.MULTILINE)


def files_of(folder: str, named: str) -> list[Path]:
    found: list[Path] = []
    for name in re.findall(r"`([^`]+)`", named):
        path = _FALCON / folder / name
        found += path.glob("[!_]*.py") if name.endswith("/") else [path]
    return found


def test_the_page_names_as_many_files_of_reactions_as_it_counts() -> None:
    for folder, count, named in _ROWS:
        assert len(files_of(folder, named)) == int(count), folder
    (told,) = re.findall(r"Reactions live in (\d+) Python files", _PAGE)
    assert sum(int(count) for _, count, _ in _ROWS) == int(told)


def test_each_of_these_files_has_to_do_with_reactions() -> None:
    files = [path for folder, _, named in _ROWS for path in files_of(folder, named)]
    assert [path for path in files if "reaction" not in path.read_text().lower()] == []


def test_each_file_whose_code_names_reactions_is_named() -> None:
    named = {path for folder, _, named in _ROWS for path in files_of(folder, named)}
    assert [path for path in sorted(_FALCON.rglob("*.py")) if path not in named and names_reactions(path)] == []


def names_reactions(path: Path) -> bool:
    source = path.read_text()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline) if "eaction" in source else ()
    return any(token.type == tokenize.NAME and "reaction" in token.string.lower() for token in tokens)
