"""A traceparent finds all that belongs to a request: log lines, events and spans."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from falcon.adapters.sqlite import database
from falcon.adapters.sqlite.source import SqliteSource, UniformCursor
from falcon.journal.envelope import Recorded
from falcon.telemetry import logs, otel, tracing
from tests.support.http import Falcon

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def falcon(tmp_path: Path) -> Iterator[Falcon]:
    with Falcon(tmp_path) as started:
        yield started


def send(falcon: Falcon, **headers: str) -> int:
    """A message to a new room, with these headers; the status."""
    anna = falcon.account("Anna")
    room = anna.post("/v1/rooms", {"name": "Tea"}).json()["room_id"]
    said = {
        "Authorization": f"Bearer {anna.token}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return falcon.send("POST", f"/v1/rooms/{room}/messages", json={"text": "Hi"}, headers=said).status_code


def newest(falcon: Falcon) -> Recorded:
    connection = database.connect(falcon.settings.database, writable=False)
    try:
        events, _ = SqliteSource(connection).read(UniformCursor(0), 1_000)
        return events[-1]
    finally:
        connection.close()


def test_an_event_bears_the_traceparent_of_the_request_that_led_to_it(falcon: Falcon) -> None:
    assert send(falcon, traceparent=HEADER) == 201
    assert newest(falcon).envelope.trace == HEADER


def test_without_one_an_event_bears_none(falcon: Falcon) -> None:
    assert send(falcon) == 201
    assert newest(falcon).envelope.trace is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_what_is_no_traceparent_is_passed_over(falcon: Falcon, header: str) -> None:
    assert send(falcon, traceparent=header) == 201
    assert newest(falcon).envelope.trace is None


def test_a_log_line_says_which_request_and_command_it_belongs_to(
    falcon: Falcon, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> None:
        raise RuntimeError("the table is on fire")

    monkeypatch.setattr(falcon.edge.gateway, "ask", fails)
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    handler.setFormatter(logs._Json("serve-0"))
    logging.getLogger("falcon").addHandler(handler)
    try:
        headers = {"Authorization": f"Bearer {falcon.admin.token}", "traceparent": HEADER, "Idempotency-Key": "tea-1"}
        answer = falcon.send("POST", "/v1/accounts", json={"name": "Ben"}, headers=headers)
    finally:
        logging.getLogger("falcon").removeHandler(handler)
    assert answer.status_code == 500
    (line,) = [json.loads(each) for each in lines]
    assert (line["trace_id"], line["span_id"], line["command_id"]) == (TRACE, SPAN, "tea-1")
    assert (line["level"], line["process"]) == ("error", "serve-0")
    assert "the table is on fire" in line["exception"]


def test_lines_are_json_for_machines_and_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger("falcon").handlers[:]
    try:
        for format in ("json", "text"):
            logs.configure("serve-0", "info", format)
            logging.getLogger("falcon.test").warning("the kettle is %s", "empty")
    finally:
        logging.getLogger("falcon").handlers[:] = before
        logging.getLogger("falcon").propagate = True
    first, second = capsys.readouterr().err.splitlines()
    assert json.loads(first)["message"] == "the kettle is empty"
    assert second.endswith("falcon.test: the kettle is empty")


class Collector:
    """Takes spans, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.arrived = threading.Semaphore(0)
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.end_headers()
                collector.arrived.release()

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait_for(self, *names: str) -> dict[str, Any]:
        """The spans of these names."""
        while True:
            found = {span.name: span for span in self.spans}
            if found.keys() >= set(names):
                return found
            assert self.arrived.acquire(timeout=60), f"only {found.keys()} arrived"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    monkeypatch.setenv(otel.ENDPOINT, collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    otel.configure("serve-0")
    yield collector
    tracing.export_to(None)
    collector.close()


def test_a_request_and_what_it_led_to_are_spans_of_one_trace(falcon: Falcon, collector: Collector) -> None:
    assert send(falcon, traceparent=HEADER) == 201
    request = "POST /v1/rooms/{room_id}/messages"

    def of_this_trace() -> dict[str, Any]:
        collector.wait_for(request, "append")
        return {span.name: span for span in collector.spans if span.trace_id.hex() == TRACE}

    spans = of_this_trace()
    while "append" not in spans:
        assert collector.arrived.acquire(timeout=60)
        spans = of_this_trace()
    assert spans[request].parent_span_id.hex() == SPAN
    assert spans["append"].parent_span_id == spans[request].span_id
    assert spans["append"].end_time_unix_nano > spans["append"].start_time_unix_nano
    assert newest(falcon).envelope.trace == f"00-{TRACE}-{spans[request].span_id.hex()}-01"


def test_who_names_no_collector_exports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(otel.ENDPOINT, raising=False)
    otel.configure("serve-0")
    assert tracing.exporter is None
