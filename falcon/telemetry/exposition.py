"""The metrics of a whole process tree in Prometheus' formats: text, OpenMetrics, protobuf with native buckets."""

import time
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest as text
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from falcon.telemetry import metrics as _declared  # noqa: F401  they register when they are declared
from falcon.telemetry import native
from falcon.telemetry.buckets import classic_buckets, maximum_name, native_buckets
from falcon.telemetry.instruments import BUCKETS_AT, REGISTRY, Counter, Gauge, Histogram, Metric, maximum
from falcon.telemetry.slots import SlotView

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROTOBUF: Final = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

AnyMetric = Metric[Counter] | Metric[Gauge] | Metric[Histogram]


class Series(msgspec.Struct, frozen=True):
    """One label set of a metric, all processes together. ``cells``: one value, or a histogram's."""

    labels: tuple[str, ...]
    cells: list[float]


class Measured(msgspec.Struct, frozen=True):
    """A metric with its series. ``label_names`` includes ``process`` if each process has series of its own."""

    metric: AnyMetric
    label_names: tuple[str, ...]
    series: list[Series]


def collect(slots: Iterable[SlotView]) -> list[Measured]:
    """Counters and histograms of all processes, also ended ones; gauges of the ones that live."""
    found: dict[str, dict[tuple[str, ...], list[float]]] = {name: {} for name in REGISTRY}
    for slot in slots:
        alive = slot.alive
        for (name, labels), kind, cells in slot.read():
            metric = REGISTRY.get(name)
            if metric is None or metric.kind != kind or (kind == "gauge" and not (alive and cells[0] == cells[0])):
                continue
            where = (*labels, slot.name) if metric.across == "process" else labels
            series = found[name]
            series[where] = _together(metric, series[where], cells) if where in series else cells
    return [_measured(REGISTRY[name], series) for name, series in found.items() if series]


def _measured(metric: AnyMetric, series: dict[tuple[str, ...], list[float]]) -> Measured:
    names = (*metric.label_names, "process") if metric.across == "process" else metric.label_names
    return Measured(metric, names, [Series(labels, cells) for labels, cells in sorted(series.items())])


def _together(metric: AnyMetric, one: list[float], other: list[float]) -> list[float]:
    if metric.kind == "histogram":
        sums = [a + b for a, b in zip(one, other, strict=True)]
        sums[1:BUCKETS_AT] = _maxima(one[1:BUCKETS_AT], other[1:BUCKETS_AT])
        return sums
    return [max(one[0], other[0])] if metric.across == "max" else [one[0] + other[0]]


def _maxima(one: list[float], other: list[float]) -> list[float]:
    """For each window: the newer one, or the larger of the same."""
    merged: list[float] = []
    for at in range(0, len(one), 2):
        merged += max((one[at], one[at + 1]), (other[at], other[at + 1]))
    return merged


class _Collected(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def render(measured: list[Measured], extra: Iterable[Family], content_type: str) -> bytes:
    """``extra``: families that no process measures itself. ``content_type``: one of the three above."""
    if content_type == PROTOBUF:
        return _protobuf(measured, extra)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([*families(measured), *extra]))
    return bytes(openmetrics(registry)) if content_type == OPENMETRICS else text(registry)  # type: ignore[no-untyped-call]


def _protobuf(measured: list[Measured], extra: Iterable[Family]) -> bytes:
    histograms = {
        (each.metric.name, series.labels): native_buckets(each.metric.range, series.cells)
        for each in measured
        if each.metric.range is not None
        for series in each.series
    }
    return native.encode([*families(measured), *extra], histograms)


def families(measured: Iterable[Measured]) -> Iterator[Family]:
    now = time.monotonic()
    for each in measured:
        metric = each.metric
        if metric.kind == "histogram":
            yield from _histogram(each, now)
            continue
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=each.label_names)
        for series in each.series:
            family.add_metric(series.labels, series.cells[0])
        yield family


def _histogram(measured: Measured, now: float) -> Iterator[Family]:
    metric = measured.metric
    assert metric.range is not None
    histograms = HistogramMetricFamily(metric.name, metric.help, labels=measured.label_names)
    maxima = GaugeMetricFamily(
        maximum_name(metric.name), f"The largest of the last minute. {metric.help}", labels=measured.label_names
    )
    for series in measured.series:
        buckets = classic_buckets(metric.range, series.cells)
        histograms.add_metric(series.labels, buckets, series.cells[0])
        maxima.add_metric(series.labels, maximum(series.cells, now))
    yield histograms
    yield maxima
