"""Pages of lists in the order of a number, which a page's cursor is."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from falcon.http.problems import wrong_cursor
from falcon.http.requests import identity
from falcon.http.shapes import ListQuery

R = TypeVar("R")


def start_of(query: ListQuery) -> int:
    """The number after which the page begins. Raises Problem 422."""
    return 0 if query.cursor is None else identity(query.cursor, wrong_cursor)


def page_of(rows: Sequence[R], limit: int, number: Callable[[R], int]) -> tuple[Sequence[R], str | None]:
    """The page and its ``next_cursor``. If ``rows`` are more than ``limit``, another page follows."""
    page = rows[:limit]
    return page, str(number(page[-1])) if len(rows) > limit else None
