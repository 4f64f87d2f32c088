"""A resume token says how far a stream has got, and nothing that is none is taken for one."""

import base64
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.streams.cuts import Cut
from falcon.streams.resume_tokens import (
    LENGTH_MAX,
    Reference,
    ResumeToken,
    StartOf,
    WrongToken,
    cuts_named,
    decode,
    encode,
    parse,
)
from falcon.streams.starts import Start
from tools.harness.memory.starts import MemoryStarts

LOG = "a log"

offsets = st.dictionaries(st.integers(0, 5_000), st.integers(0, 2**53), max_size=70)
places = st.tuples(st.integers(0, 80), st.integers(0, 2**53))
SEGMENTS = 70
checks = st.integers(0, 2**32 - 1)


@st.composite
def cut_of(draw: st.DrawFn, numbers: st.SearchStrategy[int]) -> Cut:
    offsets = st.lists(st.integers(0, 2**45), min_size=SEGMENTS, max_size=SEGMENTS)
    return Cut(draw(numbers), draw(offsets), draw(checks))


@st.composite
def references(draw: st.DrawFn) -> Reference:
    cut = draw(cut_of(st.integers(100, 2**40)))
    if draw(st.booleans()):
        return Reference(cut)
    return Reference(cut, draw(cut_of(st.integers(0, 99))), draw(st.integers(0, SEGMENTS)))


@st.composite
def near(draw: st.DrawFn, reference: Reference) -> dict[int, int]:
    moves = draw(st.dictionaries(st.integers(0, SEGMENTS - 1), st.integers(-5, 2**30), max_size=SEGMENTS))
    return {segment: max(0, offset + moves.get(segment, 0)) for segment, offset in enumerate(reference.offsets)}


def known(reference: Reference) -> dict[int, Cut]:
    return {cut.number: cut for cut in (reference.cut, reference.older) if cut is not None}


@given(st.text(max_size=40), offsets)
def test_a_token_says_how_far_each_segment_has_got(log: str, offsets: dict[int, int]) -> None:
    assert decode(log, encode(log, offsets)).offsets == offsets


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


def test_a_token_with_padding_is_refused() -> None:
    text = encode(LOG, {0: 1, 1: 200})
    assert len(text) % 4
    with pytest.raises(WrongToken):
        decode(LOG, text + "=" * (-len(text) % 4))


# --- starts -----------------------------------------------------------------------------------------------------------

histories = st.dictionaries(st.integers(0, 80), st.dictionaries(st.integers(0, 2**53), st.integers(1, 2**32 - 1)))


def starts_of(history: dict[int, dict[int, int]]) -> MemoryStarts:
    starts = MemoryStarts()
    for segment, of_segment in history.items():
        for begin, number in of_segment.items():
            starts.add(segment, Start(begin, number))
    return starts


@given(offsets, histories, st.lists(places, max_size=40))
def test_a_token_goes_on_over_any_starts(
    offsets: dict[int, int], history: dict[int, dict[int, int]], moves: list[tuple[int, int]]
) -> None:
    number = starts_of(history).number
    token = ResumeToken(LOG, offsets, start_of=number)
    expected = dict(offsets)
    for segment, offset in moves:
        token.move(segment, offset)
        expected[segment] = offset
        assert token.text() == encode(LOG, expected, start_of=number)
    assert decode(LOG, token.text(), start_of=number).offsets == expected


@given(offsets.filter(bool), histories, st.data())
def test_a_place_behind_the_beginning_of_another_start_is_refused(
    offsets: dict[int, int], history: dict[int, dict[int, int]], data: st.DataObject
) -> None:
    lost = encode(LOG, offsets, start_of=starts_of(history).number)
    segment = data.draw(st.sampled_from(sorted(offsets)))
    begin, now = data.draw(st.integers(0, 2**53)), starts_of(history)
    now.add(segment, Start(begin, data.draw(st.integers(1, 2**32 - 1))))
    if now.number(segment, offsets[segment]) == starts_of(history).number(segment, offsets[segment]):
        assert decode(LOG, lost, start_of=now.number).offsets == offsets
    else:
        with pytest.raises(WrongToken):
            decode(LOG, lost, start_of=now.number)


