"""A read model takes each event that it makes writes of: a commit on one machine gives it nothing else."""

import ast
import inspect
import itertools
import textwrap
from collections import defaultdict
from typing import Any, get_args

import msgspec
import pytest

from falcon.features.catalogue import Event
from falcon.journal.envelope import Recorded
from falcon.read.catalogue import READ_MODELS
from tests.history.samples import SAMPLES

_EVENTS = {type(each.event): each for each in SAMPLES.values()}


def _values() -> dict[str, list[Any]]:
    """By field, all values of the samples, and others that a condition may ask for."""
    found: dict[str, list[Any]] = defaultdict(list)
    for envelope in SAMPLES.values():
        for name in envelope.event.__struct_fields__:
            value = getattr(envelope.event, name)
            more = [not value] if isinstance(value, bool) else [0, 1, None] if isinstance(value, int) else []
            found[name] += [each for each in (value, *more) if each not in found[name]]
    return found


def _variants(event: Any, values: dict[str, list[Any]]) -> Any:
    """The event with each one, and each two, of its fields as they are elsewhere."""
    fields = event.__struct_fields__
    for one, other in itertools.combinations_with_replacement(fields, 2):
        for first, second in itertools.product(values[one][:6], values[other][:6]):
            yield msgspec.structs.replace(event, **{one: first, other: second})


@pytest.mark.parametrize("name", READ_MODELS)
def test_a_read_model_makes_nothing_of_an_event_that_it_does_not_take(name: str) -> None:
    model, values = READ_MODELS[name], _values()
    assert _EVENTS.keys() >= {*get_args(Event)} - {each for each in get_args(Event) if each.__name__ == "PassedOver"}
    for kind, envelope in _EVENTS.items():
        if kind in model.takes:
            continue
        for event in _variants(envelope.event, values):
            recorded = Recorded(7, msgspec.structs.replace(envelope, event=event))
            try:
                assert model.project(recorded) == () == model.passed_over(recorded), event
            except (AttributeError, TypeError):  # a value that no such event has
                continue


@pytest.mark.parametrize("name", READ_MODELS)
def test_a_read_model_takes_each_event_that_its_projection_names(name: str) -> None:
    model = READ_MODELS[name]
    module = inspect.getmodule(model.project)
    assert module is not None
    named = {
        getattr(module, case.cls.id)
        for case in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(module))))
        if isinstance(case, ast.MatchClass) and isinstance(case.cls, ast.Name) and hasattr(module, case.cls.id)
    }
    assert named & {*get_args(Event)} == {*model.takes}
