"""The metrics of a whole process tree, from the files that its processes write."""

from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import exposition, multiprocess
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector


def collect(folder: Path) -> list[Family]:
    """Counters and histograms of all processes, also ended ones; gauges of the ones that live. By name."""
    collector = multiprocess.MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]
    return sorted(collector.collect(), key=lambda family: family.name)  # type: ignore[no-untyped-call]


class _Collected(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def render(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """The page in the format that an Accept header asks for, text or OpenMetrics, and its content type."""
    encode: Callable[[Collector], bytes]
    try:
        encode, content_type = exposition.choose_encoder(accept)
    except TypeError:  # it fails at a version that is no number
        encode, content_type = exposition.choose_encoder("")
    return encode(_Collected(families)), content_type
