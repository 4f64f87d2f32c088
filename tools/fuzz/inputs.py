"""Inputs that are nearly good, and some that are not at all: the same for the same seed."""

import random
from collections.abc import Iterator, Sequence
from typing import Final

_TELLING: Final = (
    b"",
    b"\0",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\u0000",
    b"-1",
    b"0",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"18446744073709551616",
    b"9" * 400,
    b"[" * 2_000,
    b'{"a":' * 1_000,
    b"%",
    b"%00",
    b"%ZZ",
    b"&&==",
    b";",
    b"=",
    b"+",
    b"_",
    b"\xe2\x80\xae",
    b"\xd9\xa3",
    b"A" * 5_000,
)


def inputs(seeds: Sequence[bytes], count: int, chance: random.Random) -> Iterator[bytes]:
    for number in range(count):
        if number % 16 == 0:
            yield chance.randbytes(chance.randrange(64))
        else:
            yield _changed(chance.choice(seeds), seeds, chance)


def _changed(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(1 + int(chance.random() * 3)):
        start = int(chance.random() * (len(changed) + 1))
        length = 1 + int(chance.random() * 8)
        match int(chance.random() * 7):
            case 0:
                changed[start : start + 1] = bytes((int(chance.random() * 256),))
            case 1:
                del changed[start : start + length]
            case 2:
                changed[start:start] = chance.choice(_TELLING)
            case 3:
                del changed[start:]
            case 4:
                changed[start:start] = changed[start : start + length]
            case 5 if start < len(changed):
                changed[start] ^= 1 << int(chance.random() * 8)
            case _:
                other = chance.choice(seeds)
                changed[start:] = other[int(chance.random() * (len(other) + 1)) :]
    return bytes(changed)
