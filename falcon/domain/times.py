"""Times as the API writes them: RFC 3339, UTC, milliseconds."""

from datetime import UTC, datetime
from functools import lru_cache

from falcon.domain.ids import Millis


@lru_cache(maxsize=4096)
def _seconds(epoch_seconds: int) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339(at: Millis) -> str:
    """``2026-11-25T09:30:00.123Z``."""
    seconds, millis = divmod(at, 1000)
    return f"{_seconds(seconds)}.{millis:03d}Z"


def parse_rfc3339(text: str) -> Millis:
    """Raises ValueError for anything but a time with a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone, as in 2026-11-25T09:30:00.123Z")
    return round(moment.timestamp() * 1000)
