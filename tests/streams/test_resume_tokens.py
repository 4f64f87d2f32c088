"""A resume token says how far a stream has got, and nothing that is none is taken for one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.streams.resume_tokens import ResumeToken, WrongToken, decode, encode

LOG = "a log"

offsets = st.dictionaries(st.integers(0, 5_000), st.integers(0, 2**53), max_size=70)
places = st.tuples(st.integers(0, 80), st.integers(0, 2**53))


@given(st.text(max_size=40), offsets)
def test_a_token_says_how_far_each_segment_has_got(log: str, offsets: dict[int, int]) -> None:
    assert decode(log, encode(log, offsets)) == offsets


@given(offsets)
def test_a_token_can_stand_in_a_header_and_in_a_query(offsets: dict[int, int]) -> None:
    text = encode(LOG, offsets)
    assert text.isascii() and text.replace("-", "").replace("_", "").isalnum()


@given(offsets, st.lists(places, max_size=40))
def test_a_token_that_is_kept_up_to_date_is_as_one_made_anew(
    offsets: dict[int, int], moves: list[tuple[int, int]]
) -> None:
    token = ResumeToken(LOG, offsets)
    expected = dict(offsets)
    for segment, offset in moves:
        token.move(segment, offset)
        expected[segment] = offset
        assert token.text() == encode(LOG, expected)


@given(offsets, st.integers(0, 80))
def test_a_segment_that_is_dropped_is_in_it_no_more(offsets: dict[int, int], segment: int) -> None:
    token = ResumeToken(LOG, offsets)
    token.drop(segment)
    assert token.text() == encode(LOG, {each: offset for each, offset in offsets.items() if each != segment})


@given(offsets)
def test_a_token_of_another_log_is_refused(offsets: dict[int, int]) -> None:
    with pytest.raises(WrongToken):
        decode("another log", encode(LOG, offsets))


@given(st.dictionaries(st.integers(0, 80), st.integers(0, 2**40), min_size=1, max_size=5), st.data())
def test_a_token_that_was_cut_or_changed_is_refused(offsets: dict[int, int], data: st.DataObject) -> None:
    text = encode(LOG, offsets)
    at = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(WrongToken):
        decode(LOG, text[:at])
    other = data.draw(st.sampled_from("ABCXYZabcxyz0189"))
    changed = text[:at] + other + text[at + 1 :]
    if bytes_of(changed) != bytes_of(text):  # the last character may have bits that say nothing
        with pytest.raises(WrongToken):
            decode(LOG, changed)


def bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@given(st.text(max_size=200))
def test_anything_else_is_refused_and_breaks_nothing(text: str) -> None:
    with pytest.raises(WrongToken):
        decode(LOG, text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "=", "====", "é", "☕" * 50, "A" * 64, "A" * 70_000, "\0", "AQ==", "AQAAAAA\n"],
    ids=lambda text: ascii(text[:12]),
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(WrongToken):
        decode(LOG, text)


def test_numbers_beyond_all_offsets_are_refused() -> None:
    with pytest.raises(WrongToken):
        decode(LOG, encode(LOG, {0: 2**70}))


def test_a_token_of_a_thousand_segments_fits_where_it_has_to() -> None:
    assert len(encode(LOG, dict.fromkeys(range(1000), 2**34))) < 16_384
