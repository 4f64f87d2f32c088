"""Every input of a parser is taken or refused, and nothing else happens. ``make fuzz`` tries millions."""

import os
import random
from typing import Final

import pytest

from tests.support.volume import volume
from tools.fuzz.inputs import inputs
from tools.fuzz.parsers import PARSERS, Parser

COUNT: Final = int(volume("FALCON_FUZZ", 40_000)) // len(PARSERS)
SEED: Final = os.environ.get("FALCON_FUZZ_SEED", "1")


@pytest.mark.parametrize("name", PARSERS)
def test_every_parser_takes_or_refuses_its_input(name: str) -> None:
    parser = PARSERS[name]
    assert all(_is_taken(parser, good) for good in parser.seeds)
    taken = sum(_is_taken(parser, data) for data in inputs(parser.seeds, COUNT, random.Random(f"{SEED} {name}")))
    assert 0 < taken < COUNT


def _is_taken(parser: Parser, data: bytes) -> bool:
    try:
        return parser.read(data) is not None
    except parser.refusals:
        return False
    except BaseException as error:
        error.add_note(f"seed {SEED}, input {data!r}")
        raise


def test_a_seed_gives_the_same_inputs_again() -> None:
    first, second = (list(inputs([b"a good one"], 1_000, random.Random(7))) for _ in range(2))
    assert first == second
    assert len(set(first)) > 500
