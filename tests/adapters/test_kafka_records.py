"""A record of the journal in a record of Kafka's."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.adapters.kafka import records
from falcon.journal.record import Record
from tests.support.builders import tried

MESSAGE: Final = Record("message-posted", 1, True, 321, b'{"at":1}')
# The layout in topics, for ever.
MESSAGE_KEY: Final = bytes.fromhex("0000000000000141")
MESSAGE_BODY: Final = bytes.fromhex("0100010e") + b'message-posted{"at":1}'


def test_a_record_is_written_as_it_always_was() -> None:
    assert (records.key(MESSAGE), records.body(MESSAGE)) == (MESSAGE_KEY, MESSAGE_BODY)


def test_a_record_of_the_past_says_what_it_said() -> None:
    assert records.record(MESSAGE_KEY, MESSAGE_BODY) == MESSAGE


@tried(200)
@given(
    st.builds(
        Record,
        st.text(st.characters(codec="ascii"), max_size=64),
        st.integers(0, 2**16 - 1),
        st.booleans(),
        st.integers(0, 2**62),
        st.binary(max_size=50),
    )
)
def test_what_is_written_is_what_is_read(record: Record) -> None:
    body = records.body(record)
    assert records.record(records.key(record), body) == record
    assert len(body) + len(records.key(record)) <= len(record.data) + records.OVERHEAD


@pytest.mark.parametrize("body", [b"", b"\1", MESSAGE_BODY[:10], b"\1\0\1\3\xff\xff\xff{}"])
def test_what_falcon_did_not_write_has_no_type(body: bytes) -> None:
    assert records.record(None, body) == Record("", 0, True, 0, body)
