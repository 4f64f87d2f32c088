"""Unknown requests are counted, and logged once a minute in words that no sender can choose."""

import asyncio
import logging

import pytest

from falcon.http.server.unknown_requests import UnknownRequests
from falcon.telemetry import metrics
from tests.support.protocol_server import PATIENT, Server, at_a_server
from tools.harness.waiting import eventually


def counted(kind: str) -> float:
    return metrics.http_junk.labels(kind).value


def test_the_first_is_logged_at_once_and_what_follows_is_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    async def come() -> None:
        requests = UnknownRequests(seconds=0.05)
        for kind in ("malformed", "nowhere", "malformed"):
            requests.count(kind)
        await eventually(lambda: len(caplog.records) >= 2)

    with caplog.at_level(logging.WARNING, "falcon.http"):
        asyncio.run(come())
    assert [record.getMessage() for record in caplog.records] == [
        "requests that are none of Falcon's clients': malformed 1",
        "requests that are none of Falcon's clients': malformed 1, nowhere 1",
    ]


def test_what_is_no_request_is_counted_and_a_thousand_make_a_line(caplog: pytest.LogCaptureFixture) -> None:
    before = counted("malformed")

    async def ask(server: Server) -> None:
        for number in range(100):
            client = await server.connect()
            assert (await client.asks(b"GET /%d\nERROR forged HTTP/9\r\n\r\n" % number)).status == 400

    with caplog.at_level(logging.INFO, "falcon"):
        at_a_server(ask, PATIENT)
    assert counted("malformed") == before + 100
    assert [record.getMessage() for record in caplog.records] == [
        "requests that are none of Falcon's clients': malformed 1"
    ]
