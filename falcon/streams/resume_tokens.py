"""Resume tokens: how far a stream has got in each of its segments.

A token has the offset of each segment, or the differences to a cut, which are shorter where there are many segments.
All clients that get an event from one process get the same token, so that the event is encoded once. A token opens
nothing that the log would not show its bearer anyway, so it is not signed. The checksum tells a token from other text,
from a token of another log, from one that means another cut of the same number, and from one of a history that the log
has lost: it goes over the numbers of the starts that wrote the last records which the client has seen.
"""

import base64
import binascii
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from falcon.streams.cuts import Cut
from falcon.streams.differences import Differences, read
from falcon.streams.starts import NO_START
from falcon.streams.varints import Malformed, read_varint, varint, varints

LENGTH_MAX: Final = 64  # characters, with a cut that is near enough

_WHOLE: Final = b"\x01"
_TO_ONE_CUT: Final = b"\x02"
_TO_TWO_CUTS: Final = b"\x03"
_STARTED: Final = 0x10  # added to a form whose checksum goes over starts; tokens of earlier versions have none
_CHECK_BYTES: Final = 4  # it finds mistakes; forging a token gains nothing
_TEXT_MAX: Final = 64 << 10  # a token of 4,000 partitions has less; a longer text is not even decoded
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


StartOf: TypeAlias = Callable[[int, int], int]  # as Starts.number


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
    """Content of a token. ``reference``: None in a token without a cut."""

    offsets: Mapping[int, int]
    reference: Reference | None = None


class Claim(NamedTuple):
    """Content of a text, before it is known to be a token of the log."""

    place: ResumePlace
    body: bytes
    check: bytes

    @property
    def news(self) -> Mapping[int, int]:
        """The places that the checksum needs the starts of: a cut speaks for the ones that are its own."""
        if not self.body[0] & _STARTED:
            return {}
        return _news(self.place.offsets, self.place.reference)

    def checked(self, log: str, start_of: StartOf) -> ResumePlace:
        """``start_of``: knows the starts of :attr:`news`. Raises WrongToken."""
        seed = _seed(log, self.place.reference)
        for segment, offset in self.news.items():
            seed ^= start_of(segment, offset)
        if zlib.crc32(self.body, seed).to_bytes(_CHECK_BYTES) != self.check:
            raise WrongToken("it is not one of this log's")
        return self.place


def no_starts(segment: int, offset: int) -> int:
    """Starts of a log that was never started again."""
    return NO_START


def encode(
    log: str, offsets: Mapping[int, int], reference: Reference | None = None, start_of: StartOf = no_starts
) -> str:
    return ResumeToken(log, offsets, reference, start_of).text()


def cuts_named(text: str) -> tuple[int, ...]:
    """The numbers of the cuts that :func:`parse` needs. Raises WrongToken."""
    body, _ = _parts(text)
    try:
        return _header(body)[0]
    except Malformed as error:
        raise WrongToken(str(error)) from error


def decode(log: str, text: str, cuts: Mapping[int, Cut] | None = None, start_of: StartOf = no_starts) -> ResumePlace:
    """Raises WrongToken."""
    return parse(text, cuts).checked(log, start_of)


def parse(text: str, cuts: Mapping[int, Cut] | None = None) -> Claim:
    """Raises WrongToken."""
    body, check = _parts(text)
    try:
        numbers, split, at = _header(body)
        named = [(cuts or {})[number] for number in numbers]
        if not named:
            return Claim(ResumePlace(_pairs(body)), body, check)
        reference = Reference(named[0], *((named[1], split) if len(named) > 1 else ()))
        if reference.older is not None and len(reference.older.offsets) != len(reference.cut.offsets):
            raise WrongToken("it names cuts of two logs")
        offsets = dict(enumerate(read(body[at:], reference.offsets)))
        return Claim(ResumePlace(offsets, reference), body, check)
    except KeyError as error:
        raise WrongToken("it names a cut that is not kept") from error
    except Malformed as error:
        raise WrongToken(str(error)) from error


class ResumeToken:
    """A token that is kept up to date. It encodes only the segments that have changed."""

    def __init__(
        self, log: str, offsets: Mapping[int, int], reference: Reference | None = None, start_of: StartOf = no_starts
    ) -> None:
        """``start_of``: knows the starts of all offsets that the token is given, except those of a cut."""
        self._log = log
        self._start_of = start_of
        self._offsets = dict(offsets)
        self.refer(reference)

    def refer(self, reference: Reference | None) -> None:
        """Give the token its differences to this one."""
        self.reference = reference
        self._form: _Form = _Whole(self._log, self._offsets, self._start_of)
        if reference is not None:
            self._form = _Relative(self._log, self._offsets, reference, self._start_of)

    def move(self, segment: int, offset: int) -> None:
        self._offsets[segment] = offset
        self._form.move(segment, offset)

    def begin_pass(self, cut: Cut) -> None:
        """One segment after the other is about to come to this cut."""
        older = None if self.reference is None else self.reference.cut
        self.refer(Reference(cut, older))

    def pass_over(self, segment: int) -> None:
        """Note that this segment has come to the cut, and all before it."""
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


