"""The owners topic names the log and its format."""

from typing import Final

import pytest

from falcon.adapters.kafka.topics import LOG, WrongTopics, name_among

JOURNAL: Final = "falcon.journal"
# The layout in topics, for ever.
SAID: Final = b'{"name":"5ee0d1","format":1}'


def test_a_log_of_this_format_has_its_name() -> None:
    assert name_among({LOG: SAID, b"3": b"an owner"}, JOURNAL) == "5ee0d1"


def test_a_log_that_is_not_made_yet_has_none() -> None:
    assert name_among({b"clock": b"an owner"}, JOURNAL) is None


def test_a_log_of_before_formats_is_refused_in_a_line_that_says_what_to_do() -> None:
    with pytest.raises(WrongTopics) as refused:
        name_among({b"instance": b"5ee0d1"}, JOURNAL)
    (line,) = str(refused.value).splitlines()
    assert JOURNAL in line and "falcon export" in line and "falcon import" in line


def test_a_log_of_a_newer_format_is_refused_as_one() -> None:
    with pytest.raises(WrongTopics, match="written by a newer Falcon, so run that"):
        name_among({LOG: SAID.replace(b"1}", b"2}")}, JOURNAL)
