"""Log lines: JSON for machines, and text for a person at a terminal."""

import json
import logging
import os
import sys
import time
from typing import Any, Final, Literal, TextIO, TypeAlias

from falcon.telemetry import metrics, tracing

LogFormat: TypeAlias = Literal["auto", "json", "text"]

_TEXT: Final = "%(asctime)s %(levelname)-7s [%(process)d] %(name)s: %(message)s"


def is_for_people(format: str, stream: TextIO) -> bool:
    """True for text, False for JSON. ``auto``: text on a terminal."""
    return format == "text" or (format == "auto" and stream.isatty())


def configure(process: str, level: str, format: LogFormat) -> None:
    """Log to standard error with our own handler: an actor's root logger would send each line through its system."""
    logger = logging.getLogger("falcon")
    logger.setLevel(level.upper())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Text(_TEXT) if is_for_people(format, sys.stderr) else _Json(process))
    handler.addFilter(_count)
    server = logging.getLogger("uvicorn")
    server.setLevel(logging.WARNING)
    for each in (logger, server):
        each.propagate = False
        each.handlers[:] = [handler]
    metrics.log_lines.begin(("warning",), ("error",), ("critical",))
    # A call that fails raises the Kafka client's error to its caller, which logs it once.
    logging.getLogger("aiokafka").setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)


def _count(record: logging.LogRecord) -> bool:
    metrics.log_lines.labels(record.levelname.lower()).inc()
    return True


class _Text(logging.Formatter):
    """One line a record, and the indented lines of its exception. Both may contain a client's text. It must neither
    begin a line that looks like another record nor control the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _escape(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"    {_escape(line)}" for line in super().formatException(ei).splitlines())


def _escape(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class _Json(logging.Formatter):
    """A line a record: time (UTC, RFC 3339), level, logger, process, pid, message; and the request it belongs to, if
    known."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "pid": os.getpid(),
            "message": record.getMessage(),
        }
        line |= tracing.log_fields()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
