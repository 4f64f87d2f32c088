"""Every input is accepted or refused, and nothing else happens. ``make fuzz`` tries millions."""

import random
import sys

import pytest

from tools.fuzz.__main__ import main
from tools.fuzz.inputs import inputs
from tools.fuzz.parsers import PARSERS
from tools.fuzz.run import Surprise, fuzz


def test_every_parser_takes_or_refuses_its_input() -> None:
    for told in fuzz(40_000, seed=1):
        assert told.taken and told.refused, f"{told}"


def test_an_input_that_is_neither_taken_nor_refused_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> int:
        return 1 // (len(data) % 50)

    monkeypatch.setitem(PARSERS, "token", PARSERS["token"]._replace(read=broken))
    with pytest.raises(Surprise, match=r"token: b'.*ZeroDivisionError"):
        list(fuzz(40_000, seed=1))


def test_what_was_tried_before_a_surprise_is_shown_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, before, last = PARSERS
    monkeypatch.setitem(PARSERS, last, PARSERS[last]._replace(read=lambda data: 1 // 0))
    monkeypatch.setattr(sys, "argv", ["tools.fuzz", "--count", "1000", "--seed", "1"])
    assert main() == 1
    shown = capsys.readouterr().out
    assert f"seed 1: {last}: " in shown and before in shown


def test_a_seed_gives_the_same_inputs_again() -> None:
    first, second = (list(inputs([b"a good one"], 1_000, random.Random(7))) for _ in range(2))
    assert first == second
    assert len(set(first)) > 500
