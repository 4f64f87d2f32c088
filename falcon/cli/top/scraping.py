"""Reads metrics and readiness from an operations port."""

import math
import os
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, TypeAlias

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_SECONDS: Final = 2.0
_NOTE_MAX: Final = 200

Labels: TypeAlias = tuple[tuple[str, str], ...]
Samples: TypeAlias = Mapping[str, Mapping[Labels, float]]


class Scrape(msgspec.Struct, frozen=True):
    """``at``: by a clock that only goes forward. ``samples``: by name, then by labels in the order of their names."""

    at: float
    samples: Samples


class PortState(Enum):
    UP = "up"
    NOT_READY = "not ready"
    NOT_REACHABLE = "not reachable"
    NOT_OPERATIONS = "no operations port"


class Answer(msgspec.Struct, frozen=True):
    """``note``: why the state is not "up". ``scrape``: None if there were no metrics."""

    state: PortState
    note: str = ""
    scrape: Scrape | None = None


async def ask(client: httpx.AsyncClient, url: str, now: Callable[[], float]) -> Answer:
    """Does not raise for any fault of the server."""
    try:
        answer = await client.get(f"{url}/metrics", headers={"accept": "text/plain"})
    except httpx.HTTPError as fault:
        return Answer(PortState.NOT_REACHABLE, _reason(fault))
    if not answer.is_success:
        return Answer(PortState.NOT_OPERATIONS, f"{answer.status_code} at /metrics")
    samples = parse(answer.text)
    if samples is None:
        return Answer(PortState.NOT_OPERATIONS, "no metrics of Falcon at /metrics")
    scrape = Scrape(now(), samples)
    not_ready = await _why_not_ready(client, url)
    return Answer(PortState.UP if not_ready is None else PortState.NOT_READY, not_ready or "", scrape)


def parse(text: str) -> Samples | None:
    """None if this is not the answer of an operations port of Falcon."""
    samples: dict[str, dict[Labels, float]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if not math.isnan(sample.value):
                    samples.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    except ValueError:
        return None
    return samples if "falcon_build_info" in samples else None


async def _why_not_ready(client: httpx.AsyncClient, url: str) -> str | None:
    try:
        answer = await client.get(f"{url}/readyz")
    except httpx.HTTPError as fault:
        return _reason(fault)
    return None if answer.is_success else answer.text[:_NOTE_MAX] or str(answer.status_code)


def _reason(fault: BaseException) -> str:
    """The message of the operating system if there is one: the HTTP library says less."""
    if isinstance(fault, httpx.TimeoutException):
        return f"no answer in {TIMEOUT_SECONDS:.0f} s"
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return (os.strerror(cause.errno) if cause.errno > 0 else cause.strerror or str(cause)).lower()
        cause = cause.__cause__ or cause.__context__
    return str(fault) or type(fault).__name__
