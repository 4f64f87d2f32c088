"""Python processes that a test starts, and what they do first."""

from pathlib import Path


def beginning_with(folder: Path, lines: str) -> dict[str, str]:
    """Environment variables with which every Python process runs these lines at its start. ``folder``: is made."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(lines)
    return {"PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}"}
