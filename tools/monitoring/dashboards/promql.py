"""Queries in PromQL, over the instances that a dashboard's variables choose."""

from typing import Final

CHOSEN: Final = 'job=~"$job",instance=~"$instance"'
WINDOW: Final = "[$__rate_interval]"
# The time of a stream's request is the stream's length, and no waiting time.
ANSWERED: Final = 'route!="/v1/stream"'


def select(metric: str, where: str = "") -> str:
    """``where``: more matchers, such as ``method="GET"``."""
    return f"{metric}{{{CHOSEN}{',' if where else ''}{where}}}"


def total(gauge: str, by: str = "", where: str = "") -> str:
    return _over("sum", by, select(gauge, where))


def largest(gauge: str, by: str = "", where: str = "") -> str:
    return _over("max", by, select(gauge, where))


def rate(counter: str, by: str = "", where: str = "") -> str:
    """A second; ``counter`` as it is exposed, with ``_total``."""
    return _over("sum", by, f"rate({select(counter, where)}{WINDOW})")


def highest_rate(counter: str, by: str = "", where: str = "") -> str:
    """The highest rate of an instance."""
    return _over("max", by, f"rate({select(counter, where)}{WINDOW})")


def increase(counter: str, by: str = "", where: str = "") -> str:
    """Between two points, for what is rare. A series that was not there before begins with the first that it counts,
    which ``increase`` alone would miss."""
    now = select(counter, where)
    return _over("sum", by, f"({now} unless {now} offset $__rate_interval) or increase({now}{WINDOW})")


def ratio(part: str, whole: str) -> str:
    return f"{part} / {whole}"


def failed(part: str, whole: str) -> str:
    """The same for a part that has no series until it first occurs, and a whole that may be nothing: 0 then."""
    return f"({part} or vector(0)) / ({whole} > 0) or vector(0)"


def quantile(q: float, histogram: str, by: str = "", where: str = "") -> str:
    return f"histogram_quantile({q:g}, {rate(f'{histogram}_bucket', f'le, {by}' if by else 'le', where)})"


def observed(histogram: str, by: str = "", where: str = "") -> str:
    """The number of values a second."""
    return rate(f"{histogram}_count", by, where)


def summed(histogram: str, by: str = "", where: str = "") -> str:
    """The sum of the values of a second."""
    return rate(f"{histogram}_sum", by, where)


def mean(histogram: str, by: str = "", where: str = "") -> str:
    return f"({summed(histogram, by, where)}) / ({observed(histogram, by, where)})"


def maximum(histogram: str, by: str = "", where: str = "") -> str:
    """The bound of the highest bucket with a value; the highest finite one for all above it."""
    return quantile(1, histogram, by, where)


def peak(gauge: str, by: str = "", where: str = "") -> str:
    """The largest of what was seen between two points."""
    return _over("max", by, f"max_over_time({select(gauge, where)}{WINDOW})")


def _over(operator: str, by: str, vector: str) -> str:
    return f"{operator} by ({by}) ({vector})" if by else f"{operator}({vector})"
