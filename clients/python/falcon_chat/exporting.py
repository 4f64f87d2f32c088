"""An export as it comes over a connection that may break: whole lines, each once."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal

import httpx
import msgspec

from falcon_chat.connection import Busy, Connection, why
from falcon_chat.errors import ExportFailed

_FAILED = b'{"type":"failed"'
_END = b'{"type":"end"'


class ExportHeader(msgspec.Struct, frozen=True):
    """The first line of an export. ``source`` names where it comes from; the counts are of when it began, or 0.

    ``position``: what came later stands as changes at the export's end.
    """

    type: Literal["falcon-export"]
    version: int
    source: str
    position: str
    accounts: int = 0
    rooms: int = 0
    messages: int = 0


class _Line(msgspec.Struct):
    type: str
    ref: str = ""
    room: str = ""
    account: str = ""
    seq: int = 0
    at: str | None = None
    detail: str = ""


def is_end(line: bytes) -> bool:
    """True if this is the last line of an export."""
    return line.startswith(_END)


def resume_token(line: bytes) -> str | None:
    """Where the export continues after this line of it; None after the header, where it begins.

    Changes begin again: each replaces what stands before it, so that having one twice harms nothing.
    Raises msgspec.DecodeError or ValueError for what is no line of an export, or has nothing after it.
    """
    last = msgspec.json.decode(line, type=_Line)
    if last.at is not None or last.type == "changes":
        return "changes"
    match last.type:
        case "falcon-export":
            return None
        case "account" | "room" | "thread":
            return f"{last.type}:{last.ref}"
        case "bookmark":
            return f"bookmark:{last.account}"
        case unknown if not last.seq:
            raise ValueError(f"an export does not go on behind a line of type {unknown!r}")
        case _:  # of a message, or a line that follows one
            return f"message:{last.room}:{last.seq}"


async def export_blocks(
    connection: Connection, header: ExportHeader | None, resume: str | None
) -> AsyncGenerator[bytes, None]:
    """Blocks of whole lines. After a break it continues after the last of them; the deadline is per step forward.

    ``header`` and ``resume`` come together, or not at all. Raises Problem, Unreachable, and ExportFailed where the
    server says that the export cannot be whole.
    """
    patience = connection.patience()
    begun = False
    while True:
        # Broken off right after the header, it begins again with another header. The caller keeps the first: rows that
        # are newer than it says harm nothing.
        drop_header = begun and resume is None
        try:
            async with connection.stream("/v1/export", _params(header, resume)) as response:
                async for block in _whole_lines(response.aiter_bytes()):
                    last = _last_line(block)
                    if last.startswith(_FAILED):  # which may be the only line
                        raise ExportFailed(msgspec.json.decode(last, type=_Line).detail)
                    if header is None:
                        header = msgspec.json.decode(block.partition(b"\n")[0], type=ExportHeader)
                    new = block.partition(b"\n")[2] if drop_header else block
                    drop_header = False
                    if not new:
                        continue
                    yield new
                    begun = True
                    if is_end(last):
                        return
                    resume = resume_token(last)
                    patience.renew()
            raise httpx.RemoteProtocolError("the export ended before its last line")
        except httpx.RequestError as fault:
            await patience.wait(ConnectionError(why(fault)))
        except Busy as busy:
            await patience.wait(busy.problem, busy.retry_after)


def _params(header: ExportHeader | None, resume: str | None) -> dict[str, str]:
    if header is None or resume is None:
        return {}
    return {"resume": resume, "since": header.position}


def _last_line(block: bytes) -> bytes:
    return block[block.rfind(b"\n", 0, -1) + 1 :]


async def _whole_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    torn: list[bytes] = []
    async for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join((*torn, piece[:end]))
            torn = [piece[end:]] if end < len(piece) else []
        else:
            torn.append(piece)
    if torn:
        raise httpx.RemoteProtocolError("the export ended within a line")
