"""Consecutive messages, as many as fit into a page."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from falcon.domain.ids import Seq

PAGE_BYTES_MAX: Final = 1 << 20  # of an answer that contains a list
ITEMS_BYTES_MAX: Final = PAGE_BYTES_MAX - 1_024  # of the list's items, with the commas between


class MessageRange(NamedTuple):
    """``messages``: each as JSON, ascending; the first one is message ``first``.

    ``truncated``: not all that was asked for did fit.
    """

    first: Seq
    messages: list[bytes]
    truncated: bool = False

    @property
    def last(self) -> Seq:
        return self.first + len(self.messages) - 1


def fit_range(first: Seq, messages: Iterable[bytes], bytes_max: int) -> MessageRange:
    """The first of these messages, which ascend from ``first`` on."""
    found, truncated = fit(messages, bytes_max)
    return MessageRange(first, found, truncated)


def fit_range_back(last: Seq, messages: Iterable[bytes], bytes_max: int) -> MessageRange:
    """The last of these messages, which descend from ``last`` on."""
    found, truncated = fit(messages, bytes_max)
    found.reverse()
    return MessageRange(last - len(found) + 1, found, truncated)


def fit(messages: Iterable[bytes], bytes_max: int) -> tuple[list[bytes], bool]:
    """The messages up to the first that does not fit, but at least one; and whether one did not fit. Takes no more than
    that one from ``messages``."""
    found: list[bytes] = []
    left = bytes_max
    for message in messages:
        left -= len(message) + 1
        if left < 0 and found:
            return found, True
        found.append(message)
    return found, False
