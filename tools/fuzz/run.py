"""Feeds parsers."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from tools.fuzz.inputs import inputs
from tools.fuzz.parsers import PARSERS, Parser


class Surprise(Exception):
    """A parser has raised what it may not raise, or took what it may not take."""


class Told(NamedTuple):
    parser: str
    taken: int
    refused: int


def fuzz(count: int, seed: int) -> Iterator[Told]:
    """``count``: for all parsers together. Raises Surprise."""
    for name, parser in PARSERS.items():
        for good in parser.seeds:
            if not _is_taken(name, parser, good):
                raise Surprise(f"{name}: the good input {good!r} was refused")
        chance = random.Random(f"{seed} {name}")
        each = -(-count // len(PARSERS))
        taken = sum(_is_taken(name, parser, data) for data in inputs(parser.seeds, each, chance))
        yield Told(name, taken, each - taken)


def _is_taken(name: str, parser: Parser, data: bytes) -> bool:
    try:
        return parser.read(data) is not None
    except parser.refusals:
        return False
    except Exception as error:
        raise Surprise(f"{name}: {data!r}: {error!r}") from error
