"""The part of a message that shows why it was found, with marks on the words that were asked for."""

import re
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple, TypeAlias

from falcon.features.search.terms import Term, folded, spans_of

Snippet: TypeAlias = list[tuple[str, bool]]  # pieces of the text in their order, and whether each one was asked for

_CHARS: Final = 160  # two lines
_CHARS_BEFORE: Final = 40  # of these: the words that lead to the first mark
_LOOKED_AT: Final = 5_000  # characters of a text in which marks are looked for: some 3 ms
# A character with the signs on it: only together are they folded. The last two are the voiced marks of half width.
_character: Final = re.compile("[\\s\\S][\u0300-\u036f\u3099\u309a\uff9e\uff9f]*")


class _Span(NamedTuple):
    start: int
    end: int


def snippet_of(text: str, terms: Collection[Term]) -> Snippet:
    marks = sorted(_marks(text[:_LOOKED_AT], [term for term in terms if not term.excluded]))
    start = max(0, marks[0].start - _CHARS_BEFORE) if marks else 0
    if len(text) - start < _CHARS:
        start = max(0, len(text) - _CHARS)
    if marks and marks[0].end - start > _CHARS:
        start = marks[0].start
    end = min(len(text), start + _CHARS)
    pieces: Snippet = [("…", False)] if start else []
    at = start
    for mark in marks:
        if mark.end > at and mark.start < end:
            pieces += [(text[at : mark.start], False), (text[max(at, mark.start) : min(end, mark.end)], True)]
            at = min(end, mark.end)
    pieces += [(text[at:end], False), ("…" if end < len(text) else "", False)]
    return _joined(pieces)


def _joined(pieces: Snippet) -> Snippet:
    """Neighbours of a kind are one piece."""
    joined: Snippet = []
    for text, is_hit in pieces:
        if joined and joined[-1][1] == is_hit:
            joined[-1] = joined[-1][0] + text, is_hit
        elif text:
            joined.append((text, is_hit))
    return joined


def _marks(text: str, terms: Collection[Term]) -> Iterator[_Span]:
    whole, places = _with_places(text)
    for term in terms:
        for start, end in spans_of(term, whole):
            yield _Span(places[start].start, places[end - 1].end)


def _with_places(text: str) -> tuple[str, list[_Span]]:
    """The folded text, and for each of its characters the place in the text that it comes from."""
    if text.isascii():
        return text.lower(), [_Span(at, at + 1) for at in range(len(text))]
    parts, places = list[str](), list[_Span]()
    for each in _character.finditer(text):
        part = folded(each.group())
        parts.append(part)
        places += [_Span(*each.span())] * len(part)
    return "".join(parts), places