@given(st.data(), cut_of(st.integers(0, 99)), cut_of(st.integers(100, 200)), histories)
def test_a_cut_speaks_for_the_starts_before_its_own_places(
    data: st.DataObject, older: Cut, newer: Cut, history: dict[int, dict[int, int]]
) -> None:
    """The others are those of the token."""
    number = starts_of(history).number
    offsets = data.draw(near(Reference(older)))
    token = ResumeToken(LOG, offsets, Reference(older), number)
    cuts = {older.number: older, newer.number: newer}
    token.begin_pass(newer)
    for segment in sorted(data.draw(st.sets(st.integers(0, SEGMENTS - 1)))):
        offsets[segment] = data.draw(st.one_of(st.integers(0, 2**45), st.just(newer.offsets[segment])))
        token.move(segment, offsets[segment])
        token.pass_over(segment)
        claim = parse(token.text(), cuts)
        assert claim.checked(LOG, number).offsets == offsets
        assert claim.place.reference is not None
        zeros = claim.place.reference.offsets
        other = {each: offset for each, offset in offsets.items() if offset != zeros[each]}
        assert claim.news == other
        for lost in list(other)[:2]:
            with pytest.raises(WrongToken):
                claim.checked(LOG, partial(_another_in, lost, number))


def _another_in(lost: int, number: StartOf, segment: int, offset: int) -> int:
    return number(segment, offset) ^ (segment == lost)


@pytest.mark.parametrize("text", ["AQAFA9g2MJIOSA", "AgkwAKCAgILm-A", "AwkFAVAC_ECuXclV"])
def test_a_token_of_the_release_before_is_good(text: str) -> None:
    cuts = {9: Cut(9, [10, 20, 30], 77), 4: Cut(4, [1, 2, 3], 5)}
    expected = {0: 5, 3: 7_000} if text.startswith("AQ") else {0: 11, 1: 20, 2: 35}
    assert decode(LOG, text, cuts, start_of=lambda segment, offset: 1_234).offsets == expected


# --- with cuts --------------------------------------------------------------------------------------------------------


@given(st.data(), references())
def test_a_token_that_names_cuts_says_how_far_each_segment_has_got(data: st.DataObject, reference: Reference) -> None:
    offsets = data.draw(near(reference))
    text = encode(LOG, offsets, reference)
    assert set(cuts_named(text)) == known(reference).keys()
    assert decode(LOG, text, known(reference)) == (offsets, reference)


@given(st.data(), references())
def test_a_segment_without_an_offset_has_got_as_far_as_the_cut(data: st.DataObject, reference: Reference) -> None:
    offsets = data.draw(near(reference))
    some = {segment: offset for segment, offset in offsets.items() if segment % 3}
    expected = dict(enumerate(reference.offsets)) | some
    assert decode(LOG, encode(LOG, some, reference), known(reference)).offsets == expected


@given(st.data(), cut_of(st.integers(0, 99)), cut_of(st.integers(100, 200)))
def test_on_the_way_from_one_cut_to_another_each_token_is_right(data: st.DataObject, older: Cut, newer: Cut) -> None:
    offsets = data.draw(near(Reference(older)))
    token = ResumeToken(LOG, offsets, Reference(older))
    token.begin_pass(newer)
    for segment in sorted(data.draw(st.sets(st.integers(0, SEGMENTS - 1)))):
        for offset in sorted(data.draw(st.lists(st.integers(0, 2**45), max_size=3))):
            token.move(segment, offset)
            offsets[segment] = offset
            assert token.reference is not None
            assert decode(LOG, token.text(), {older.number: older, newer.number: newer}) == (offsets, token.reference)
        token.pass_over(segment)
        assert decode(LOG, token.text(), {older.number: older, newer.number: newer}).offsets == offsets
    token.end_pass()
    assert decode(LOG, token.text(), {newer.number: newer}) == (offsets, Reference(newer))


@given(st.data(), references(), checks)
def test_a_token_that_means_another_cut_of_that_number_is_refused(
    data: st.DataObject, reference: Reference, check: int
) -> None:
    """The topic of the cuts was made again."""
    text = encode(LOG, data.draw(near(reference)), reference)
    if check != reference.cut.check:
        another = Cut(reference.cut.number, reference.cut.offsets, check)
        with pytest.raises(WrongToken):
            decode(LOG, text, known(reference) | {another.number: another})
    with pytest.raises(WrongToken):
        decode("another log", text, known(reference))
    with pytest.raises(WrongToken):
        decode(LOG, text, {})


@pytest.mark.parametrize(("segments", "events"), [(64, 400), (256, 40), (1_024, 20)])
def test_a_token_with_a_near_cut_is_short_in_a_log_of_any_age(segments: int, events: int) -> None:
    cut = Cut(2**32, [2**50 + segment for segment in range(segments)], 7)
    offsets = {segment: offset + events // segments for segment, offset in enumerate(cut.offsets)}
    for event in range(events % segments):
        offsets[event * 997 % segments] += 1
    assert len(encode(LOG, offsets, Reference(cut))) <= LENGTH_MAX
