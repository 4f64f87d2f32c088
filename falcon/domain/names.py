"""Rules for names of accounts and rooms: none looks like another, or hides the text around it."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from falcon.domain.limits import NAME_CHARS_MAX

# Controls and line breaks; and what turns the direction of the text around it: embeddings, overrides and isolates.
_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Separators, controls, formats and marks, which show nothing by themselves.
_UNSEEN: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Me"})
# Letters and symbols that are blank: the fillers of Hangul, and Braille without a dot.
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
# Marks that show nothing: a joiner of graphemes, vowels of Khmer, and selectors of Mongolian and of Han.
_HIDDEN_MARKS: Final = re.compile("[\u034f\u17b4\u17b5\u180b-\u180f\U000e0100-\U000e01ef]")
_VARIATIONS: Final = re.compile("[\ufe00-\ufe0f]")  # of the character before, which is a symbol
_JOINERS: Final = frozenset("\u200c\u200d")
_EMOJI: Final = ("So", "Sk")  # the categories of emoji, and of their colours of skin
_FLAG: Final = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,6}\U000e007f")  # of a part of a country, as tags
_VIRAMA: Final = 9  # its class of combination: a joiner after it chooses the form of an Indic letter
_MARKS_MAX: Final = 4  # in a row; Vietnamese and Hebrew need three
_MEANING: Final = re.compile("#[0-9]|@")  # at the beginning: an id, and a mention; many call a room #general
_REPLACEMENT: Final = "\ufffd"


def normalized(name: str) -> str:
    """Names that look the same are the same: NFC, without white space around them."""
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).strip()


def broken_rule(name: str) -> str | None:
    """The rule that a normalized name breaks; None for a good one."""
    if not 1 <= len(name) <= NAME_CHARS_MAX:
        return f"must have 1 to {NAME_CHARS_MAX} characters"
    for _, rule in _faults(name):
        return rule
    if not any(_is_seen(character) for character in name):
        return "must have a character that can be seen"
    return None


def cleaned(name: str) -> str:
    """An imported name with what is wrong in it replaced, or dropped if it shows nothing: an import refuses no name."""
    characters = list(normalized(_HIDDEN_MARKS.sub("", name))[:NAME_CHARS_MAX].strip())
    for place, _ in _faults("".join(characters)):
        characters[place] = _REPLACEMENT
    if not any(_is_seen(character) for character in characters):
        return _REPLACEMENT if name else name
    return "".join(characters)


def _faults(name: str) -> Iterator[tuple[int, str]]:
    """The place of each character that may not be there, and the rule that it breaks."""
    in_flags = {place for flag in _FLAG.finditer(name) for place in range(*flag.span())}
    marks = 0
    for place, character in enumerate(name):
        category = unicodedata.category(character)
        marks = marks + 1 if category.startswith("M") else 0
        before, after = name[place - 1 : place], name[place + 1 : place + 2]
        if _FORBIDDEN.match(character):
            yield place, "must have no control characters, and none that change the direction of text"
        elif place == 0 and _MEANING.match(name):
            yield place, "must not begin with @, or with # and a digit"
        elif marks > _MARKS_MAX:
            yield place, f"must have at most {_MARKS_MAX} combining marks in a row"
        elif (
            (category == "Cf" and place not in in_flags and not _joins(character, before, after))
            or _HIDDEN_MARKS.match(character)
            or (_VARIATIONS.match(character) and (not before or unicodedata.category(before)[0] in "LM"))
        ):
            yield place, "must have no characters that cannot be seen"


def _joins(character: str, before: str, after: str) -> bool:
    """True for a joiner between two emoji, between two Arabic letters, or after a virama."""
    if character not in _JOINERS or not before or not after:
        return False
    if unicodedata.combining(before) == _VIRAMA:
        return True
    if unicodedata.bidirectional(before) == unicodedata.bidirectional(after) == "AL":
        return True
    is_emoji = unicodedata.category(before) in _EMOJI or _VARIATIONS.match(before) is not None
    return is_emoji and unicodedata.category(after) in _EMOJI


def _is_seen(character: str) -> bool:
    return character not in _BLANK and unicodedata.category(character) not in _UNSEEN
