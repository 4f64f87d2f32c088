"""What is kept of the queries that clients send."""

from starlette.requests import HTTPConnection

from falcon.http import wire
from falcon.http.streaming import StreamQuery


def decoded(query: bytes) -> StreamQuery:
    return wire.decode_query(HTTPConnection({"type": "http", "query_string": query, "headers": []}), StreamQuery)


def test_of_what_anybody_may_send_only_a_little_is_kept() -> None:
    before = wire._kept_query.cache_info().currsize
    for number in range(100):
        assert decoded(b"ticket=%d" % number + b"x" * 8_000).ticket == f"{number}" + "x" * 8_000
    assert wire._kept_query.cache_info().currsize == before


def test_a_short_query_is_decoded_once() -> None:
    assert decoded(b"rooms=1,2") is decoded(b"rooms=1,2")
