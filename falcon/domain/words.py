"""Words of names, as people are looked for by them: case, width and kana do not matter."""

import unicodedata
from typing import Final

# Each katakana letter has its hiragana at the same distance: small a to small ke, and the two iteration marks.
_HIRAGANA: Final = {code: code - 0x60 for code in (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)}
_SEPARATORS: Final = ("Z", "P", "S", "C")  # categories of Unicode: space, punctuation, symbols, control


def folded(text: str) -> str:
    """The text in a form that is the same for all ways to write it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_HIRAGANA)


def words_of(text: str) -> tuple[str, ...]:
    """The folded words of a text, each once. A text of symbols alone is a word, so that it can be found."""
    spaced = "".join(" " if unicodedata.category(each).startswith(_SEPARATORS) else each for each in folded(text))
    return tuple(dict.fromkeys(spaced.split())) or tuple(dict.fromkeys(folded(text).split()))


def longest_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words, each once, without words that others begin with: what begins the one begins the other, too."""
    return tuple(
        word for word in dict.fromkeys(words) if not any(each != word and each.startswith(word) for each in words)
    )


def begin_words(wanted: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Returns True if each wanted word begins one of the words."""
    return all(any(word.startswith(each) for word in words) for each in wanted)
