"""`--help`, and the page about the command line."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main
from typer.testing import CliRunner

from falcon.cli import app

PAGE: Final = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()


def commands() -> Iterator[tuple[str, Any]]:
    """Commands with their full names, without groups."""
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {below}", each) for below, each in command.commands.items())
        else:
            yield name, command


NAMES: Final = [name for name, _ in commands()]


@pytest.mark.parametrize("name", ["", "room", "account", *NAMES])
def test_help_fits_a_terminal_of_eighty_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0
    long = [line for line in shown.stdout.splitlines() if len(line.rstrip()) > 80]
    assert long == []


@pytest.mark.parametrize("name", NAMES)
def test_usage_puts_an_argument_into_one_pair_of_brackets(name: str) -> None:
    usage = CliRunner().invoke(app, [*name.split(), "--help"]).stdout.strip().splitlines()[0]
    assert re.search(r"\[\[|\.\.\.\W+\.\.\.", usage) is None


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_argument_and_option_says_what_it_is(name: str, command: Any) -> None:
    assert [each.name for each in command.params if not each.help] == []


@pytest.mark.parametrize(
    "name", [name for name in NAMES if re.match("room |account |session |sign-in|invite|send|tail|read|rooms", name)]
)
def test_the_page_lists_every_command_of_chat(name: str) -> None:
    assert f"| `falcon {name}" in PAGE


def test_the_page_lists_no_command_that_is_not_there() -> None:
    listed = re.findall(r"^\| `falcon ((?:room|account|session) \w+|[\w-]+)", PAGE, re.MULTILINE)
    assert listed
    assert set(listed) <= set(NAMES)


def test_a_character_that_the_terminal_does_not_have_is_written_out() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "falcon", "react", "--help"],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
    assert rb"falcon react 64 12 \U0001f44d" in told.stdout
