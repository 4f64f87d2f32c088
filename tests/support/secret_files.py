"""Files with secrets, as an operator makes them: for their user alone."""

from pathlib import Path


def write_secret(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path
