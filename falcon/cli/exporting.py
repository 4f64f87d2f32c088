"""Writes an export."""

from collections.abc import Callable
from contextlib import aclosing
from typing import BinaryIO

import msgspec

from falcon.cli.faults import Fault
from falcon_chat import ExportFailed, ExportHeader, FalconClient

_AROUND_ROWS = 3  # lines: the header, the changes' beginning, and the end


async def write_export(falcon: FalconClient, out: BinaryIO, report: Callable[[int, int], None]) -> int:
    """Returns the number of lines. ``report`` is called with lines done and lines in all. Raises Fault, and the errors
    of the client."""
    header, done = None, 0
    try:
        async with aclosing(falcon.export()) as blocks:
            async for block in blocks:
                if header is None:
                    header = msgspec.json.decode(block.partition(b"\n")[0], type=ExportHeader)
                out.write(block)
                done += block.count(b"\n")
                report(done, max(done, _AROUND_ROWS + header.accounts + header.rooms + header.messages))
    except ExportFailed as failed:
        raise Fault(f"the export is incomplete: {failed}") from failed
    return done
