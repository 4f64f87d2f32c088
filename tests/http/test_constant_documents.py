"""Documents that are the same for all callers."""

import gzip

import pytest

from falcon.http.constant_documents import ConstantDocument, accepts_gzip

TEXT = b"Who wants tea? " * 100


def fields(response: object) -> dict[bytes, bytes]:
    return dict(response.headers)  # type: ignore[attr-defined]


def test_a_client_that_accepts_gzip_gets_it_and_every_other_the_text_itself() -> None:
    document = ConstantDocument(TEXT, "text/plain", (b"cache-control", b"no-cache"), vary="Accept")
    small, plain = document.answer({b"accept-encoding": b"gzip, br"}), document.answer({})
    assert gzip.decompress(small.body) == plain.body == TEXT
    assert fields(small)[b"content-encoding"] == b"gzip" and b"content-encoding" not in fields(plain)
    assert fields(small)[b"etag"] != fields(plain)[b"etag"]
    for each in (small, plain):
        assert fields(each)[b"vary"] == b"Accept, Accept-Encoding"
        assert fields(each)[b"cache-control"] == b"no-cache"


@pytest.mark.parametrize("asked", [{}, {b"accept-encoding": b"gzip"}])
def test_a_client_that_has_the_document_is_answered_304(asked: dict[bytes, bytes]) -> None:
    document = ConstantDocument(TEXT, "text/plain")
    etag = fields(document.answer(asked))[b"etag"]
    unchanged = document.answer(asked | {b"if-none-match": etag})
    assert (unchanged.status, unchanged.body) == (304, b"") and fields(unchanged)[b"etag"] == etag
    assert document.answer(asked | {b"if-none-match": b'"other"'}).status == 200


def test_a_document_that_gzip_makes_larger_is_sent_as_it_is() -> None:
    answer = ConstantDocument(b"Tea?", "text/plain").answer({b"accept-encoding": b"gzip"})
    assert answer.body == b"Tea?" and b"content-encoding" not in fields(answer)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (b"", False),
        (b"gzip", True),
        (b"br;q=1.0, GZIP;q=0.8", True),
        (b"*", True),
        (b"identity", False),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000, *", False),
        (b"gzip;q=0.001", True),
        (b"*;q=0", False),
        (b"deflate, gzippy", False),
    ],
)
def test_the_weights_of_accept_encoding_count(header: bytes, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
