"""Short numbers with their units."""

from typing import Final

_NOTHING: Final = "–"


def seconds(value: float | None) -> str:
    if value is None:
        return _NOTHING
    if value >= 86_400:
        return f"{value / 86_400:,.1f} d"
    if value >= 3_600:
        return f"{value / 3_600:.1f} h"
    if value >= 100:
        return f"{value / 60:.1f} min"
    if value >= 0.9995:
        return f"{value:.1f} s"
    if value >= 0.00995:
        return f"{value * 1e3:.0f} ms"
    if value >= 0.0009995:
        return f"{value * 1e3:.1f} ms"
    return f"{value * 1e6:.0f} µs" if value else "0"


def rate(value: float) -> str:
    """A rate per second."""
    if value >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.05 else f"{value:.2f}" if value >= 0.005 else "0"


def share(value: float) -> str:
    percent = value * 100
    return f"{percent:.1f} %" if 0.05 <= percent < 9.95 else f"{percent:.0f} %"


def size(value: float) -> str:
    """An amount of memory."""
    return f"{value / 2**30:,.1f} GiB" if value >= 2**30 else f"{value / 2**20:,.0f} MiB"


def count(value: float) -> str:
    return f"{value:,.0f}"
