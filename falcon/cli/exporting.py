"""Writes an export."""

from collections.abc import Callable
from contextlib import aclosing
from typing import BinaryIO

from falcon.cli.faults import Fault
from falcon_chat import ExportFailed, FalconClient


async def write_export(falcon: FalconClient, out: BinaryIO, report: Callable[[int], None]) -> int:
    """Returns the number of lines. ``report`` is called with the lines done. Raises Fault, and the errors
    of the client."""
    done = 0
    try:
        async with aclosing(falcon.export()) as blocks:
            async for block in blocks:
                out.write(block)
                done += block.count(b"\n")
                report(done)
    except ExportFailed as failed:
        raise Fault(f"the export is incomplete: {failed}") from failed
    return done
