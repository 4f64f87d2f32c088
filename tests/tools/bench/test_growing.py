"""The growth suite: each term is measured at its smallest sizes, and growth that comes back is told."""

import logging
from collections.abc import Iterator
from typing import Final

import pytest

from tools.bench.growing.alone import measured_alone
from tools.bench.growing.suite import SUITE, TERMS
from tools.bench.growing.term import Bound, Figures, Measured, Term, judged, number

# Terms that Falcon does not meet yet: their growth is known, and takes the changes that docs/benchmarks.md names.
_UNMET: Final = {"feed"}


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Tables of a fake HBase lack regions, which is no news."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def a_term(*bounds: Bound) -> Term:
    return Term(
        name="tea",
        title="A tea kitchen",
        unit="cups",
        sizes=(1, 10, 100),
        short=(1,),
        measure=lambda cups: {"calls": cups},
        bounds=bounds,
        note="",
    )


def measured(one: float, ten: float, hundred: float) -> Measured:
    return {1: {"calls": one}, 10: {"calls": ten}, 100: {"calls": hundred}}


@pytest.mark.parametrize("name", TERMS)
def test_each_term_is_measured_and_its_counts_are_within_their_bounds(name: str) -> None:
    term = TERMS[name]
    figures: dict[int, Figures] = {size: term.measure(size) for size in term.short}
    section = term.section(figures)
    assert len(section.tables[0].rows) == len(term.short)
    counted = {bound.figure for bound in term.bounds if bound.is_counted}
    missed = [each for each in section.targets if not each.met and any(figure in each.what for figure in counted)]
    assert missed == [] or name in _UNMET


def test_the_worst_size_is_judged_so_growth_in_between_is_seen_as_well() -> None:
    (target,) = judged(a_term(Bound("calls", 4)), measured(1, 5, 2))
    assert (target.what, target.found, target.met) == ("A tea kitchen: calls with 10 cups", "5", False)


def test_a_bound_may_be_for_the_smallest_or_the_largest_size_alone() -> None:
    term = a_term(Bound("calls", 4, at="smallest"), Bound("calls", 4, at="largest"))
    assert [target.met for target in judged(term, measured(3, 9, 5))] == [True, False]


def test_the_suite_fails_when_a_bound_is_exceeded() -> None:
    assert SUITE.must_hold
    assert not a_term(Bound("calls", 0)).section(measured(0, 0, 1)).targets[0].met


def test_a_process_of_its_own_measures_each_size() -> None:
    assert measured_alone("resume_tokens", 16) == TERMS["resume_tokens"].measure(16)


def test_figures_keep_three_digits_that_count() -> None:
    assert [number(each) for each in (0, 3, 0.0123, 4.567, 123.4, 1_048_576)] == [
        *("0", "3", "0.0123", "4.57", "123", "1,048,576"),
    ]
