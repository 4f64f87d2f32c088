"""Times as they are shown: RFC 3339, UTC, milliseconds. Everywhere else they are Millis."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from falcon.domain.ids import Millis

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LAST: Final = (datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


@lru_cache(maxsize=4096)
def _seconds(epoch_seconds: int) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat()[:19]


@lru_cache(maxsize=4096)
def rfc3339(at: Millis) -> str:
    """``2026-11-25T09:30:00.123Z``."""
    seconds, millis = divmod(at, 1000)
    return f"{_seconds(seconds)}.{millis:03d}Z"


def parse_rfc3339(text: str) -> Millis:
    """Raises ValueError for anything but a time of RFC 3339 in the years 1 to 9999 of UTC. What is finer than
    milliseconds is cut off."""
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone, as in 2026-11-25T09:30:00.123Z")
    at = (moment - _EPOCH) // timedelta(milliseconds=1)
    if not _FIRST <= at <= _LAST:
        raise ValueError("a time must be in the years 1 to 9999 of UTC")
    return at
