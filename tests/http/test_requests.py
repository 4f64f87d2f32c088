"""How queries are read, and which are cached."""

import msgspec
import pytest

from falcon.http import requests
from falcon.http.problems import Problem
from falcon.http.stream.endpoints import StreamQuery
from tests.support.http import Falcon


def decoded(query: bytes) -> StreamQuery:
    return requests.decode_query({"query_string": query}, StreamQuery)


def test_of_what_anybody_may_send_only_a_little_is_kept() -> None:
    before = requests._cached_query.cache_info().currsize
    for number in range(100):
        assert decoded(b"ticket=%d" % number + b"x" * 8_000).ticket == f"{number}" + "x" * 8_000
    assert requests._cached_query.cache_info().currsize == before


def test_nothing_that_a_stranger_sends_is_kept(falcon: Falcon) -> None:
    before = requests._cached_query.cache_info().currsize
    for number in range(20):
        for path in (f"/v1/stream?ticket={number}", f"/v1/rooms?limit={number}", f"/v1/nowhere?a={number}"):
            assert falcon.send("GET", path).status_code in (401, 404)
    assert requests._cached_query.cache_info().currsize == before


def test_a_short_query_is_decoded_once() -> None:
    assert decoded(b"rooms=1,2") is decoded(b"rooms=1,2")


def test_a_query_of_thousands_of_parameters_is_refused_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert decoded(b"ticket=a&" * 49 + b"ticket=b").ticket == "b"
    monkeypatch.setattr(requests, "parse_qsl", None)
    with pytest.raises(Problem) as refused:
        decoded(b"a&" * 4_000)
    assert [(error.field, error.rule) for error in refused.value.errors] == [
        ("query", "must have at most 50 parameters")
    ]


class _Looking(msgspec.Struct, frozen=True):
    seconds: int | None = None
    idle: bool = False


def looking(query: bytes) -> _Looking:
    return requests.decode_query({"query_string": query}, _Looking)


def test_numbers_and_flags_are_read_from_texts() -> None:
    assert looking(b"seconds=07&idle=true") == _Looking(7, True)
    assert looking(b"idle=false") == _Looking()


@pytest.mark.parametrize(
    ("query", "field"),
    [(b"seconds=1e2", "seconds"), (b"seconds=null", "seconds"), (b"seconds=-1", "seconds"), (b"idle=1", "idle")],
)
def test_a_number_or_a_flag_that_is_none_is_named(query: bytes, field: str) -> None:
    with pytest.raises(Problem) as refused:
        looking(query)
    assert [error.field for error in refused.value.errors] == [field]
