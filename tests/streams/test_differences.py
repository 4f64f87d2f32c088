"""Offsets are said by their differences to others, in few bytes if they are close."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.streams.differences import Differences, read
from falcon.streams.varints import Malformed

near = st.one_of(st.just(0), st.integers(-3, 20), st.integers(-2_000, 2_000), st.integers(-(2**40), 2**40))


@st.composite
def vectors(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Offsets to count from, and others."""
    segments = draw(st.integers(0, 90))
    zeros = draw(st.lists(st.integers(0, 2**45), min_size=segments, max_size=segments))
    of = draw(st.sampled_from([near, st.integers(0, 15), st.integers(40, 50), st.just(0)]))
    return zeros, [max(0, zero + draw(of)) for zero in zeros]


@given(vectors())
def test_offsets_are_read_as_they_were_written(given: tuple[list[int], list[int]]) -> None:
    zeros, offsets = given
    assert read(Differences(zeros, offsets).encoded(), zeros) == offsets


@given(vectors(), st.data())
def test_each_move_is_said(given: tuple[list[int], list[int]], data: st.DataObject) -> None:
    zeros, offsets = given
    kept = Differences(zeros, offsets)
    for _ in range(data.draw(st.integers(0, 40 if zeros else 0))):
        segment = data.draw(st.integers(0, len(zeros) - 1))
        if data.draw(st.integers(0, 3)):
            offsets[segment] = max(0, offsets[segment] + data.draw(near))
            kept.move(segment, offsets[segment])
        else:
            zeros[segment] = max(0, offsets[segment] - data.draw(near))
            kept.count_from(segment, zeros[segment])
        assert read(kept.encoded(), zeros) == offsets


@given(st.binary(max_size=60), vectors())
def test_other_bytes_are_refused_or_give_an_offset_for_each_segment(
    data: bytes, given: tuple[list[int], list[int]]
) -> None:
    zeros, _ = given
    try:
        offsets = read(data, zeros)
    except Malformed:
        return
    assert len(offsets) == len(zeros) and all(offset >= 0 for offset in offsets)


@pytest.mark.parametrize(
    ("segments", "moves", "most"),
    [(16, 1_000, 24), (64, 400, 36), (256, 50, 36), (1_024, 30, 36), (4_096, 20, 36)],
)
def test_few_bytes_say_what_has_moved(segments: int, moves: int, most: int) -> None:
    chance = random.Random(segments)
    zeros = [chance.randrange(2**36) for _ in range(segments)]
    for _ in range(20):
        offsets = list(zeros)
        for _ in range(moves):
            offsets[chance.randrange(segments)] += 1
        assert len(Differences(zeros, offsets).encoded()) <= most


def test_a_busy_segment_makes_the_others_no_longer() -> None:
    zeros = [2**36] * 64
    offsets = [zero + 1 for zero in zeros]
    alone = len(Differences(zeros, offsets).encoded())
    offsets[7] += 100_000
    assert len(Differences(zeros, offsets).encoded()) <= alone + 6
