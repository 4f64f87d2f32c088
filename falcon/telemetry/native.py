"""Prometheus' protobuf format, the only one in which it takes native histograms.

The few messages that it needs, by the field numbers of ``io.prometheus.client``:
https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from falcon.telemetry.buckets import NativeBuckets
from falcon.telemetry.instruments import SCHEMA
from falcon.varints import varint

_COUNTER, _GAUGE, _HISTOGRAM = 0, 1, 4
_TYPES: Final = {"counter": _COUNTER, "gauge": _GAUGE, "histogram": _HISTOGRAM}

LabelSet: TypeAlias = tuple[tuple[str, str], ...]


def encode(families: Iterable[Family], histograms: Mapping[tuple[str, tuple[str, ...]], NativeBuckets]) -> bytes:
    """Each family as a message after its length. ``histograms``: by family and label values, in order."""
    return b"".join(_delimited(_family(family, histograms)) for family in families)


def _family(family: Family, histograms: Mapping[tuple[str, tuple[str, ...]], NativeBuckets]) -> bytes:
    kind = _TYPES[family.type]
    name = f"{family.name}_total" if kind == _COUNTER else family.name
    metrics: list[bytes] = []
    for labels, samples in _by_labels(family).items():
        if kind == _HISTOGRAM:
            metrics.append(_labels(labels) + _field(7, _histogram(samples, histograms[family.name, _values(labels)])))
        else:
            metrics.append(_labels(labels) + _field(3 if kind == _COUNTER else 2, _double(1, samples[0].value)))
    return (
        _field(1, name.encode())
        + _field(2, family.documentation.encode())
        + varint(3 << 3)
        + varint(kind)
        + b"".join(_field(4, metric) for metric in metrics)
    )


def _by_labels(family: Family) -> dict[LabelSet, list[Sample]]:
    """Groups a histogram's samples, which have the same labels except for ``le``."""
    found: dict[LabelSet, list[Sample]] = {}
    for sample in family.samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        found.setdefault(labels, []).append(sample)
    return found


def _values(labels: LabelSet) -> tuple[str, ...]:
    return tuple(value for _, value in labels)


def _labels(labels: LabelSet) -> bytes:
    return b"".join(_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels)


def _histogram(samples: list[Sample], native: NativeBuckets) -> bytes:
    """Both kinds of buckets: the server takes the kind that it is configured for."""
    classic = b"".join(
        _field(3, _unsigned(1, round(sample.value)) + _double(2, float(sample.labels["le"])))
        for sample in samples
        if "le" in sample.labels
    )
    spans = b"".join(_field(12, _signed(1, offset) + _unsigned(2, length)) for offset, length in native.spans)
    return (
        _unsigned(1, native.count)
        + _double(2, native.sum)
        + classic
        + _signed(5, SCHEMA)
        + _double(6, native.zero_threshold)
        + _unsigned(7, native.zero_count)
        + spans
        + b"".join(_signed(13, delta) for delta in native.deltas)
    )


# --- the wire: https://protobuf.dev/programming-guides/encoding/ ------------------------------------------------------


def _delimited(data: bytes) -> bytes:
    return varint(len(data)) + data


def _field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + _delimited(data)


def _double(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)


def _unsigned(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def _signed(number: int, value: int) -> bytes:
    """Zigzag encoding: small whatever the sign."""
    return varint(number << 3) + varint(value << 1 if value >= 0 else (-value << 1) - 1)
