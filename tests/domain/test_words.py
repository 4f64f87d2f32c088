"""Names are found by the beginnings of their words, however they are written."""

import pytest

from falcon.domain.words import begin_words, folded, longest_words, words_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann", "ANN"),
        ("Ａｎｎ", "ann"),
        ("ﾀﾅｶ", "たなか"),
        ("タナカ", "たなか"),
        ("ガギグ", "がぎぐ"),
        ("ｶﾞｷﾞ", "がぎ"),
        ("ヴァヽヾ", "ゔぁゝゞ"),
        ("Straße", "STRASSE"),
        ("e\u0301", "é"),
        ("Å", "\u212b"),
    ],
)
def test_case_width_and_kana_do_not_matter(one: str, other: str) -> None:
    assert folded(one) == folded(other)


def test_accents_and_kanji_matter() -> None:
    assert folded("é") != folded("e")
    assert folded("田中") != folded("たなか")


def test_a_name_has_words_between_spaces_and_punctuation() -> None:
    assert words_of("Anne-Marie  O'Neil") == ("anne", "marie", "o", "neil")
    assert words_of("ジョン・スミス") == ("じょん", "すみす")
    assert words_of("田中\u3000花子") == ("田中", "花子")
    assert words_of("ann.b_c-d") == ("ann", "b", "c", "d")
    assert words_of("रमेश कुमार") == ("रमेश", "कुमार"), "a vowel sign is part of a word"
    assert words_of("Ann ANN") == ("ann",)


def test_a_name_of_symbols_is_a_word() -> None:
    assert words_of("★☆ ♪") == ("★☆", "♪")
    assert words_of("  ") == ()


def test_each_wanted_word_begins_a_word() -> None:
    words = words_of("Taro Suzuki")
    assert begin_words(("ta", "suz"), words)
    assert not begin_words(("aro",), words)
    assert not begin_words(("ta", "sato"), words)


def test_a_word_that_another_begins_with_says_nothing_more() -> None:
    assert longest_words(("t", "taro", "ta", "su")) == ("taro", "su")
