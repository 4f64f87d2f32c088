"""A real Prometheus on a free port, with its data in a folder of the test's."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml  # type: ignore[import-untyped]  # comes with what tests the API

JOB: Final = "falcon"
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 10.0
_LISTENING: Final = re.compile(r'msg="Listening on" .*address=(127\.0\.0\.1:\d+)')

_client: Final = httpx.Client(timeout=60, verify=False)  # there is no TLS, and to make a context takes 20 ms each time


@dataclass(frozen=True, slots=True)
class Value:
    """One series of an answer, at the time of the question."""

    labels: dict[str, str]
    value: float


@dataclass(slots=True)
class Prometheus:
    folder: Path
    url: str = ""
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def start(
        self, targets: Sequence[str], rules: Sequence[Path] | None = None, scrape_seconds: float = 1.0
    ) -> "Prometheus":
        """Returns once it answers. It scrapes, and evaluates the rules, each ``scrape_seconds``.

        ``targets``: ``host:port`` of operations ports.
        """
        program = shutil.which("prometheus")
        assert program is not None, "ask prometheus_or_skip first"
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "prometheus.yaml"
        settings.write_text(yaml.safe_dump(_settings(targets, rules or (), scrape_seconds)))
        arguments = [
            program,
            f"--config.file={settings}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait()
        return self

    @property
    def _log(self) -> Path:
        return self.folder / "prometheus.log"

    def _wait(self) -> None:
        assert self._process is not None
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if self._is_ready():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self.end()
        raise AssertionError(f"Prometheus did not start:\n{self._log.read_text()[-2000:]}")

    def _is_ready(self) -> bool:
        """It listens before it has read its settings and rules, and ends when it cannot use them."""
        listening = _LISTENING.search(self._log.read_text())
        if listening is None:
            return False
        self.url = f"http://{listening[1]}"
        try:
            return _client.get(f"{self.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expr: str) -> list[Value]:
        """The present values of a vector or a scalar.

        Raises AssertionError with Prometheus' message for a query that it refuses.
        """
        answer = self._get("/api/v1/query", query=expr)
        if answer["resultType"] == "scalar":
            return [Value({}, float(answer["result"][1]))]
        return [Value(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def query_since(self, began: float, expr: str) -> list[float]:
        """All values of an expression, looked at each second, since this wall clock time in seconds."""
        answer = self._get("/api/v1/query_range", query=expr, start=f"{began}", end=f"{time.time()}", step="1s")
        return [float(value) for each in answer["result"] for _, value in each["values"]]

    def alerts(self) -> dict[str, str]:
        """``pending`` or ``firing``, by name; the graver one where an alert stands for several series."""
        found: dict[str, str] = {}
        for alert in self._get("/api/v1/alerts")["alerts"]:
            name = alert["labels"]["alertname"]
            if found.get(name) != "firing":
                found[name] = alert["state"]
        return found

    def _get(self, path: str, **parameters: str) -> Any:
        response = _client.get(self.url + path, params=parameters)
        answer = response.json()
        assert answer["status"] == "success", f"{answer['error']}: {parameters}"
        return answer["data"]

    def end(self) -> None:
        """It is gone when this returns; its data stay in the folder."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _settings(targets: Sequence[str], rules: Sequence[Path], scrape_seconds: float) -> dict[str, Any]:
    every = f"{round(scrape_seconds * 1000)}ms"
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(path.resolve()) for path in rules],
        "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": list(targets)}]}],
    }


def prometheus_or_skip() -> None:
    """Skips the test without Prometheus; fails it under ``CI=true``."""
    if shutil.which("prometheus") is None:
        missing = "there is no prometheus on the PATH; Debian's package is called so"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    """Not started yet; ended after the test."""
    prometheus_or_skip()
    server = Prometheus(tmp_path / "prometheus")
    yield server
    server.end()
