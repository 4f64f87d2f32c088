"""The words of texts and of what is asked for. The same rules make the terms of every index.

A text is a row of *units*: words, and runs of kanji and kana. Case and width do not matter. A word matches a word, a
part of a run matches the run. An index keeps tokens without knowing these rules, in their order: a word is one, and a
run is its characters with each pair between its two. So a part of a run is a row of tokens, as a phrase is.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

TERMS_MAX: Final = 10  # of a query: more than a person types, and each is a look-up in the index
QUERY_CHARS_MAX: Final = 200  # a long sentence
_WORD_CHARS_MAX: Final = 64  # the rest of a longer word is not looked at: stores have bounds, and people do not type it

# Signs of repetition and length are part of a run. A middle dot is not.
_KANA: Final = "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
_RUN: Final = f"\u3005-\u3007{_KANA}\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Signs on a letter belong to its word: vowels of Hindi and Thai, accents without a letter of their own.
_MARKS: Final = "".join(
    each for each in map(chr, (*range(0x300, 0x1B00), 0x3099, 0x309A)) if unicodedata.category(each)[0] == "M"
)
_words: Final = re.compile(f"[\\w{_MARKS}]+")
_units: Final = re.compile(f"[{_RUN}]+|[^{_RUN}]+")
_run: Final = re.compile(f"[{_RUN}]")
# A quote, or what stands between two spaces. Both may be excluded.
_asked: Final = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')
_QUOTES: Final = str.maketrans("“”„«»", '"""""')


class Term(NamedTuple):
    """``units``: neighbours, in this order; the outer ones, if they are runs, may be parts of longer ones. ``prefix``:
    the only unit, a word, begins a word."""

    units: tuple[str, ...]
    prefix: bool = False
    excluded: bool = False


class WrongQuery(ValueError):
    """The message says which rule is broken."""


def folded(text: str) -> str:
    """The text in a form that is the same for both cases and all widths."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def units_of(folded_text: str) -> list[str]:
    units = list[str]()
    for word in _words.findall(folded_text.replace("_", " ")):
        if word.isascii():
            units.append(word[:_WORD_CHARS_MAX])
        else:
            units += [each if _run.match(each) else each[:_WORD_CHARS_MAX] for each in _units.findall(word)]
    return units


def tokens_of(text: str) -> list[str]:
    """The tokens that an index keeps of a text."""
    tokens = list[str]()
    for unit in units_of(folded(text)):
        if unit.isascii() or not _run.match(unit):
            tokens.append(unit)
        else:
            tokens += _tokens_of_run(unit)
    return tokens


def _tokens_of_run(run: str) -> list[str]:
    tokens, last = list[str](), run[0]
    for each in run[1:]:
        tokens += last, last + each
        last = each
    tokens.append(last)
    return tokens


def tokens_of_term(term: Term) -> list[str]:
    """Tokens that stand beside one another in a text that has the term. Of a prefix the last one is a beginning."""
    tokens = list[str]()
    for place, unit in enumerate(term.units):
        if not _run.match(unit):
            tokens.append(unit)
            continue
        of_run = _tokens_of_run(unit)
        if len(of_run) > 1:  # a pair stands for its characters, but where the run must begin or end
            of_run = of_run[place == 0 : len(of_run) - (place == len(term.units) - 1)]
        tokens += of_run
    return tokens


# --- queries ----------------------------------------------------------------------------------------------------------


def parse(q: str) -> tuple[Term, ...]:
    """Words, "phrases", prefix*, -not. What has no space is a phrase, too: a date, a word beside Japanese. Raises
    WrongQuery."""
    if not 1 <= len(q) <= QUERY_CHARS_MAX:
        raise WrongQuery(f"must have 1 to {QUERY_CHARS_MAX} characters")
    terms = list(dict.fromkeys(_parsed(folded(q).translate(_QUOTES))))
    if len(terms) > TERMS_MAX:
        raise WrongQuery(f"must have at most {TERMS_MAX} terms")
    if not terms:
        raise WrongQuery("must have a word")
    if all(term.excluded for term in terms):
        raise WrongQuery("must have a term that is not excluded")
    return tuple(terms)


def _parsed(q: str) -> Iterator[Term]:
    for each in _asked.finditer(q):
        minus, quoted, plain = each.groups()
        units = units_of(quoted if plain is None else plain)
        if plain is not None and plain.endswith("*") and units and not _run.match(units[-1]):
            yield Term((units.pop(),), prefix=True, excluded=bool(minus))
        if units:
            yield Term(tuple(units), excluded=bool(minus))


# --- without an index -------------------------------------------------------------------------------------------------


def matches(terms: Iterable[Term], text: str) -> bool:
    """The meaning of a query: every index finds the texts for which this is true."""
    units = units_of(folded(text))
    return all(any(_stands_at(term, units, at) for at in range(len(units))) != term.excluded for term in terms)


def spans_of(term: Term, folded_text: str) -> Iterator[tuple[int, int]]:
    """The places where a folded text has the term, each from its start to its end."""
    placed = [
        (word.start() + unit.start(), unit.group())
        for word in _words.finditer(folded_text.replace("_", " "))
        for unit in _units.finditer(word.group())
    ]
    units = [unit if _run.match(unit) else unit[:_WORD_CHARS_MAX] for _, unit in placed]
    last = len(term.units) - 1
    for at in range(len(units)):
        if not _stands_at(term, units, at):
            continue
        (first_at, first), (last_at, ending) = placed[at], placed[at + last]
        if last or not _run.match(first):
            start = first_at + len(first) - len(term.units[0]) if last and _run.match(first) else first_at
            yield start, last_at + (len(term.units[-1]) if _run.match(ending) else len(ending))
            continue
        inside = first.find(term.units[0])
        while inside >= 0:
            yield first_at + inside, first_at + inside + len(term.units[0])
            inside = first.find(term.units[0], inside + len(term.units[0]))


def _stands_at(term: Term, units: Sequence[str], at: int) -> bool:
    there = units[at : at + len(term.units)]
    last = len(term.units) - 1
    return len(there) > last and all(
        _fits(wanted, unit, first=place == 0, last=place == last, prefix=term.prefix)
        for place, (wanted, unit) in enumerate(zip(term.units, there, strict=True))
    )


def _fits(wanted: str, unit: str, *, first: bool, last: bool, prefix: bool) -> bool:
    if not _run.match(wanted):
        return unit.startswith(wanted) and not _run.match(unit) if prefix else unit == wanted
    if first and last:
        return wanted in unit
    return unit.endswith(wanted) if first else unit.startswith(wanted) if last else unit == wanted
