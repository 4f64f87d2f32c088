"""Reads Falcon's operations ports once a second while it is under load."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final
from urllib.parse import urlsplit

import msgspec
from prometheus_client.parser import text_string_to_metric_families

_EVERY_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 5.0

# How the samples of a name combine, also those of several pods: their sum, or the largest.
_SUMS: Final = {
    "mailbox": "falcon_mailbox_size",
    "mailbox_bound": "falcon_mailbox_bound",
    "mailbox_refused": "falcon_mailbox_rejections_total",
    "in_flight": "falcon_http_requests_in_flight",
    "lag_events": "falcon_projection_lag_events",
    "streams": "falcon_streams",
    "delivered": "falcon_stream_deliveries_total",
    "cpu": "falcon_process_cpu_seconds_total",
    "memory": "falcon_process_pss_bytes",
}
_LARGEST: Final = {
    "mailbox_oldest": "falcon_mailbox_oldest_seconds",
    "lag": "falcon_projection_lag_seconds",
    "loop_delay": "falcon_event_loop_delay_max_seconds",
}
_WANTED: Final = frozenset((*_SUMS.values(), *_LARGEST.values()))


class Look(msgspec.Struct, frozen=True):
    """The figures of one moment. Ages and delays in s, memory in bytes; the counters ``cpu`` (s), ``delivered`` and
    ``mailbox_refused`` since the processes began. ``at``: by the machine's monotonic clock."""

    at: float
    mailbox: float = 0.0
    mailbox_bound: float = 0.0
    mailbox_oldest: float = 0.0
    mailbox_refused: float = 0.0
    in_flight: float = 0.0
    lag: float = 0.0
    lag_events: float = 0.0
    loop_delay: float = 0.0
    streams: float = 0.0
    delivered: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0


def read(at: float, pages: Iterable[str]) -> Look:
    """All pods together. ``pages``: each one's answer in Prometheus' text format."""
    found: dict[str, list[float]] = {}
    for page in pages:
        # Most of a page is buckets, which are not used here and take long to parse.
        lines = "\n".join(line for line in page.splitlines() if line.partition("{")[0].partition(" ")[0] in _WANTED)
        for family in text_string_to_metric_families(lines + "\n"):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.value)
    sums = {field: sum(found.get(name, ())) for field, name in _SUMS.items()}
    largest = {field: max(found.get(name, ()), default=0.0) for field, name in _LARGEST.items()}
    return Look(at=at, **sums, **largest)


class Watch:
    """Looks from a thread of its own. ``urls``: of operations ports; a name with several addresses is several pods."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.looks: list[Look] = []
        self.missed = 0
        self.problem = ""
        self._urls = urls
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> list[Look]:
        return [look for look in self.looks if begin <= look.at < end]

    def _run(self) -> None:
        while not self._ended.is_set():
            begun = time.monotonic()
            try:
                self.looks.append(look(self._urls))
            except (OSError, http.client.HTTPException, ValueError) as fault:
                self.missed += 1
                self.problem = str(fault) or type(fault).__name__
            self._ended.wait(max(0.0, begun + _EVERY_SECONDS - time.monotonic()))


def look(urls: Sequence[str]) -> Look:
    """Raises OSError if there is no answer, http.client.HTTPException, ValueError for a page that has no metrics."""
    pages = []
    for url in urls:
        for address in _addresses(url, may_be_nobody=len(urls) > 1):
            with urllib.request.urlopen(f"{address}/metrics", timeout=_ANSWER_SECONDS) as answer:
                pages.append(answer.read().decode())
    if not pages:
        raise OSError(f"none of {', '.join(urls)} has an address")
    return read(time.time(), pages)


def _addresses(url: str, *, may_be_nobody: bool) -> list[str]:
    """The addresses of the host names. Some of several names may have none, since not every deployment has every role.
    Raises OSError, ValueError."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"{url!r} is no address; it should look like http://127.0.0.1:8081")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except socket.gaierror:
        if may_be_nobody:
            return []
        raise
    hosts = sorted({str(each[4][0]) for each in found})
    return [f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or 80}" for host in hosts]


def rates(looks: Sequence[Look], field: str) -> list[tuple[float, float]]:
    """The rate of a counter between one look and the next: moment and amount a second."""
    found = []
    for before, after in pairwise(looks):
        # A process that was restarted counts from 0.
        gained = max(0.0, getattr(after, field) - getattr(before, field))
        found.append((after.at, gained / (after.at - before.at)))
    return found
