"""Writes an export to a file, and continues one that was interrupted."""

import os
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from falcon.cli.faults import Fault
from falcon_chat import ExportFailed, ExportHeader, FalconClient, is_end, resume_token

_CHUNK = 1 << 20  # 1 MiB: it is in memory once
_AROUND_ROWS = 3  # lines: the header, the changes' beginning, and the end
_HEADER_BEGINS = b'{"type":"falcon-export"'


@dataclass(frozen=True)
class Partial:
    """The whole ``lines`` that the file has; ``resume`` names the last of them. None: the export starts.

    ``ended``: the file is complete.
    """

    header: ExportHeader | None = None
    resume: str | None = None
    lines: int = 0
    ended: bool = False


def open_export(path: Path) -> BinaryIO:
    """Opens or creates the file. Only its owner can read it, because it has all messages."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")


def repair(file: BinaryIO, name: str) -> Partial:
    """Cut off an incomplete last line, and go to the end. Raises Fault for a file that is not an export."""
    file.seek(0)
    first = file.readline(_CHUNK)
    if not first.endswith(b"\n"):
        if not _HEADER_BEGINS.startswith(first[: len(_HEADER_BEGINS)]):
            raise _no_export(name)
        return _start_over(file)
    try:
        header = msgspec.json.decode(first, type=ExportHeader)
    except msgspec.DecodeError as fault:
        raise _no_export(name) from fault
    end = _end_of_last_line(file, file.seek(0, os.SEEK_END))
    last = _read(file, _end_of_last_line(file, end - 1), end)
    if is_end(last):
        return Partial(header, lines=_count_lines(file), ended=True)
    try:
        resume = resume_token(last)
    except (msgspec.DecodeError, ValueError) as fault:
        raise Fault(f"{name}: its last line is not an export's ({fault}); give another name") from fault
    if resume is None:
        return _start_over(file)
    file.truncate(end)
    lines = _count_lines(file)
    return Partial(header, resume, lines)


async def write_export(
    falcon: FalconClient, out: BinaryIO, name: str, partial: Partial, report: Callable[[int, int], None]
) -> int:
    """Write the missing lines. Returns the number of lines. ``report`` is called with lines done and lines in all.

    Raises Fault if the file is from another Falcon, and the errors of the client.
    """
    header = partial.header
    done = partial.lines
    if header is not None:
        there = await falcon.export_header()
        if there.source != header.source:
            raise Fault(f"{name} is an export of another Falcon ({header.source}); give another name")
    if partial.ended:
        return done
    try:
        async with aclosing(falcon.export(header, partial.resume)) as blocks:
            async for block in blocks:
                if header is None:
                    header = msgspec.json.decode(block.partition(b"\n")[0], type=ExportHeader)
                out.write(block)
                done += block.count(b"\n")
                report(done, max(done, _AROUND_ROWS + header.accounts + header.rooms + header.messages))
    except ExportFailed as failed:
        raise Fault(f"the export is incomplete: {failed}") from failed
    return done


def _no_export(name: str) -> Fault:
    return Fault(f"{name} exists and is not an export of Falcon; give another name")


def _start_over(file: BinaryIO) -> Partial:
    file.truncate(0)
    file.seek(0)
    return Partial()


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _end_of_last_line(file: BinaryIO, before: int) -> int:
    """The offset after the last line break before offset ``before``; 0 if there is none."""
    while before:
        start = max(0, before - _CHUNK)
        found = _read(file, start, before).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        before = start
    return 0


def _count_lines(file: BinaryIO) -> int:
    """Leaves the file at its end."""
    file.seek(0)
    return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK), b""))