class _Checksum:
    """``seed``: what a checksum begins with."""

    def __init__(self, log: str, reference: Reference | None, start_of: StartOf) -> None:
        self.seed = _seed(log, reference)
        self._start_of = start_of
        self._numbers: dict[int, int] = {}

    def move(self, segment: int, offset: int) -> None:
        self._set(segment, self._start_of(segment, offset))

    def be_at_cut(self, segment: int) -> None:
        self._set(segment, NO_START)

    def _set(self, segment: int, number: int) -> None:
        self.seed ^= self._numbers.get(segment, NO_START) ^ number
        self._numbers[segment] = number


class _Whole:
    """The offsets themselves."""

    def __init__(self, log: str, offsets: Mapping[int, int], start_of: StartOf) -> None:
        self._checksum = _Checksum(log, None, start_of)
        for segment, offset in offsets.items():
            self._checksum.move(segment, offset)
        self._parts = {segment: _pair(segment, offsets[segment]) for segment in sorted(offsets)}

    def move(self, segment: int, offset: int) -> None:
        if segment not in self._parts:
            self._parts[segment] = b""
            self._parts = dict(sorted(self._parts.items()))
        self._parts[segment] = _pair(segment, offset)
        self._checksum.move(segment, offset)

    def text(self) -> str:
        return _text(_started(_WHOLE) + b"".join(self._parts.values()), self._checksum.seed)


class _Relative:
    """Differences. A segment without an offset counts as read as far as the reference says."""

    def __init__(self, log: str, offsets: Mapping[int, int], reference: Reference, start_of: StartOf) -> None:
        self._checksum = _Checksum(log, reference, start_of)
        for segment, offset in _news(offsets, reference).items():
            self._checksum.move(segment, offset)
        zeros = reference.offsets
        places = list(zeros)
        for segment, offset in offsets.items():
            places[segment] = offset
        self._differences = Differences(zeros, places)
        self._unknown = [segment not in offsets for segment in range(len(places))]
        self._reference = reference
        self._head = _head(reference)

    def move(self, segment: int, offset: int) -> None:
        self._unknown[segment] = False
        self._differences.move(segment, offset)
        self._check(segment, offset)

    def pass_over(self, reference: Reference) -> None:
        for segment in range(self._reference.split, reference.split):
            offset = reference.cut.offsets[segment]
            self._differences.count_from(segment, offset)
            if self._unknown[segment]:
                self._differences.move(segment, offset)
            self._check(segment, self._differences.offset(segment))
        self._reference = reference
        self._head = _head(reference)

    def text(self) -> str:
        return _text(self._head + self._differences.encoded(), self._checksum.seed)

    def _check(self, segment: int, offset: int) -> None:
        if offset == self._differences.zero(segment):
            self._checksum.be_at_cut(segment)
        else:
            self._checksum.move(segment, offset)


def _started(form: bytes) -> bytes:
    return bytes((form[0] | _STARTED,))


def _news(offsets: Mapping[int, int], reference: Reference | None) -> Mapping[int, int]:
    """The offsets that are not those of the cut."""
    if reference is None:
        return offsets
    zeros = reference.offsets
    return {segment: offset for segment, offset in offsets.items() if offset != zeros[segment]}


def _head(reference: Reference) -> bytes:
    number = reference.cut.number
    if reference.older is None:
        return _started(_TO_ONE_CUT) + varint(number)
    return _started(_TO_TWO_CUTS) + varint(number) + varint(number - reference.older.number) + varint(reference.split)


def _header(body: bytes) -> tuple[tuple[int, ...], int, int]:
    """The cuts' numbers, where the second one begins, and where the rest of the body does. Raises Malformed."""
    kind = bytes((body[0] & ~_STARTED,)) if body else b""
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
    if not text.isascii() or not 0 < len(text) <= _TEXT_MAX or text.endswith("="):
        raise WrongToken("it is too long, not ASCII, or padded")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise WrongToken("it is not base64url") from error
    return data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]


def _text(body: bytes, seed: int) -> str:
    data = body + zlib.crc32(body, seed).to_bytes(_CHECK_BYTES)
    return binascii.b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode()


def _seed(log: str, reference: Reference | None) -> int:
    seed = zlib.crc32(log.encode())
    for cut in () if reference is None else (reference.cut, reference.older):
        if cut is not None:
            seed = zlib.crc32(cut.check.to_bytes(_CHECK_BYTES), seed)
    return seed


def _pair(segment: int, offset: int) -> bytes:
    return varint(segment) + varint(offset)


def _pairs(body: bytes) -> dict[int, int]:
    numbers = list(varints(body, len(_WHOLE)))
    if len(numbers) % 2:
        raise Malformed("it is cut short")
    return dict(zip(numbers[::2], numbers[1::2], strict=True))
