"""What takes minutes need not run again until something that it is made of has changed."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tools.servers.jars import cache


class LastPass:
    """Digests of files and folders as they were when something last passed, kept in the cache folder as ``file``.

    ``made_of``: their paths below ``root``. They are read once, so that what changes during a run counts as changed
    after it.
    """

    def __init__(self, name: str, made_of: Sequence[str], root: Path) -> None:
        self.file = cache() / f"{name}.json"
        self.made_of = made_of
        self._root = root

    def is_known(self) -> bool:
        return self.file.exists()

    def changed(self) -> list[str]:
        """All of them if nothing has passed here yet."""
        passed: dict[str, str] = json.loads(self.file.read_text()) if self.is_known() else {}
        return [name for name, digest in self._now.items() if passed.get(name) != digest]

    def passes(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self._now, indent=1) + "\n")

    @cached_property
    def _now(self) -> dict[str, str]:
        return {name: _digest(self._root / name) for name in self.made_of}


def _digest(top: Path) -> str:
    """Of the names and contents of the files."""
    hashed = hashlib.sha256()
    for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
        if path.is_file() and "__pycache__" not in path.parts:
            hashed.update(f"{path.relative_to(top)} {path.stat().st_mode & 0o111} ".encode())
            hashed.update(hashlib.sha256(path.read_bytes()).digest())
    return hashed.hexdigest()
