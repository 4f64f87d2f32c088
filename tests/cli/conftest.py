import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from typer.testing import CliRunner, Result

from falcon.cli import app
from falcon.cli.calling import Outside
from tests.cli.fake import FakeClock, FakeFalcon, Script, account

Run: TypeAlias = Callable[..., Result]


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("FALCON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def _nobodys_log() -> Iterator[None]:
    """Restores logging: a command logs to the standard error of its run, which is closed before the next test."""
    loggers = [logging.getLogger(name) for name in ("falcon", "uvicorn", "aiokafka")]
    before = [(each.handlers[:], each.propagate, each.level) for each in loggers]
    yield
    for each, (handlers, propagate, level) in zip(loggers, before, strict=True):
        each.handlers[:] = handlers
        each.propagate = propagate
        each.setLevel(level)


@pytest.fixture
def server() -> FakeFalcon:
    return FakeFalcon(
        messages={64: []},
        members=[{"account_id": 130, "name": "Alice", "role": "admin", "read_seq": 0}],
        accounts=[account(130, "Alice", is_admin=True)],
    )


@pytest.fixture
def run() -> Run:
    """Runs a command against a server. ``FALCON_URL`` and both tokens are set."""

    def run(
        server: FakeFalcon | Script | httpx.MockTransport,
        *args: str,
        input: str | bytes | None = None,
        clock: FakeClock | None = None,
    ) -> Result:
        transport = server if isinstance(server, httpx.MockTransport) else server.transport()
        return CliRunner().invoke(
            app,
            list(args),
            input=input,
            env={"FALCON_URL": "http://falcon.test", "FALCON_TOKEN": "t0ken", "FALCON_ADMIN_TOKEN": "4dmin"},
            obj=Outside(transport, (clock or FakeClock()).clock()),
        )

    return run
