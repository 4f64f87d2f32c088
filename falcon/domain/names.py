"""Rules for names of accounts and rooms: none looks like another, or hides the text around it."""

import re
import unicodedata
from typing import Final

from falcon.domain.limits import NAME_CHARS_MAX

# Controls and line breaks; and what turns the direction of the text around it: embeddings, overrides and isolates.
_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Separators, controls, formats and marks, which show nothing by themselves.
_UNSEEN: Final = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Me"})
# Letters and symbols that are blank: the fillers of Hangul, and Braille without a dot.
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_REPLACEMENT: Final = "\ufffd"


def normalized(name: str) -> str:
    """Names that look the same are the same: NFC."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def broken_rule(name: str) -> str | None:
    """The rule that a normalized name breaks; None for a good one."""
    if not 1 <= len(name) <= NAME_CHARS_MAX:
        return f"must have 1 to {NAME_CHARS_MAX} characters"
    if _FORBIDDEN.search(name):
        return "must have no control characters, and none that change the direction of text"
    if not any(_is_seen(character) for character in name):
        return "must have a character that can be seen"
    return None


def cleaned(name: str) -> str:
    """An imported name with what is wrong in it replaced: an import refuses no name."""
    name = _FORBIDDEN.sub(_REPLACEMENT, normalized(name))[:NAME_CHARS_MAX]
    return name if not name or any(_is_seen(character) for character in name) else _REPLACEMENT


def _is_seen(character: str) -> bool:
    return character not in _BLANK and unicodedata.category(character) not in _UNSEEN
