"""A log line is one record of ours, whatever text clients send."""

import logging
from collections.abc import Iterator

import pytest

from falcon.telemetry import logs


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    falcon, uvicorn = logging.getLogger("falcon"), logging.getLogger("uvicorn")
    before = [(each, each.handlers[:], each.propagate, each.level) for each in (falcon, uvicorn)]
    yield falcon
    for each, handlers, propagate, level in before:
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)


@pytest.mark.parametrize("format_", ["text", "json"])
def test_a_path_cannot_make_a_line_of_its_own(
    format_: logs.LogFormat, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("serve-0", "info", format_)
    log.error("GET %s failed", "/v1/a\n2026-11-26 ERROR falcon: everything is lost\x1b[2J\u2028\u202e")
    line = capsys.readouterr().err
    assert len(line.splitlines()) == 1 or format_ == "json"
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert r"/v1/a\n2026" in line


def test_nor_can_the_text_of_an_exception(log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("serve-0", "info", "text")
    try:
        raise ValueError("tea\n2026-11-26 ERROR falcon: everything is lost")
    except ValueError:
        log.exception("it failed: naïve, 茶")
    first, *others = capsys.readouterr().err.splitlines()
    assert first.endswith("falcon: it failed: naïve, 茶")
    assert others
    assert all(line.startswith("    ") for line in others)
