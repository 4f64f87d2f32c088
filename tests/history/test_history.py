"""Everything that was ever written can be read for ever."""

from typing import get_args

import pytest

from falcon.domain.rejections import Rejection
from falcon.features.catalogue import Answer
from falcon.journal import codec
from falcon.journal.envelope import Recorded
from tests.history.samples import (
    EPOCH,
    FOLDER,
    OFFSET,
    OLD_ANSWERS,
    PARTITION,
    SAMPLES,
    N,
    name_and_version,
    record_of,
)

NEWEST = [
    sample for sample in SAMPLES if name_and_version(sample) in codec.names().items() and sample not in OLD_ANSWERS
]


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_record_of_the_past_says_what_it_said(sample: str) -> None:
    recorded = codec.decode(record_of(sample), PARTITION, OFFSET, EPOCH, N)
    assert recorded == Recorded(OFFSET, SAMPLES[sample])


@pytest.mark.parametrize("sample", NEWEST)
def test_a_record_is_written_as_it_was_then(sample: str) -> None:
    record = record_of(sample)
    assert codec.encode(codec.decode(record, PARTITION, OFFSET, EPOCH, N).envelope) == record


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_holds_the_event_that_its_file_is_named_for(sample: str) -> None:
    record = record_of(sample)
    assert (record.type, record.version) == name_and_version(sample)


@pytest.mark.parametrize(("name", "version"), codec.names().items())
def test_every_event_has_a_sample_of_its_newest_version(name: str, version: int) -> None:
    assert f"{name}.v{version}" in SAMPLES, "add it to tests/history/samples.py, which says how"


def test_every_version_before_the_newest_has_a_sample_too() -> None:
    versions = {(name, v) for name, newest in codec.names().items() for v in range(1, newest + 1)}
    assert versions <= set(map(name_and_version, SAMPLES))


def test_every_file_is_read_by_these_tests() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SAMPLES)


def test_every_answer_and_every_refusal_is_in_some_sample() -> None:
    kept = {type(envelope.answer) for envelope in SAMPLES.values()}
    assert kept >= {*get_args(Answer), *get_args(Rejection)}


def test_some_sample_has_a_key_and_some_has_none() -> None:
    assert {envelope.command is None for envelope in SAMPLES.values()} == {True, False}
