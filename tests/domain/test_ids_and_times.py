from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon.domain.ids import counter_of, id_of, partition_of
from falcon.read.times import parse_rfc3339, rfc3339
from tests.support.builders import NOW, NOW_TEXT, tried

zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@tried(100)
@given(st.integers(1, 2**40), st.integers(1, 4_096), st.data())
def test_an_id_tells_its_partition_and_its_number(counter: int, partitions: int, data: st.DataObject) -> None:
    partition = data.draw(st.integers(0, partitions - 1))
    identity = id_of(counter, partition, partitions)
    assert partition_of(identity, partitions) == partition
    assert counter_of(identity, partitions) == counter


def test_ids_start_above_zero_in_every_partition() -> None:
    assert [id_of(1, partition, 4) for partition in range(4)] == [4, 5, 6, 7]


def test_a_time_is_written_with_milliseconds_in_utc() -> None:
    assert rfc3339(NOW) == NOW_TEXT
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999Z"


@tried(100)
@given(st.integers(0, 253_402_300_799_999))
def test_a_time_since_1970_is_read_as_it_was_written(at: int) -> None:
    assert parse_rfc3339(rfc3339(at)) == at


@tried(100)
@given(st.integers(0, 253_402_300_799_999), st.integers(0, 253_402_300_799_999))
def test_written_times_sort_as_times(one: int, other: int) -> None:
    assert (rfc3339(one) < rfc3339(other)) == (one < other)


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    assert parse_rfc3339("2026-11-25T18:30:00.123+09:00") == NOW


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2026-11-25", "2026-11-25T09:30:00", "2026-13-25T09:30:00Z"),
        *("20261125T093000Z", "2026-W48-3T09:30:00Z", "2026-11-25T09:30Z", "2026-11-25T09:30:00,5Z"),
    ],
)
def test_what_is_no_time_of_rfc_3339_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rfc3339(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00.000Z", "0999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"])
def test_a_time_of_any_year_is_written_with_four_digits(text: str) -> None:
    assert rfc3339(parse_rfc3339(text)) == text


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_beyond_the_calendar_of_utc_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rfc3339(text)


@tried(200)
@given(st.datetimes(timezones=zones))
def test_whatever_time_can_be_read_can_be_written(moment: datetime) -> None:
    try:
        at = parse_rfc3339(moment.isoformat())
    except ValueError:
        return
    assert parse_rfc3339(rfc3339(at)) == at


def test_a_time_finer_than_milliseconds_is_still_in_its_own_millisecond() -> None:
    assert rfc3339(parse_rfc3339("2026-11-25T09:30:00.123999Z")) == NOW_TEXT
    assert rfc3339(parse_rfc3339("9999-12-31T23:59:59.999999Z")) == "9999-12-31T23:59:59.999Z"
