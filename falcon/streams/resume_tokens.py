"""Resume tokens: how far a stream has got in each of its segments.

A token has the offset of each segment, or the differences to a cut, which are shorter where there are many segments.
All clients that get an event from one process get the same token, so that the event is encoded once. A token opens
nothing that the log would not show its bearer anyway, so it is not signed. The checksum tells a token from other text,
from a token of another log, and from one that means another cut of the same number.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from falcon.streams.cuts import Cut
from falcon.streams.differences import Differences, read
from falcon.varints import Malformed, read_varint, varint, varints

LENGTH_MAX: Final = 64  # characters, with a cut that is near enough

_WHOLE: Final = b"\x01"
_TO_ONE_CUT: Final = b"\x02"
_TO_TWO_CUTS: Final = b"\x03"
_CHECK_BYTES: Final = 4
_TEXT_MAX: Final = 64 << 10
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


class WrongToken(ValueError):
    """The text is no token, or a token of another log."""


class Reference(NamedTuple):
    """The offsets that differences count from: those of ``cut``, but from the segment ``split`` on those of ``older``,
    if there is one. A replay is in between: it brings one segment after the other from one cut to a newer one."""

    cut: Cut
    older: Cut | None = None
    split: int = 0

    @property
    def offsets(self) -> Sequence[int]:
        if self.older is None:
            return self.cut.offsets
        return [*self.cut.offsets[: self.split], *self.older.offsets[self.split :]]


class ResumePlace(NamedTuple):
    """What a token says. ``reference``: None in a token without a cut."""

    offsets: Mapping[int, int]
    reference: Reference | None = None


def encode(log: str, offsets: Mapping[int, int], reference: Reference | None = None) -> str:
    return ResumeToken(log, offsets, reference).text()


def cuts_named(text: str) -> tuple[int, ...]:
    """The numbers of the cuts that :func:`decode` needs. Raises WrongToken."""
    body, _ = _parts(text)
    try:
        return _header(body)[0]
    except Malformed as error:
        raise WrongToken(str(error)) from error


def decode(log: str, text: str, cuts: Mapping[int, Cut] | None = None) -> ResumePlace:
    """Raises WrongToken."""
    body, check = _parts(text)
    try:
        numbers, split, at = _header(body)
        named = [(cuts or {})[number] for number in numbers]
        if zlib.crc32(body, _seed(log, *named)).to_bytes(_CHECK_BYTES) != check:
            raise WrongToken("it is not one of this log's")
        if not named:
            return ResumePlace(_pairs(body))
        reference = Reference(named[0], *((named[1], split) if len(named) > 1 else ()))
        if reference.older is not None and len(reference.older.offsets) != len(reference.cut.offsets):
            raise WrongToken("it names cuts of two logs")
        return ResumePlace(dict(enumerate(read(body[at:], reference.offsets))), reference)
    except KeyError as error:
        raise WrongToken("it names a cut that is not kept") from error
    except Malformed as error:
        raise WrongToken(str(error)) from error


class ResumeToken:
    """A token that is kept up to date. It encodes only the segments that have changed."""

    def __init__(self, log: str, offsets: Mapping[int, int], reference: Reference | None = None) -> None:
        self._log = log
        self._offsets = dict(offsets)
        self.refer(reference)

    def refer(self, reference: Reference | None) -> None:
        """From now on the token has the differences to this one."""
        self.reference = reference
        self._form: _Form = _Whole(self._log, self._offsets)
        if reference is not None:
            self._form = _Relative(self._log, self._offsets, reference)

    def move(self, segment: int, offset: int) -> None:
        self._offsets[segment] = offset
        self._form.move(segment, offset)

    def begin_pass(self, cut: Cut) -> None:
        """One segment after the other is about to come to this cut."""
        older = None if self.reference is None else self.reference.cut
        self.refer(Reference(cut, older))

    def pass_over(self, segment: int) -> None:
        """This segment has come to the cut, and all before it."""
        reference = self.reference
        if reference is not None and reference.older is not None and segment >= reference.split:
            assert isinstance(self._form, _Relative)
            self.reference = reference._replace(split=segment + 1)
            self._form.pass_over(self.reference)

    def end_pass(self) -> None:
        if self.reference is not None and self.reference.older is not None:
            self.refer(Reference(self.reference.cut))

    def text(self) -> str:
        return self._form.text()


class _Form(Protocol):
    def move(self, segment: int, offset: int) -> None: ...

    def text(self) -> str: ...


class _Whole:
    """The offsets themselves."""

    def __init__(self, log: str, offsets: Mapping[int, int]) -> None:
        self._seed = _seed(log)
        self._parts = {segment: _pair(segment, offsets[segment]) for segment in sorted(offsets)}

    def move(self, segment: int, offset: int) -> None:
        if segment not in self._parts:
            self._parts[segment] = b""
            self._parts = dict(sorted(self._parts.items()))
        self._parts[segment] = _pair(segment, offset)

    def text(self) -> str:
        return _text(_WHOLE + b"".join(self._parts.values()), self._seed)


class _Relative:
    """Differences. A segment without an offset counts as read as far as the reference says."""

    def __init__(self, log: str, offsets: Mapping[int, int], reference: Reference) -> None:
        zeros = reference.offsets
        places = list(zeros)
        for segment, offset in offsets.items():
            places[segment] = offset
        self._differences = Differences(zeros, places)
        self._unknown = [segment not in offsets for segment in range(len(places))]
        self._reference = reference
        self._seed = _seed(log, *(cut for cut in (reference.cut, reference.older) if cut is not None))
        self._head = _head(reference)

    def move(self, segment: int, offset: int) -> None:
        self._unknown[segment] = False
        self._differences.move(segment, offset)

    def pass_over(self, reference: Reference) -> None:
        for segment in range(self._reference.split, reference.split):
            offset = reference.cut.offsets[segment]
            self._differences.count_from(segment, offset)
            if self._unknown[segment]:
                self._differences.move(segment, offset)
        self._reference = reference
        self._head = _head(reference)

    def text(self) -> str:
        return _text(self._head + self._differences.encoded(), self._seed)


def _head(reference: Reference) -> bytes:
    number = reference.cut.number
    if reference.older is None:
        return _TO_ONE_CUT + varint(number)
    return _TO_TWO_CUTS + varint(number) + varint(number - reference.older.number) + varint(reference.split)


def _header(body: bytes) -> tuple[tuple[int, ...], int, int]:
    """The cuts' numbers, where the second one begins, and where the rest of the body does. Raises Malformed."""
    kind = body[:1]
    if kind == _WHOLE:
        return (), 0, 1
    if kind not in (_TO_ONE_CUT, _TO_TWO_CUTS):
        raise Malformed("it is of no version that this Falcon reads")
    number, at = read_varint(body, 1)
    if kind == _TO_ONE_CUT:
        return (number,), 0, at
    back, at = read_varint(body, at)
    split, at = read_varint(body, at)
    if back > number:
        raise Malformed("a cut in it is before the first one")
    return (number, number - back), split, at


def _parts(text: str) -> tuple[bytes, bytes]:
    """The body and its checksum. Raises WrongToken."""
    if not text.isascii() or not 0 < len(text) <= _TEXT_MAX:
        raise WrongToken("it is too long, or not ASCII")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise WrongToken("it is not base64url") from error
    return data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]


def _text(body: bytes, seed: int) -> str:
    data = body + zlib.crc32(body, seed).to_bytes(_CHECK_BYTES)
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode()


def _seed(log: str, *cuts: Cut) -> int:
    seed = zlib.crc32(log.encode())
    for cut in cuts:
        seed = zlib.crc32(cut.check.to_bytes(_CHECK_BYTES), seed)
    return seed


def _pair(segment: int, offset: int) -> bytes:
    return varint(segment) + varint(offset)


def _pairs(body: bytes) -> dict[int, int]:
    numbers = list(varints(body, len(_WHOLE)))
    if len(numbers) % 2:
        raise Malformed("it is cut short")
    return dict(zip(numbers[::2], numbers[1::2], strict=True))
