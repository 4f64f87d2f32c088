"""Texts are found by words, and by parts of runs of kanji and kana."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.features.search.terms import Term, WrongQuery, matches, parse, tokens_of, tokens_of_term

LINE = "次の会議は15時、Cafe Ａｎｎａで snake_case"


@pytest.mark.parametrize(
    "q",
    [
        *("会議", "議", "次の会議は", "15", "15時", "会議は15時", '"15時 cafe"', "cafe", "CAFE"),
        *("anna", "ＡＮＮＡ", "で", "caf*", "Annaで", "会議 anna -tea", "snake", "snake_case", "snake-ca*", "議*"),
        *('-"cafe 15" 時', "“cafe anna”", "会議　anna", '"cafe anna'),
    ],
)
def test_the_line_is_found(q: str) -> None:
    assert matches(parse(q), LINE)


@pytest.mark.parametrize(
    "q", ["会次", "議会", "caf", "5", "ann", "ケーキ", '"anna cafe"', "時cafe会", "会議 -anna", "かいぎ", "1*5", "afe*"]
)
def test_the_line_is_not_found(q: str) -> None:
    assert not matches(parse(q), LINE)


def test_hiragana_and_katakana_differ() -> None:
    assert not matches(parse("カナ"), "かな")
    assert matches(parse("カナ"), "ｶﾅ")


def test_a_run_ends_at_a_space() -> None:
    assert not matches(parse("会議"), "会 議")
    assert matches(parse('"会 議"'), "会 議")


@pytest.mark.parametrize(
    ("q", "rule"),
    [
        ("", "1 to 200 characters"),
        ("a" * 201, "1 to 200 characters"),
        (" ".join("abcdefghijk"), "at most 10 terms"),
        ("-tea -会議", "not excluded"),
        ("🎉 !", "a word"),
    ],
)
def test_queries_that_ask_nothing_or_too_much_are_refused(q: str, rule: str) -> None:
    with pytest.raises(WrongQuery, match=rule):
        parse(q)


_ALPHABET = st.text("会議のカー" + "ab1" + ' 、-_"*', min_size=1, max_size=12)


@given(text=_ALPHABET, q=_ALPHABET)
def test_tokens_find_what_the_text_has(text: str, q: str) -> None:
    """An index compares tokens only."""
    try:
        terms = parse(q)
    except WrongQuery:
        return
    assert all(_has(tokens_of(text), term) for term in terms) == matches(terms, text)


def _has(tokens: list[str], term: Term) -> bool:
    *first, last = tokens_of_term(term)
    rows = (tokens[at : at + len(first) + 1] for at in range(len(tokens)))
    found = any(
        len(row) > len(first) and row[:-1] == first and (row[-1].startswith(last) if term.prefix else row[-1] == last)
        for row in rows
    )
    return found != term.excluded


@given(text=st.text())
def test_every_text_has_tokens_without_spaces_and_colons(text: str) -> None:
    assert all(token and not set(token) & set(" :") and len(token) <= 64 for token in tokens_of(text))
