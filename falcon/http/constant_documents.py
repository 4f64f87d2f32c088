"""Documents whose bytes are the same for all callers: compressed once, and answered from memory."""

import gzip
import hashlib
from typing import Final

from falcon.http.requests import Headers
from falcon.http.responses import BytesResponse, matches

_LEVEL: Final = 9  # gzip's best; a document is compressed once in the life of a process


class ConstantDocument:
    """Answers a GET or a HEAD with the bytes, with the compressed bytes if the client accepts gzip, or with 304."""

    def __init__(self, body: bytes, media_type: str, *headers: tuple[bytes, bytes], vary: str = "") -> None:
        """``headers`` go with every answer, 304 too. ``vary`` names the request's headers that chose this document,
        beside ``Accept-Encoding``."""
        varies = (b"vary", ", ".join(filter(None, (vary, "Accept-Encoding"))).encode())
        shared = ((b"content-type", media_type.encode()), varies, *headers)
        self.plain: Final = _Variant(body, *shared)
        small = gzip.compress(body, _LEVEL, mtime=0)  # without a time, all processes have the same bytes and ETag
        # A document that gains nothing is sent as it is.
        self.compressed: Final = (
            _Variant(small, *shared, (b"content-encoding", b"gzip")) if len(small) < len(body) else self.plain
        )

    def answer(self, headers: Headers) -> BytesResponse:
        """``headers``: the request's."""
        variant = self.compressed if accepts_gzip(headers.get(b"accept-encoding", b"")) else self.plain
        known = headers.get(b"if-none-match")
        return variant.unchanged if known is not None and matches(known, variant.etag) else variant.whole


class _Variant:
    """One encoding of a document, with its own ETag. Both responses are made once."""

    __slots__ = ("etag", "unchanged", "whole")

    def __init__(self, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.etag = b'"%b"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode()
        self.whole = BytesResponse(200, body, *headers, (b"etag", self.etag), cached=None)
        self.unchanged = BytesResponse(304, b"", *headers, (b"etag", self.etag), cached=None)


def accepts_gzip(accept_encoding: bytes) -> bool:
    """True if the header names gzip, or all encodings, with a weight above 0. Other words for a weight count as 1."""
    weights: dict[bytes, bool] = {}
    for choice in accept_encoding.lower().split(b","):
        name, _, weight = choice.partition(b";")
        _, _, value = weight.partition(b"q=")
        weights[name.strip()] = value.strip(b" \t0.") != b"" or value == b""
    return weights.get(b"gzip", weights.get(b"*", False))
